//! Decides events in units of work of the journal, trying again what may succeed.

use std::collections::BTreeMap;

use redress_core::SagaId;
use redress_core::decide::Event;

use crate::batch::{CommitEffects, Occasion, decide_batch};
use crate::batch_size::SharedLimit;
use crate::pauses::stagger;
use crate::ports::{Bus, Clock, Journal, JournalError, Selection};
use crate::shared::Shared;

/// How often a batch is tried again when another one is in the way or the answer to its commit was lost.
const TRIES_MAX: u32 = 8;

/// The company in which a reply is decided on.
#[derive(Clone, Copy)]
pub(crate) enum Isolation<'a> {
    /// With the others that came, as many as this limit allows: they wait a little for a transaction that is in the
    /// way.
    Batch(&'a SharedLimit),
    /// Alone, after its batch has failed: if another transaction holds its saga it rests, so that no reply behind it
    /// waits.
    Alone,
}

impl Isolation<'_> {
    /// The bytes of sagas that a unit of work may read and send; alone, its own are read in any case.
    pub(crate) fn bytes_max(self) -> usize {
        match self {
            Self::Batch(limit) => limit.now().bytes,
            Self::Alone => 1,
        }
    }

    /// The outcome of a batch decides how large the next one may be; one reply alone says nothing of batches.
    pub(crate) fn learn(self, result: &Result<CommitEffects, JournalError>) {
        match (self, result) {
            (Self::Batch(limit), Ok(_)) => limit.committed(),
            (Self::Batch(_), Err(JournalError::Collision(_))) | (Self::Alone, _) => {}
            (Self::Batch(limit), Err(_)) => limit.failed(),
        }
    }
}

/// Decides events, and tries again after a failure that another try may mend.
pub(crate) async fn decide_with_retry<J: Journal, B: Bus, C: Clock>(
    shared: &Shared<J, B, C>,
    events: BTreeMap<SagaId, Vec<Event>>,
    isolation: Isolation<'_>,
) -> Result<CommitEffects, JournalError> {
    let ids: Vec<SagaId> = events.keys().copied().collect();
    let (mut selection, again) = match (isolation, ids.as_slice()) {
        (Isolation::Alone, &[id]) => (Selection::Alone(id), Selection::Alone(id)),
        // Unlocked, it could meet others again and again; with locks it waits for them.
        (Isolation::Alone | Isolation::Batch(_), _) => {
            (Selection::Unlocked(ids.clone()), Selection::These(ids))
        }
    };
    let (mut tries, bytes_max) = (0, isolation.bytes_max());
    loop {
        let (rules, events, clock) = (shared.rules.clone(), events.clone(), shared.journal_clock.clone());
        let result = shared
            .journal
            .transact(selection, bytes_max, move |snapshot| {
                clock.set(snapshot.now);
                decide_batch(&rules, snapshot, events, Occasion::Events, bytes_max)
            })
            .await;
        match result {
            Err(error) if error.is_retryable() && tries < TRIES_MAX => {
                tries += 1;
                shared.metrics.batch_retries.inc();
                selection = again.clone();
                if tries > 1 {
                    stagger(&shared.clock).await;
                }
            }
            result => return result,
        }
    }
}
