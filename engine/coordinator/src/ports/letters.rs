//! The port of dead letters: one store for those of coordinators and those of services.

use std::future::Future;
use std::time::Duration;

use redress_core::dead_letter::{LetterCode, LetterStatus, LetterVerb};
use redress_core::{SagaId, Timestamp};
use uuid::Uuid;

use super::data::DeadLetter;
use super::errors::JournalError;
use super::journal::Journal;
use super::reads::Rows;

/// The place of dead letters in the journal.
pub trait JournalLetters: Journal {
    /// A page of letters, newest first; without their bodies.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn letters(
        &self,
        filter: &LetterFilter,
    ) -> impl Future<Output = Result<Rows<LetterRow>, JournalError>> + Send;

    /// One letter, with its body.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be read.
    fn letter(&self, id: Uuid) -> impl Future<Output = Result<Option<LetterRow>, JournalError>> + Send;

    /// The number of letters that the filter finds, by source and code.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn letter_groups(
        &self,
        filter: &LetterFilter,
    ) -> impl Future<Output = Result<Vec<LetterGroup>, JournalError>> + Send;

    /// Gives a letter another status, if it has the one from which that is a step; returns true if it had.
    ///
    /// # Errors
    /// [`JournalError`]; after [`JournalError::CommitUnknown`] it has been given or not.
    fn move_letter(&self, step: LetterStep) -> impl Future<Output = Result<bool, JournalError>> + Send;

    /// Keeps those letters again that have been under way to the broker for longer than this: their coordinator has died,
    /// or could not say what became of them. Returns the number.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn give_back_letters(&self, after: Duration) -> impl Future<Output = Result<u64, JournalError>> + Send;

    /// Removes at most `limit` letters for which there is no room: those that an operator has decided on first, then the
    /// oldest; none that speaks of an open saga. Returns the number.
    ///
    /// # Errors
    /// [`JournalError`] if the journal refuses; then nothing was removed.
    fn prune_excess_letters(
        &self,
        room: LetterRoom,
        limit: i64,
    ) -> impl Future<Output = Result<u64, JournalError>> + Send;
}

/// The room for dead letters in the journal: a stranger who may publish must not fill it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LetterRoom {
    /// At most so many letters.
    pub letters: i64,
    /// At most so many bytes of them, headers and bodies.
    pub bytes: i64,
}

impl LetterRoom {
    /// As many bytes as the broker's stream of dead letters holds by default, and a number that a page still counts.
    pub const DEFAULT: Self = Self { letters: 100_000, bytes: 512 << 20 };
}

/// Which letters are meant; all conditions together.
#[derive(Clone, Debug, Default)]
pub struct LetterFilter {
    /// Only with this kind of reason.
    pub code: Option<LetterCode>,
    /// Only of this service, or of [`COORDINATOR`](super::COORDINATOR).
    pub source: Option<String>,
    /// Only about this saga.
    pub saga: Option<SagaId>,
    /// Only of this status.
    pub status: Option<LetterStatus>,
    /// Only arrived at or after.
    pub since: Option<Timestamp>,
    /// Only arrived before.
    pub until: Option<Timestamp>,
    /// Only those that come after this one in the list.
    pub after: Option<Uuid>,
    /// At most so many.
    pub limit: i64,
}

/// A letter as it is stored.
#[derive(Clone, Debug)]
pub struct LetterRow {
    /// The letter; its body is empty in a list.
    pub letter: DeadLetter,
    /// When the journal took it.
    pub at: Timestamp,
    /// The length of its body, in bytes.
    pub payload_bytes: u64,
    /// What became of it.
    pub state: LetterState,
}

/// What became of a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LetterState {
    /// It waits for an operator.
    Kept,
    /// An operator has it published at this moment.
    Replaying(LetterDecision),
    /// It was published again.
    Replayed(LetterDecision),
    /// An operator has set it aside for good.
    Discarded(LetterDecision),
}

impl LetterState {
    /// Its status, without the decision.
    pub const fn status(&self) -> LetterStatus {
        match self {
            Self::Kept => LetterStatus::Kept,
            Self::Replaying(_) => LetterStatus::Replaying,
            Self::Replayed(_) => LetterStatus::Replayed,
            Self::Discarded(_) => LetterStatus::Discarded,
        }
    }

    /// The decision of an operator, if there is one.
    pub const fn decision(&self) -> Option<&LetterDecision> {
        match self {
            Self::Kept => None,
            Self::Replaying(decision) | Self::Replayed(decision) | Self::Discarded(decision) => {
                Some(decision)
            }
        }
    }
}

/// The decision of an operator on a letter.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct LetterDecision {
    /// When.
    pub at: Timestamp,
    /// The operator.
    pub actor: String,
    /// The operator's reason.
    pub reason: String,
}

/// Letters of one source with one kind of reason.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub struct LetterGroup {
    /// The service, or [`COORDINATOR`](super::COORDINATOR).
    pub source: String,
    /// The kind of reason.
    pub code: LetterCode,
    /// The number of letters.
    pub count: i64,
}

/// A step of a letter from one status to the next.
#[derive(Clone, Debug)]
pub enum LetterStep {
    /// An operator has decided on a letter that was kept; audited in the same transaction.
    Decided {
        /// The letter.
        id: Uuid,
        /// What is done with it.
        verb: LetterVerb,
        /// The decision, to be found in the audit log.
        command_id: Uuid,
        /// The operator.
        actor: String,
        /// The operator's reason.
        reason: String,
    },
    /// The broker has stored the message of a letter that was being replayed.
    Published {
        /// The letter.
        id: Uuid,
    },
    /// The broker has not stored it: it is kept as before.
    NotPublished {
        /// The letter.
        id: Uuid,
    },
}

/// The status of a letter after this verb of an operator, if it was kept.
pub const fn decided_status(verb: LetterVerb) -> LetterStatus {
    match verb {
        LetterVerb::Replay => LetterStatus::Replaying,
        LetterVerb::Discard => LetterStatus::Discarded,
    }
}
