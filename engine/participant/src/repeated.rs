//! Carries out commands that are delivered at least once: no inbox, no database, no transaction.
//!
//! Each command runs by itself: it waits for a place of its kind, its handler runs, its reply is published, and then it is
//! acknowledged. Nothing is kept here, so whatever breaks this line makes it begin again:
//!
//! | what happens | what follows |
//! |---|---|
//! | the process ends before the acknowledgement | the broker delivers it again, and the handler runs again |
//! | the reply is lost, or comes too late | the coordinator sends it again, and the handler runs again |
//! | the handler says `Err`, panics, or does not end in its time | it is answered `failed`; the coordinator tries again |
//! | more of a kind come than may wait | it is put back for a while |
//! | it comes again and again, as if its handler ended the process | it runs with no other such one beside it; in the end it is given up |
//! | a settlement asks what became of it | `in-doubt`: nobody remembers |
//! | a compensation comes | it is a command that the service does not know |

use std::collections::HashMap;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redress_core::fault::FaultKind;
use redress_core::{CommandMessage, LetterCode, Name, Outcome, Phase, Rejection};
use redress_wire::delivery::AckHandle;
use redress_wire::{Malformed, PublishError};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::at_least_once::{Received, Repeats};
use crate::config::{FaultMode, count};
use crate::crash::crash;
use crate::dispatch::{HandlerResult, truncate_message, truncate_rejection};
use crate::member::{Member, UnknownCommand, Verdict};
use crate::post::{InjectedDelivery, Post, keep_alive, without_delivery_fault};

/// Commands of a kind that wait for a place, for each place: a few, since the broker keeps the others.
const WAITING_PER_PLACE: usize = 4;
/// The pause of a command for which there is no room, at first; it doubles with each delivery.
const NO_ROOM_PAUSE: Duration = Duration::from_secs(1);
/// The longest of these pauses.
const NO_ROOM_PAUSE_MAX: Duration = Duration::from_secs(300);
/// Deliveries after which a command is given up. Without a memory nothing tells a command that ends its process from one
/// that waited for room; with the pauses above, one that waited has done so for hours.
const DELIVERIES_MAX: u64 = 50;

/// The handlers of a service that keep nothing, by the name of their command.
pub(crate) struct Repeated<S> {
    pub(crate) post: Arc<Post>,
    author: Arc<S>,
    kinds: HashMap<Name, Kind<S>>,
    /// Of those that have come again and again one runs at a time.
    single_file: Semaphore,
    stopping: CancellationToken,
    tasks: TaskTracker,
}

/// The handler of a command, and its places.
struct Kind<S> {
    handler: Box<dyn Repeats<S>>,
    /// The longest that it may take.
    time_max: Duration,
    places: Semaphore,
    /// For those that have a place or wait for one.
    room: Arc<Semaphore>,
}

