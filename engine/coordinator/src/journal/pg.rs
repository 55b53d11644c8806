//! The journal's connections, and how long each kind of query may take.

use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use std::time::{Duration, Instant};

use redress_postgres::{Cutoff, Leases, Migrations, Sessions, bring_up_to_date, only_reads, silence};
use sqlx::postgres::{PgConnectOptions, PgRow};
use sqlx::{Connection as _, PgPool};
use tokio::time::timeout;

use super::errors::{OpenJournalError, of_connecting};
use super::pools::Pools;
use crate::config::Config;
use crate::gathered::Gathered;
use crate::ports::JournalError;

/// The bit of the knowledge that says that there may be some; the rest counts the additions made here.
pub(super) const MAY_BE_SOME: u64 = 1;
/// How long readiness waits for its write: as long as a caller of the journal waits for a connection.
const READY_TIME_MAX: Duration = Duration::from_secs(3);

/// The journal. Cheap to clone.
#[derive(Clone, Debug)]
pub struct PgJournal {
    pub(crate) work: PgPool,
    pub(crate) read: PgPool,
    /// The same connections, for units of work and reads that follow each other closely.
    pub(super) work_leases: Leases,
    pub(super) read_leases: Leases,
    /// The callers that read single sagas.
    pub(super) saga_reads: Gathered<Arc<PgRow>, JournalError>,
    /// Connections for probes: clients never wait for these.
    pub(crate) probe: PgPool,
    pub(crate) sessions: Sessions,
    cutoff: Cutoff,
    plain: PgConnectOptions,
    /// Tells if there are standing faults to look at, as far as is known; see `faults`.
    pub(crate) fault_knowledge: Arc<AtomicU64>,
    pub(crate) allow_faults: bool,
    /// The form in which states are written, and the newest that is read.
    pub(crate) state_format: u32,
    unit_time_max: Duration,
    read_time_max: Duration,
}

impl PgJournal {
    /// Connects to the journal's database.
    ///
    /// # Errors
    /// [`OpenJournalError`] if there is no connection.
    pub async fn connect(config: &Config) -> Result<Self, OpenJournalError> {
        let Pools { work, read, probe, cutoff, sessions, plain } = Pools::open(config).await?;
        Ok(Self {
            work_leases: Leases::new(work.clone(), cutoff.clone()),
            read_leases: Leases::new(read.clone(), cutoff.clone()),
            work,
            read,
            probe,
            sessions,
            cutoff,
            plain,
            fault_knowledge: Arc::new(AtomicU64::new(MAY_BE_SOME)),
            allow_faults: config.allow_faults,
            state_format: config.state_format,
            saga_reads: Gathered::default(),
            unit_time_max: config.unit_time_max,
            read_time_max: config.read_time_max,
        })
    }

    /// Creates the journal's tables, or brings them up to date; or only checks that they are.
    ///
    /// # Errors
    /// [`OpenJournalError::Migrate`] if the database refuses, or if they are behind and are not to be touched.
    pub async fn migrate(&self, migrations: Migrations) -> Result<(), OpenJournalError> {
        let mut migrator = sqlx::migrate!("./migrations");
        migrator.dangerous_set_table_name("_redress_coordinator_migrations");
        // A connection without our time limits: another coordinator may be migrating, and a large index takes its time.
        let mut connection = sqlx::PgConnection::connect_with(&self.plain).await.map_err(of_connecting)?;
        bring_up_to_date(&mut connection, migrator, migrations, self.plain.get_username()).await?;
        // The work is done and committed.
        let _ = connection.close().await;
        Ok(())
    }

    /// Checks that the journal can be written: a standby, a full disk or a missing right fails this.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot.
    pub async fn ready(&self) -> Result<(), JournalError> {
        // A record of a few bytes that belongs to no table, and is committed as everything else is.
        let written = sqlx::query(
            "SELECT pg_logical_emit_message(true, 'redress', 'ready') \
             FROM (SELECT count(*) FROM (SELECT FROM sagas WHERE false FOR UPDATE) AS none) AS may_write",
        );
        let begun = Instant::now();
        let written = within(READY_TIME_MAX, written.execute(&self.probe)).await;
        // Connections that were opened meanwhile and refused are the reason why there was none in time.
        if written.is_err() && self.cutoff.has_refused_reader_since(begun) {
            return Err(JournalError::ReadsOnly(only_reads().into()));
        }
        self.noting(written).map(drop)
    }

