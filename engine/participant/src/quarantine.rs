//! Commands that run alone, because they have come again and again.
//!
//! One of them may be the cause that ends the process, or its connection, each time it runs; the others in its batch
//! are lost with it and come again as well. So from the third delivery on each runs in a transaction of its own, behind
//! the rest, and leaves an attempt marker before it does ([`store::leave_attempt_marker`]). A command is given up when
//! its own attempt marker has stood too often; how often it was delivered says nothing about it.
//!
//! Only those whose handler must run are run alone: a command that the inbox can answer does no harm, however often it
//! came.
//!
//! Long commands run beside each other, also these: most of them came again because there was no room for them. If the
//! process ends, the attempt markers of all that were under way stand. Those that have one are run in single file from
//! then on, so that each further attempt marker is the command's own.
//!
//! A call to a third party is a part of the attempt: a process that ends during one leaves the attempt marker as any
//! other; a call that fails or takes too long leaves none.

use std::collections::HashSet;
use std::sync::Arc;

use redress_core::LetterCode;

use crate::isolation::Isolation;
use crate::jobs::Probed;
use crate::member::{CountsAsAttempt, End, Member};
use crate::store;
use crate::unit_error::UnitError;
use crate::worker::Worker;

/// A batch by what may be run together.
pub(crate) struct Sorted {
    pub(crate) trusted: Vec<Member>,
    /// Each alone.
    pub(crate) suspects: Vec<Member>,
    pub(crate) marks: Marks,
}

/// What the inbox says about keys that came again.
#[derive(Default)]
pub(crate) struct Marks {
    /// Those that have their answer.
    pub(crate) answered: HashSet<String>,
    /// Those whose attempt marker stands.
    pub(crate) attempted: HashSet<String>,
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// Tells the trusted ones from the others; nothing if the database is down, and all were put back.
    pub(crate) async fn sorted(self: &Arc<Self>, members: Vec<Member>) -> Option<Sorted> {
        let may_be_answered =
            |member: &&Member| member.is_suspect() || (member.is_repeated() && self.is_long(member));
        let keys = members.iter().filter(may_be_answered).map(|member| member.command.key.to_string());
        let keys: Vec<String> = keys.collect();
        let marks = match keys.is_empty() {
            true => Marks::default(),
            false => match self.marks(keys).await {
                Ok(marks) => marks,
                Err(error) => {
                    self.wait_for_database(members, &error).await;
                    return None;
                }
            },
        };
        let is_harmless = |member: &Member| {
            // The inbox answers a settlement, unless a handler is to give a question up.
            let runs_no_handler = self.inbox.handlers.run_by_batch(&member.command).is_none();
            runs_no_handler || marks.answered.contains(&member.command.key.to_string())
        };
        let (suspects, trusted) =
            members.into_iter().partition(|member| member.is_suspect() && !is_harmless(member));
        Some(Sorted { trusted, suspects, marks })
    }

    /// Each suspect alone: on the lane as long as it is short, beside the batches if it takes long. Those with an attempt
    /// marker go in single file, whatever else is under way.
    pub(crate) async fn run_suspects(self: &Arc<Self>, suspects: Vec<Member>, attempted: &HashSet<String>) {
        let mut suspects = suspects.into_iter();
        while let Some(member) = suspects.next() {
            let is_marked = attempted.contains(&member.command.key.to_string());
            if self.is_under_way(&member) {
                self.put_twin_back(member).await;
                continue;
            }
            if !is_marked && self.is_long(&member) {
                self.offer(member).await;
                self.advance();
                continue;
            }
            let single_file = match is_marked {
                false => None,
                true => match self.single_file.clone().try_acquire_owned() {
                    Ok(permit) => Some(permit),
                    Err(_) => {
                        self.put_twin_back(member).await;
                        continue;
                    }
                },
            };
            match self.probe(member, single_file).await {
                Probed::Ended(End::Settled | End::PutBack(_)) | Probed::GoesOn => {}
                Probed::Ended(End::DatabaseDown(_)) => return self.put_back(suspects.collect()).await,
                Probed::Waits(member) => self.put_twin_back(member).await,
            }
        }
    }

    /// What the inbox says about these keys: after a stall many are answered, and a transaction for each would take so
    /// long that they come again meanwhile.
    async fn marks(&self, keys: Vec<String>) -> Result<Marks, UnitError> {
        self.inbox
            .on_connection(|connection| {
                Box::pin(async move {
                    let answered = store::answered_keys(connection, &keys).await?;
                    Ok(Marks { answered, attempted: store::attempted_keys(connection, &keys).await? })
                })
            })
            .await
    }

    /// Each member in a transaction of its own, settled before the next one begins.
    pub(crate) async fn run_one_by_one(self: &Arc<Self>, members: Vec<Member>, isolation: Isolation) -> End {
        let mut members = members.into_iter();
        while let Some(member) = members.next() {
            match Box::pin(self.run_one(member, isolation.clone())).await {
                End::Settled | End::PutBack(_) => {}
                end @ End::DatabaseDown(_) => {
                    self.put_back(members.collect()).await;
                    return end;
                }
            }
        }
        End::Settled
    }

    async fn run_one(self: &Arc<Self>, member: Member, isolation: Isolation) -> End {
        if !member.is_suspect() {
            return self.run_alone(member, isolation).await;
        }
        let key = member.command.key.to_string();
        let attempt_marker = key.clone();
        let begun = self.inbox.on_connection(|connection| {
            Box::pin(async move { store::leave_attempt_marker(connection, &attempt_marker).await })
        });
        let tries = match begun.await {
            Ok(tries) => tries,
            Err(error) => return self.wait_for_database(vec![member], &error).await,
        };
        let earlier = tries.saturating_sub(1);
        if earlier >= self.inbox.config.tries_max {
            let reason = format!("it was run {earlier} times and never settled");
            let poison = self.post.poison(&member.command, LetterCode::DeliveryLimit, reason);
            self.dead_letter(vec![(poison, member.ack)]).await;
            return End::Settled;
        }
        let end = self.run_alone(member, isolation).await;
        match end {
            End::Settled | End::PutBack(CountsAsAttempt::No) | End::DatabaseDown(CountsAsAttempt::No) => {
                self.remove_attempt_marker(key).await;
            }
            End::PutBack(CountsAsAttempt::Yes) | End::DatabaseDown(CountsAsAttempt::Yes) => {}
        }
        end
    }

    async fn remove_attempt_marker(&self, key: String) {
        let of = key.clone();
        let ended = self.inbox.on_connection(|connection| {
            Box::pin(async move { store::remove_attempt_marker(connection, &of).await })
        });
        if let Err(error) = ended.await {
            let error = error.chain();
            tracing::debug!(service = %self.service, error, key, "attempt marker not removed");
        }
    }
}
