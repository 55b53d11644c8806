//! Watches the broker: probes it, and wakes all open sagas when it has lost its store.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, BrokerState};
use crate::decider::Decider;
use crate::pauses::{Ticks, within};
use crate::ports::{Bus, BusHealth, Clock, JournalError, JournalUpkeep};

/// Pause between two requests to the broker for its streams: one small request each.
const PROBE_EVERY: Duration = Duration::from_secs(1);
/// The longest time that its answer may take: far longer than under any load, and short enough to be soon back.
const PROBE_TIME_MAX: Duration = Duration::from_secs(2);
/// Probes in a row that fail before a broker whose connection stands is taken to be away.
const FAILURES_MAX: u32 = 2;
/// Open sagas that are woken by one statement: few enough to hold up no other transaction.
const WAKE_BATCH_MAX: usize = 1_000;

/// The watch on the broker.
pub(crate) struct BrokerWatch<J, B, C> {
    pub(crate) decider: Arc<Decider<J, C>>,
    pub(crate) bus: B,
    pub(crate) broker: Arc<Broker>,
    pub(crate) tasks: TaskTracker,
    /// Pause between two looks at the connection.
    pub(crate) poll: Duration,
}

struct Probe<I> {
    /// The creation times of the streams at the last look.
    incarnation: Option<I>,
    failures: u32,
    next_at: Duration,
}

impl<J: JournalUpkeep, B: Bus, C: Clock> BrokerWatch<J, B, C> {
    /// Watches the broker until the shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let clock = &self.decider.clock;
        let mut ticks = Ticks::new(clock, self.poll);
        let mut probe = Probe { incarnation: None, failures: 0, next_at: clock.monotonic() };
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = ticks.tick() => {}
            }
            match (self.bus.health(), self.broker.state()) {
                (BusHealth::Disconnected | BusHealth::Strange, _) => self.broker.doubt(),
                (BusHealth::Connected, BrokerState::There { .. }) if clock.monotonic() < probe.next_at => {}
                (BusHealth::Connected, BrokerState::There { .. } | BrokerState::Away) => {
                    self.ask(&mut probe).await;
                }
            }
        }
    }

    async fn ask(&self, probe: &mut Probe<B::Incarnation>) {
        let clock = &self.decider.clock;
        probe.next_at = clock.monotonic() + PROBE_EVERY;
        match within(clock, PROBE_TIME_MAX, pin!(self.bus.incarnation())).await.flatten() {
            Some(incarnation) => {
                probe.failures = 0;
                let is_another = probe.incarnation.as_ref().is_some_and(|before| *before != incarnation);
                probe.incarnation = Some(incarnation);
                self.broker.answers(self.decider.now(), is_another);
                if is_another && let Err(error) = self.wake_all().await {
                    tracing::warn!(
                        error = error.with_causes(),
                        "failed to wake open sagas; each wakes when it is due"
                    );
                }
            }
            None => {
                probe.failures += 1;
                if probe.failures >= FAILURES_MAX {
                    self.broker.doubt();
                }
            }
        }
    }

    /// The broker has lost its messages: all open sagas look at once if they must send their pending command again.
    async fn wake_all(&self) -> Result<(), JournalError> {
        let Decider { journal, rules, .. } = &*self.decider;
        let ids = journal.asleep(&rules.registry.known()).await?;
        tracing::warn!(sagas = ids.len(), "the broker has lost its store; pending commands are sent again");
        for ids in ids.chunks(WAKE_BATCH_MAX) {
            // In a task of its own, because a write must not be cancelled.
            let (journal, ids) = (journal.clone(), ids.to_vec());
            let woken = self.tasks.spawn(async move { journal.wake(ids).await });
            woken.await.unwrap_or(Err(JournalError::Panicked))?;
        }
        Ok(())
    }
}
