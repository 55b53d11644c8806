//! The periodic chores: reading the gauges anew (`gauges`), and pruning old rows.
//!
//! Any number of coordinators may do it at once: rows that another one is about to prune are passed over. Nothing here
//! touches an open saga, and a failure only means that it is done later.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::decider::Decider;
use crate::gauges::Gauges;
use crate::metrics::Metrics;
use crate::pauses::Ticks;
use crate::ports::{Bus, Clock, JournalError, JournalLetters, JournalUpkeep, Keep, LetterRoom};

/// How often the gauges are read anew: often enough for a dashboard, seldom enough for the database.
const LOOK_EVERY: Duration = Duration::from_secs(10);
/// The most sagas, or rows of another kind, that are pruned in one transaction: few enough to hold up no other one.
const PRUNE_BATCH_MAX: i64 = 500;

/// How long a letter may be under way to the broker, several times as long as a publish may take: after that its
/// coordinator has died, and the letter is kept as before.
const REPLAY_TIME_MAX: Duration = Duration::from_secs(60);

/// The periodic chores of a coordinator.
pub(crate) struct Housekeeping<J, B, C> {
    pub(crate) gauges: Gauges<J, B, C>,
    pub(crate) decider: Arc<Decider<J, C>>,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) tasks: TaskTracker,
    pub(crate) keep: Keep,
    pub(crate) letter_room: LetterRoom,
    pub(crate) prune_every: Duration,
}

impl<J: JournalUpkeep + JournalLetters, B: Bus, C: Clock> Housekeeping<J, B, C> {
    /// Does them until the shutdown.
    pub(crate) async fn run(mut self, shutdown: CancellationToken) {
        let clock = self.decider.clock.clone();
        let mut ticks = Ticks::new(&clock, LOOK_EVERY);
        let mut prune_at = clock.monotonic() + self.prune_every;
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = ticks.tick() => {}
            }
            let sagas = self.gauges.look_at_sagas().await;
            let letters = match self.give_letters_back().await {
                Ok(()) => self.gauges.look_at_letters().await,
                Err(error) => Err(error),
            };
            self.gauges.note_journal(sagas.and(letters));
            self.gauges.look_at_services().await;
            if clock.monotonic() >= prune_at {
                prune_at = clock.monotonic() + self.prune_every;
                self.prune(&shutdown).await;
            }
        }
    }

    /// Keeps those letters again whose replay has no end.
    async fn give_letters_back(&self) -> Result<(), JournalError> {
        let journal = self.decider.journal.clone();
        let given_back = self.tasks.spawn(async move { journal.give_back_letters(REPLAY_TIME_MAX).await });
        let given_back = given_back.await.unwrap_or(Err(JournalError::Panicked))?;
        if given_back > 0 {
            tracing::warn!(given_back, "dead letters whose replay had no end are kept as before");
        }
        Ok(())
    }

    /// Removes rows that are older than they must be kept, batch by batch.
    async fn prune(&self, shutdown: &CancellationToken) {
        let keep = self.keep;
        let sagas = |journal: J| async move { journal.prune_sagas(keep, PRUNE_BATCH_MAX).await };
        let letters = |journal: J| async move { journal.prune_dead_letters(keep, PRUNE_BATCH_MAX).await };
        self.metrics.pruned.inc_by(self.prune_all(shutdown, "sagas", sagas).await);
        // Without a time of their own, keys go with their sagas.
        if let Some(age) = keep.keys {
            let keys = |journal: J| async move { journal.prune_keys(age, PRUNE_BATCH_MAX).await };
            self.prune_all(shutdown, "keys of starts", keys).await;
        }
        self.prune_all(shutdown, "dead letters", letters).await;
        let room = self.letter_room;
        let excess = |journal: J| async move { journal.prune_excess_letters(room, PRUNE_BATCH_MAX).await };
        self.prune_all(shutdown, "dead letters for which there is no room", excess).await;
        let audit = |journal: J| async move { journal.prune_audit(keep, PRUNE_BATCH_MAX).await };
        self.prune_all(shutdown, "orders in the audit log", audit).await;
        let faults = |journal: J| async move { journal.prune_faults(PRUNE_BATCH_MAX).await };
        self.prune_all(shutdown, "faults", faults).await;
    }

    /// Prunes batches of one kind until there is less than a batch; says how much it was.
    async fn prune_all<F>(&self, shutdown: &CancellationToken, what: &str, batch: impl Fn(J) -> F) -> u64
    where
        F: Future<Output = Result<u64, JournalError>> + Send + 'static,
    {
        let mut all = 0;
        while !shutdown.is_cancelled() {
            // In a task of its own, because a write must not be cancelled.
            let unit = self.tasks.spawn(batch(self.decider.journal.clone()));
            match unit.await.unwrap_or(Err(JournalError::Panicked)) {
                Ok(pruned) => {
                    all += pruned;
                    if pruned < PRUNE_BATCH_MAX.unsigned_abs() {
                        break;
                    }
                }
                Err(error) => {
                    tracing::warn!(error = error.with_causes(), "failed to prune old {what}; retrying later");
                    break;
                }
            }
        }
        all
    }
}
