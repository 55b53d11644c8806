//! The journal in memory.

use std::fmt;
use std::sync::{Arc, Mutex};

use redress_coordinator::ports::{
    Changes, DeadLetter, Inserted, Journal, JournalError, NewSaga, RegisterError, Selection, Snapshot,
    StoredStart,
};
use redress_core::digest::describe_difference;
use redress_core::fault::{FaultBook, StandingFault, Strike};
use redress_core::{SagaDefinition, SagaId, Timestamp};
use uuid::Uuid;

use super::tables::{Row, Tables};

/// The journal in memory. Cheap to clone; clones are the same journal.
///
/// A unit of work holds all of it, from the read to the commit: that is what row locks are worth.
#[derive(Clone)]
pub struct MemoryJournal {
    tables: Arc<Mutex<Tables>>,
    now: Arc<dyn Fn() -> Timestamp + Send + Sync>,
}

impl fmt::Debug for MemoryJournal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryJournal").field("tables", &self.tables).finish_non_exhaustive()
    }
}

impl MemoryJournal {
    /// An empty journal whose clock is `now`.
    pub fn new(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self { tables: Arc::default(), now: Arc::new(now) }
    }

    /// A saga as it is now.
    pub fn row(&self, id: SagaId) -> Option<Row> {
        self.with(|tables| tables.rows.get(&id).cloned())
    }

    /// Looks at a saga as it is now, without a copy.
    pub fn look<T>(&self, id: SagaId, look: impl FnOnce(Option<&Row>) -> T) -> T {
        self.with(|tables| look(tables.rows.get(&id)))
    }

    /// The sagas that it holds.
    pub fn ids(&self) -> Vec<SagaId> {
        self.with(|tables| tables.rows.keys().copied().collect())
    }

    /// The time at which the timers look at the next saga.
    pub fn next_wake_at(&self) -> Option<Timestamp> {
        self.with(|tables| tables.rows.values().filter_map(|row| row.wake_at).min())
    }

    /// The messages that could not be used.
    pub fn dead_letters(&self) -> Vec<DeadLetter> {
        self.with(|tables| tables.dead_letters.iter().map(|row| row.letter.clone()).collect())
    }

    /// Loses a saga, as no journal may, so that a test can see that it notices.
    pub fn lose(&self, id: SagaId) {
        self.with(|tables| tables.rows.remove(&id));
    }

    /// Returns true if no saga has yet to be told that it is the first of a key.
    pub fn places_are_still(&self) -> bool {
        self.with(|tables| tables.places_are_still())
    }

    /// Adds a standing fault.
    pub fn add_fault(&self, fault: StandingFault) {
        self.with(|tables| tables.faults.push(fault));
    }

    pub(super) fn with<T>(&self, change: impl FnOnce(&mut Tables) -> T) -> T {
        change(&mut self.tables.lock().expect("no unit of work panics while holding the journal"))
    }

    pub(super) fn time(&self) -> Timestamp {
        (self.now)()
    }
}

impl Journal for MemoryJournal {
    async fn transact<T: Send + 'static>(
        &self,
        selection: Selection,
        bytes_max: usize,
        decide: impl FnOnce(Snapshot) -> (Changes, T) + Send + 'static,
    ) -> Result<T, JournalError> {
        let now = self.time();
        self.with(|tables| {
            let mut snapshot = tables.snapshot(&selection, bytes_max, now);
            if let Selection::Known { read, known, now } = selection {
                snapshot = snapshot.and_known(known);
                if read.is_empty() {
                    snapshot.now = now;
                }
            }
            let (changes, result) = decide(snapshot);
            tables.write(changes, now).map(|()| result)
        })
    }

    async fn insert(&self, sagas: Vec<NewSaga>, struck: Vec<Strike>) -> Result<Vec<Inserted>, JournalError> {
        Ok(self.with(|tables| tables.insert(sagas, &struck)))
    }

    async fn dead_letter(&self, letters: Vec<DeadLetter>) -> Result<(), JournalError> {
        let now = self.time();
        self.with(|tables| tables.keep_letters(letters, now));
        Ok(())
    }

    async fn start_of(&self, key: &str) -> Result<Option<StoredStart>, JournalError> {
        Ok(self.with(|tables| tables.start_of(key)))
    }

    async fn has_operator_command(&self, command_id: Uuid) -> Result<bool, JournalError> {
        Ok(self.with(|tables| tables.has_operator_command(command_id)))
    }

    async fn read_faults(&self) -> Result<FaultBook, JournalError> {
        Ok(self.with(|tables| tables.fault_book()))
    }

    async fn look_for_faults(&self) -> Result<(), JournalError> {
        Ok(())
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        Ok(self.time())
    }

    async fn should_isolate(&self, error: &JournalError) -> bool {
        // Memory is always there: one of the batch is to blame.
        !matches!(error, JournalError::ReadsOnly(_))
    }

    async fn id(&self) -> Result<String, JournalError> {
        Ok("memory".to_owned())
    }

    async fn register(&self, definition: &SagaDefinition) -> Result<(), RegisterError> {
        let version = (definition.name.clone(), definition.version);
        let ours = || (definition.digest.clone(), definition.graph());
        let (digest, graph) =
            self.with(|tables| tables.definitions.entry(version).or_insert_with(ours).clone());
        if digest == definition.digest {
            return Ok(());
        }
        Err(RegisterError::Changed {
            saga: definition.name.to_string(),
            version: definition.version,
            differences: describe_difference(&graph, &definition.graph()),
        })
    }
}
