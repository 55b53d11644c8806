//! The data that pass between the coordinator and its journal.

use std::time::Duration;

use redress_core::fault::{FaultBook, Strike};
use redress_core::history::HistoryEntry;
use redress_core::state::SagaState;
use redress_core::{LetterCode, Name, SagaId, Timestamp};

#[cfg(doc)]
use super::JournalError;
use super::places::{NewPlace, PlaceChange};

/// The revision of a saga that has not moved since its start.
pub const FIRST_REVISION: i64 = 1;

/// A saga as the journal holds it.
#[derive(Clone, Debug)]
pub struct Stored {
    /// The saga.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: Name,
    /// Its definition's version.
    pub version: u32,
    /// The guard of the next write.
    pub revision: i64,
    /// The time at which the timers look at it, if it was read.
    pub wake_at: Option<Timestamp>,
    /// Its state.
    pub state: StoredState,
}

/// The state of a saga as far as this program can read it.
#[derive(Clone, Debug)]
pub enum StoredState {
    /// It can.
    Readable(Box<SagaState>),
    /// A newer program wrote it, in this form, and carries it on.
    Newer(u32),
    /// The row is not as any program writes it, and why.
    Unreadable(String),
}

/// The sagas of one unit of work, with the journal's clock.
#[derive(Debug)]
pub struct Snapshot {
    /// The journal's clock.
    pub now: Timestamp,
    /// The sagas, in the order of their ids.
    pub sagas: Vec<Stored>,
    /// Selected too, and not read: with them the unit of work would be too large.
    pub left: Vec<SagaId>,
    /// The standing faults, locked if there are any.
    pub faults: FaultBook,
}

impl Snapshot {
    /// The sagas of a [`Selection::Known`] of which none is read.
    pub fn known(known: Vec<Stored>, now: Timestamp) -> Self {
        Self { now, sagas: known, left: Vec::new(), faults: FaultBook::default() }
    }

    /// The sagas of a [`Selection::Known`]: those that were read, and the others.
    #[must_use]
    pub fn and_known(mut self, known: Vec<Stored>) -> Self {
        self.sagas.extend(known);
        self.sagas.sort_unstable_by_key(|stored| stored.id);
        self
    }
}

/// The writes of a unit of work.
#[derive(Debug, Default)]
pub struct Changes {
    /// New states.
    pub sagas: Vec<Change>,
    /// Rows to append.
    pub history: Vec<(SagaId, HistoryEntry)>,
    /// Messages that could not be used.
    pub dead_letters: Vec<DeadLetter>,
    /// What the standing faults struck.
    pub struck: Vec<Strike>,
    /// Operator commands for the audit log.
    pub audit: Vec<Audit>,
    /// Sagas that cannot be decided: the timer leaves them alone for a while.
    pub set_aside: Vec<SagaId>,
    /// Sagas that met trouble of the database's, which passes: the timer comes back to them soon, and to the others first.
    pub put_off: Vec<SagaId>,
    /// Where places stand now.
    pub places: Vec<PlaceChange>,
}

impl Changes {
    /// Returns true if there is nothing to write but states and history.
    pub(crate) const fn are_of_sagas_alone(&self) -> bool {
        self.dead_letters.is_empty()
            && self.struck.is_empty()
            && self.audit.is_empty()
            && self.set_aside.is_empty()
            && self.put_off.is_empty()
            && self.places.is_empty()
    }
}

/// The new state of a saga.
#[derive(Debug)]
pub struct Change {
    /// The saga.
    pub id: SagaId,
    /// The revision on which the decision was made.
    pub revision: i64,
    /// True if the revision counts on: not if only the timer's mark moved.
    pub moved: bool,
    /// True if the timer's mark is set anew: its time had come.
    pub fired: bool,
    /// True if the data differ from the stored data.
    pub new_data: bool,
    /// The state.
    pub state: SagaState,
}

/// The source of the letters that coordinators write; no service has this name.
pub const COORDINATOR: &str = "coordinator";

/// A message that could not be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The letter: the same each time that it is delivered.
    pub id: uuid::Uuid,
    /// The service that gave the message up, or [`COORDINATOR`].
    pub source: String,
    /// The kind of reason.
    pub code: LetterCode,
    /// The saga that it was about, if that is known.
    pub saga_id: Option<SagaId>,
    /// The reason why it could not be used.
    pub reason: String,
    /// The subject on which it came.
    pub subject: String,
    /// The headers that it had.
    pub headers: Vec<(String, String)>,
    /// The body that it had.
    pub payload: Vec<u8>,
    /// What came and is not in the letter; nothing if all of it is.
    pub missing: Option<String>,
}

/// A row of the audit log: the actor, the verb and the saga of an operator command.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The operator command, to find it again if the answer to its commit was lost.
    pub command_id: uuid::Uuid,
    /// The operator.
    pub actor: String,
    /// The action, as one word.
    pub verb: &'static str,
    /// The saga.
    pub saga_id: SagaId,
    /// The operator's reason.
    pub reason: String,
}

