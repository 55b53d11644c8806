//! What is done with a batch: run, commit, reply, acknowledge.
//!
//! While the service's own database is down, the commands in hand are put back with a pause and no others are taken:
//! so an outage costs a command one or two deliveries, however long it lasts. What comes again and again nevertheless
//! runs alone (`alone.rs`).

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use redress_core::fault::FaultKind;
use redress_core::message::PAYLOAD_BYTES_MAX;
use redress_core::{CommandMessage, Name, Outcome, Phase, ReplyMessage};
use redress_wire::delivery::Handle as Ack;
use redress_wire::{DeadLetter, Delivery, Malformed, ReplyAddress, Wire};
use sqlx::PgPool;
use tokio::sync::Notify;

use crate::batch::{self, Handlers, Verdict};
use crate::erased::sayable;
use crate::retryable::{Mishap, Trouble, answered, is_unreachable, sort};
use crate::settings::{EXIT_CODE_OF_INJECTED_CRASH, FaultObedience, ParticipantSettings, Stats, count};
use crate::store;

/// How often a batch that met another one is run again before its members are run alone.
const COLLISIONS_MAX: u32 = 5;
/// The longest pause before the first of these runs; it doubles. As long as a short transaction takes.
const COLLISION_PAUSE: Duration = Duration::from_millis(10);
/// Deliveries over which an unknown command is left for a newer instance, spread over `unknown_command_age`.
const UNKNOWN_COMMAND_DELIVERIES: u32 = 10;

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

