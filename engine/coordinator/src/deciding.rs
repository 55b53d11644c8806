//! Decides events in units of work of the journal, trying again what may succeed.

use std::collections::BTreeMap;

use redress_core::SagaId;
use redress_core::decide::Event;

use crate::batch::{CommitEffects, Occasion, decide_batch};
use crate::ports::{Bus, Clock, Journal, JournalError, Selection};
use crate::shared::Shared;
use crate::units::{Again, Isolation, Retries, retry_unit};

/// The first retry is not like the run before: it waits for locks, and needs no pause.
const RETRIES: Retries = Retries { max: 8, first: Again::AtOnce };

/// Decides events, and tries again after a failure that another try may mend.
pub(crate) async fn decide_with_retry<J: Journal, B: Bus, C: Clock>(
    shared: &Shared<J, B, C>,
    events: BTreeMap<SagaId, Vec<Event>>,
    isolation: Isolation,
) -> Result<CommitEffects, JournalError> {
    let ids: Vec<SagaId> = events.keys().copied().collect();
    let bytes_max = isolation.bytes_max();
    retry_unit(&shared.clock, RETRIES, Some(&shared.metrics.batch_retries), |failure| {
        let (rules, events, clock) = (shared.rules.clone(), events.clone(), shared.journal_clock.clone());
        let selection = selection(&ids, isolation, failure.is_some());
        shared.journal.transact(selection, bytes_max, move |snapshot| {
            clock.set(snapshot.now);
            decide_batch(&rules, snapshot, events, Occasion::Events, bytes_max)
        })
    })
    .await
}

/// The sagas of the events. Unlocked, they could be met by others again and again; with locks a retry waits for those.
fn selection(ids: &[SagaId], isolation: Isolation, is_retry: bool) -> Selection {
    match (isolation, ids) {
        (Isolation::Alone, &[id]) => Selection::Alone(id),
        (Isolation::Alone | Isolation::Batch { .. }, ids) if is_retry => Selection::These(ids.to_vec()),
        (Isolation::Alone | Isolation::Batch { .. }, ids) => Selection::Unlocked(ids.to_vec()),
    }
}
