//! Connections out of the pool, and which of them go back.
//!
//! The pool may be the caller's own, without a hook that cleans what comes back. In sqlx 0.9.0 a `begin` that was given
//! up leaves a transaction open of which the pool knows nothing: what the next user writes is answered `Ok` and never
//! committed. And the pool waits for ever for one whose other end has vanished. So a connection on which something was
//! waited for in vain is closed here; the server rolls back what was open on it.

use std::time::Duration;

use futures_util::future::BoxFuture;
use sqlx::pool::PoolConnection;
use sqlx::{Error, PgConnection, PgPool, Postgres};

use crate::retryable::{Mishap, Trouble, answered, sort};

/// A connection for one unit of work; nothing may cancel that work, so it runs in a task of its own.
pub(crate) async fn lease(pool: &PgPool, limit: Duration) -> Result<PoolConnection<Postgres>, Error> {
    Ok(answered(limit, pool.acquire()).await.map_err(Mishap::Unreachable)?)
}

/// Takes a connection back, or closes it if what failed leaves it in the middle of something.
pub(crate) fn give_back(connection: PoolConnection<Postgres>, failure: Option<Trouble>) {
    match failure {
        Some(Trouble::Down | Trouble::Overdue) => drop(connection.detach()),
        Some(
            Trouble::Collision | Trouble::Held | Trouble::Elsewhere | Trouble::Exhausted | Trouble::Other,
        )
        | None => {}
    }
}

/// Runs a few statements of our own on a connection, and waits no longer than `limit` for them.
pub(crate) async fn on_connection<T>(
    pool: &PgPool,
    limit: Duration,
    work: impl for<'c> FnOnce(&'c mut PgConnection) -> BoxFuture<'c, Result<T, Error>>,
) -> Result<T, Error> {
    let mut connection = lease(pool, limit).await?;
    let result = answered(limit, work(&mut connection)).await;
    give_back(connection, result.as_ref().err().map(sort));
    result
}
