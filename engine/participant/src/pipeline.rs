//! Handles a batch: run, commit, reply, acknowledge.
//!
//! While the service's own database is down, the commands in hand are put back with a pause and no others are taken: so
//! an outage costs a command one or two deliveries, however long it lasts. A command that comes again and again
//! nevertheless runs alone (`quarantine.rs`).

use std::sync::Arc;
use std::time::Duration;

use redress_core::{CommandMessage, IdempotencyKey, Outcome, Phase};
use redress_wire::delivery::AckHandle;
use redress_wire::{Delivery, Malformed};

use crate::answer::Unruled;
use crate::at_work::InBatch;
use crate::config::count;
use crate::dispatch::truncate_message;
use crate::execute::execute;
use crate::isolation::Isolation;
use crate::lane::LanePermit;
use crate::member::{Arrival, End, Member, UnknownCommand, Verdict};
use crate::post::{InjectedDelivery, keep_alive, without_delivery_fault};
use crate::recovery::{Recovery, after_failure, may_be_down};
use crate::store;
use crate::unit_error::UnitError;
use crate::worker::Worker;

/// How long a command that runs alone waits for a row: as long as a short transaction takes, because hundreds may wait
/// behind it. A command that meets a row held for longer fails, and the coordinator sends it again.
const LOCK_WAIT_ALONE: Duration = Duration::from_millis(200);

/// The class of a delivery before anything is ruled.
enum ClassifiedDelivery {
    /// To be ruled on.
    Member(Member),
    /// Of no use to any instance.
    Poison(Malformed, AckHandle),
    /// Perhaps of use to another instance.
    Unknown(UnknownCommand),
    /// Not for the inbox: its handler may run again.
    Repeated(Member),
    /// Not now.
    Later(AckHandle, Duration),
    /// Lost on the way, by order.
    Lost(AckHandle),
    /// In the hands of a participant that dies before its commit, by order.
    Abandoned,
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// Handles a batch to its end: every delivery of it is settled, or comes again.
    pub(crate) async fn process(self: &Arc<Self>, batch: Vec<Delivery<CommandMessage>>, permit: LanePermit) {
        let mut members = Vec::with_capacity(batch.len());
        let (mut poison, mut unknown) = (Vec::new(), Vec::new());
        for delivery in batch {
            match self.classify_delivery(delivery) {
                ClassifiedDelivery::Member(member) => members.push(member),
                ClassifiedDelivery::Poison(malformed, ack) => poison.push((malformed, ack)),
                ClassifiedDelivery::Unknown(command) => unknown.push(command),
                ClassifiedDelivery::Repeated(member) => self.repeated.take(member),
                ClassifiedDelivery::Later(ack, pause) => ack.nak(pause).await,
                ClassifiedDelivery::Lost(ack) => ack.ack().await,
                ClassifiedDelivery::Abandoned => {}
            }
        }
        self.run_members(members, permit).await;
        if !unknown.is_empty() {
            poison.extend(self.post.pass_on(unknown).await);
        }
        self.dead_letter(poison).await;
    }

    /// Runs commands, and keeps them alive meanwhile.
    pub(crate) async fn run_members(self: &Arc<Self>, members: Vec<Member>, permit: LanePermit) {
        if members.is_empty() {
            return;
        }
        let acks: Vec<AckHandle> = members.iter().map(|member| member.ack.clone()).collect();
        let heartbeat = tokio::spawn(keep_alive(acks, self.wire.config().ack_wait / 3));
        let _in_batch = InBatch::enter(&self.inbox.stats, members.len());
        self.run_all(members, permit).await;
        heartbeat.abort();
    }

