//! Reads, decides and writes: turns events into units of work of the journal.

use std::collections::BTreeMap;
use std::sync::Arc;

use prometheus_client::metrics::counter::Counter;
use redress_core::decide::Event;
use redress_core::{SagaId, Timestamp};

use crate::batch::{CommitEffects, Occasion, decide_batch};
use crate::clock::JournalClock;
use crate::kept::KeptStates;
use crate::ports::{Clock, Journal, JournalError, Selection, Stored};
use crate::rules::Rules;
use crate::units::{Again, Isolation, Retries, retry_unit};

/// The first retry is not like the run before: it waits for locks, and needs no pause.
const RETRIES: Retries = Retries { max: 8, first: Again::AtOnce };

/// Everything that a unit of work needs to read, decide and write.
pub(crate) struct Decider<J, C> {
    pub(crate) journal: J,
    pub(crate) rules: Rules<C>,
    pub(crate) clock: C,
    /// Set by the units of work that read the journal's clock.
    pub(crate) journal_clock: JournalClock<C>,
    /// The states that were written last.
    pub(crate) kept: KeptStates<C>,
    /// Counts the units of work that are run again.
    pub(crate) batch_retries: Counter,
    /// Counts the decisions on kept states.
    pub(crate) states_kept: Counter,
}

impl<J: Journal, C: Clock> Decider<J, C> {
    /// Decides events, and tries again after a failure that another try may mend.
    pub(crate) async fn decide(
        self: &Arc<Self>,
        events: BTreeMap<SagaId, Vec<Event>>,
        isolation: Isolation,
    ) -> Result<CommitEffects, JournalError> {
        let ids: Vec<SagaId> = events.keys().copied().collect();
        let bytes_max = isolation.bytes_max();
        let mut known = match isolation {
            Isolation::Batch { .. } => self.kept.take(&ids),
            Isolation::Alone => Vec::new(),
        };
        let knows_some = !known.is_empty();
        self.states_kept.inc_by(known.len() as u64);
        let unit = |failure: Option<&JournalError>| {
            if knows_some && matches!(failure, Some(JournalError::Collision(_))) {
                self.kept.rest();
            }
            let selection = match (isolation, &*ids) {
                (Isolation::Alone, &[id]) => Selection::Alone(id),
                // Unlocked, they could be met by others again and again; with locks a retry waits for those.
                (Isolation::Alone | Isolation::Batch { .. }, ids) if failure.is_some() => {
                    Selection::These(ids.to_vec())
                }
                (Isolation::Alone | Isolation::Batch { .. }, ids) => {
                    self.unlocked(ids, std::mem::take(&mut known))
                }
            };
            let (decider, events) = (self.clone(), events.clone());
            let reads_clock = selection.reads_something();
            self.journal.transact(selection, bytes_max, move |snapshot| {
                if reads_clock {
                    decider.journal_clock.set(snapshot.now);
                }
                decide_batch(&decider.rules, snapshot, events, Occasion::Events, bytes_max)
            })
        };
        let mut effects = self.retry(RETRIES, unit).await?;
        self.kept.put(std::mem::take(&mut effects.kept));
        Ok(effects)
    }

    fn unlocked(&self, ids: &[SagaId], known: Vec<Stored>) -> Selection {
        if known.is_empty() {
            return Selection::Unlocked(ids.to_vec());
        }
        let is_known = |id: &SagaId| known.binary_search_by_key(id, |stored| stored.id).is_ok();
        let read = ids.iter().copied().filter(|id| !is_known(id)).collect();
        Selection::Known { read, known, now: self.now() }
    }

    /// Runs a unit of work, and again as `retries` allow ([`retry_unit`]).
    pub(crate) async fn retry<T, F>(
        &self,
        retries: Retries,
        unit: impl FnMut(Option<&JournalError>) -> F,
    ) -> Result<T, JournalError>
    where
        F: Future<Output = Result<T, JournalError>>,
    {
        retry_unit(&self.clock, retries, Some(&self.batch_retries), unit).await
    }
}

impl<J, C: Clock> Decider<J, C> {
    /// The time by the journal's clock, as it was last read and carried on since.
    pub(crate) fn now(&self) -> Timestamp {
        self.journal_clock.now()
    }
}
