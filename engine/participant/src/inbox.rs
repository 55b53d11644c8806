//! The inbox of a service with the handlers behind it: everything that the execution of a batch needs, and no broker.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redress_core::Name;
use redress_postgres::Leases;
use sqlx::{Error, PgConnection, PgPool};

use crate::claims::Claims;
use crate::config::{ParticipantConfig, Stats};
use crate::connection::on_connection;
use crate::database_time::DatabaseTime;
use crate::handlers::Handlers;
use crate::pace::Pace;
use crate::unit_error::UnitError;

pub(crate) struct Inbox<S> {
    pub(crate) service: Name,
    pub(crate) handlers: Handlers<S>,
    pub(crate) author: Arc<S>,
    pub(crate) pool: PgPool,
    /// The same connections, for the batches.
    pub(crate) leases: Leases,
    pub(crate) config: ParticipantConfig,
    pub(crate) stats: Arc<Stats>,
    pub(crate) pace: Pace,
    pub(crate) claims: Claims,
    pub(crate) database_time: DatabaseTime,
    /// The longest that a handler may take.
    pub(crate) handler_time_max: Duration,
}

impl<S> Inbox<S> {
    /// Runs a few statements of our own, and waits for them no longer than the database may be silent.
    pub(crate) async fn on_connection<T>(
        &self,
        work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, Error>>,
    ) -> Result<T, UnitError> {
        on_connection(&self.pool, self.config.silence_max, work).await
    }
}