    /// Sets aside deliveries that must not be ruled on now or ever.
    fn classify_delivery(&self, delivery: Delivery<CommandMessage>) -> ClassifiedDelivery {
        let (message, deliveries, ack) = delivery.split();
        let command = match message {
            Ok(command) => command,
            Err(malformed) => return ClassifiedDelivery::Poison(malformed, ack),
        };
        if let Some(misaddressed) = self.post.misaddressed(&command) {
            return ClassifiedDelivery::Poison(misaddressed, ack);
        }
        if self.repeated.knows(&command) {
            return ClassifiedDelivery::Repeated(Member { command, ack, deliveries });
        }
        // The inbox alone answers a settlement.
        if command.key.phase != Phase::Settlement && self.inbox.handlers.of(&command).is_none() {
            return ClassifiedDelivery::Unknown(UnknownCommand { command, deliveries, ack });
        }
        if deliveries > 1 {
            count(&self.inbox.stats.redelivered);
        }
        let command = if deliveries > 1 { without_delivery_fault(command) } else { command };
        match self.post.delivery_fault(&command) {
            Some(InjectedDelivery::Late(pause)) => ClassifiedDelivery::Later(ack, pause),
            Some(InjectedDelivery::Lost) => ClassifiedDelivery::Lost(ack),
            Some(InjectedDelivery::Abandoned) => ClassifiedDelivery::Abandoned,
            None => ClassifiedDelivery::Member(Member { command, ack, deliveries }),
        }
    }

    /// The batch as a whole, and if that cannot be, each member alone.
    pub(crate) async fn run(self: &Arc<Self>, members: Vec<Member>, isolation: Isolation) -> End {
        self.run_patiently(members, self.inbox.config.lock_wait_max, isolation).await
    }

    /// One member in a transaction of its own; on a lane with many waiting behind it.
    pub(crate) async fn run_alone(self: &Arc<Self>, member: Member, isolation: Isolation) -> End {
        let lock_wait_max = self.inbox.config.lock_wait_max;
        let lock_wait = match isolation {
            Isolation::Shared(_) | Isolation::Everything => LOCK_WAIT_ALONE.min(lock_wait_max),
            Isolation::Probe(_) | Isolation::Beside => lock_wait_max,
        };
        self.run_patiently(vec![member], lock_wait, isolation).await
    }

    async fn run_patiently(
        self: &Arc<Self>,
        members: Vec<Member>,
        lock_wait: Duration,
        isolation: Isolation,
    ) -> End {
        let commands: Arc<[CommandMessage]> = members.iter().map(|m| m.command.clone()).collect();
        let arrival = Arrival::of(&members);
        let error = match execute(&self.inbox, commands, lock_wait, &isolation, arrival).await {
            Ok(verdicts) => {
                let unruled = self.answer(members.into_iter().zip(verdicts).collect()).await;
                return self.run_unruled(unruled, lock_wait, isolation).await;
            }
            Err(error) => error,
        };
        if isolation.is_on_lane() {
            self.inbox.pace.failed(self.inbox.config.batch_max);
        }
        // Beside the batches it may be only one connection more that is not to be had.
        let cannot_be_had = isolation.is_on_lane() && error.is_unreachable();
        let is_down = may_be_down(&error) && (cannot_be_had || self.probe_database().await.is_err());
        self.recover(members, &error, is_down, isolation).await
    }

    /// Runs what a transaction has left, or leaves it to the lane.
    async fn run_unruled(
        self: &Arc<Self>,
        Unruled { left, apart }: Unruled,
        lock_wait: Duration,
        isolation: Isolation,
    ) -> End {
        if let Isolation::Shared(lane) = &isolation {
            lane.leave(left, apart);
            return End::Settled;
        }
        let end = match apart.is_empty() {
            true => End::Settled,
            false => Box::pin(self.run_one_by_one(apart, isolation.clone())).await,
        };
        match end {
            End::DatabaseDown(_) => {
                self.put_back(left).await;
                end
            }
            // At least one was ruled on, so this comes to an end.
            End::Settled | End::PutBack(_) if !left.is_empty() => {
                Box::pin(self.run_patiently(left, lock_wait, isolation)).await
            }
            End::Settled | End::PutBack(_) => end,
        }
    }

