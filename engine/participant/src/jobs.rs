//! Commands beside the batches at work: begun, kept alive, ended.

use std::panic::AssertUnwindSafe;
use std::sync::atomic::Ordering;
use std::sync::{Arc, MutexGuard};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::OwnedSemaphorePermit;

use crate::beside::{Beside, Job, Refused, Step, Waiting};
use crate::config::count;
use crate::handlers::Registered;
use crate::isolation::{Isolation, Lane};
use crate::member::{CountsAsAttempt, End, Member};
use crate::tempo::Tempo;
use crate::worker::Worker;

/// How long a command rests whose action has another command under way: about as long as its answer may be late.
const TWIN_PAUSE: Duration = Duration::from_millis(250);
/// How long a command rests for which there was no room to wait: shorter than those that had room wait in all; the more
/// often it came the longer, up to [`FULL_PAUSES_MAX`] times, since by then there are many.
const FULL_PAUSE: Duration = Duration::from_secs(1);
const FULL_PAUSES_MAX: u64 = 5;

/// The end of a job that panicked: its commands are not settled, and come again.
const PANICKED: End = End::PutBack(CountsAsAttempt::Yes);

/// What became of a probe.
pub(crate) enum Probed {
    /// It has ended.
    Ended(End),
    /// It takes long, and goes on beside the batches.
    GoesOn,
    /// Others of its kind are under way.
    Waits(Member),
}

impl<S: Send + Sync + 'static> Worker<S> {
    pub(crate) fn beside(&self) -> MutexGuard<'_, Beside<Member>> {
        self.beside.lock().expect("no thread panics while it holds the commands beside the batches")
    }

    /// Returns true if the handler must run, and takes long.
    pub(crate) fn is_long(&self, member: &Member) -> bool {
        self.inbox
            .handlers
            .run_by_batch(&member.command)
            .is_some_and(|handler| handler.tempo() == Tempo::Long)
    }

    /// The handler of a command that must run.
    pub(crate) fn handler_of(&self, member: &Member) -> &Registered<S> {
        let handler = self.inbox.handlers.of(&member.command);
        handler.expect("commands without a handler were set aside before the batch")
    }

    /// Returns true if a command about the same action waits or runs.
    pub(crate) fn is_under_way(&self, member: &Member) -> bool {
        let beside = self.beside();
        !beside.nothing_under_way() && beside.is_under_way(&member.command.key.of_action().to_string())
    }

    /// It would only wait for a row of the inbox, and it is answered by the inbox when it comes again.
    pub(crate) async fn put_twin_back(&self, member: Member) {
        count(&self.inbox.stats.put_back_twin);
        member.ack.nak(TWIN_PAUSE).await;
    }

    /// A command comes to wait for a place beside the batches, or is put back.
    pub(crate) async fn offer(&self, member: Member) {
        let handler = self.handler_of(&member);
        let (place, waiting_max) = (handler.place, handler.waiting_max());
        let refused = self.beside().offer(place, waiting_max, waiting(member));
        match refused {
            Ok(()) => {}
            Err((Refused::UnderWay, member)) => self.put_twin_back(member).await,
            Err((Refused::Full, member)) => {
                count(&self.inbox.stats.put_back_full);
                let pauses = member.deliveries.min(FULL_PAUSES_MAX) as u32;
                member.ack.nak(FULL_PAUSE * pauses).await;
            }
            Err((Refused::Closed, member)) => member.ack.nak(Duration::ZERO).await,
        }
    }

    /// Begins what may begin.
    pub(crate) fn advance(self: &Arc<Self>) {
        loop {
            let step = self.beside().next(|handler| self.inbox.handlers.all[handler].tempo());
            match step {
                Step::Run(job) => self.begin(job),
                Step::Return(members) => {
                    let mut returned = self.returned.lock().expect("no thread panics while it holds a list");
                    returned.extend(members);
                    self.has_returned.notify_one();
                }
                Step::Nothing => break,
            }
        }
        let (running, waiting) = self.beside().counts();
        self.inbox.stats.running_beside.store(running as u64, Ordering::Relaxed);
        self.inbox.stats.waiting_beside.store(waiting as u64, Ordering::Relaxed);
    }

    fn begin(self: &Arc<Self>, job: Job<Member>) {
        let Job { handler, keys, items } = job;
        let worker = self.clone();
        self.inbox.stats.ran_beside.fetch_add(items.len() as u64, Ordering::Relaxed);
        self.tasks.spawn(async move {
            let end = AssertUnwindSafe(worker.run_job(items)).catch_unwind().await;
            worker.has_ended(handler, &keys, end.unwrap_or(PANICKED)).await;
        });
    }

    async fn run_job(self: &Arc<Self>, members: Vec<Member>) -> End {
        let (suspects, trusted): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|member| member.is_suspect());
        let end = match trusted.is_empty() {
            true => End::Settled,
            false => self.run(trusted, Isolation::Beside).await,
        };
        match end {
            End::Settled | End::PutBack(_) => self.run_one_by_one(suspects, Isolation::Beside).await,
            End::DatabaseDown(_) => {
                self.put_back(suspects).await;
                end
            }
        }
    }

    /// Makes room for others. While the database is down the commands in hand are put back, also those that wait.
    async fn has_ended(self: &Arc<Self>, handler: usize, keys: &[String], end: End) {
        self.beside().ended(handler, keys);
        match end {
            End::Settled | End::PutBack(_) => {}
            End::DatabaseDown(_) => {
                let waiting = self.beside().take_all_waiting();
                self.put_back(waiting).await;
            }
        }
        self.advance();
    }

    /// Runs one command and returns as soon as it has ended, or takes too long for a lane; `single_file` is kept until it
    /// has ended.
    pub(crate) async fn probe(
        self: &Arc<Self>,
        member: Member,
        single_file: Option<OwnedSemaphorePermit>,
    ) -> Probed {
        let handler = self.handler_of(&member).place;
        let begun = self.beside().begin_probe(handler, waiting(member));
        let Job { keys, items, .. } = match begun {
            Ok(job) => job,
            Err(member) => return Probed::Waits(member),
        };
        let (worker, lane) = (self.clone(), Arc::new(Lane::default()));
        let isolation = Isolation::Probe(lane.clone());
        let probe = self.tasks.spawn(async move {
            let end = AssertUnwindSafe(worker.run_one_by_one(items, isolation)).catch_unwind().await;
            let end = end.unwrap_or(PANICKED);
            worker.has_ended(handler, &keys, end).await;
            drop(single_file);
            end
        });
        tokio::select! {
            biased;
            ended = probe => Probed::Ended(ended.unwrap_or(PANICKED)),
            () = lane.stalled.notified() => {
                self.inbox.stats.ran_beside.fetch_add(1, Ordering::Relaxed);
                self.advance();
                Probed::GoesOn
            }
        }
    }

    /// Tells the broker, now and again, that these commands are waited for or worked on.
    pub(crate) async fn keep_alive_beside(&self) {
        let mut ticks = tokio::time::interval(self.wire.config().ack_wait / 3);
        loop {
            ticks.tick().await;
            let acks = self.beside().acks();
            for ack in acks {
                ack.in_progress().await;
            }
        }
    }
}

fn waiting(member: Member) -> Waiting<Member> {
    let command = &member.command;
    let (key, bytes) = (command.key.of_action().to_string(), command.payload.as_bytes().len());
    Waiting { key, bytes, ack: Some(member.ack.clone()), item: member }
}
