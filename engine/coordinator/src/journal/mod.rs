//! The journal on Postgres: the only place in this crate that says `sqlx`.
//!
//! Authoritative for every saga. Each unit of work is one short READ COMMITTED transaction in a task of its own, so
//! that nobody's cancellation can reach its `begin` or its `commit`; row locks are taken in the order of the ids.
//!
//! Connections for the work pin the plan: the cached generic plan of `UPDATE … FROM unnest(…)` turned bad as the table
//! grew (measured: ten times slower), and with sequential scans, hash and merge joins off it stays the right one.

mod databases;
mod definitions;
mod errors;
mod faults;
mod reads;
mod starts;
mod unit;
mod upkeep;

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::Duration;

use sqlx::postgres::PgPoolOptions;
use sqlx::{Connection as _, PgPool};
use tokio::time::timeout;

use crate::config::Config;

pub use databases::ensure_database;
pub use definitions::RegisterError;
pub use errors::JournalError;
pub use faults::ListedFault;
pub use reads::{HistoryRow, ListFilter, SagaRow};
pub(crate) use starts::insert;
pub use upkeep::{OpenSagas, UnderWay};

/// A connection of the caller's, with a transaction open on it.
pub type Connection = sqlx::PgConnection;

/// A statement for people may search; it must not melt the database.
const READ_STATEMENT_TIMEOUT_MS: u32 = 5_000;
/// A connection for the work that rested so long is asked whether it still lives: a restarted database closes it unseen.
/// Under load that would be a round trip more per batch, and a unit of work that fails is tried again anyway; reads are
/// not, so their connections are always asked.
const IDLE_BEFORE_PING: Duration = Duration::from_secs(1);
/// A unit of work that takes longer is stuck behind something.
const WORK_STATEMENT_TIMEOUT_MS: u32 = 30_000;
/// A unit of work holds its rows for milliseconds; whoever holds one for longer is stuck, or is a person.
const LOCK_TIMEOUT_MS: u32 = 2_000;
/// How long a connection that comes back may take to answer.
const CLEAN_TIME_MAX: Duration = Duration::from_secs(5);

/// The journal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PgJournal {
    pub(crate) work: PgPool,
    pub(crate) read: PgPool,
    /// Whether there are standing faults to look at, as far as is known; see `faults`.
    pub(crate) fault_knowledge: Arc<AtomicU64>,
    pub(crate) allow_faults: bool,
    unit_time_max: Duration,
    read_time_max: Duration,
}

impl PgJournal {
    /// Connects to the journal's database.
    ///
    /// # Errors
    /// [`JournalError`] if there is no connection.
    pub async fn connect(config: &Config) -> Result<Self, JournalError> {
        let work = format!(
            "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
             SET plan_cache_mode = force_generic_plan; SET jit = off; {}",
            session(WORK_STATEMENT_TIMEOUT_MS)
        );
        let read = session(READ_STATEMENT_TIMEOUT_MS);
        Ok(Self {
            work: pool(config, config.work_connections, work, IDLE_BEFORE_PING).await?,
            read: pool(config, config.read_connections, read, Duration::ZERO).await?,
            fault_knowledge: Arc::new(AtomicU64::new(faults::MAY_BE_SOME)),
            allow_faults: config.allow_faults,
            unit_time_max: config.unit_time_max,
            read_time_max: config.read_time_max,
        })
    }

    /// Creates the journal's tables, or brings them up to date.
    ///
    /// # Errors
    /// [`JournalError::Migrate`] if the database refuses.
    pub async fn migrate(&self) -> Result<(), JournalError> {
        let mut migrator = sqlx::migrate!("../../migrations/coordinator");
        migrator.dangerous_set_table_name("_redress_coordinator_migrations");
        // A connection without our time limits: another coordinator may be migrating, and a large index takes its time.
        let options = self.read.connect_options();
        let mut connection =
            sqlx::PgConnection::connect_with(&options).await.map_err(JournalError::of_connecting)?;
        migrator.run(&mut connection).await.map_err(JournalError::Migrate)?;
        // The work is done and committed.
        let _ = connection.close().await;
        Ok(())
    }

    /// Whether the database answers.
    ///
    /// # Errors
    /// [`JournalError`] if it does not.
    pub async fn ping(&self) -> Result<(), JournalError> {
        self.reading(sqlx::query("SELECT 1").execute(&self.read)).await.map(drop)
    }

