//! Journal and bus in memory: the promises of Postgres and JetStream on which Redress relies, and no more.
//!
//! The journal commits a batch as a whole or not at all, and refuses it if one of the sagas has moved since it was read;
//! an ended saga keeps its status. The bus delivers at least once, in any order, to whoever asks first; what is not
//! acknowledged in time comes again, and all of it may be gone tomorrow.

use std::collections::BTreeMap;

use redress_core::history::HistoryEntry;
use redress_core::state::SagaState;
use redress_core::{Name, SagaId, Timestamp};

/// A saga as the journal holds it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its definition's name and version.
    pub definition: (Name, u32),
    /// The guard of the next write, from 1.
    pub revision: u64,
    /// Where it stands.
    pub state: SagaState,
}

/// The new state of a saga, and what is appended to its history.
#[derive(Clone, Debug)]
pub struct Change {
    /// The saga.
    pub id: SagaId,
    /// The revision on which the decision was made.
    pub revision: u64,
    /// The state from now on.
    pub state: SagaState,
    /// Rows to append.
    pub history: Vec<HistoryEntry>,
}

/// Why a batch was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// A saga has moved since it was read.
    Collision(SagaId),
    /// An ended saga would get another status.
    WayOut(SagaId),
}

/// What became of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The saga exists now.
    New,
    /// The key belongs to this saga already.
    Same(SagaId),
}

/// The source of truth.
#[derive(Debug, Default)]
pub struct MemoryJournal {
    rows: BTreeMap<SagaId, Row>,
    keys: BTreeMap<String, SagaId>,
    history: BTreeMap<SagaId, Vec<HistoryEntry>>,
}

impl MemoryJournal {
    /// Begins a saga under a key that is new.
    pub fn insert(&mut self, key: &str, id: SagaId, row: Row, history: Vec<HistoryEntry>) -> Inserted {
        if let Some(&same) = self.keys.get(key) {
            return Inserted::Same(same);
        }
        self.keys.insert(key.to_owned(), id);
        self.rows.insert(id, row);
        self.history.insert(id, history);
        Inserted::New
    }

    /// A saga as it is now.
    pub fn read(&self, id: SagaId) -> Option<&Row> {
        self.rows.get(&id)
    }

    /// What happened to a saga.
    pub fn history(&self, id: SagaId) -> &[HistoryEntry] {
        self.history.get(&id).map_or(&[], Vec::as_slice)
    }

    /// Sagas whose time has come, the most overdue first.
    pub fn due(&self, now: Timestamp) -> Vec<SagaId> {
        let due_at = |(&id, row): (&SagaId, &Row)| Some((row.state.due_at()?, id));
        let mut due: Vec<_> = self.rows.iter().filter_map(due_at).filter(|(at, _)| *at <= now).collect();
        due.sort();
        due.into_iter().map(|(_, id)| id).collect()
    }

    /// When the next saga is due.
    pub fn next_due(&self) -> Option<Timestamp> {
        self.rows.values().filter_map(|row| row.state.due_at()).min()
    }

    /// Writes a batch as a whole or not at all.
    ///
    /// # Errors
    /// [`CommitError`]; then nothing was written.
    pub fn commit(&mut self, changes: Vec<Change>) -> Result<(), CommitError> {
        for change in &changes {
            let row = self.rows.get(&change.id).ok_or(CommitError::Collision(change.id))?;
            if row.revision != change.revision {
                return Err(CommitError::Collision(change.id));
            }
            if row.state.is_ended() && row.state.status_word() != change.state.status_word() {
                return Err(CommitError::WayOut(change.id));
            }
        }
        for change in changes {
            if let Some(row) = self.rows.get_mut(&change.id) {
                row.revision += 1;
                row.state = change.state;
                self.history.entry(change.id).or_default().extend(change.history);
            }
        }
        Ok(())
    }
}

/// A message on its way.
#[derive(Debug)]
struct Flight<M> {
    token: u64,
    message: M,
    /// When it can be taken: later than now if it is delayed, or in somebody's hands.
    ready_at: Timestamp,
}

/// A work queue.
#[derive(Debug)]
pub struct MemoryBus<M> {
    flights: Vec<Flight<M>>,
    tokens: u64,
}

impl<M> Default for MemoryBus<M> {
    fn default() -> Self {
        Self { flights: Vec::new(), tokens: 0 }
    }
}

impl<M: Clone> MemoryBus<M> {
    /// Keeps a message until it is acknowledged.
    pub fn publish(&mut self, message: M, ready_at: Timestamp) {
        self.tokens += 1;
        self.flights.push(Flight { token: self.tokens, message, ready_at });
    }

    /// How many messages can be taken.
    pub fn ready(&self, now: Timestamp) -> usize {
        self.flights.iter().filter(|flight| flight.ready_at <= now).count()
    }

    /// Hands out the `nth` of the messages that can be taken; it comes again at `again_at` unless it is acknowledged.
    pub fn take(&mut self, nth: usize, now: Timestamp, again_at: Timestamp) -> Option<(u64, M)> {
        let flight = self.flights.iter_mut().filter(|flight| flight.ready_at <= now).nth(nth)?;
        flight.ready_at = again_at;
        Some((flight.token, flight.message.clone()))
    }

    /// It is done: never again.
    pub fn acknowledge(&mut self, token: u64) {
        self.flights.retain(|flight| flight.token != token);
    }

    /// Not now: again at this time.
    pub fn give_back(&mut self, token: u64, ready_at: Timestamp) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.token == token) {
            flight.ready_at = ready_at;
        }
    }

    /// When the next message can be taken.
    pub fn next_at(&self) -> Option<Timestamp> {
        self.flights.iter().map(|flight| flight.ready_at).min()
    }

    /// Everything is gone.
    pub fn wipe(&mut self) {
        self.flights.clear();
    }
}
