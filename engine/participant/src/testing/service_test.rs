//! A service under test: its database, and the steps that are sent to it.

use redress_core::{Command, Compensates, SagaId};
use redress_postgres::Migrations;
use sqlx::{AssertSqlSafe, Connection as _, PgConnection, PgPool};
use uuid::Uuid;

use super::bench::Bench;
use super::error::ServiceTestError;
use super::outcome::TestOutcome;
use super::step::{TestStep, of_undo, read};
use crate::config::ParticipantConfig;
use crate::service::{Service, ServiceConfig};

/// Connections beside that of the pool itself: two commands at the same time, and the test's own look at the tables.
const LANES: usize = 3;

/// A service whose handlers are tested on a real database.
pub struct ServiceTest {
    bench: Bench,
}

impl ServiceTest {
    /// A service on a new database of its own, in the private Postgres that all tests of this process share.
    ///
    /// # Errors
    /// [`ServiceTestError`] if the database, its tables or the handlers cannot be used.
    ///
    /// # Panics
    /// If the private server cannot be started; the message names the remedy.
    pub async fn of(service: Service) -> Result<Self, ServiceTestError> {
        let servers = redress_devstack::shared().await;
        let database = format!("test_{}", Uuid::now_v7().simple());
        let create = AssertSqlSafe(format!("CREATE DATABASE {database} TEMPLATE template0 ENCODING 'UTF8'"));
        let created = async {
            let mut admin = PgConnection::connect(&servers.postgres().admin_url()).await?;
            sqlx::raw_sql(create).execute(&mut admin).await?;
            admin.close().await
        };
        let service_name = service.name();
        created.await.map_err(|source| ServiceTestError::Create { service: service_name, source })?;
        Self::at(service, &servers.postgres().url(&database)).await
    }

    /// A service on the database at this URL. Its tables are brought up to date; rows that are there stay.
    ///
    /// # Errors
    /// [`ServiceTestError`] if the database, its tables or the handlers cannot be used.
    pub async fn at(service: Service, database_url: &str) -> Result<Self, ServiceTestError> {
        let config = ParticipantConfig { lanes: LANES, ..ParticipantConfig::default() };
        let of_service = ServiceConfig { participant: config.clone(), migrations: Migrations::Apply };
        let pool = service.open(database_url, &of_service).await?;
        Ok(Self { bench: Bench::new(service, pool, config)? })
    }

    /// The same with other tuning: how long the inbox remembers, how long a handler may take.
    ///
    /// # Errors
    /// [`ServiceTestError::Serve`] if no service could be served so.
    pub fn config(self, config: ParticipantConfig) -> Result<Self, ServiceTestError> {
        Ok(Self { bench: Bench::new(self.bench.service, self.bench.pool, config)? })
    }

    /// The service's database, to fill its tables and to look at them.
    pub fn pool(&self) -> &PgPool {
        &self.bench.pool
    }

    /// A step of a new saga, which `command` carries out. Nothing is sent yet.
    pub fn step<C: Command>(&self, command: C) -> TestStep<'_, C> {
        TestStep::new(&self.bench, command, SagaId(Uuid::now_v7()))
    }

    /// Sends one action of a new saga.
    ///
    /// # Errors
    /// [`ServiceTestError`] if it gets no answer, or one that its contract does not allow.
    pub async fn run<C: Command>(&self, command: C) -> Result<TestOutcome<C::Reply>, ServiceTestError> {
        self.step(command).run().await
    }

    /// Sends the actions of these steps in one batch, as they come under load: set-oriented handlers get them together.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn run_together<C: Command>(
        &self,
        steps: &[TestStep<'_, C>],
    ) -> Result<Vec<TestOutcome<C::Reply>>, ServiceTestError> {
        let mut messages = Vec::with_capacity(steps.len());
        for step in steps {
            messages.push(step.action().await?);
        }
        self.bench.settle(&messages).await?.into_iter().map(read::<C>).collect()
    }

    /// Sends the compensations of these steps in one batch.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn undo_together<C: Command, U: Compensates<C>>(
        &self,
        undos: &[(&TestStep<'_, C>, U)],
    ) -> Result<Vec<TestOutcome<()>>, ServiceTestError> {
        let mut messages = Vec::with_capacity(undos.len());
        for (step, undo) in undos {
            messages.push(step.compensation(undo).await?);
        }
        Ok(self.bench.settle(&messages).await?.into_iter().map(of_undo).collect())
    }
}
