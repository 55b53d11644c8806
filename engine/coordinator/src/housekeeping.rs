//! What is done now and then: looking at what is open, and pruning what is old.
//!
//! Any number of coordinators may do it at once: rows that another one is about to prune are passed over. Nothing here
//! touches an open saga, and a failure only means that it is done later.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::engine::Shared;
use crate::journal::{JournalError, OpenSagas, PgJournal};
use crate::metrics::Version;

/// How often the gauges are read anew: often enough for a dashboard, seldom enough for the database.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The most sagas, or dead letters, that are pruned in one transaction: short enough to be in nobody's way.
const PRUNE_BATCH_MAX: i64 = 500;

pub(crate) async fn run(shared: Arc<Shared>, shutdown: CancellationToken) {
    let mut ticks = interval(LOOK_EVERY);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut prune_at = Instant::now() + shared.config.prune_every;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        if let Err(error) = look(&shared).await {
            tracing::debug!(%error, "open sagas not counted");
        }
        if Instant::now() >= prune_at {
            prune_at = Instant::now() + shared.config.prune_every;
            prune(&shared, &shutdown).await;
        }
    }
}

/// Reads the gauges anew, and says what nobody here can carry on.
async fn look(shared: &Shared) -> Result<(), JournalError> {
    let open = shared.journal.open_sagas().await?;
    shared.metrics.open.clear();
    for OpenSagas { saga, version, count } in open {
        let known = shared.registry.all().iter().any(|d| *d.name == *saga && d.version == version);
        if !known {
            tracing::warn!(saga, version, count, "open sagas of a version that is not known here: they wait");
        }
        let label = Version { known: if known { "true" } else { "false" }, saga, version };
        shared.metrics.open.get_or_create(&label).set(count);
    }
    let stalled = shared.journal.stalled(shared.config.stalled_after).await?;
    shared.metrics.stalled.set(stalled);
    Ok(())
}

/// Removes what is older than it must be kept, batch by batch.
async fn prune(shared: &Arc<Shared>, shutdown: &CancellationToken) {
    let keep = shared.config.keep;
    let sagas = |journal: PgJournal| async move { journal.prune_sagas(keep, PRUNE_BATCH_MAX).await };
    let letters = |journal: PgJournal| async move { journal.prune_dead_letters(keep, PRUNE_BATCH_MAX).await };
    shared.metrics.pruned.inc_by(prune_all(shared, shutdown, "sagas", sagas).await);
    prune_all(shared, shutdown, "dead letters", letters).await;
}

/// Prunes batches of one kind until there is less than a batch; says how much it was.
async fn prune_all<F>(
    shared: &Arc<Shared>,
    shutdown: &CancellationToken,
    what: &str,
    batch: impl Fn(PgJournal) -> F,
) -> u64
where
    F: Future<Output = Result<u64, JournalError>> + Send + 'static,
{
    let mut all = 0;
    while !shutdown.is_cancelled() {
        // In a task of its own, because nothing may cancel what writes.
        let unit = shared.tasks.spawn(batch(shared.journal.clone()));
        match unit.await.unwrap_or(Err(JournalError::Panicked)) {
            Ok(pruned) => {
                all += pruned;
                if pruned < PRUNE_BATCH_MAX.unsigned_abs() {
                    break;
                }
            }
            Err(error) => {
                tracing::warn!(error = error.with_causes(), "old {what} not pruned; again later");
                break;
            }
        }
    }
    all
}