impl<S: Send + Sync + 'static> Repeated<S> {
    pub(crate) fn new(post: Arc<Post>, author: Arc<S>) -> Self {
        Self {
            post,
            author,
            kinds: HashMap::new(),
            single_file: Semaphore::new(1),
            stopping: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }
    }

    /// One more handler; `concurrency` of its commands run at the same time.
    pub(crate) fn add(
        &mut self,
        command: Name,
        handler: Box<dyn Repeats<S>>,
        time_max: Duration,
        concurrency: usize,
    ) {
        let places = Semaphore::new(concurrency);
        let room = Arc::new(Semaphore::new(concurrency * (1 + WAITING_PER_PLACE)));
        self.kinds.insert(command, Kind { handler, time_max, places, room });
    }

    /// The commands that are handled here.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Name> {
        self.kinds.keys()
    }

    /// Returns true if the command, or the action that a settlement is about, is handled here.
    pub(crate) fn knows(&self, command: &CommandMessage) -> bool {
        match command.key.phase {
            Phase::Action | Phase::Settlement => self.kinds.contains_key(&command.command),
            Phase::Compensation => false,
        }
    }

    /// Takes a command that is known here, and carries it out beside the others.
    pub(crate) fn take(self: &Arc<Self>, member: Member) {
        let this = self.clone();
        self.tasks.spawn(async move { this.carry_out(member).await });
    }

    /// Does this beside the others, and before the end.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(work);
    }

    /// Ends: what runs is finished, what waits is put back.
    pub(crate) async fn stop(&self) {
        self.stopping.cancel();
        self.tasks.close();
        self.tasks.wait().await;
    }

    async fn carry_out(&self, member: Member) {
        let Some(kind) = self.kinds.get(&member.command.command) else { return };
        if member.command.key.phase == Phase::Settlement {
            let reason = format!(
                "service `{}` handles `{}` at least once and remembers nothing of it",
                self.post.service, member.command.command
            );
            count(&self.post.stats.in_doubt);
            return self.answer(member, Verdict::Answered(Outcome::InDoubt { reason })).await;
        }
        let Some(member) = self.delivered(member).await else { return };
        if member.deliveries > DELIVERIES_MAX {
            let reason = format!("it was delivered {} times and never acknowledged", member.deliveries - 1);
            return self.answer(member, Verdict::Poison { code: LetterCode::DeliveryLimit, reason }).await;
        }
        let Ok(_room) = kind.room.clone().try_acquire_owned() else {
            return member.ack.nak(no_room_pause(member.deliveries)).await;
        };
        let every = self.post.wire.config().ack_wait / 3;
        let heartbeat = tokio::spawn(keep_alive(vec![member.ack.clone()], every));
        let permits = tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            permits = self.permits(kind, &member) => Some(permits),
        };
        let Some(_permits) = permits else {
            heartbeat.abort();
            return member.ack.nak(Duration::ZERO).await;
        };
        let verdict = self.run(kind, &member).await;
        heartbeat.abort();
        self.answer(member, verdict).await;
    }

    /// A command as injected failures let it come, if they do.
    async fn delivered(&self, member: Member) -> Option<Member> {
        let Member { command, ack, deliveries } = member;
        let command = if deliveries > 1 { without_delivery_fault(command) } else { command };
        match self.post.delivery_fault(&command) {
            Some(InjectedDelivery::Late(pause)) => ack.nak(pause).await,
            Some(InjectedDelivery::Lost) => ack.ack().await,
            Some(InjectedDelivery::Abandoned) => {}
            None => return Some(Member { command, ack, deliveries }),
        }
        None
    }

    /// The right to run: a place of the kind, and of those that have come again and again one at a time.
    async fn permits<'k>(
        &'k self,
        kind: &'k Kind<S>,
        member: &Member,
    ) -> (Option<SemaphorePermit<'k>>, SemaphorePermit<'k>) {
        let open = "the places are never closed";
        let alone = match member.is_suspect() {
            true => Some(self.single_file.acquire().await.expect(open)),
            false => None,
        };
        (alone, kind.places.acquire().await.expect(open))
    }

    async fn run(&self, kind: &Kind<S>, member: &Member) -> Verdict {
        let (command, stats) = (&member.command, &self.post.stats);
        let obeys = self.post.config.faults != FaultMode::Refused;
        let result = match &command.fault {
            Some(FaultKind::Fail) if obeys => {
                count(&stats.injected);
                HandlerResult::Failed("injected failure".to_owned())
            }
            Some(FaultKind::Reject { code }) if obeys => {
                count(&stats.injected);
                HandlerResult::Rejected(Rejection::new(code.clone(), "injected rejection"))
            }
            _ => self.call(kind, member).await,
        };
        if command.fault == Some(FaultKind::CrashBeforeCommit) && self.post.config.faults == FaultMode::Exit {
            crash(&self.post.service);
        }
        let outcome = match result {
            HandlerResult::Done(reply) => {
                count(&stats.done);
                Outcome::Done { reply }
            }
            HandlerResult::Rejected(rejection) => {
                count(&stats.rejected);
                Outcome::Rejected(truncate_rejection(&rejection))
            }
            HandlerResult::Failed(message) => {
                count(&stats.failed);
                Outcome::Failed { message: truncate_message(&message) }
            }
            HandlerResult::Unreadable(reason) => {
                return Verdict::Poison { code: LetterCode::Unreadable, reason };
            }
            // No handler of this kind can say so.
            HandlerResult::Later | HandlerResult::Fenced => {
                Outcome::Failed { message: "no answer".to_owned() }
            }
        };
        Verdict::Answered(outcome)
    }

    async fn call(&self, kind: &Kind<S>, member: &Member) -> HandlerResult {
        if member.is_repeated() {
            count(&self.post.stats.run_again);
        }
        let received = Received::of_command(&member.command, member.deliveries);
        let call = kind.handler.run(&self.author, &received, &member.command.payload);
        match timeout(kind.time_max, AssertUnwindSafe(call).catch_unwind()).await {
            Ok(Ok(Ok(result))) => result,
            Ok(Ok(Err(error))) => HandlerResult::Failed(error.chain()),
            Ok(Err(_)) => {
                HandlerResult::Failed("the handler panicked; see the service's log for where".to_owned())
            }
            Err(_) => HandlerResult::Failed(format!("the handler did not end within {:?}", kind.time_max)),
        }
    }

    /// Publishes the reply, then acknowledges; or sets poison aside.
    async fn answer(&self, member: Member, verdict: Verdict) {
        let answered = self.post.answer(vec![(member, verdict)]).await;
        self.set_aside(answered.poison).await;
    }

    /// Sets poison aside. What the broker refuses to keep is kept in the log, since there is no database; what it has not
    /// answered comes again.
    pub(crate) async fn set_aside(&self, poison: Vec<(Malformed, AckHandle)>) {
        for (poison, error) in self.post.dead_letter(poison).await {
            match error {
                PublishError::TimedOut | PublishError::NoStream => {
                    poison.ack.nak(self.post.config.database_down_pause).await;
                }
                PublishError::StreamFull | PublishError::Refused(_) | PublishError::TooLarge { .. } => {
                    self.post.keep_in_log(poison, &error).await;
                }
            }
        }
    }

    /// Passes on what no handler here is for, or sets it aside.
    pub(crate) async fn pass_on(&self, unknown: Vec<UnknownCommand>) {
        if !unknown.is_empty() {
            let refused = self.post.pass_on(unknown).await;
            self.set_aside(refused).await;
        }
    }
}

/// The pause of a command for which there is no room, after so many deliveries.
fn no_room_pause(deliveries: u64) -> Duration {
    let doublings = u32::try_from(deliveries.saturating_sub(1).min(16)).unwrap_or(16);
    NO_ROOM_PAUSE.saturating_mul(1 << doublings).min(NO_ROOM_PAUSE_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn command_that_finds_no_room_waits_for_hours_before_it_is_given_up() {
        let waited: Duration = (1..=DELIVERIES_MAX).map(no_room_pause).sum();
        assert_eq!(no_room_pause(1), NO_ROOM_PAUSE);
        assert_eq!(no_room_pause(u64::MAX), NO_ROOM_PAUSE_MAX);
        assert!(waited > Duration::from_secs(3 * 3_600), "{waited:?}");
    }
}