    /// Returns true if the batch may have failed by its own fault, so that its members may do better alone: not if the
    /// database is not there.
    pub(crate) async fn should_isolate(&self, error: &JournalError) -> bool {
        match error {
            JournalError::ReadsOnly(_) => false,
            JournalError::Held(_)
            | JournalError::Collision(_)
            | JournalError::Refused(_)
            | JournalError::Unreadable(_)
            | JournalError::Newer { .. }
            | JournalError::Panicked => true,
            // A batch may also be too large for its connection, which ends then.
            JournalError::Unavailable(_) | JournalError::CommitUnknown(_) => self.ready().await.is_ok(),
        }
    }

    /// Waits for the answer to a query, but not for ever.
    pub(super) fn reading<T, E: Into<JournalError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, JournalError>> {
        self.answer_within(self.read_time_max, answer)
    }

    /// Waits for a statement of the work, but not for ever.
    pub(super) fn working<T, E: Into<JournalError>>(
        &self,
        answer: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, JournalError>> {
        self.answer_within(self.unit_time_max, answer)
    }

    /// A query that is under way takes some kilobytes. It lies on the heap from the call on, here and below: else the
    /// future of each caller that may ever ask one would have its size, and be copied with it.
    fn answer_within<T, E: Into<JournalError>>(
        &self,
        limit: Duration,
        answer: impl Future<Output = Result<T, E>>,
    ) -> impl Future<Output = Result<T, JournalError>> {
        let answer = Box::pin(answer);
        async move { self.noting(within(limit, answer).await) }
    }

    /// Carries out a unit of work in a task of its own, because no caller's cancellation may reach its `begin` or its
    /// `commit`; but not for ever. One that is given up has written or it has not.
    pub(super) fn unit<T: Send + 'static>(
        &self,
        unit: impl Future<Output = Result<T, JournalError>> + Send + 'static,
    ) -> impl Future<Output = Result<T, JournalError>> {
        let (limit, unit) = (self.unit_time_max, Box::pin(unit));
        let given_up = move |_| Err(JournalError::CommitUnknown(silence(limit).into()));
        async move {
            let unit = tokio::spawn(async move { timeout(limit, unit).await.unwrap_or_else(given_up) });
            self.noting(unit.await.unwrap_or(Err(JournalError::Panicked)))
        }
    }

    /// One connection that only reads says that all of them may: they were opened before a failover. The next ones are
    /// checked when they are opened.
    pub(super) fn noting<T>(&self, result: Result<T, JournalError>) -> Result<T, JournalError> {
        if let Err(JournalError::ReadsOnly(error)) = &result {
            tracing::warn!(%error, "the journal's server only reads; all connections are given up");
            self.cutoff.give_up_all();
            [&self.work_leases, &self.read_leases].into_iter().for_each(Leases::close_resting);
            // Those that rest would go one by one otherwise, each when a caller acquires it.
            [&self.work, &self.read, &self.probe].into_iter().for_each(redress_postgres::purge);
        }
        result
    }

    /// Closes the connections.
    pub async fn close(&self) {
        [&self.work_leases, &self.read_leases].into_iter().for_each(Leases::close_resting);
        self.work.close().await;
        self.read.close().await;
        self.probe.close().await;
    }
}

/// Waits so long; a connection that is given up then goes back to the pool, which closes it.
async fn within<T, E: Into<JournalError>>(
    limit: Duration,
    answer: impl Future<Output = Result<T, E>>,
) -> Result<T, JournalError> {
    timeout(limit, answer).await.map_err(|_| silence(limit))?.map_err(Into::into)
}