    /// Whether what failed may have failed by its own fault, and the members of a batch may do better alone: not if the
    /// database is not there.
    pub(crate) async fn may_fail_less_alone(&self, error: &JournalError) -> bool {
        match error {
            JournalError::Held(_)
            | JournalError::Collision(_)
            | JournalError::Migrate(_)
            | JournalError::Refused(_)
            | JournalError::Unreadable(_)
            | JournalError::Panicked => true,
            // A batch may also be too large for its connection, which ends then.
            JournalError::Unavailable(_) | JournalError::CommitUnknown(_) => self.ping().await.is_ok(),
        }
    }

    /// Waits for the answer to a question, but not for ever.
    async fn reading<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T, JournalError>
    where
        JournalError: From<E>,
    {
        within(self.read_time_max, answer).await
    }

    /// Waits for a statement of the work, but not for ever.
    async fn working<T, E>(&self, answer: impl Future<Output = Result<T, E>>) -> Result<T, JournalError>
    where
        JournalError: From<E>,
    {
        within(self.unit_time_max, answer).await
    }

    /// Carries out a unit of work in a task of its own, because nobody's cancellation may reach its `begin` or its
    /// `commit`; but not for ever. One that is given up has written or it has not.
    async fn unit<T: Send + 'static>(
        &self,
        unit: impl Future<Output = Result<T, JournalError>> + Send + 'static,
    ) -> Result<T, JournalError> {
        let limit = self.unit_time_max;
        let given_up = move |_| Err(JournalError::CommitUnknown(silence(limit)));
        let unit = tokio::spawn(async move { timeout(limit, unit).await.unwrap_or_else(given_up) });
        unit.await.unwrap_or(Err(JournalError::Panicked))
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.work.close().await;
        self.read.close().await;
    }
}

/// Waits so long; what is given up then goes back to the pool, which closes it.
async fn within<T, E>(limit: Duration, answer: impl Future<Output = Result<T, E>>) -> Result<T, JournalError>
where
    JournalError: From<E>,
{
    Ok(timeout(limit, answer).await.map_err(|_| silence(limit))??)
}

/// The other end of a connection has vanished without a word, or is stuck.
fn silence(limit: Duration) -> sqlx::Error {
    let message = format!("the database was silent for {limit:?}; the connection is given up");
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::TimedOut, message))
}

fn session(statement_timeout_ms: u32) -> String {
    format!(
        "SET statement_timeout = {statement_timeout_ms}; SET lock_timeout = {LOCK_TIMEOUT_MS}; \
         SET idle_in_transaction_session_timeout = '30s'; SET client_min_messages = error"
    )
}

async fn pool(
    config: &Config,
    connections: u32,
    settings: String,
    idle_before_ping: Duration,
) -> Result<PgPool, JournalError> {
    let settings: Arc<str> = settings.into();
    let pool = PgPoolOptions::new()
        .max_connections(connections)
        .acquire_timeout(config.acquire_timeout)
        .max_lifetime(Duration::from_secs(1_800))
        .after_connect(move |connection, _| {
            let settings = settings.clone();
            Box::pin(async move {
                sqlx::raw_sql(sqlx::AssertSqlSafe(settings.to_string())).execute(connection).await.map(drop)
            })
        })
        .test_before_acquire(false)
        .before_acquire(move |connection, meta| {
            Box::pin(async move {
                if meta.idle_for >= idle_before_ping {
                    connection.ping().await?;
                }
                Ok(true)
            })
        })
        // A cancelled `begin` can leave a transaction open in sqlx 0.9.0. A bare ROLLBACK without a transaction would
        // leave a warning in the server's log each time; this pair leaves one only if there was something to end. A
        // connection that does not even answer this is closed: one on which something was waited for in vain.
        .after_release(|connection, _| {
            Box::pin(async move {
                let cleaned =
                    timeout(CLEAN_TIME_MAX, sqlx::raw_sql("BEGIN; ROLLBACK").execute(connection)).await;
                cleaned.unwrap_or_else(|_| Err(silence(CLEAN_TIME_MAX))).map(|_| true)
            })
        })
        .connect(&config.database_url)
        .await
        .map_err(JournalError::of_connecting)?;
    Ok(pool)
}
