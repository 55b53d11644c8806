//! The tables of the journal in memory, and what a unit of work writes to them.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use redress_coordinator::ports::{
    Audit, Change, Changes, DeadLetter, FIRST_REVISION, Fingerprint, Inserted, JournalError, LetterRow,
    LetterState, NewSaga, StoredStart,
};
use redress_core::fault::{FaultBook, StandingFault, Strike};
use redress_core::history::HistoryEntry;
use redress_core::state::SagaState;
use redress_core::{Name, SagaId, Timestamp};
use serde_json::Value;
use uuid::Uuid;

use super::place_row::PlaceRow;

/// How long the timer leaves a saga alone that cannot be decided on.
const SET_ASIDE: Duration = Duration::from_secs(60 * 60);
/// How long it leaves one alone that met trouble of the journal's.
const PUT_OFF: Duration = Duration::from_secs(5);

/// A saga as the journal holds it.
#[derive(Clone, Debug)]
pub struct Row {
    /// Its definition's name and version.
    pub definition: (Name, u32),
    /// The guard of the next write, from 1.
    pub revision: i64,
    /// Its state.
    pub state: SagaState,
    /// The time at which the timers look at it.
    pub wake_at: Option<Timestamp>,
    /// The key of its start.
    pub key: String,
    /// The input as it was given.
    pub input: Vec<u8>,
    /// Labels.
    pub tags: Value,
    /// Its history, oldest row first.
    pub history: Vec<HistoryEntry>,
}

/// All tables.
#[derive(Debug, Default)]
pub(super) struct Tables {
    pub(super) rows: BTreeMap<SagaId, Row>,
    pub(super) keys: BTreeMap<String, (SagaId, Fingerprint)>,
    /// In the order in which they came.
    pub(super) dead_letters: Vec<LetterRow>,
    pub(super) audit: Vec<(Timestamp, Audit)>,
    pub(super) faults: Vec<StandingFault>,
    /// In the order in which they were taken.
    pub(super) places: Vec<PlaceRow>,
    pub(super) definitions: BTreeMap<(Name, u32), (String, Value)>,
}

impl Tables {
    pub(super) fn fault_book(&self) -> FaultBook {
        let left = self.faults.iter().filter(|fault| fault.remaining != Some(0));
        let mut book = FaultBook::new(left.cloned().collect());
        if book.asks_for_tags() {
            self.rows.iter().for_each(|(id, row)| book.know_tags(*id, &row.tags));
        }
        book
    }

    pub(super) fn start_of(&self, key: &str) -> Option<StoredStart> {
        let (id, fingerprint) = self.keys.get(key)?;
        Some(StoredStart { id: *id, fingerprint: *fingerprint.as_bytes() })
    }

    pub(super) fn has_operator_command(&self, command_id: Uuid) -> bool {
        self.audit.iter().any(|(_, audit)| audit.command_id == command_id)
    }

    /// Inserts the sagas whose keys are new.
    pub(super) fn insert(&mut self, sagas: Vec<NewSaga>, struck: &[Strike]) -> Vec<Inserted> {
        let ids: Vec<SagaId> = sagas.iter().map(|saga| saga.id).collect();
        let inserted: Vec<Inserted> = sagas.into_iter().map(|saga| self.insert_one(saga)).collect();
        let new: Vec<SagaId> = ids
            .into_iter()
            .zip(&inserted)
            .filter(|(_, is)| **is == Inserted::New)
            .map(|(id, _)| id)
            .collect();
        let struck = struck.iter().filter(|strike| new.contains(&strike.key.saga_id)).cloned();
        self.count_down(&struck.collect::<Vec<_>>());
        inserted
    }

