//! The way of a batch's commands: which of them run on its lane, and which beside.
//!
//! A lane is the right to run a batch. Whatever holds one has all later commands behind it, so a lane is for what is
//! short: a shared batch, and a probe for [`SHORT_MAX`](crate::tempo::SHORT_MAX). What takes longer gives the lane back and goes on
//! beside the next batch.
//!
//! In turns, until none is left: commands that are known to be long go beside; the others share a batch, which answers
//! what needs no handler, and leaves what is not short; one of each unproven kind is run as a probe. A long command that
//! the inbox has answered already shares the batch, too: it needs no handler.

use std::collections::HashSet;
use std::pin::pin;
use std::sync::Arc;

use tokio::sync::OwnedSemaphorePermit;

use crate::handlers::Registered;
use crate::isolation::{Isolation, Lane, LaneReport};
use crate::jobs::Probed;
use crate::member::{End, Member};
use crate::quarantine::Sorted;
use crate::tempo::Tempo;
use crate::worker::Worker;

/// The right to run a batch on a lane, and the place among all batches in flight that outlasts it.
pub(crate) struct LanePermit {
    pub(crate) lane: Option<OwnedSemaphorePermit>,
    pub(crate) _batch: OwnedSemaphorePermit,
}

/// The database is not there: there is no use in going on.
pub(crate) struct Down;

impl<S: Send + Sync + 'static> Worker<S> {
    /// Runs all commands of a batch on this lane, or sees them off to a place beside it.
    pub(crate) async fn run_all(self: &Arc<Self>, members: Vec<Member>, permit: LanePermit) {
        // Before the inbox is asked what it has answered: a command that ends in between has its answer there.
        let members = self.without_twins(members).await;
        if members.is_empty() {
            return;
        }
        let Some(Sorted { trusted, suspects, marks }) = self.sorted(members).await else { return };
        if self.places.beside == 0 {
            return self.run_everything(trusted, suspects).await;
        }
        match self.run_trusted(trusted, &marks.answered, permit).await {
            Ok(()) => self.run_suspects(suspects, &marks.attempted).await,
            Err(Down) => self.put_back(suspects).await,
        }
    }

    /// Puts those back whose action has a command under way.
    async fn without_twins(&self, members: Vec<Member>) -> Vec<Member> {
        if self.beside().nothing_under_way() {
            return members;
        }
        let (twins, others): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|member| self.is_under_way(member));
        for twin in twins {
            self.put_twin_back(twin).await;
        }
        others
    }

    async fn run_everything(self: &Arc<Self>, trusted: Vec<Member>, suspects: Vec<Member>) {
        let end = match trusted.is_empty() {
            true => End::Settled,
            false => self.run(trusted, Isolation::Everything).await,
        };
        match end {
            End::Settled | End::PutBack(_) => {
                self.run_one_by_one(suspects, Isolation::Everything).await;
            }
            End::DatabaseDown(_) => self.put_back(suspects).await,
        }
    }

    async fn run_trusted(
        self: &Arc<Self>,
        mut members: Vec<Member>,
        answered: &HashSet<String>,
        mut permit: LanePermit,
    ) -> Result<(), Down> {
        loop {
            members = self.send_beside(members, answered).await;
            if members.is_empty() {
                return Ok(());
            }
            members = self.run_shared(members, &mut permit).await?;
            members = self.prove(members).await?;
        }
    }

    /// Sends long commands beside, and puts those back whose action has a command under way; gives back the others.
    async fn send_beside(self: &Arc<Self>, members: Vec<Member>, answered: &HashSet<String>) -> Vec<Member> {
        let is_long = |handler: &Registered<S>| handler.tempo() == Tempo::Long;
        if !self.inbox.handlers.all.iter().any(is_long) && self.beside().nothing_under_way() {
            return members;
        }
        let mut others = Vec::with_capacity(members.len());
        for member in members {
            if self.is_under_way(&member) {
                self.put_twin_back(member).await;
            } else if self.is_long(&member) && !answered.contains(&member.command.key.to_string()) {
                self.offer(member).await;
            } else {
                others.push(member);
            }
        }
        self.advance();
        others
    }

    /// Runs a shared batch, and gives back the commands that it left.
    async fn run_shared(
        self: &Arc<Self>,
        members: Vec<Member>,
        permit: &mut LanePermit,
    ) -> Result<Vec<Member>, Down> {
        let lane = Arc::new(Lane::default());
        let mut run = pin!(self.run(members, Isolation::Shared(lane.clone())));
        let end = tokio::select! {
            biased;
            end = &mut run => end,
            () = lane.stalled.notified() => {
                // First, so that the next batch on the lane finds its twins.
                self.beside().hold(&lane.report().keys);
                permit.lane = None;
                run.await
            }
        };
        let LaneReport { left, apart, keys } = std::mem::take(&mut *lane.report());
        self.beside().release(&keys);
        for member in apart {
            self.offer(member).await;
        }
        self.advance();
        match end {
            End::Settled | End::PutBack(_) => Ok(left),
            End::DatabaseDown(_) => {
                self.put_back(left).await;
                Err(Down)
            }
        }
    }

    /// Runs the first command of each unproven kind; gives back the others.
    async fn prove(self: &Arc<Self>, members: Vec<Member>) -> Result<Vec<Member>, Down> {
        let (mut others, mut seen) = (Vec::with_capacity(members.len()), HashSet::new());
        let mut members = members.into_iter();
        while let Some(member) = members.next() {
            let is_unproven = self
                .inbox
                .handlers
                .run_by_batch(&member.command)
                .is_some_and(|handler| handler.tempo() == Tempo::Unproven && seen.insert(handler.place));
            if !is_unproven || self.is_under_way(&member) {
                others.push(member);
                continue;
            }
            match self.probe(member, None).await {
                Probed::Ended(End::Settled | End::PutBack(_)) | Probed::GoesOn => {}
                Probed::Ended(End::DatabaseDown(_)) => {
                    others.extend(members);
                    self.put_back(others).await;
                    return Err(Down);
                }
                Probed::Waits(member) => self.offer(member).await,
            }
        }
        self.advance();
        Ok(others)
    }
}
