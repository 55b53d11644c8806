//! The work after a commit: counting, waking waiters, publishing, and telling the sagas which commands were not stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use redress_core::SagaId;
use redress_core::decide::{Event, NotSent};

use crate::batch::{CommitEffects, Outgoing};
use crate::batch_size::SharedLimit;
use crate::deciding::decide_with_retry;
use crate::metrics::Kind;
use crate::ports::{Bus, Clock, Journal, JournalError};
use crate::shared::Shared;
use crate::units::{BatchWork, Failed, Isolation, run_batch};
use crate::waiters::Ended;

/// Counts, wakes the waiters, and publishes; the returned future is the publishing.
pub(crate) fn after_commit<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    outcome: CommitEffects,
) -> impl Future<Output = ()> + Send + 'static {
    send(shared.clone(), count(shared, outcome))
}

/// Counts and wakes the waiters; returns the messages to be published.
fn count<J, B, C>(shared: &Shared<J, B, C>, outcome: CommitEffects) -> Outgoing {
    let metrics = &shared.metrics;
    for ((saga, event), times) in outcome.events {
        metrics.events.get_or_create(&Kind { saga, kind: event.as_str() }).inc_by(times);
    }
    let mut ended: Vec<Ended> = Vec::with_capacity(outcome.ended.len());
    for (saga, end) in outcome.ended {
        metrics.ended.get_or_create(&Kind { saga, kind: end.status }).inc();
        ended.push(end);
    }
    metrics.commands.inc_by(outcome.outgoing.commands.len() as u64);
    metrics.healed.inc_by(outcome.healed);
    metrics.dead_letters.inc_by(outcome.dead_letters);
    shared.waiters.notify(&ended);
    outcome.outgoing
}

/// Publishes, and tells the sagas which commands are not known to be stored; the commands that they then decide on are
/// published, too.
pub(crate) async fn send<J: Journal, B: Bus, C: Clock>(shared: Arc<Shared<J, B, C>>, mut outgoing: Outgoing) {
    while !outgoing.is_empty() {
        let not_sent = outgoing.publish(&shared.bus, &shared.broker, &shared.config.crash).await;
        outgoing = tell_not_sent(&shared, not_sent).await;
    }
}

/// Returns the commands that the sagas then decide on.
async fn tell_not_sent<J: Journal, B: Bus, C: Clock>(
    shared: &Shared<J, B, C>,
    not_sent: Vec<NotSent>,
) -> Outgoing {
    shared.metrics.not_stored.inc_by(not_sent.len() as u64);
    let mut events: BTreeMap<SagaId, Vec<Event>> = BTreeMap::new();
    for not_sent in not_sent {
        events.entry(not_sent.key.saga_id).or_default().push(Event::NotSent(not_sent));
    }
    let limit = SharedLimit::new(shared.config.batch_max, shared.config.batch_bytes_max);
    let mut unsent = UnsentCommands { shared, outgoing: Outgoing::default() };
    let told = run_batch(&shared.journal, &limit, &mut unsent, events.into_iter().collect()).await;
    if let Err(Failed { error, .. }) = told {
        not_told(shared, &error);
    }
    unsent.outgoing
}

/// Decides on commands that were not stored, by saga, and gathers the commands that follow.
struct UnsentCommands<'s, J, B, C> {
    shared: &'s Shared<J, B, C>,
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
        decide_with_retry(self.shared, unsent.iter().cloned().collect(), isolation).await
    }

    async fn after_commit(&mut self, unsent: &mut Vec<Self::Member>, mut outcome: CommitEffects) {
        let left = std::mem::take(&mut outcome.left);
        unsent.retain(|(id, _)| left.contains(id));
        self.outgoing.extend(count(self.shared, outcome));
    }

    async fn fail(&mut self, _: Self::Member, error: JournalError) -> Result<(), Failed<Self::Member>> {
        not_told(self.shared, &error);
        Ok(())
    }
}

/// A saga does not know that its command was not stored: it must not take the lack of a reply for silence.
fn not_told<J, B, C: Clock>(shared: &Shared<J, B, C>, error: &JournalError) {
    tracing::warn!(error = error.with_causes(), "what was not stored by the broker could not be noted");
    shared.broker.forgive_before(shared.journal_clock.now());
}
