//! Watches the broker: probes it, and wakes all open sagas when it has lost its store.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::broker::BrokerState;
use crate::pauses::{Ticks, within};
use crate::ports::{Bus, BusHealth, Clock, JournalError, JournalUpkeep};
use crate::shared::Shared;

/// Pause between two looks at the connection, which cost nothing.
const LOOK_EVERY: Duration = Duration::from_millis(250);
/// Pause between two requests to the broker for its streams: one small request each.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// The longest time that its answer may take: far longer than under any load, and short enough to be soon back.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);
/// Probes in a row that fail before a broker whose connection stands is taken to be away.
const FAILURES_MAX: u32 = 2;
/// Open sagas that are woken by one statement: few enough to hold up no other transaction.
const WAKE_BATCH_MAX: usize = 1_000;

/// Watches the broker until the shutdown.
pub(crate) async fn watch<J: JournalUpkeep, B: Bus, C: Clock>(
    shared: Arc<Shared<J, B, C>>,
    shutdown: CancellationToken,
) {
    let mut ticks = Ticks::new(&shared.clock, LOOK_EVERY);
    let mut probe = Probe { incarnation: None, failures: 0, next_at: shared.clock.monotonic() };
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = ticks.tick() => {}
        }
        match (shared.bus.health(), shared.broker.state()) {
            (BusHealth::Disconnected | BusHealth::Strange, _) => shared.broker.doubt(),
            (BusHealth::Connected, BrokerState::There { .. }) if shared.clock.monotonic() < probe.next_at => {
            }
            (BusHealth::Connected, BrokerState::There { .. } | BrokerState::Away) => probe.ask(&shared).await,
        }
    }
}

struct Probe<I> {
    /// The creation times of the streams at the last look.
    incarnation: Option<I>,
    failures: u32,
    next_at: Duration,
}

impl<I: PartialEq> Probe<I> {
    async fn ask<J: JournalUpkeep, B: Bus<Incarnation = I>, C: Clock>(&mut self, shared: &Shared<J, B, C>) {
        self.next_at = shared.clock.monotonic() + PROBE_EVERY;
        match within(&shared.clock, PROBE_TIME_MAX, pin!(shared.bus.incarnation())).await.flatten() {
            Some(incarnation) => {
                self.failures = 0;
                let is_another = self.incarnation.as_ref().is_some_and(|before| *before != incarnation);
                self.incarnation = Some(incarnation);
                shared.broker.answers(shared.journal_clock.now(), is_another);
                if is_another && let Err(error) = wake_all(shared).await {
                    tracing::warn!(
                        error = error.with_causes(),
                        "open sagas not woken; each is when it is due"
                    );
                }
            }
            None => {
                self.failures += 1;
                if self.failures >= FAILURES_MAX {
                    shared.broker.doubt();
                }
            }
        }
    }
}

/// The broker has lost its messages: all open sagas look at once if they must send their pending command again.
async fn wake_all<J: JournalUpkeep, B, C>(shared: &Shared<J, B, C>) -> Result<(), JournalError> {
    let ids = shared.journal.asleep(&shared.registry.known()).await?;
    tracing::warn!(sagas = ids.len(), "the broker has lost its store; what was asked is asked again");
    for ids in ids.chunks(WAKE_BATCH_MAX) {
        // In a task of its own, because a write must not be cancelled.
        let (journal, ids) = (shared.journal.clone(), ids.to_vec());
        let woken = shared.tasks.spawn(async move { journal.wake(ids).await });
        woken.await.unwrap_or(Err(JournalError::Panicked))?;
    }
    Ok(())
}
