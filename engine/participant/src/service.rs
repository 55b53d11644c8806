//! A service as a thing to run: name, tables, handlers.
//!
//! `redress::app(..).services(..)` takes it, so that the same service runs inside `redress demo` and as a process of
//! its own.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redress_core::Phase;
use redress_postgres::{Cutoff, DatabaseError, Migrations, Target, bring_up_to_date, guarded_pool};
use redress_wire::Wire;
use sqlx::PgPool;
use sqlx::migrate::Migrator;
use thiserror::Error;
use tokio_util::sync::CancellationToken;

use crate::ack_mode::AckMode;
use crate::config::{ParticipantConfig, Stats};
use crate::migrations::{ensure_schema, inbox_migrator};
use crate::participant::Participant;
use crate::runs::{Runs, runnable};
use crate::serve_error::ServeError;

/// How long a lane waits for a connection before the commands are put back.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection rests that no command needs: a rush opens many, and the server of many services has few.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// Session settings of a participant's connections, where it has sessions of its own: a session that hangs must not
/// hold its keys for ever. A transaction with handlers may be idle for as long as they may take ([`crate::store::begin`]).
/// Nothing here touches the plans of the handlers' statements, which are their own affair;
/// those of the inbox are pinned by the functions that hold them (`engine/participant/migrations/0005_inbox_functions.sql`).
const SETTINGS: [(&str, &str); 4] = [
    ("statement_timeout", "30000"),
    ("lock_timeout", "10000"),
    ("idle_in_transaction_session_timeout", "30000"),
    ("client_min_messages", "error"),
];

/// A runnable service.
#[derive(Clone)]
pub struct Service {
    name: &'static str,
    migrator: Arc<dyn Fn() -> Option<Migrator> + Send + Sync>,
    pub(crate) runs: Arc<dyn Runs>,
}

/// The handlers of a whole service: its name, and how they are registered.
///
/// `#[service("..")]` of `redress-macros` writes it from the `impl` that holds the handlers; [`Service::of`] takes it.
///
/// ```
/// # use redress_macros::Command;
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, JsonSchema, Command)]
/// # #[command(service = "payment", name = "charge", reply = PaymentCharged)]
/// # pub struct ChargePayment { account: i64, amount: i64 }
/// # #[derive(Serialize, Deserialize, JsonSchema)]
/// # pub struct PaymentCharged { left: i64 }
/// # #[derive(Serialize, Deserialize, JsonSchema, Command)]
/// # #[command(service = "payment", name = "refund", compensates = ChargePayment)]
/// # pub struct RefundPayment { account: i64, amount: i64 }
/// use redress_macros::service;
/// use redress_participant::{Answer, Service, Tx, Undone, done, reject, sqlx};
///
/// #[derive(Clone)]
/// struct Payments;
///
/// #[service("payment")]
/// impl Payments {
///     #[action]
///     async fn charge(&self, tx: &mut Tx<'_>, command: ChargePayment) -> Answer<PaymentCharged> {
///         let left = sqlx::query_scalar(
///             "UPDATE account SET balance = balance - $2 WHERE id = $1 AND balance >= $2 RETURNING balance",
///         );
///         match left.bind(command.account).bind(command.amount).fetch_optional(tx).await? {
///             Some(left) => done(PaymentCharged { left }),
///             None => reject("insufficient-funds", "the account does not hold that much"),
///         }
///     }
///
///     #[compensation(of = charge)]
///     async fn refund(&self, tx: &mut Tx<'_>, command: RefundPayment) -> Undone<()> {
///         let refund = sqlx::query("UPDATE account SET balance = balance + $2 WHERE id = $1");
///         refund.bind(command.account).bind(command.amount).execute(tx).await?;
///         Ok(())
///     }
/// }
///
/// let service = Service::of(Payments, || None);
/// assert_eq!(service.name(), "payment");
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not say which handlers it has",
    label = "not the handlers of a service",
    note = "write `#[service(\"..\")]` above the `impl {Self}` that holds the handlers, or `impl ServiceHandlers for {Self}`"
)]
pub trait ServiceHandlers: Sized + Send + Sync + 'static {
    /// The service; a [`Name`](redress_core::Name).
    const SERVICE: &'static str;

    /// Registers every handler.
    fn register(participant: Participant<Self>) -> Participant<Self>;
}

/// How a service is run.
#[derive(Clone, Debug, Default)]
pub struct ServiceConfig {
    /// Tuning of the participant.
    pub participant: ParticipantConfig,
    /// The treatment of tables that are not up to date.
    pub migrations: Migrations,
}

/// The tables of a service could not be created.
#[derive(Debug, Error)]
#[error("the tables of service `{service}` are not as it needs them")]
pub struct MigrateError {
    /// The service.
    pub service: &'static str,
    /// The error of the migration.
    pub source: redress_postgres::MigrateError,
}

/// A service could not run.
#[derive(Debug, Error)]
pub enum ServiceError {
    /// Its database cannot be used.
    #[error("service `{service}` cannot use its database")]
    Database {
        /// The service.
        service: &'static str,
        /// The reason.
        source: DatabaseError,
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
        Self { name, migrator: Arc::new(migrator), runs: runnable(name, register, handlers) }
    }

    /// The service that `handlers` are for, under their own name: `migrator` makes its tables.
    pub fn of<S: ServiceHandlers + Clone>(
        handlers: S,
        migrator: impl Fn() -> Option<Migrator> + Send + Sync + 'static,
    ) -> Self {
        Self::new(S::SERVICE, migrator, S::register, handlers)
    }

