//! Waits for a database, but not for ever.
//!
//! The other end of a connection may vanish without a word, and whatever waits for it would wait as long as the network
//! pleases. A connection that is given up goes back to its pool, which closes it.

use std::io::ErrorKind;
use std::time::Duration;

use sqlx::Error;
use tokio::time::timeout;

/// Waits for an answer of the database for at most `limit`.
///
/// # Errors
/// That of the answer, or [`silence`] if it said nothing in time.
pub async fn answered<T, E: From<Error>>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, E> {
    timeout(limit, answer).await.unwrap_or_else(|_| Err(silence(limit).into()))
}

/// The error of a database that has said nothing for so long.
pub fn silence(limit: Duration) -> Error {
    let message = format!("the database was silent for {limit:?}; the connection is given up");
    Error::Io(std::io::Error::new(ErrorKind::TimedOut, message))
}
