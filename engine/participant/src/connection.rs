//! Takes connections out of the pool, and gives back only those that can be used again.
//!
//! The pool may be the caller's own, without a hook that cleans what comes back. In sqlx 0.9.0 a `begin` that was given
//! up leaves a transaction open of which the pool knows nothing: the next user's writes are answered `Ok` and never
//! committed. And the pool waits for ever for a connection whose other end has vanished. So a connection on which a
//! wait was in vain is closed here; the server rolls back its open transaction. And if a connection turns out to lead
//! to a server that only reads, those that rest in the pool do so too, as a failover has moved the writing elsewhere:
//! all of them are closed.

use std::time::Duration;

use futures_util::future::BoxFuture;
use redress_postgres::{Lease, Leases, answered, purge};
use sqlx::pool::PoolConnection;
use sqlx::{Error, PgConnection, PgPool, Postgres};

use crate::unit_error::{Disposition, UnitError};

/// A connection for one unit of work; nothing may cancel that work, so it runs in a task of its own.
pub(crate) async fn lease(pool: &PgPool, limit: Duration) -> Result<PoolConnection<Postgres>, UnitError> {
    answered(limit, pool.acquire()).await.map_err(UnitError::Unreachable)
}

/// Takes a connection back, or closes it if the failure leaves it in the middle of something.
pub(crate) fn give_back(pool: &PgPool, connection: PoolConnection<Postgres>, failure: Option<Disposition>) {
    match failure {
        Some(Disposition::Down | Disposition::Overdue) => drop(connection.detach()),
        Some(Disposition::ReadsOnly) => {
            drop(connection.detach());
            purge(pool);
        }
        Some(
            Disposition::Collision
            | Disposition::Held
            | Disposition::Elsewhere
            | Disposition::Unready
            | Disposition::Exhausted
            | Disposition::Other,
        )
        | None => {}
    }
}

/// A connection for a batch, which the next batch may get without the pool's looking at it.
pub(crate) async fn lease_for_batch(leases: &Leases, limit: Duration) -> Result<Lease, UnitError> {
    answered(limit, leases.take()).await.map_err(UnitError::Unreachable)
}

/// Takes the connection of a batch back: for the next one, if all went well; otherwise as [`give_back`] does.
pub(crate) fn give_back_after_batch(leases: &Leases, lease: Lease, failure: Option<Disposition>) {
    if failure.is_none() {
        return lease.keep();
    }
    if failure == Some(Disposition::ReadsOnly) {
        leases.close_resting();
    }
    give_back(leases.pool(), lease.into_pooled(), failure);
}

/// Runs a few statements of our own on a connection, and waits no longer than `limit` for them.
pub(crate) async fn on_connection<T>(
    pool: &PgPool,
    limit: Duration,
    work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, Error>>,
) -> Result<T, UnitError> {
    let mut connection = lease(pool, limit).await?;
    let result = answered(limit, work(&mut connection)).await.map_err(UnitError::from);
    give_back(pool, connection, result.as_ref().err().map(UnitError::disposition));
    result
}
