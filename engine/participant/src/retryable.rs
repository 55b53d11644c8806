//! Which database errors mean what.

use std::time::Duration;

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
    /// The database is not there: later.
    Down,
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
    /// The inbox is not as this batch left it.
    #[error("the inbox changed under the batch: {0}")]
    Inbox(String),
    /// No answer came in time, neither from the database nor from a handler.
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
            Some(Mishap::Inbox(_) | Mishap::Panic(_)) | None => Trouble::Other,
        },
        Error::Database(database) => match database.code().as_deref() {
            // Serialization failure, deadlock, lock not available.
            Some("40001" | "40P01" | "55P03") => Trouble::Collision,
            // Connection exceptions, shutdown, start-up, crash; no disk, no memory, no connections; a standby.
            Some(code) if ["08", "57P", "53", "25006"].iter().any(|class| code.starts_with(class)) => {
                Trouble::Down
            }
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

/// Whether nothing was asked yet when it failed, so that no command can be at fault.
pub(crate) fn is_unreachable(error: &Error) -> bool {
    matches!(error, Error::AnyDriverError(inner)
        if matches!(inner.downcast_ref(), Some(Mishap::Unreachable(_))))
}

/// Whether a handler's own error says that two transactions met: then the same again will do, and nobody failed.
pub(crate) fn is_collision(error: &(dyn std::error::Error + 'static)) -> bool {
    let mut next = Some(error);
    while let Some(error) = next {
        if error.downcast_ref::<Error>().is_some_and(|error| sort(error) == Trouble::Collision) {
            return true;
        }
        next = error.source();
    }
    false
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
        assert!(is_collision(&collision()));
        assert!(is_collision(&Wrapped(collision())));
        assert!(!is_collision(&Wrapped(Error::RowNotFound)));
    }

    #[test]
    fn what_cannot_be_reached_is_down_and_what_is_broken_is_not() {
        assert_eq!(sort(&Mishap::Unreachable(Error::RowNotFound).into()), Trouble::Down);
        assert_eq!(sort(&Error::PoolTimedOut), Trouble::Down);
        assert_eq!(sort(&Mishap::Panic("on fire".to_owned()).into()), Trouble::Other);
        assert_eq!(sort(&Mishap::Inbox("odd".to_owned()).into()), Trouble::Other);
    }
}
