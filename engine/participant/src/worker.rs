//! What is done with a batch: run, commit, reply, acknowledge.
//!
//! While the service's own database is down, the commands in hand are put back with a pause and no others are taken:
//! so an outage costs a command one or two deliveries, however long it lasts. What comes again and again nevertheless
//! runs alone (`alone.rs`).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use redress_core::fault::FaultKind;
use redress_core::{CommandMessage, IdempotencyKey, Name, Outcome, Phase};
use redress_wire::delivery::Handle as Ack;
use redress_wire::{Delivery, Malformed, Wire};
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::batch::{self, Handlers, Verdict};
use crate::connection::on_connection;
use crate::erased::sayable;
use crate::retryable::{Mishap, Trouble, is_unreachable, overdue, said, sort};
use crate::settings::{FaultObedience, ParticipantSettings, Stats, count};
use crate::{store, unknown};

/// How often a batch that met another one is run again before its members are run alone.
const COLLISIONS_MAX: u32 = 5;
/// The longest pause before the first of these runs; it doubles. As long as a short transaction takes.
const COLLISION_PAUSE: Duration = Duration::from_millis(10);
/// How long a command that runs alone waits for a row: as long as a short transaction takes, because hundreds may wait
/// behind it. Who meets a row that is held for longer fails, and the coordinator asks again.
const LOCK_WAIT_ALONE: Duration = Duration::from_millis(200);

pub(crate) struct Worker<S> {
    pub(crate) handlers: Handlers<S>,
    pub(crate) service: Name,
    pub(crate) author: Arc<S>,
    pub(crate) pool: PgPool,
    pub(crate) wire: Wire,
    pub(crate) settings: ParticipantSettings,
    pub(crate) stats: Arc<Stats>,
    /// Tells the intake to stop until the database is back.
    pub(crate) database_down: Notify,
}

/// What becomes of a delivery before anything is ruled.
enum Sorted {
    /// To be ruled on.
    Member(Member),
    /// Of no use to anybody.
    Poison(Malformed, Ack),
    /// Not now.
    Later(Ack, Duration),
    /// Lost on the way, by order.
    Lost(Ack),
    /// In the hands of a participant that dies before its commit, by order.
    Abandoned,
}

/// What an injected failure does to a delivery before anything is ruled.
enum Ordered {
    Late(Duration),
    Lost,
    Abandoned,
}

/// A command that will be ruled on, and the right to settle it.
pub(crate) struct Member {
    pub(crate) command: CommandMessage,
    pub(crate) ack: Ack,
    /// This one included.
    pub(crate) deliveries: u64,
}

/// How the run of a batch ended.
pub(crate) enum End {
    /// With an answer for each member.
    Settled,
    /// Its only member could not be run and comes again.
    PutBack(Blame),
    /// There is no use in going on.
    DatabaseDown(Blame),
}

