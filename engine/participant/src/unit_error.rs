//! The errors of a unit of work, and the way on after each.
//!
//! An error of the driver's is sorted by [`redress_postgres::classify`]; the others are ours. [`UnitError::disposition`]
//! says how to go on, [`UnitError::counts_as_attempt`] if a command may be at fault.

use std::error::Error as StdError;
use std::time::Duration;

use redress_core::{IdempotencyKey, with_causes};
use redress_postgres::FailureClass;
use sqlx::Error;
use thiserror::Error;

use crate::handler::HandlerError;
use crate::member::CountsAsAttempt;

/// A unit of work failed, and nothing of it happened, unless it is the answer to its COMMIT that is missing.
#[derive(Debug, Error)]
pub(crate) enum UnitError {
    /// No transaction could be begun.
    #[error("the database cannot be reached")]
    Unreachable(#[source] Error),
    /// A statement of our own, or the commit.
    #[error(transparent)]
    Database(#[from] Error),
    /// Another transaction has claimed a key and keeps it.
    #[error("the same command is being handled elsewhere")]
    Elsewhere(#[source] Error),
    /// Another transaction has answered a key that this batch had not claimed.
    #[error("the same command was handled elsewhere meanwhile")]
    NotAlone,
    /// An answer was given to an open question after this batch had read it.
    #[error("an open question was answered meanwhile")]
    AnsweredMeanwhile,
    /// A handler met another transaction and said so.
    #[error("a handler met another transaction")]
    Collision(#[source] HandlerSource),
    /// A handler waited in vain for a row and said so.
    #[error("a handler waited in vain for a row that another transaction holds")]
    Held(#[source] HandlerSource),
    /// A handler was told that the database has run out of something, and said so.
    #[error("the database has run out of something")]
    Exhausted(#[source] HandlerSource),
    /// A handler was told that a table is missing or forbidden, and said so.
    #[error("a table is missing or forbidden")]
    Unready(#[source] HandlerSource),
    /// A handler did not end.
    #[error(
        "the handler did not end within {limit:?}; what it did was rolled back; have it give up earlier what it waits for, \
         or raise `handler_time_max`"
    )]
    Overdue {
        /// The time that it had.
        limit: Duration,
        /// The commands that it was given.
        keys: Vec<IdempotencyKey>,
    },
    /// The inbox is not as this batch left it.
    #[error("the inbox changed under the batch: {0}; leave its tables to this program")]
    Inbox(String),
    /// Another instance has gone on with a command meanwhile.
    #[error("another instance has gone on with the command")]
    Overtaken,
    /// The unit of work itself panicked.
    #[error("the unit of work panicked; see the service's log for where")]
    Panicked(#[source] tokio::task::JoinError),
}

/// The author's own error, as the handler returned it.
pub(crate) type HandlerSource = Box<dyn StdError + Send + Sync>;

/// The right way to go on after a failed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Disposition {
    /// Two transactions met: the same again will do.
    Collision,
    /// Another transaction holds a row for longer than this one waits: no use in trying again at once.
    Held,
    /// Another transaction is at work on the same command: later, and its answer is there.
    Elsewhere,
    /// The database is not there: later.
    Down,
    /// The database only reads, as a standby does: later, on another connection.
    ReadsOnly,
    /// A table is missing or forbidden: later, when an operator has created or granted it; no command is at fault.
    Unready,
    /// The database is there and has run out of something: later, and no command is at fault.
    Exhausted,
    /// A handler did not end.
    Overdue,
    /// Something in the batch is wrong.
    Other,
}

/// How the names of the inbox's own functions begin.
const OF_THE_INBOX: &str = "function inbox_";

/// Sorts an error of the driver's.
pub(crate) fn classify(error: &Error) -> Disposition {
    match redress_postgres::classify(error) {
        FailureClass::Collision => Disposition::Collision,
        FailureClass::Held => Disposition::Held,
        FailureClass::ReadsOnly => Disposition::ReadsOnly,
        FailureClass::Down => Disposition::Down,
        FailureClass::Exhausted => Disposition::Exhausted,
        FailureClass::Unready => Disposition::Unready,
        FailureClass::Refused if lacks_inbox_function(error) => Disposition::Unready,
        // A handler's statement that took too long is the handler's own affair.
        FailureClass::CutOff | FailureClass::Closed | FailureClass::Refused => Disposition::Other,
    }
}

/// A function of the inbox is made by `redress migrate`; any other one that is unknown is a mistake in the statement.
fn lacks_inbox_function(error: &Error) -> bool {
    error.as_database_error().is_some_and(|database| {
        database.code().as_deref() == Some("42883") && database.message().contains(OF_THE_INBOX)
    })
}

/// Sorts a handler's own error, which may wrap the database's.
pub(crate) fn classify_handler_error(error: &(dyn StdError + 'static)) -> Disposition {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<Error>().map(classify) {
            Some(Disposition::Other) | None => next = error.source(),
            Some(disposition) => return disposition,
        }
    }
    Disposition::Other
}

impl UnitError {
    /// The error of a statement that inserts a key, and waits for a transaction that has inserted it before.
    pub(crate) fn of_claim(error: Error) -> Self {
        match classify(&error) {
            Disposition::Held => Self::Elsewhere(error),
            Disposition::Collision
            | Disposition::Elsewhere
            | Disposition::Down
            | Disposition::ReadsOnly
            | Disposition::Unready
            | Disposition::Exhausted
            | Disposition::Overdue
            | Disposition::Other => Self::Database(error),
        }
    }

    /// The error of a batch in which a handler has failed, if its error says that the whole transaction is lost or that
    /// no command is at fault; else the handler's error, which fails its own command alone.
    pub(crate) fn of_handler(error: HandlerError) -> Result<HandlerError, Self> {
        match classify_handler_error(&*error.0) {
            Disposition::Collision => Err(Self::Collision(error.0)),
            Disposition::Held => Err(Self::Held(error.0)),
            Disposition::Exhausted => Err(Self::Exhausted(error.0)),
            Disposition::Unready => Err(Self::Unready(error.0)),
            Disposition::Elsewhere
            | Disposition::Down
            | Disposition::ReadsOnly
            | Disposition::Overdue
            | Disposition::Other => Ok(error),
        }
    }

    /// The way to go on.
    pub(crate) fn disposition(&self) -> Disposition {
        match self {
            // Nothing was sent yet, so whatever it is, it passes.
            Self::Unreachable(error) => match classify(error) {
                Disposition::ReadsOnly => Disposition::ReadsOnly,
                Disposition::Collision
                | Disposition::Held
                | Disposition::Elsewhere
                | Disposition::Down
                | Disposition::Unready
                | Disposition::Exhausted
                | Disposition::Overdue
                | Disposition::Other => Disposition::Down,
            },
            Self::Database(error) => classify(error),
            Self::Elsewhere(_) | Self::Overtaken => Disposition::Elsewhere,
            Self::Collision(_) | Self::NotAlone | Self::AnsweredMeanwhile => Disposition::Collision,
            Self::Held(_) => Disposition::Held,
            Self::Exhausted(_) => Disposition::Exhausted,
            Self::Unready(_) => Disposition::Unready,
            Self::Overdue { .. } => Disposition::Overdue,
            Self::Inbox(_) | Self::Panicked(_) => Disposition::Other,
        }
    }

    /// Returns true if it failed before anything was sent to the database, so that no command can be at fault.
    pub(crate) const fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable(_))
    }

    /// Tells if a command of the batch may be at fault.
    pub(crate) fn counts_as_attempt(&self) -> CountsAsAttempt {
        match self.disposition() {
            _ if self.is_unreachable() => CountsAsAttempt::No,
            Disposition::Exhausted
            | Disposition::Elsewhere
            | Disposition::Unready
            | Disposition::ReadsOnly => CountsAsAttempt::No,
            Disposition::Collision
            | Disposition::Held
            | Disposition::Down
            | Disposition::Overdue
            | Disposition::Other => CountsAsAttempt::Yes,
        }
    }

    /// The error and its causes in one line, for people.
    pub(crate) fn chain(&self) -> String {
        with_causes(self)
    }

    /// The remedy for a table that is missing or forbidden, for people; none for another error.
    pub(crate) fn remedy(&self) -> Option<&'static str> {
        if self.disposition() != Disposition::Unready {
            return None;
        }
        Some(if self.chain().contains("permission denied") {
            "GRANT the right to this role; everything goes on by itself then"
        } else {
            "bring the service's tables up to date (`redress migrate`); everything goes on by itself then"
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a service's own error wraps the database's.
    #[derive(Debug, Error)]
    #[error("the account could not be read")]
    struct Wrapped(#[source] Error);

    #[test]
    fn database_error_is_found_under_other_errors() {
        assert_eq!(classify_handler_error(&Error::PoolTimedOut), Disposition::Down);
        assert_eq!(classify_handler_error(&Wrapped(Error::PoolTimedOut)), Disposition::Down);
        assert_eq!(classify_handler_error(&Wrapped(Error::RowNotFound)), Disposition::Other);
    }

    #[test]
    fn unreachable_database_is_down_and_broken_unit_is_not() {
        assert_eq!(UnitError::Unreachable(Error::RowNotFound).disposition(), Disposition::Down);
        assert_eq!(
            UnitError::Unreachable(redress_postgres::only_reads()).disposition(),
            Disposition::ReadsOnly
        );
        assert_eq!(UnitError::from(Error::PoolTimedOut).disposition(), Disposition::Down);
        assert_eq!(UnitError::Inbox("odd".to_owned()).disposition(), Disposition::Other);
    }

    #[test]
    fn unit_error_says_its_cause_once() {
        let held = UnitError::Held(Box::new(Wrapped(Error::RowNotFound)));
        assert_eq!(
            held.chain(),
            "a handler waited in vain for a row that another transaction holds: the account could not be read: no rows \
             returned by a query that expected to return at least one row"
        );
        assert_eq!(UnitError::from(Error::PoolClosed).chain(), Error::PoolClosed.to_string());
    }
}
