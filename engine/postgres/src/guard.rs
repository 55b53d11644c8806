//! Which connections a pool may keep.
//!
//! After a failover the address of a database may point at the demoted primary for a while. A session that was opened
//! then answers every read, and refuses every write, for as long as it lives; so it must not get into a pool, and those
//! that are in it must go all together.

use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, Error, PgConnection, PgPool, Row as _};

use crate::error::{OnlyReads, is_of_a_reader};
use crate::silence::answered;

/// How long a connection that comes back may take to answer.
pub const CLEAN_TIME_MAX: Duration = Duration::from_secs(5);

/// Refuses a connection that only reads.
///
/// # Errors
/// If it does, or if it does not answer.
pub async fn refuse_readers(connection: &mut PgConnection) -> Result<(), Error> {
    let row = sqlx::raw_sql(
        "SELECT pg_is_in_recovery() OR current_setting('transaction_read_only')::boolean AS only_reads",
    )
    .fetch_one(connection)
    .await?;
    if row.try_get("only_reads")? { Err(only_reads()) } else { Ok(()) }
}

/// The error of a connection that only reads.
pub fn only_reads() -> Error {
    Error::AnyDriverError(Box::new(OnlyReads))
}

/// Makes a connection fit for its next user, or fails: then it is to be closed.
///
/// A cancelled `begin` can leave a transaction open in sqlx 0.9.0. A bare ROLLBACK without a transaction would leave a
/// warning in the server's log each time; this pair leaves one only if there was something to end. A standby refuses
/// it, because it asks for a transaction that writes. A connection that does not even answer this is one on which a
/// statement was waited for in vain.
///
/// # Errors
/// If the connection cannot be used any more.
pub async fn clean(connection: &mut PgConnection) -> Result<(), Error> {
    let cleaned = sqlx::raw_sql("BEGIN READ WRITE; ROLLBACK").execute(connection);
    answered(CLEAN_TIME_MAX, cleaned).await.map(drop)
}

/// The moment before which connections were opened that are used no more, and the moment at which a new one was refused.
#[derive(Clone, Debug, Default)]
pub struct Cutoff(Arc<Mutex<Moments>>);

#[derive(Debug, Default)]
struct Moments {
    given_up: Option<Instant>,
    reader_refused: Option<Instant>,
}

impl Cutoff {
    /// Gives up all connections that are open now.
    ///
    /// # Panics
    /// Never: no thread panics while holding the moment.
    pub fn give_up_all(&self) {
        self.moments().given_up = Some(Instant::now());
    }

    /// Refuses a connection that only reads, and remembers it: the pool itself tries again until its caller's time is
    /// over, and then says no more than that.
    ///
    /// # Errors
    /// As [`refuse_readers`].
    pub async fn refuse_readers(&self, connection: &mut PgConnection) -> Result<(), Error> {
        let admitted = refuse_readers(connection).await;
        if admitted.as_ref().is_err_and(is_of_a_reader) {
            self.moments().reader_refused = Some(Instant::now());
        }
        admitted
    }

    /// Returns true if a connection was refused since this moment because it only reads.
    pub fn has_refused_reader_since(&self, moment: Instant) -> bool {
        self.moments().reader_refused.is_some_and(|refused| refused >= moment)
    }

    fn moments(&self) -> MutexGuard<'_, Moments> {
        self.0.lock().expect("no thread panics while it holds the moments")
    }

    /// Returns true if a connection of this age may be used.
    ///
    /// # Panics
    /// Never: no thread panics while holding the moment.
    pub fn admits(&self, age: Duration) -> bool {
        let moment = self.moments().given_up;
        moment.is_none_or(|moment| age < moment.elapsed())
    }
}

/// The options of a pool that keeps only connections which can be used: one that only reads is not let in, one that was given
/// up ([`Cutoff`]) or does not come back clean is closed. One that has rested for `idle_before_ping` is asked for a sign of
/// life before it is handed out.
pub fn guarded_pool(cutoff: &Cutoff, idle_before_ping: Duration) -> PgPoolOptions {
    let (opened, before, after) = (cutoff.clone(), cutoff.clone(), cutoff.clone());
    PgPoolOptions::new()
        .after_connect(move |connection, _| {
            let cutoff = opened.clone();
            Box::pin(async move { cutoff.refuse_readers(connection).await })
        })
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            let cutoff = before.clone();
            Box::pin(async move {
                if !cutoff.admits(meta.age) {
                    return Ok(false);
                }
                if meta.idle_for >= idle_before_ping {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        .after_release(move |connection, meta| {
            let cutoff = after.clone();
            Box::pin(async move { Ok(cutoff.admits(meta.age) && clean(connection).await.map(|()| true)?) })
        })
}

/// Closes the idle connections of a pool that may be another's, without a hook of ours.
pub fn purge(pool: &PgPool) {
    for _ in 0..pool.num_idle() {
        let Some(connection) = pool.try_acquire() else { break };
        drop(connection.detach());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cutoff_admits_no_connection_opened_before_it() {
        let cutoff = Cutoff::default();
        assert!(cutoff.admits(Duration::from_secs(1_000)));
        cutoff.give_up_all();
        assert!(!cutoff.admits(Duration::from_secs(1)), "it was open before");
        assert!(cutoff.admits(Duration::ZERO), "it was opened since");
    }
}
