//! Which database errors mean what.

use std::time::Duration;

use redress_core::IdempotencyKey;
use sqlx::Error;
use thiserror::Error;
use tokio::time::timeout;

/// Waits for the database, but not for ever: the other end of a connection may vanish without a word, and the lane
/// would wait as long as the network pleases. What is given up goes back to the pool, which closes it.
pub(crate) async fn answered<T>(
    limit: Duration,
    answer: impl Future<Output = Result<T, Error>>,
) -> Result<T, Error> {
    timeout(limit, answer).await.unwrap_or_else(|_| Err(Mishap::Silence(limit).into()))
}

/// What to do about a failed transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trouble {
    /// Two transactions met: the same again will do.
    Collision,
    /// Somebody holds a row for longer than is waited for it: no use in trying again at once.
    Held,
    /// Another transaction is at work on the same question: later, and its answer is there.
    Elsewhere,
    /// The database is not there: later.
    Down,
    /// The database is there and has run out of something: later, and no command is at fault.
    Exhausted,
    /// A handler did not end.
    Overdue,
    /// Something in the batch is wrong.
    Other,
}

/// A failure that is not the database's own.
#[derive(Debug, Error)]
pub(crate) enum Mishap {
    /// No transaction could be begun.
    #[error("the database cannot be reached: {0}")]
    Unreachable(sqlx::Error),
    /// A handler met another transaction and said so.
    #[error("a handler met another transaction: {0}")]
    Collision(String),
    /// A handler waited in vain for what another transaction holds, and said so.
    #[error("a handler waited in vain for a row that another transaction holds: {0}")]
    Held(String),
    /// Another transaction has claimed a key and keeps it.
    #[error("the same question is being handled elsewhere: {0}")]
    Elsewhere(Error),
    /// A handler was told that the database has run out of something, and said so.
    #[error("the database has run out of something: {0}")]
    Exhausted(String),
    /// A handler did not end; the commands that it was given.
    #[error(
        "the handler did not end within {0:?}; what it did was rolled back; have it give up earlier what it waits for, or \
         raise `handler_time_max`"
    )]
    Overdue(Duration, Vec<IdempotencyKey>),
    /// The inbox is not as this batch left it.
    #[error("the inbox changed under the batch: {0}")]
    Inbox(String),
    /// No answer came in time from the database.
    #[error("there was no answer for {0:?}; the connection is given up")]
    Silence(Duration),
    /// The unit of work itself panicked.
    #[error("the unit of work panicked: {0}")]
    Panic(String),
}

impl From<Mishap> for Error {
    fn from(mishap: Mishap) -> Self {
        Self::AnyDriverError(Box::new(mishap))
    }
}

/// Sorts what failed a transaction.
pub(crate) fn sort(error: &Error) -> Trouble {
    match error {
        Error::AnyDriverError(inner) => match inner.downcast_ref::<Mishap>() {
            Some(Mishap::Unreachable(_) | Mishap::Silence(_)) => Trouble::Down,
            Some(Mishap::Collision(_)) => Trouble::Collision,
            Some(Mishap::Held(_)) => Trouble::Held,
            Some(Mishap::Elsewhere(_)) => Trouble::Elsewhere,
            Some(Mishap::Exhausted(_)) => Trouble::Exhausted,
            Some(Mishap::Overdue(..)) => Trouble::Overdue,
            Some(Mishap::Inbox(_) | Mishap::Panic(_)) | None => Trouble::Other,
        },
        Error::Database(database) => match database.code().as_deref() {
            // Serialization failure, deadlock.
            Some("40001" | "40P01") => Trouble::Collision,
            // Lock not available.
            Some("55P03") => Trouble::Held,
            // No disk, no memory, no connections.
            Some(code) if code.starts_with("53") => Trouble::Exhausted,
            // Connection exceptions, shutdown, start-up, crash; a standby.
            Some(code) if ["08", "57P", "25006"].iter().any(|class| code.starts_with(class)) => Trouble::Down,
            Some(_) | None => Trouble::Other,
        },
        Error::Io(_)
        | Error::Tls(_)
        | Error::Protocol(_)
        | Error::PoolTimedOut
        | Error::PoolClosed
        | Error::WorkerCrashed => Trouble::Down,
        _ => Trouble::Other,
    }
}

/// What failed, for people: a mishap of ours without the variant of sqlx's error that carries it.
pub(crate) fn said(error: &Error) -> String {
    match error {
        Error::AnyDriverError(inner) => inner.to_string(),
        error => error.to_string(),
    }
}

/// Whether nothing was asked yet when it failed, so that no command can be at fault.
pub(crate) fn is_unreachable(error: &Error) -> bool {
    matches!(error, Error::AnyDriverError(inner)
        if matches!(inner.downcast_ref(), Some(Mishap::Unreachable(_))))
}

/// Of which commands a handler did not end.
pub(crate) fn overdue(error: &Error) -> Option<&[IdempotencyKey]> {
    match error {
        Error::AnyDriverError(inner) => match inner.downcast_ref() {
            Some(Mishap::Overdue(_, keys)) => Some(keys),
            _ => None,
        },
        _ => None,
    }
}

/// Sorts a handler's own error, which may wrap the database's.
pub(crate) fn sort_of_handler(error: &(dyn std::error::Error + 'static)) -> Trouble {
    let mut next = Some(error);
    while let Some(error) = next {
        match error.downcast_ref::<Error>().map(sort) {
            Some(Trouble::Other) | None => next = error.source(),
            Some(trouble) => return trouble,
        }
    }
    Trouble::Other
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As a service's own error wraps the database's.
    #[derive(Debug, Error)]
    #[error("the account could not be read")]
    struct Wrapped(#[source] Error);

    #[test]
    fn a_collision_is_found_under_other_errors() {
        let collision = || Error::from(Mishap::Collision("deadlock".to_owned()));
        assert_eq!(sort_of_handler(&collision()), Trouble::Collision);
        assert_eq!(sort_of_handler(&Wrapped(collision())), Trouble::Collision);
        assert_eq!(sort_of_handler(&Wrapped(Error::RowNotFound)), Trouble::Other);
    }

    #[test]
    fn what_cannot_be_reached_is_down_and_what_is_broken_is_not() {
        assert_eq!(sort(&Mishap::Unreachable(Error::RowNotFound).into()), Trouble::Down);
        assert_eq!(sort(&Error::PoolTimedOut), Trouble::Down);
        assert_eq!(sort(&Mishap::Panic("on fire".to_owned()).into()), Trouble::Other);
        assert_eq!(sort(&Mishap::Inbox("odd".to_owned()).into()), Trouble::Other);
    }
}