    /// The service that `handlers` are for, which owns no tables: all that it has in a database is its inbox, and only if a
    /// handler needs one. Any Postgres will do; in `redress up` it is the coordinator's server.
    pub fn without_tables<S: ServiceHandlers + Clone>(handlers: S) -> Self {
        Self::of(handlers, || None)
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Returns true if it has a handler for the command of this name in this phase.
    pub fn handles(&self, phase: Phase, command: &str) -> bool {
        self.runs.handles(phase, command)
    }

    /// When a command of this name is acknowledged, or a notification; `None` if it has neither a handler nor a listener
    /// here. The wiring of a program holds it against the delivery that a step wants.
    pub fn ack_mode(&self, command: &str) -> Option<AckMode> {
        self.runs.ack_mode(command)
    }

    /// Returns true if any of its handlers needs a database. One that has only handlers that may run again, and listeners
    /// without a transaction, needs none: [`serve_without_database`](Self::serve_without_database).
    pub fn needs_database(&self) -> bool {
        self.runs.needs_database()
    }

    /// Creates its tables and its inbox, or brings them up to date; or only looks whether they are.
    ///
    /// # Errors
    /// [`MigrateError`] if the database refuses, or if they are behind and are not to be touched.
    pub async fn migrate(&self, pool: &PgPool, migrations: Migrations) -> Result<(), MigrateError> {
        let failed = |source| MigrateError { service: self.name, source };
        let user = pool.connect_options().get_username().to_owned();
        let mut connection = pool.acquire().await.map_err(|error| failed(error.into()))?;
        match migrations {
            Migrations::Apply => {
                ensure_schema(&mut connection).await.map_err(|error| failed(error.into()))?;
            }
            Migrations::Verify => {}
        }
        bring_up_to_date(&mut connection, inbox_migrator(), migrations, &user).await.map_err(failed)?;
        if let Some(migrator) = (self.migrator)() {
            bring_up_to_date(&mut connection, migrator, migrations, &user).await.map_err(failed)?;
        }
        Ok(())
    }

    /// Connects to the service's database, with the settings that a participant needs, and with as many connections as it
    /// may use with this tuning: one for each lane and a few for the inbox, and one for each command that may run beside
    /// the batches, 48 in all or one for each command. They are opened when they are needed.
    ///
    /// # Errors
    /// [`ServiceError::Database`] says what is wrong with it.
    pub async fn connect(
        &self,
        database_url: &str,
        config: &ParticipantConfig,
    ) -> Result<PgPool, ServiceError> {
        let unusable = |source| ServiceError::Database { service: self.name, source };
        let target = Target::parse(database_url).map_err(unusable)?;
        let sessions = target.inspect().await.map_err(unusable)?;
        // A connection that has been lost costs a batch, so each is asked for a sign of life.
        let options = guarded_pool(&Cutoff::default(), Duration::ZERO)
            .max_connections(self.runs.connections(config))
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .idle_timeout(IDLE_MAX);
        let pool = options.connect_with(target.connect_options(sessions, &SETTINGS)).await;
        pool.map_err(|error| unusable(target.fails(error)))
    }

    /// Connects, and brings the tables up to date: from then on it can serve.
    ///
    /// # Errors
    /// [`ServiceError`] says what is wrong with the database or the tables.
    pub async fn open(&self, database_url: &str, options: &ServiceConfig) -> Result<PgPool, ServiceError> {
        let pool = self.connect(database_url, &options.participant).await?;
        self.migrate(&pool, options.migrations).await?;
        Ok(pool)
    }

    /// Migrates and serves until `shutdown`; commands in flight are finished first.
    ///
    /// # Errors
    /// [`ServiceError`] if it cannot begin. Trouble that comes later is waited out.
    pub async fn run(
        &self,
        database_url: &str,
        wire: Wire,
        options: ServiceConfig,
        shutdown: CancellationToken,
    ) -> Result<(), ServiceError> {
        let pool = self.open(database_url, &options).await?;
        self.serve(pool, wire, options, shutdown).await
    }

    /// Serves on a pool of [`Service::open`] until `shutdown`.
    ///
    /// # Errors
    /// [`ServiceError::Serve`] if it cannot begin. Trouble that comes later is waited out.
    pub async fn serve(
        &self,
        pool: PgPool,
        wire: Wire,
        options: ServiceConfig,
        shutdown: CancellationToken,
    ) -> Result<(), ServiceError> {
        let (_, serving) = self.start(pool.clone(), wire, options.participant, shutdown);
        serving.await?;
        pool.close().await;
        Ok(())
    }

    /// Serves without a database until `shutdown`; commands in flight are finished first.
    ///
    /// # Errors
    /// [`ServiceError::Serve`] if a handler of it needs a database. Trouble that comes later is waited out.
    pub async fn serve_without_database(
        &self,
        wire: Wire,
        config: ParticipantConfig,
        shutdown: CancellationToken,
    ) -> Result<(), ServiceError> {
        let (_, serving) = self.start_without_database(wire, config, shutdown);
        Ok(serving.await?)
    }

    /// Begins to serve without a database; also gives its counters.
    pub fn start_without_database(
        &self,
        wire: Wire,
        config: ParticipantConfig,
        shutdown: CancellationToken,
    ) -> (Arc<Stats>, impl Future<Output = Result<(), ServeError>> + Send + 'static) {
        self.runs.start_without_database(wire, config, shutdown)
    }

    /// Begins to serve on an open pool; also gives its counters.
    pub fn start(
        &self,
        pool: PgPool,
        wire: Wire,
        config: ParticipantConfig,
        shutdown: CancellationToken,
    ) -> (Arc<Stats>, impl Future<Output = Result<(), ServeError>> + Send + 'static) {
        self.runs.start(pool, wire, config, shutdown)
    }
}
