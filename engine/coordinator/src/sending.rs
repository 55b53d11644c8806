//! The work after a commit: counting, waking waiters, publishing, and telling the sagas which commands were not stored.

use std::collections::BTreeMap;
use std::sync::Arc;

use redress_core::SagaId;
use redress_core::decide::{Event, NotSent};

use crate::batch::{CommitEffects, Outgoing};
use crate::batch_size::SharedLimit;
use crate::deciding::{Isolation, decide_with_retry};
use crate::metrics::Kind;
use crate::ports::{Bus, Clock, Journal, JournalError};
use crate::shared::Shared;
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

async fn tell_not_sent<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    not_sent: Vec<NotSent>,
) -> Outgoing {
    shared.metrics.not_stored.inc_by(not_sent.len() as u64);
    let mut events: BTreeMap<SagaId, Vec<Event>> = BTreeMap::new();
    for not_sent in not_sent {
        events.entry(not_sent.key.saga_id).or_default().push(Event::NotSent(not_sent));
    }
    let limit = SharedLimit::new(shared.config.batch_max, shared.config.batch_bytes_max);
    let mut outgoing = Outgoing::default();
    while !events.is_empty() {
        match decide_with_retry(shared, events.clone(), Isolation::Batch(&limit)).await {
            Ok(mut outcome) => {
                limit.committed();
                let left = std::mem::take(&mut outcome.left);
                events.retain(|id, _| left.contains(id));
                outgoing.extend(count(shared, outcome));
            }
            Err(error) if events.len() > 1 && shared.journal.should_isolate(&error).await => {
                return tell_one_by_one(shared, events, outgoing).await;
            }
            Err(error) => {
                not_told(shared, &error);
                break;
            }
        }
    }
    outgoing
}

async fn tell_one_by_one<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    events: BTreeMap<SagaId, Vec<Event>>,
    mut outgoing: Outgoing,
) -> Outgoing {
    for (id, events) in events {
        match decide_with_retry(shared, BTreeMap::from([(id, events)]), Isolation::Alone).await {
            Ok(outcome) => outgoing.extend(count(shared, outcome)),
            Err(error) => not_told(shared, &error),
        }
    }
    outgoing
}

/// A saga does not know that its command was not stored: it must not take the lack of a reply for silence.
fn not_told<J, B, C: Clock>(shared: &Shared<J, B, C>, error: &JournalError) {
    tracing::warn!(error = error.with_causes(), "what was not stored by the broker could not be noted");
    shared.broker.forgive_before(shared.journal_clock.now());
}
