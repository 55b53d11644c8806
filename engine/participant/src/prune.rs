//! Deletes rows of the inbox that are older than it must remember.
//!
//! A command about an action that old, of which nothing is known, is answered `expired`
//! ([`Retention`](redress_core::inbox::Retention)), so a row that is gone is never missed: no second effect, and no
//! compensation that finds nothing to undo. A command that has no answer yet, or whose answer is still to be published, is
//! never pruned, however old it is. Pruned in batches, each too short to hold up others; any number of
//! instances may do it.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use sqlx::PgConnection;
use sqlx::postgres::types::PgInterval;
use tokio::time::{Instant, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;

use crate::worker::Worker;

/// The most rows that are deleted in one transaction.
const BATCH_MAX: u64 = 1_000;

pub(crate) async fn run<S: Send + Sync + 'static>(worker: Arc<Worker<S>>, shutdown: CancellationToken) {
    let every = worker.inbox.config.prune_every;
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        while !shutdown.is_cancelled() {
            // In a task of its own, because nothing may cancel a write.
            let (inbox, keep) = (worker.inbox.clone(), worker.inbox.config.retention.keep);
            let pruning = tokio::spawn(async move {
                inbox.on_connection(|connection| Box::pin(batch(connection, keep))).await
            });
            match pruning.await {
                Ok(Ok(pruned)) => {
                    worker.inbox.stats.pruned.fetch_add(pruned, Ordering::Relaxed);
                    if pruned < BATCH_MAX {
                        break;
                    }
                }
                Ok(Err(error)) => {
                    let error = error.chain();
                    tracing::warn!(service = %worker.service, error, "failed to prune the inbox; retrying later");
                    break;
                }
                Err(panic) => {
                    tracing::error!(service = %worker.service, %panic, "pruning the inbox panicked");
                    break;
                }
            }
        }
    }
}

/// Keys begin with the saga's id, and that with the time of its start: the oldest come first in the primary key. No time
/// is before 1970: in hexadecimal a negative one would be later than all.
async fn batch(connection: &mut PgConnection, keep: Duration) -> Result<u64, sqlx::Error> {
    let keep =
        PgInterval { months: 0, days: 0, microseconds: i64::try_from(keep.as_micros()).unwrap_or(i64::MAX) };
    let deleted = sqlx::query(
        "DELETE FROM inbox WHERE key IN ( \
             SELECT key FROM inbox \
             WHERE key < lpad(to_hex(greatest(extract(epoch FROM now() - $1) * 1000, 0)::bigint + 1), 12, '0') \
                         COLLATE \"C\" \
               AND handled_at < now() - $1 \
               AND outcome NOT IN ('open', 'prepared') AND reply_due_at IS NULL \
             ORDER BY key LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(keep)
    .bind(i64::try_from(BATCH_MAX).unwrap_or(i64::MAX))
    .execute(&mut *connection)
    .await?;
    // Few: only a command that lost its process or its connection leaves an attempt marker.
    let tries = sqlx::query(
        "DELETE FROM inbox_tries WHERE key IN ( \
             SELECT key FROM inbox_tries WHERE tried_at < now() - $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(keep)
    .bind(i64::try_from(BATCH_MAX).unwrap_or(i64::MAX))
    .execute(&mut *connection)
    .await?;
    let letters = sqlx::query(
        "DELETE FROM inbox_dead_letters WHERE id IN ( \
             SELECT id FROM inbox_dead_letters WHERE at < now() - $1 LIMIT $2 FOR UPDATE SKIP LOCKED)",
    )
    .bind(keep)
    .bind(i64::try_from(BATCH_MAX).unwrap_or(i64::MAX))
    .execute(&mut *connection)
    .await?;
    Ok(deleted.rows_affected().max(tries.rows_affected()).max(letters.rows_affected()))
}
