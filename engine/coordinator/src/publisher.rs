//! Does what follows a commit: counts, wakes waiters, here and at other coordinators, publishes, and tells the sagas
//! which commands were not stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use redress_core::SagaId;
use redress_core::decide::{Event, NotSent};
use tokio::sync::{Notify, OwnedSemaphorePermit};

use crate::batch::{CommitEffects, Outgoing};
use crate::batch_size::{BatchSize, SharedLimit};
use crate::broker::Broker;
use crate::crash::CrashHook;
use crate::decider::Decider;
use crate::metrics::Metrics;
use crate::metrics::labels::{Kind, NameLabel};
use crate::ports::{Bus, Clock, Journal, JournalError};
use crate::reply_lag::ReplyLag;
use crate::room::Room;
use crate::units::{BatchWork, Failed, Isolation, run_batch};
use crate::waiters::{Ended, Waiters};

/// Everything that is needed once a unit of work is committed.
pub(crate) struct Publisher<J, B, C> {
    /// Decides on commands that were not stored.
    pub(crate) decider: Arc<Decider<J, C>>,
    /// How many of their sagas are told at once, at the most.
    pub(crate) batch_max: BatchSize,
    pub(crate) bus: B,
    pub(crate) broker: Arc<Broker>,
    pub(crate) reply_lag: ReplyLag,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) crash: CrashHook,
    /// Tells that a place in the order of a key has changed here.
    pub(crate) places_changed: Notify,
    /// Room for messages on their way to the broker that no loop waits for.
    pub(crate) outgoing_room: Room,
}

impl<J: Journal, B: Bus, C: Clock> Publisher<J, B, C> {
    /// Counts, wakes the waiters, and publishes; the returned future is the publishing.
    pub(crate) fn after_commit(
        self: &Arc<Self>,
        outcome: CommitEffects,
    ) -> impl Future<Output = ()> + Send + 'static {
        self.clone().send(self.count(outcome))
    }

    /// Publishes, and tells the sagas which commands are not known to be stored; the commands that they then decide on
    /// are published, too.
    pub(crate) async fn send(self: Arc<Self>, mut outgoing: Outgoing) {
        while !outgoing.is_empty() {
            let not_sent = outgoing.publish(&self.bus, &self.broker, &self.crash).await;
            outgoing = self.tell_not_sent(not_sent).await;
        }
    }

    /// Waits until the outgoing messages have room among those that are on their way.
    pub(crate) async fn room_for(&self, outgoing: &Outgoing) -> OwnedSemaphorePermit {
        self.outgoing_room.take(outgoing.bytes()).await
    }

    /// Counts and wakes the waiters; returns the messages to be published.
    fn count(&self, mut outcome: CommitEffects) -> Outgoing {
        let metrics = &self.metrics;
        for measures in outcome.measures {
            metrics.count(measures);
        }
        let mut ended: Vec<Ended> = Vec::with_capacity(outcome.ended.len());
        for (saga, end) in outcome.ended {
            metrics.ended.get_or_create(&Kind { saga: NameLabel(saga), kind: end.status }).inc();
            ended.push(end);
        }
        metrics.commands.inc_by(outcome.outgoing.commands.len() as u64);
        metrics.healed.inc_by(outcome.healed);
        metrics.dead_letters.inc_by(outcome.dead_letters);
        self.waiters.notify(&ended);
        outcome.outgoing.ended.extend(ended.iter().map(|saga| saga.id));
        if outcome.places_moved {
            self.places_changed.notify_one();
        }
        outcome.outgoing
    }

    /// Returns the commands that the sagas then decide on.
    async fn tell_not_sent(&self, not_sent: Vec<NotSent>) -> Outgoing {
        self.metrics.not_stored.inc_by(not_sent.len() as u64);
        let mut events: BTreeMap<SagaId, Vec<Event>> = BTreeMap::new();
        for not_sent in not_sent {
            events.entry(not_sent.key.saga_id).or_default().push(Event::NotSent(not_sent));
        }
        let limit = SharedLimit::new(self.batch_max);
        let mut unsent = UnsentCommands { publisher: self, outgoing: Outgoing::default() };
        let told = run_batch(&self.decider.journal, &limit, &mut unsent, events.into_iter().collect()).await;
        if let Err(Failed { error, .. }) = told {
            self.not_told(&error);
        }
        unsent.outgoing
    }

    /// A saga does not know that its command was not stored: it must not take the lack of a reply for silence.
    fn not_told(&self, error: &JournalError) {
        tracing::warn!(error = error.with_causes(), "failed to note that commands were not stored");
        self.broker.forgive_before(self.decider.now());
    }
}

/// Decides on commands that were not stored, by saga, and gathers the commands that follow.
struct UnsentCommands<'p, J, B, C> {
    publisher: &'p Publisher<J, B, C>,
    outgoing: Outgoing,
}

impl<J: Journal, B: Bus, C: Clock> BatchWork for UnsentCommands<'_, J, B, C> {
    type Member = (SagaId, Vec<Event>);
    type Outcome = CommitEffects;
    const NAME: &'static str = "commands that were not stored";

    async fn run(
        &mut self,
        unsent: &[Self::Member],
        isolation: Isolation,
    ) -> Result<CommitEffects, JournalError> {
        self.publisher.decider.decide(unsent.iter().cloned().collect(), isolation).await
    }

    async fn after_commit(&mut self, unsent: &mut Vec<Self::Member>, mut outcome: CommitEffects) {
        let left = std::mem::take(&mut outcome.left);
        unsent.retain(|(id, _)| left.contains(id));
        self.outgoing.extend(self.publisher.count(outcome));
    }

    async fn fail(&mut self, _: Self::Member, error: JournalError) -> Result<(), Failed<Self::Member>> {
        self.publisher.not_told(&error);
        Ok(())
    }
}
