//! The outcome of a command in a test, its reply read.

use std::fmt;

use redress_core::{JsonText, Outcome, Rejection};
use serde::Serialize;

/// A service's answer to a command, as the coordinator gets it; `R` is the reply.
///
/// Written as text it is one line, for snapshots: `done {"left":70}`, `rejected insufficient-funds: ..`, `fenced`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TestOutcome<R> {
    /// It happened; of a compensation, it is undone or there was nothing to undo.
    Done(R),
    /// The business "no": final, and nothing of it was written.
    Rejected(Rejection),
    /// A technical failure, with its message: rolled back, and the coordinator would try again.
    Failed(String),
    /// An action that never happened, and never will: its undo or its settlement came first.
    Fenced,
    /// Older than the inbox remembers: nothing was done.
    Expired,
    /// No instance can use the command, for this reason: it is a dead letter, and parks its saga.
    Refused(String),
    /// The answer comes later.
    Accepted,
    /// A third party was called, and nobody can say what became of it, for this reason.
    InDoubt(String),
}

impl<R> TestOutcome<R> {
    /// The outcome of a message; `read` makes the reply of its JSON.
    pub(super) fn of<E>(outcome: Outcome, read: impl FnOnce(JsonText) -> Result<R, E>) -> Result<Self, E> {
        Ok(match outcome {
            Outcome::Done { reply } => Self::Done(read(reply)?),
            Outcome::Rejected(rejection) => Self::Rejected(rejection),
            Outcome::Failed { message } => Self::Failed(message),
            Outcome::Fenced => Self::Fenced,
            Outcome::Expired => Self::Expired,
            Outcome::Refused { reason } => Self::Refused(reason),
            Outcome::Accepted => Self::Accepted,
            Outcome::InDoubt { reason } => Self::InDoubt(reason),
        })
    }

    /// Returns true if it is [`TestOutcome::Done`].
    pub const fn is_done(&self) -> bool {
        matches!(self, Self::Done(_))
    }
}

impl<R: Serialize> fmt::Display for TestOutcome<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Done(reply) => {
                write!(f, "done {}", serde_json::to_string(reply).map_err(|_| fmt::Error)?)
            }
            Self::Rejected(rejection) => write!(f, "rejected {}: {}", rejection.code, rejection.message),
            Self::Failed(message) => write!(f, "failed: {message}"),
            Self::Fenced => f.write_str("fenced"),
            Self::Expired => f.write_str("expired"),
            Self::Refused(reason) => write!(f, "refused: {reason}"),
            Self::Accepted => f.write_str("accepted"),
            Self::InDoubt(reason) => write!(f, "in doubt: {reason}"),
        }
    }
}