    /// Carries out what follows a batch that failed.
    async fn recover(
        self: &Arc<Self>,
        members: Vec<Member>,
        error: &UnitError,
        is_down: bool,
        isolation: Isolation,
    ) -> End {
        match after_failure(error, members.len(), is_down) {
            Recovery::WaitForDatabase => self.wait_for_database(members, error).await,
            Recovery::RunWithout(keys) => self.run_without_overdue(members, keys, error, isolation).await,
            Recovery::RunOneByOne => {
                let error = error.chain();
                tracing::warn!(service = %self.service, error, "batch failed; its members run one by one");
                count(&self.inbox.stats.batch_retries);
                self.run_one_by_one(members, isolation).await
            }
            Recovery::PutBack => {
                for member in &members {
                    let (key, chain, remedy) = (&member.command.key, error.chain(), error.remedy());
                    tracing::warn!(service = %self.service, error = chain, %key, remedy,
                        "failed to run a command; it is delivered again later");
                }
                self.put_back(members).await;
                End::PutBack(error.counts_as_attempt())
            }
            Recovery::Fail => {
                self.fail(members, error).await;
                End::Settled
            }
        }
    }

    /// Runs on without those whose handler did not end. One of them alone is at fault and fails at once: it has had its
    /// time. In a set the culprit is not known, so its members run one by one, behind the others.
    async fn run_without_overdue(
        self: &Arc<Self>,
        members: Vec<Member>,
        keys: &[IdempotencyKey],
        error: &UnitError,
        isolation: Isolation,
    ) -> End {
        let (overdue, others): (Vec<Member>, Vec<Member>) =
            members.into_iter().partition(|member| keys.contains(&member.command.key));
        let at_fault = keys.len() == 1;
        tracing::warn!(service = %self.service, error = error.chain(), commands = keys.len(),
            "handler did not end; the others run without it");
        count(&self.inbox.stats.batch_retries);
        let mut suspects = Vec::new();
        if at_fault {
            self.fail(overdue, error).await;
        } else {
            suspects = overdue;
        }
        let end = if others.is_empty() {
            End::Settled
        } else {
            Box::pin(self.run(others, isolation.clone())).await
        };
        match end {
            End::Settled | End::PutBack(_) => self.run_one_by_one(suspects, isolation).await,
            End::DatabaseDown(_) => {
                self.put_back(suspects).await;
                end
            }
        }
    }

    /// Answers that it failed: it was rolled back, and the coordinator decides whether it is tried again.
    async fn fail(&self, members: Vec<Member>, error: &UnitError) {
        let verdict = Verdict::Answered(Outcome::Failed { message: truncate_message(&error.chain()) });
        let failed = members.into_iter().map(|member| {
            count(&self.inbox.stats.failed);
            (member, verdict.clone())
        });
        self.answer(failed.collect()).await;
    }

    /// Puts commands back until the database is there again, and has the intake stop until then.
    pub(crate) async fn wait_for_database(&self, members: Vec<Member>, error: &UnitError) -> End {
        let text = error.chain();
        match error.remedy() {
            Some(remedy) => {
                tracing::warn!(service = %self.service, error = text, remedy, "a table is missing or forbidden; the commands wait");
            }
            None => {
                tracing::warn!(service = %self.service, error = text, "database unavailable; the commands wait")
            }
        }
        self.note_database_down();
        self.put_back(members).await;
        End::DatabaseDown(error.counts_as_attempt())
    }

    pub(crate) async fn put_back(&self, members: Vec<Member>) {
        for member in members {
            count(&self.inbox.stats.put_back);
            member.ack.nak(self.inbox.config.database_down_pause).await;
        }
    }

    /// Returns once the database can be written to.
    pub(crate) async fn database_is_back(&self) {
        loop {
            tokio::time::sleep(self.inbox.config.database_down_pause).await;
            match self.probe_database().await {
                Ok(()) => break,
                Err(error) => {
                    tracing::debug!(service = %self.service, error = error.chain(), "database still down");
                }
            }
        }
        self.note_database_up();
        tracing::info!(service = %self.service, "database available again");
    }

    /// Checks that the database can be written to.
    async fn probe_database(&self) -> Result<(), UnitError> {
        // In a task of its own, because nothing may cancel a `begin`.
        let inbox = self.inbox.clone();
        let probe = tokio::spawn(async move { inbox.on_connection(|it| Box::pin(store::probe(it))).await });
        probe.await.unwrap_or_else(|panicked| Err(UnitError::Panicked(panicked)))
    }
}
