//! A service as a thing to run: name, tables, handlers.
//!
//! What `redress::app(..).services(..)` takes, so that the same service runs inside `redress demo` and as a process
//! of its own.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use redress_wire::Wire;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use sqlx::postgres::PgPoolOptions;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::inbox_migrator;
use crate::retryable::answered;
use crate::serve::{Participant, ServeError};
use crate::settings::{ParticipantSettings, Stats};

/// How long a lane waits for a connection before the commands are put back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection that comes back may take to answer.
const CLEAN_MAX: Duration = Duration::from_secs(5);

type Serving = Pin<Box<dyn Future<Output = Result<(), ServeError>> + Send>>;
type Start =
    dyn Fn(PgPool, Wire, ParticipantSettings, CancellationToken) -> (Arc<Stats>, Serving) + Send + Sync;

/// A runnable service.
#[derive(Clone)]
pub struct Service {
    name: &'static str,
    migrator: Arc<dyn Fn() -> Option<Migrator> + Send + Sync>,
    start: Arc<Start>,
}

/// How a service is run.
#[derive(Clone, Debug, Default)]
pub struct ServiceOptions {
    /// Tuning of the participant.
    pub participant: ParticipantSettings,
}

/// The tables of a service could not be created.
#[derive(Debug, Error)]
#[error("the tables of service `{service}` could not be created or brought up to date")]
pub struct MigrateError {
    /// The service.
    pub service: &'static str,
    /// What the database said.
    pub source: sqlx::migrate::MigrateError,
}

/// A service could not run.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// No connection.
    #[error("service `{service}` has no connection to its database; check its URL and that the server runs")]
    Database {
        /// The service.
        service: &'static str,
        /// What the database said.
        source: sqlx::Error,
    },
    /// The tables are missing.
    #[error(transparent)]
    Migrate(#[from] MigrateError),
    /// It cannot be served.
    #[error(transparent)]
    Serve(#[from] ServeError),
}

impl Service {
    /// A service named `name`: `migrator` makes its tables, `register` names its handlers, `handlers` has them.
    pub fn new<S: Clone + Send + Sync + 'static>(
        name: &'static str,
        migrator: impl Fn() -> Option<Migrator> + Send + Sync + 'static,
        register: impl Fn(Participant<S>) -> Participant<S> + Send + Sync + 'static,
        handlers: S,
    ) -> Self {
        let start = move |pool: PgPool, wire: Wire, settings, shutdown: CancellationToken| {
            let participant = register(Participant::new(name, pool, wire).settings(settings));
            let stats = participant.stats();
            let handlers = handlers.clone();
            let serving: Serving =
                Box::pin(async move { participant.serve(handlers, shutdown.cancelled_owned()).await });
            (stats, serving)
        };
        Self { name, migrator: Arc::new(migrator), start: Arc::new(start) }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Creates its tables and its inbox, or brings them up to date.
    ///
    /// # Errors
    /// [`MigrateError`] if the database refuses.
    pub async fn migrate(&self, pool: &PgPool) -> Result<(), MigrateError> {
        let failed = |source| MigrateError { service: self.name, source };
        inbox_migrator().run(pool).await.map_err(failed)?;
        if let Some(migrator) = (self.migrator)() {
            migrator.run(pool).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Connects to the service's database, with the settings that a participant needs.
    ///
    /// # Errors
    /// [`ServiceError::Database`] if there is no connection.
    pub async fn connect(&self, database_url: &str, lanes: usize) -> Result<PgPool, ServiceError> {
        PgPoolOptions::new()
            .max_connections(u32::try_from(lanes).unwrap_or(1) + 1)
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .after_connect(|connection, _| Box::pin(prepare(connection)))
            .after_release(|connection, _| Box::pin(clean(connection)))
            .connect(database_url)
            .await
            .map_err(|source| ServiceError::Database { service: self.name, source })
    }

    /// Migrates and serves until `shutdown`; what is in flight is finished first.
    ///
    /// # Errors
    /// [`ServiceError`] if it cannot begin. Trouble that comes later is waited out.
    pub async fn run(
        &self,
        database_url: &str,
        wire: Wire,
        options: ServiceOptions,
        shutdown: CancellationToken,
    ) -> Result<(), ServiceError> {
        let pool = self.connect(database_url, options.participant.lanes).await?;
        self.migrate(&pool).await?;
        let (_, serving) = self.start(pool.clone(), wire, options.participant, shutdown);
        serving.await?;
        pool.close().await;
        Ok(())
    }

    /// Begins to serve on an open pool; also gives what it counts.
    pub fn start(
        &self,
        pool: PgPool,
        wire: Wire,
        settings: ParticipantSettings,
        shutdown: CancellationToken,
    ) -> (Arc<Stats>, impl Future<Output = Result<(), ServeError>> + Send + 'static) {
        (self.start)(pool, wire, settings, shutdown)
    }
}

/// Session settings of a participant's connections.
///
/// The planner keeps the plan that it made of a batch's statements while the tables were small; pinned to the
/// indexes, that plan stays good as they grow. A handler that wants other plans says `SET LOCAL`. And a transaction
/// that hangs must not hold its keys for ever.
async fn prepare(connection: &mut sqlx::PgConnection) -> Result<(), sqlx::Error> {
    sqlx::raw_sql(
        "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; SET jit = off; \
         SET default_transaction_isolation = 'read committed'; SET default_transaction_read_only = off; \
         SET statement_timeout = '30s'; SET lock_timeout = '10s'; \
         SET idle_in_transaction_session_timeout = '30s'; SET client_min_messages = error",
    )
    .execute(connection)
    .await
    .map(drop)
}

/// A cancelled `begin` can leave a transaction open in sqlx 0.9.0; the next user of the connection must not be in it.
/// A bare ROLLBACK without a transaction would leave a warning in the server's log each time; this pair leaves none.
///
/// A connection that does not even answer this is closed: it is one on which something was waited for in vain.
async fn clean(connection: &mut sqlx::PgConnection) -> Result<bool, sqlx::Error> {
    answered(CLEAN_MAX, sqlx::raw_sql("BEGIN; ROLLBACK").execute(connection)).await.map(|_| true)
}