/// How long sagas of a version may wait at the longest; those that wait for longer were stored before a clock stepped back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LongestWaits {
    /// Those that have a command under way.
    pub under_way: Duration,
    /// Those of which the state [says](SagaState::is_awaiting) that they await something from outside. There may be any
    /// number of them, and they wait for long.
    pub awaiting: Duration,
}

/// Which sagas a unit of work is about.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These, as they are now: if one of them has moved when the decision is written, it is a
    /// [`JournalError::Collision`].
    Unlocked(Vec<SagaId>),
    /// As [`Unlocked`](Self::Unlocked), but some of them as the caller knows them from its own writes: these need not be
    /// read. The write is guarded by their revisions as by those that are read.
    Known {
        /// The sagas to read.
        read: Vec<SagaId>,
        /// The others.
        known: Vec<Stored>,
        /// The journal's clock as far as the caller knows it, for when nothing is read.
        now: Timestamp,
    },
    /// These, in any case: waits for their locks.
    These(Vec<SagaId>),
    /// This one, if no other transaction holds it at this moment: a [`JournalError::Held`] otherwise, and at once.
    Alone(SagaId),
    /// Those that are due, at most so many of each known definition, passing over those that other transactions hold.
    Due {
        /// Names and versions that this coordinator knows, and how far behind now the times end.
        known: Vec<(Name, u32, Duration)>,
        /// At most so many of each.
        limit: i64,
    },
    /// Those that wait, in the order of their times, passing over those that other transactions hold.
    Waiting {
        /// Names and versions that this coordinator knows, and how far ahead of now the times begin.
        known: Vec<(Name, u32, LongestWaits)>,
        /// Only those that come after this one in their order.
        after: Option<(Timestamp, SagaId)>,
        /// At most so many.
        limit: i64,
    },
}

impl Selection {
    /// Returns true if no other transaction can move the sagas while they are decided on.
    pub(crate) const fn is_locked(&self) -> bool {
        match self {
            Self::Unlocked(_) | Self::Known { .. } => false,
            Self::These(_) | Self::Alone(_) | Self::Due { .. } | Self::Waiting { .. } => true,
        }
    }

    /// Returns true if there are rows to read, and with them the journal's clock.
    pub const fn reads_something(&self) -> bool {
        match self {
            Self::Known { read, .. } => !read.is_empty(),
            Self::Unlocked(_) | Self::These(_) | Self::Alone(_) | Self::Due { .. } | Self::Waiting { .. } => {
                true
            }
        }
    }

    /// The same sagas, with locks.
    pub(crate) fn locked(self) -> Self {
        match self {
            Self::Unlocked(ids) => Self::These(ids),
            Self::Known { mut read, known, .. } => {
                read.extend(known.into_iter().map(|stored| stored.id));
                Self::These(read)
            }
            Self::These(_) | Self::Alone(_) | Self::Due { .. } | Self::Waiting { .. } => self,
        }
    }
}

/// A saga that begins.
#[derive(Clone, Debug)]
pub struct NewSaga {
    /// The saga.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: Name,
    /// Its definition's version.
    pub version: u32,
    /// Key of the start.
    pub key: String,
    /// Fingerprint of the start's body.
    pub fingerprint: Fingerprint,
    /// The input as it was given.
    pub input: Vec<u8>,
    /// Labels.
    pub tags: serde_json::Value,
    /// Its first state.
    pub state: SagaState,
    /// Its first rows.
    pub history: Vec<HistoryEntry>,
    /// The places that it takes in the orders of keys.
    pub places: Vec<NewPlace>,
}

impl NewSaga {
    /// Its status, if it has ended or parked at its first decision.
    pub(crate) fn at_rest(&self) -> Option<&'static str> {
        let rests = self.state.is_ended() || self.state.parked().is_some();
        rests.then(|| self.state.status_word())
    }
}

/// SHA-256 of the request's body, independent of the order of the keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    /// The bytes that are stored with a new start.
    bytes: [u8; 32],
    /// The bytes that version 0.1 stored with the same start if it was spelled `"faults": []`, which means none: a
    /// start from before is still found.
    spelled_out: Option<[u8; 32]>,
}

impl Fingerprint {
    /// A fingerprint that has only one spelling.
    pub const fn new(bytes: [u8; 32]) -> Self {
        Self { bytes, spelled_out: None }
    }

    /// The same, found also under another spelling.
    pub(crate) const fn also_spelled(self, bytes: [u8; 32]) -> Self {
        Self { spelled_out: Some(bytes), ..self }
    }

    /// The bytes to store.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.bytes
    }

    /// Returns true if a stored fingerprint is that of the same start.
    pub fn is_of(&self, stored: &[u8; 32]) -> bool {
        self.bytes == *stored || self.spelled_out.is_some_and(|bytes| bytes == *stored)
    }
}

/// The outcome of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The saga exists now.
    New,
    /// The key belongs to this saga already, started with the same body.
    Same(SagaId),
    /// The key belongs to a saga that was started with another body.
    Other(SagaId),
}

/// The start that a key names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoredStart {
    /// The saga that was started under the key.
    pub id: SagaId,
    /// The fingerprint of that start, as it was stored.
    pub fingerprint: [u8; 32],
}