    fn insert_one(&mut self, saga: NewSaga) -> Inserted {
        match self.keys.get(&saga.key) {
            Some((id, stored)) if saga.fingerprint.is_of(stored.as_bytes()) => return Inserted::Same(*id),
            Some((id, _)) => return Inserted::Other(*id),
            None => {}
        }
        self.keys.insert(saga.key.clone(), (saga.id, saga.fingerprint));
        let row = Row {
            definition: (saga.saga, saga.version),
            revision: FIRST_REVISION,
            wake_at: saga.state.due_at(),
            state: saga.state,
            key: saga.key,
            input: saga.input,
            tags: saga.tags,
            history: saga.history,
        };
        self.rows.insert(saga.id, row);
        self.take_places(saga.id, saga.places);
        Inserted::New
    }

    /// Writes a unit of work as a whole or not at all.
    pub(super) fn write(&mut self, changes: Changes, now: Timestamp) -> Result<(), JournalError> {
        for change in &changes.sagas {
            self.check(change)?;
        }
        for change in changes.sagas {
            if let Some(row) = self.rows.get_mut(&change.id) {
                row.write(change);
            }
        }
        for (id, entry) in changes.history {
            if let Some(row) = self.rows.get_mut(&id) {
                row.history.push(entry);
            }
        }
        self.write_places(&changes.places);
        self.count_down(&changes.struck);
        self.keep_letters(changes.dead_letters, now);
        self.audit.extend(changes.audit.into_iter().map(|audit| (now, audit)));
        self.postpone(&changes.set_aside, now, SET_ASIDE);
        self.postpone(&changes.put_off, now, PUT_OFF);
        Ok(())
    }

    /// Keeps letters, each once.
    pub(super) fn keep_letters(&mut self, letters: Vec<DeadLetter>, at: Timestamp) {
        for letter in letters {
            if self.dead_letters.iter().all(|row| row.letter.id != letter.id) {
                let payload_bytes = letter.payload.len() as u64;
                self.dead_letters.push(LetterRow { letter, at, payload_bytes, state: LetterState::Kept });
            }
        }
    }

    fn check(&self, change: &Change) -> Result<(), JournalError> {
        let id = change.id;
        let Some(row) = self.rows.get(&id).filter(|row| row.revision == change.revision) else {
            return Err(JournalError::Collision(format!("saga {id} has moved since it was read").into()));
        };
        if is_ended(&row.state) && row.state.status_word() != change.state.status_word() {
            let problem =
                format!("saga {id} is {}: a terminal state has no way out", row.state.status_word());
            return Err(JournalError::Refused(problem.into()));
        }
        Ok(())
    }

    fn postpone(&mut self, ids: &[SagaId], now: Timestamp, pause: Duration) {
        let ids: BTreeSet<&SagaId> = ids.iter().collect();
        let due = |row: &Row| row.wake_at.is_some_and(|wake_at| wake_at <= now);
        for (_, row) in self.rows.iter_mut().filter(|(id, row)| ids.contains(id) && due(row)) {
            row.wake_at = Some(now + pause);
        }
    }

    fn count_down(&mut self, struck: &[Strike]) {
        for strike in struck {
            for fault in self.faults.iter_mut().filter(|fault| fault.id == strike.fault) {
                fault.remaining = fault.remaining.map(|left| left.saturating_sub(1));
            }
        }
    }
}

impl Row {
    fn write(&mut self, change: Change) {
        let due_at = change.state.due_at();
        self.revision += i64::from(change.moved);
        // The timer's mark is a lower bound: it moves when it has fired, or must come earlier.
        self.wake_at = match (change.fired, self.wake_at, due_at) {
            (true, _, due_at) | (false, None, due_at) | (false, _, due_at @ None) => due_at,
            (false, Some(wake_at), Some(due_at)) => Some(wake_at.min(due_at)),
        };
        self.state = change.state;
    }
}

/// Returns true if it has come to an end of its own, which the journal guards: not one by an operator's hand.
fn is_ended(state: &SagaState) -> bool {
    matches!(state.status_word(), "completed" | "compensated")
}