/// What an injected failure does to a delivery after the commit.
enum Aftermath {
    /// No reply and no acknowledgement.
    Silence,
    NoReply,
    ReplyLate(Duration),
    /// The reply, and the command again.
    Again,
    /// The reply, and no acknowledgement.
    NoAcknowledgement,
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
    /// Its only member lost the connection and comes again.
    PutBack,
    /// There is no use in going on.
    DatabaseDown,
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
            let age = self.settings.unknown_command_age;
            if deliveries > UNKNOWN_COMMAND_DELIVERIES.into() || age.is_zero() {
                let (service, phase, name) = (&self.service, command.key.phase, &command.command);
                let reason = format!("service `{service}` knows no {phase} `{name}`");
                return Sorted::Poison(refused(reason), ack);
            }
            return Sorted::Later(ack, age / UNKNOWN_COMMAND_DELIVERIES);
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
        let commands: Arc<[CommandMessage]> = members.iter().map(|m| m.command.clone()).collect();
        match self.attempt(commands).await {
            Ok(verdicts) => self.answer(members.into_iter().zip(verdicts).collect()).await,
            Err(error) if sort(&error) == Trouble::Down && self.is_down(&error).await => {
                return self.wait_for_database(members, &error).await;
            }
            // The database is there and this one lost its connection: it comes again, until it is given up.
            Err(error) if members.len() == 1 && sort(&error) == Trouble::Down => {
                let key = &members[0].command.key;
                tracing::warn!(service = %self.service, %error, %key, "a command lost its connection; again later");
                self.put_back(members).await;
                return End::PutBack;
            }
            Err(error) if members.len() == 1 => {
                let outcome = Outcome::Failed { message: sayable(&error.to_string()) };
                count(&self.stats.failed);
                let verdict = Verdict::Answered(outcome);
                self.answer(members.into_iter().map(|member| (member, verdict.clone())).collect()).await;
            }
            Err(error) => {
                tracing::warn!(service = %self.service, %error, "batch failed; its members run one by one");
                count(&self.stats.batch_retries);
                return self.run_alone(members).await;
            }
        }
        End::Settled
    }

    /// Puts commands back until the database is there again, and has the intake stop until then.
    pub(crate) async fn wait_for_database(&self, members: Vec<Member>, error: &sqlx::Error) -> End {
        tracing::warn!(service = %self.service, %error, "database down; the commands wait");
        self.database_down.notify_one();
        self.put_back(members).await;
        End::DatabaseDown
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
    async fn attempt(self: &Arc<Self>, commands: Arc<[CommandMessage]>) -> Result<Vec<Verdict>, sqlx::Error> {
        let mut collisions = 0;
        loop {
            let (worker, commands) = (self.clone(), commands.clone());
            let unit = tokio::spawn(async move {
                let (handlers, author, stats) = (&worker.handlers, &worker.author, &worker.stats);
                batch::run(&worker.pool, handlers, author, &commands, &worker.settings, stats).await
            });
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

    /// After the commit: publish the replies, then acknowledge.
    async fn answer(&self, ruled: Vec<(Member, Verdict)>) {
        let mut replies = Vec::with_capacity(ruled.len());
        let mut done = Vec::with_capacity(ruled.len());
        let mut poison = Vec::new();
        let mut dies_after_reply = false;
        for (member, verdict) in ruled {
            let outcome = match verdict {
                Verdict::Answered(outcome) => outcome,
                Verdict::Poison { reason } => {
                    poison.push((self.poison(&member.command, reason), member.ack));
                    continue;
                }
            };
            match self.injected(&member) {
                Some(Aftermath::Silence) => continue,
                Some(Aftermath::NoReply) => done.push(member.ack),
                Some(Aftermath::ReplyLate(pause)) => member.ack.nak(pause).await,
                Some(Aftermath::NoAcknowledgement) => {
                    dies_after_reply |= self.settings.faults == FaultObedience::Exit;
                    replies.push(self.reply(&member.command, outcome));
                }
                Some(Aftermath::Again) => {
                    replies.push(self.reply(&member.command, outcome));
                    member.ack.nak(Duration::ZERO).await;
                }
                None => {
                    replies.push(self.reply(&member.command, outcome));
                    done.push(member.ack);
                }
            }
        }
        for failure in self.wire.publish_replies(&replies).await.into_iter().filter_map(Result::err) {
            tracing::debug!(service = %self.service, error = %failure, "reply not stored; the command is asked again");
        }
        if dies_after_reply {
            crash(&self.service);
        }
        for ack in done {
            ack.ack().await;
        }
        self.bury(poison).await;
    }

    /// The failure to play after a commit, if one was ordered and is obeyed. What comes again is answered from memory.
    fn injected(&self, member: &Member) -> Option<Aftermath> {
        let command = &member.command;
        let aftermath = match command.fault.as_ref()? {
            _ if self.settings.faults == FaultObedience::Refused => return None,
            FaultKind::DropReply => Aftermath::NoReply,
            FaultKind::CrashAfterCommit if self.settings.faults == FaultObedience::Exit => {
                crash(&self.service)
            }
            FaultKind::CrashAfterReply => Aftermath::NoAcknowledgement,
            FaultKind::CrashAfterCommit => Aftermath::Silence,
            FaultKind::DelayReply { ms } => Aftermath::ReplyLate(Duration::from_millis(*ms)),
            FaultKind::Duplicate => Aftermath::Again,
            FaultKind::Reject { .. }
            | FaultKind::Fail
            | FaultKind::Delay { .. }
            | FaultKind::DropCommand
            | FaultKind::CrashBeforeCommit => return None,
        };
        count(&self.stats.injected);
        Some(aftermath)
    }

    fn reply(&self, command: &CommandMessage, outcome: Outcome) -> ReplyMessage {
        ReplyMessage {
            key: command.key.clone(),
            attempt: command.attempt,
            saga: command.saga.clone(),
            version: command.version,
            service: self.service.clone(),
            outcome,
        }
    }

    /// A command that nobody can use, as it came.
    pub(crate) fn poison(&self, command: &CommandMessage, reason: String) -> Malformed {
        Malformed {
            address: Some(ReplyAddress {
                key: command.key.clone(),
                attempt: command.attempt,
                saga: command.saga.clone(),
                version: command.version,
            }),
            subject: self.wire.topology().command_subject(&command.service, &command.command),
            headers: redress_wire::headers::to_text(&redress_wire::headers::of_command(command, "")),
            payload: command.payload.as_bytes().to_vec(),
            reason,
        }
    }

    /// Keeps what nobody can use, tells its sagas, and never sees it again.
    pub(crate) async fn bury(&self, poison: Vec<(Malformed, Ack)>) {
        join_all(poison.into_iter().map(|(malformed, ack)| self.bury_one(malformed, ack))).await;
    }

    async fn bury_one(&self, mut poison: Malformed, ack: Ack) {
        tracing::warn!(service = %self.service, subject = %poison.subject, reason = %poison.reason, "dead letter");
        let reason = sayable(&poison.reason);
        // A message may be poison because it is too large to be kept whole.
        poison.payload.truncate(PAYLOAD_BYTES_MAX);
        let letter = DeadLetter {
            service: self.service.clone(),
            subject: poison.subject,
            reason: reason.clone(),
            headers: poison.headers,
            payload: poison.payload,
        };
        if let Err(error) = self.wire.publish_dead_letter(&letter).await {
            // Kept in the stream of commands instead: it comes again and is buried then.
            tracing::warn!(service = %self.service, %error, "dead letter not stored");
            ack.nak(self.settings.database_down_pause).await;
            return;
        }
        count(&self.stats.dead_letters);
        if let Some(address) = poison.address {
            let reply = ReplyMessage {
                key: address.key,
                attempt: address.attempt,
                saga: address.saga,
                version: address.version,
                service: self.service.clone(),
                outcome: Outcome::Refused { reason },
            };
            self.wire.publish_replies(&[reply]).await;
        }
        ack.term().await;
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
        let probe = tokio::spawn(async move { answered(limit, store::probe(pool)).await });
        probe.await.unwrap_or_else(|panic| Err(Mishap::Panic(panic.to_string()).into()))
    }
}

/// Ends the process, as an injected failure orders it.
pub(crate) fn crash(service: &Name) -> ! {
    tracing::warn!(%service, "injected crash");
    std::process::exit(EXIT_CODE_OF_INJECTED_CRASH)
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
