//! The failures of a journal, sorted by their remedy.

use std::error::Error;

use redress_core::SagaId;
use thiserror::Error;

/// The error beneath, whatever journal it comes from.
pub type Cause = Box<dyn Error + Send + Sync>;

/// The journal could not do the work.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The database is not there: later.
    #[error("the database is not available; the request can be made again")]
    Unavailable(#[source] Cause),
    /// The database is there, and nothing can be written: later, on another connection.
    #[error("the database only reads, as a standby does; the request can be made again")]
    ReadsOnly(#[source] Cause),
    /// Two units of work met: the same again will do.
    #[error("another unit of work was in the way; the request can be made again")]
    Collision(#[source] Cause),
    /// Another transaction holds a row and does not let go. The next try may be luckier; no other saga needs to wait
    /// for it.
    #[error("a row is held by somebody for too long; the request can be made again")]
    Held(#[source] Cause),
    /// The answer to a COMMIT was lost: it happened or it did not.
    #[error("the answer to the commit was lost; what the journal says now decides")]
    CommitUnknown(#[source] Cause),
    /// Something stored or sent is wrong.
    #[error("the database refused the statement")]
    Refused(#[source] Cause),
    /// A row is not as this program writes it.
    #[error("a row of the journal is unreadable: {0}")]
    Unreadable(String),
    /// A newer program wrote the state of a saga.
    #[error(
        "a newer coordinator carries saga {id} on: its state is stored in form {format}, and this one reads up to {known}; \
         ask the newer one"
    )]
    Newer {
        /// The saga.
        id: SagaId,
        /// The form in which its state is stored.
        format: u32,
        /// The newest form that is known here.
        known: u32,
    },
    /// The unit of work panicked.
    #[error("the unit of work panicked; see the log for where")]
    Panicked,
}

impl JournalError {
    /// The error of a request that was given up while it waited for the journal.
    pub(crate) fn given_up() -> Self {
        Self::Unavailable("the journal did not answer in time".into())
    }

    /// The failure and its causes, in one line, for logs and dead letters.
    pub fn with_causes(&self) -> String {
        redress_core::with_causes(self)
    }

    /// A failed statement that is its own transaction: its commit may have happened.
    pub(crate) fn of_its_commit(self) -> Self {
        match self {
            Self::Unavailable(error) => Self::CommitUnknown(error),
            other => other,
        }
    }

    /// Returns true if the same may be tried again at once. Not if a row is held: that has been waited for already.
    pub(crate) const fn is_retryable(&self) -> bool {
        match self {
            Self::Collision(_) | Self::CommitUnknown(_) => true,
            Self::Unavailable(_)
            | Self::ReadsOnly(_)
            | Self::Held(_)
            | Self::Refused(_)
            | Self::Unreadable(_)
            | Self::Newer { .. }
            | Self::Panicked => false,
        }
    }

    /// Returns true if the failure is no fault of the request and passes: the client may ask again.
    pub const fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable(_)
            | Self::ReadsOnly(_)
            | Self::CommitUnknown(_)
            | Self::Collision(_)
            | Self::Held(_) => true,
            Self::Refused(_) | Self::Unreadable(_) | Self::Newer { .. } | Self::Panicked => false,
        }
    }
}

/// A definition cannot be deployed.
#[derive(Debug, Error)]
pub enum RegisterError {
    /// It differs from the definition that was deployed under its version.
    #[error(
        "saga `{saga}` version {version} differs from the one that was deployed: {}; \
         a deployed version is immutable, so give the changed definition version {} and keep the old one as long \
         as sagas of it live", differences.join("; "), version + 1
    )]
    Changed {
        /// The saga.
        saga: String,
        /// Its version.
        version: u32,
        /// The places where they differ.
        differences: Vec<String>,
    },
    /// The journal could not be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