/// Whether a command may itself have caused what stopped it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Blame {
    /// Its connection was lost, perhaps by its own doing: this was a try.
    Perhaps,
    /// The database has run out of something, or others are at work on the same question: this was none.
    Nobody,
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// Handles a batch to its end: every delivery of it is settled, or comes again.
    pub(crate) async fn process(self: &Arc<Self>, batch: Vec<Delivery<CommandMessage>>) {
        let mut members = Vec::with_capacity(batch.len());
        let mut poison = Vec::new();
        for delivery in batch {
            match self.sort_out(delivery) {
                Sorted::Member(member) => members.push(member),
                Sorted::Poison(malformed, ack) => poison.push((malformed, ack)),
                Sorted::Later(ack, pause) => ack.nak(pause).await,
                Sorted::Lost(ack) => ack.ack().await,
                Sorted::Abandoned => {}
            }
        }
        if !members.is_empty() {
            let acks: Vec<Ack> = members.iter().map(|member| member.ack.clone()).collect();
            let keeper = tokio::spawn(keep_alive(acks, self.wire.settings().ack_wait / 3));
            self.run_all(members).await;
            keeper.abort();
        }
        self.bury(poison).await;
    }

    /// Sets aside what must not be ruled on now or ever.
    fn sort_out(&self, delivery: Delivery<CommandMessage>) -> Sorted {
        let (message, deliveries, ack) = delivery.split();
        let command = match message {
            Ok(command) => command,
            Err(malformed) => return Sorted::Poison(malformed, ack),
        };
        let refused = |reason| self.poison(&command, reason);
        if command.service != self.service {
            let reason = format!("it is meant for service `{}`, not for `{}`", command.service, self.service);
            return Sorted::Poison(refused(reason), ack);
        }
        // The inbox alone answers a settlement.
        if command.key.phase != Phase::Settlement && self.handlers.of(&command).is_none() {
            let Some(pause) = unknown::pause(deliveries, self.settings.unknown_command_age) else {
                let (service, phase, name) = (&self.service, command.key.phase, &command.command);
                let reason = format!("service `{service}` knows no {phase} `{name}`");
                return Sorted::Poison(refused(reason), ack);
            };
            return Sorted::Later(ack, pause);
        }
        let command = if deliveries > 1 { without_mishap(command) } else { command };
        match self.mishap(&command) {
            Some(Ordered::Late(pause)) => Sorted::Later(ack, pause),
            Some(Ordered::Lost) => Sorted::Lost(ack),
            Some(Ordered::Abandoned) => Sorted::Abandoned,
            None => Sorted::Member(Member { command, ack, deliveries }),
        }
    }

    /// The failure to play before anything is ruled, if one was ordered and is obeyed.
    fn mishap(&self, command: &CommandMessage) -> Option<Ordered> {
        let mishap = match command.fault.as_ref()? {
            _ if self.settings.faults == FaultObedience::Refused => return None,
            FaultKind::Delay { ms } => Ordered::Late(Duration::from_millis(*ms)),
            FaultKind::DropCommand => Ordered::Lost,
            // A process of its own dies inside the transaction, after the handler.
            FaultKind::CrashBeforeCommit if self.settings.faults == FaultObedience::Exit => return None,
            FaultKind::CrashBeforeCommit => Ordered::Abandoned,
            FaultKind::Reject { .. }
            | FaultKind::Fail
            | FaultKind::DropReply
            | FaultKind::DelayReply { .. }
            | FaultKind::Duplicate
            | FaultKind::CrashAfterCommit
            | FaultKind::CrashAfterReply => return None,
        };
        count(&self.stats.injected);
        Some(mishap)
    }

    /// The batch as a whole, and if that cannot be, each member alone.
    pub(crate) async fn run(self: &Arc<Self>, members: Vec<Member>) -> End {
        self.run_patiently(members, self.settings.lock_wait_max).await
    }

    /// One member, with many waiting behind it.
    pub(crate) async fn run_alone(self: &Arc<Self>, member: Member) -> End {
        let lock_wait = LOCK_WAIT_ALONE.min(self.settings.lock_wait_max);
        self.run_patiently(vec![member], lock_wait).await
    }

    async fn run_patiently(self: &Arc<Self>, members: Vec<Member>, lock_wait: Duration) -> End {
        let commands: Arc<[CommandMessage]> = members.iter().map(|m| m.command.clone()).collect();
        let error = match self.attempt(commands, lock_wait).await {
            Ok(verdicts) => {
                self.answer(members.into_iter().zip(verdicts).collect()).await;
                return End::Settled;
            }
            Err(error) => error,
        };
        let trouble = sort(&error);
        let innocent = matches!(trouble, Trouble::Exhausted | Trouble::Elsewhere) || is_unreachable(&error);
        let blame = if innocent { Blame::Nobody } else { Blame::Perhaps };
        let may_be_down = matches!(trouble, Trouble::Down | Trouble::Exhausted | Trouble::Overdue);
        if may_be_down && self.is_down(&error).await {
            return self.wait_for_database(members, &error, blame).await;
        }
        if let Some(keys) = overdue(&error) {
            return self.run_without_overdue(members, keys, &error).await;
        }
        if members.len() > 1 {
            tracing::warn!(service = %self.service, %error, "batch failed; its members run one by one");
            count(&self.stats.batch_retries);
            return self.run_one_by_one(members).await;
        }
        match trouble {
            // It comes again; if its connection was lost and the database is there, until it is given up.
            Trouble::Down | Trouble::Exhausted | Trouble::Elsewhere => {
                let key = &members[0].command.key;
                tracing::warn!(service = %self.service, %error, %key, "a command could not be run; again later");
                self.put_back(members).await;
                End::PutBack(blame)
            }
            Trouble::Collision | Trouble::Held | Trouble::Overdue | Trouble::Other => {
                self.fail(members, &error).await;
                End::Settled
            }
        }
    }

    /// Runs on without those whose handler did not end. One of them alone is at fault and fails at once: it has had its
    /// time. Of a set nobody knows who it was, so its members run one by one, behind the others.
    async fn run_without_overdue(
        self: &Arc<Self>,
        members: Vec<Member>,
        keys: &[IdempotencyKey],
        error: &sqlx::Error,
    ) -> End {
        let (overdue, others): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|member| keys.contains(&member.command.key));
        let at_fault = keys.len() == 1;
        tracing::warn!(service = %self.service, %error, commands = keys.len(), "a handler did not end");
        count(&self.stats.batch_retries);
        let mut suspects = Vec::new();
        if at_fault {
            self.fail(overdue, error).await;
        } else {
            suspects = overdue;
        }
        let end = if others.is_empty() { End::Settled } else { Box::pin(self.run(others)).await };
        match end {
            End::Settled | End::PutBack(_) => self.run_one_by_one(suspects).await,
            End::DatabaseDown(_) => {
                self.put_back(suspects).await;
                end
            }
        }
    }

    /// Answers that it failed: it was rolled back, and the coordinator decides whether it is tried again.
    async fn fail(&self, members: Vec<Member>, error: &sqlx::Error) {
        let verdict = Verdict::Answered(Outcome::Failed { message: sayable(&said(error)) });
        let failed = members.into_iter().map(|member| {
            count(&self.stats.failed);
            (member, verdict.clone())
        });
        self.answer(failed.collect()).await;
    }

    /// Puts commands back until the database is there again, and has the intake stop until then.
    pub(crate) async fn wait_for_database(
        &self,
        members: Vec<Member>,
        error: &sqlx::Error,
        blame: Blame,
    ) -> End {
        tracing::warn!(service = %self.service, %error, "database down; the commands wait");
        self.database_down.notify_one();
        self.put_back(members).await;
        End::DatabaseDown(blame)
    }

    pub(crate) async fn put_back(&self, members: Vec<Member>) {
        for member in members {
            member.ack.nak(self.settings.database_down_pause).await;
        }
    }

    /// Whether it is the database that is not there, or a command that sent its own connection away.
    async fn is_down(&self, error: &sqlx::Error) -> bool {
        is_unreachable(error) || self.probe().await.is_err()
    }

    /// Runs the unit of work in a task of its own: nothing may cancel a `begin` or a `commit`.
    async fn attempt(
        self: &Arc<Self>,
        commands: Arc<[CommandMessage]>,
        lock_wait: Duration,
    ) -> Result<Vec<Verdict>, sqlx::Error> {
        let mut collisions = 0;
        loop {
            let (worker, commands) = (self.clone(), commands.clone());
            let unit = tokio::spawn(async move { batch::run(&worker, &commands, lock_wait).await });
            let result = match unit.await {
                Ok(result) => result,
                Err(panic) => Err(Mishap::Panic(panic.to_string()).into()),
            };
            match result {
                Err(error) if sort(&error) == Trouble::Collision && collisions < COLLISIONS_MAX => {
                    collisions += 1;
                    count(&self.stats.batch_retries);
                    tracing::debug!(service = %self.service, %error, "batch met another one; again");
                    tokio::time::sleep(pause_after(collisions)).await;
                }
                result => return result,
            }
        }
    }

    /// Returns once the database can be written to.
    pub(crate) async fn database_is_back(&self) {
        loop {
            tokio::time::sleep(self.settings.database_down_pause).await;
            match self.probe().await {
                Ok(()) => break,
                Err(error) => tracing::debug!(service = %self.service, %error, "database still down"),
            }
        }
        tracing::info!(service = %self.service, "database is back");
    }

    /// Whether the database can be written to.
    async fn probe(&self) -> Result<(), sqlx::Error> {
        // In a task of its own, because nothing may cancel a `begin`.
        let (pool, limit) = (self.pool.clone(), self.settings.silence_max);
        let probe =
            tokio::spawn(async move { on_connection(&pool, limit, |it| Box::pin(store::probe(it))).await });
        probe.await.unwrap_or_else(|panic| Err(Mishap::Panic(panic.to_string()).into()))
    }
}

/// A command that comes again: what was ordered for its delivery has happened.
fn without_mishap(command: CommandMessage) -> CommandMessage {
    let fault = command.fault.filter(|fault| match fault {
        FaultKind::Reject { .. } | FaultKind::Fail | FaultKind::DropReply => true,
        FaultKind::Delay { .. }
        | FaultKind::DropCommand
        | FaultKind::DelayReply { .. }
        | FaultKind::Duplicate
        | FaultKind::CrashBeforeCommit
        | FaultKind::CrashAfterCommit
        | FaultKind::CrashAfterReply => false,
    });
    CommandMessage { fault, ..command }
}

/// A pause of chance length before a batch that met another one runs again, lest both meet again.
fn pause_after(collisions: u32) -> Duration {
    let chance = f64::from(RandomState::new().hash_one(collisions) as u32) / f64::from(u32::MAX);
    COLLISION_PAUSE.mul_f64(chance) * 2_u32.pow(collisions)
}

/// Tells the broker, now and again, that a long batch is being worked on.
async fn keep_alive(acks: Vec<Ack>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        for ack in &acks {
            ack.in_progress().await;
        }
    }
}
