//! The periodic chores: counting open sagas, and pruning old rows.
//!
//! Any number of coordinators may do it at once: rows that another one is about to prune are passed over. Nothing here
//! touches an open saga, and a failure only means that it is done later.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::metrics::Version;
use crate::pauses::Ticks;
use crate::ports::{Bus, Clock, JournalError, JournalUpkeep, OpenSagas};
use crate::shared::Shared;

/// How often the gauges are read anew: often enough for a dashboard, seldom enough for the database.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The most sagas, or rows of another kind, that are pruned in one transaction: few enough to hold up no other one.
const PRUNE_BATCH_MAX: i64 = 500;

pub(crate) async fn run<J: JournalUpkeep, B: Bus, C: Clock>(
    shared: Arc<Shared<J, B, C>>,
    shutdown: CancellationToken,
) {
    let mut ticks = Ticks::new(&shared.clock, LOOK_EVERY);
    let mut prune_at = shared.clock.monotonic() + shared.config.prune_every;
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = ticks.tick() => {}
        }
        if let Err(error) = look(&shared).await {
            tracing::debug!(%error, "open sagas not counted");
        }
        if shared.clock.monotonic() >= prune_at {
            prune_at = shared.clock.monotonic() + shared.config.prune_every;
            prune(&shared, &shutdown).await;
        }
    }
}

/// Reads the gauges anew, and logs the versions that no coordinator here can carry on.
async fn look<J: JournalUpkeep, B, C>(shared: &Shared<J, B, C>) -> Result<(), JournalError> {
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

/// Removes rows that are older than they must be kept, batch by batch.
async fn prune<J: JournalUpkeep, B: Bus, C: Clock>(shared: &Shared<J, B, C>, shutdown: &CancellationToken) {
    let keep = shared.config.keep;
    let sagas = |journal: J| async move { journal.prune_sagas(keep, PRUNE_BATCH_MAX).await };
    let letters = |journal: J| async move { journal.prune_dead_letters(keep, PRUNE_BATCH_MAX).await };
    shared.metrics.pruned.inc_by(prune_all(shared, shutdown, "sagas", sagas).await);
    prune_all(shared, shutdown, "dead letters", letters).await;
    let audit = |journal: J| async move { journal.prune_audit(keep, PRUNE_BATCH_MAX).await };
    prune_all(shared, shutdown, "orders in the audit log", audit).await;
    let faults = |journal: J| async move { journal.prune_faults(PRUNE_BATCH_MAX).await };
    prune_all(shared, shutdown, "faults", faults).await;
}

/// Prunes batches of one kind until there is less than a batch; says how much it was.
async fn prune_all<J: JournalUpkeep, B, C, F>(
    shared: &Shared<J, B, C>,
    shutdown: &CancellationToken,
    what: &str,
    batch: impl Fn(J) -> F,
) -> u64
where
    F: Future<Output = Result<u64, JournalError>> + Send + 'static,
{
    let mut all = 0;
    while !shutdown.is_cancelled() {
        // In a task of its own, because a write must not be cancelled.
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
