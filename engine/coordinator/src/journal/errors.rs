//! The answers of Postgres, sorted into the failures of a journal; and the failures to open one.

use redress_postgres::{DatabaseError, FailureClass, MigrateError, classify, is_of_a_reader};
use thiserror::Error;

use crate::ports::JournalError;

/// The journal on Postgres could not be opened or brought up to date.
#[derive(Debug, Error)]
pub enum OpenJournalError {
    /// The database cannot be used as it is.
    #[error(transparent)]
    Unusable(#[from] DatabaseError),
    /// The tables could not be brought up to date.
    #[error("the journal's tables are not as this program needs them")]
    Migrate(#[from] MigrateError),
    /// The database does not answer, or answers wrongly.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        match classify(&error) {
            FailureClass::ReadsOnly => Self::ReadsOnly(error.into()),
            FailureClass::Collision => Self::Collision(error.into()),
            FailureClass::Held => Self::Held(error.into()),
            // Not the statement's own fault: it passes, or an operator repairs it.
            FailureClass::Down
            | FailureClass::Exhausted
            | FailureClass::Unready
            | FailureClass::CutOff
            | FailureClass::Closed => Self::Unavailable(error.into()),
            FailureClass::Refused => Self::Refused(error.into()),
        }
    }
}

/// No connection, for any reason: no statement was sent yet, so none can be at fault.
pub(super) fn of_connecting(error: sqlx::Error) -> JournalError {
    if is_of_a_reader(&error) {
        JournalError::ReadsOnly(error.into())
    } else {
        JournalError::Unavailable(error.into())
    }
}

/// A failed COMMIT: if the database answered, nothing happened; if it did not, the outcome is unknown.
pub(super) fn of_commit(error: sqlx::Error) -> JournalError {
    JournalError::from(error).of_its_commit()
}
