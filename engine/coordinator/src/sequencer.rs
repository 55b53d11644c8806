//! Tells sagas that they are the first in the order of a key, so that their steps are sent.
//!
//! The journal is authoritative for the order. A look asks it for the first place of each key in which something has changed
//! (a start took a place, a saga let one go), tells the saga, and lets the journal forget what it has told. It looks
//! when this coordinator has committed such a change, and every few seconds for those of coordinators that have died
//! meanwhile: a change is found until its saga knows. A saga that waits behind another one costs nothing in between.
//!
//! | goes wrong | then |
//! |---|---|
//! | the coordinator dies before the look | another one finds the change within seconds |
//! | two coordinators tell the same saga | the second one changes nothing |
//! | the saga cannot be told (it is held, set aside, the journal is away) | it is told again within seconds |
//! | the broker is away | nothing is told until it is back |

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use redress_core::decide::Event;
use redress_core::{Name, SagaId};
use tokio_util::sync::CancellationToken;

use crate::batch::CommitEffects;
use crate::batch_size::SharedLimit;
use crate::broker::BrokerState;
use crate::decider::Decider;
use crate::pauses::Ticks;
use crate::ports::{Bus, Clock, JournalError, JournalUpkeep};
use crate::publisher::Publisher;
use crate::units::{BatchWork, Failed, Isolation, run_batch};

/// How often changes of other coordinators are looked for: it is what a key waits for if one has died.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// The most places that a look reads or tidies up at once.
const LOOK_MAX: u16 = 500;

/// Tells sagas that they are the first of a key.
pub(crate) struct Sequencer<J, B, C> {
    pub(crate) decider: Arc<Decider<J, C>>,
    pub(crate) publisher: Arc<Publisher<J, B, C>>,
    /// How large the next batch may be.
    pub(crate) limit: SharedLimit,
}

impl<J: JournalUpkeep, B: Bus, C: Clock> Sequencer<J, B, C> {
    /// Looks until the shutdown; not at all if no definition that is known here has an ordered step.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        if !self.decider.rules.registry.has_orders() {
            return;
        }
        let mut ticks = Ticks::new(&self.decider.clock, LOOK_EVERY);
        let mut told = HashSet::new();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = self.publisher.places_changed.notified() => {}
                () = ticks.tick() => told.clear(),
            }
            if self.publisher.broker.state() == BrokerState::Away {
                continue;
            }
            if let Err(error) = self.look(&mut told).await {
                tracing::warn!(error = error.with_causes(), "failed to look at the orders of keys; retrying");
            }
        }
    }

    /// Tells every saga that does not know that it is the first. One that was told and does not know it yet is told again
    /// only after a pause.
    async fn look(&self, told: &mut HashSet<(SagaId, Name)>) -> Result<(), JournalError> {
        let Decider { journal, rules, .. } = &*self.decider;
        loop {
            let untold = journal.untold_places(&rules.registry.known(), i64::from(LOOK_MAX)).await?;
            let mut events: BTreeMap<SagaId, Vec<Event>> = BTreeMap::new();
            for (id, step) in untold {
                if told.insert((id, step.clone())) {
                    events.entry(id).or_default().push(Event::PlaceIsFirst { step });
                }
            }
            if events.is_empty() {
                break;
            }
            let mut first = FirstOfKeys { sequencer: self };
            let done = run_batch(journal, &self.limit, &mut first, events.into_iter().collect()).await;
            done.map_err(|failed| failed.error)?;
        }
        while journal.tidy_places(i64::from(LOOK_MAX)).await? >= u64::from(LOOK_MAX) {}
        Ok(())
    }
}

/// Tells sagas, and publishes what follows.
struct FirstOfKeys<'s, J, B, C> {
    sequencer: &'s Sequencer<J, B, C>,
}

impl<J: JournalUpkeep, B: Bus, C: Clock> BatchWork for FirstOfKeys<'_, J, B, C> {
    type Member = (SagaId, Vec<Event>);
    type Outcome = CommitEffects;
    const NAME: &'static str = "places that are the first";

    async fn run(
        &mut self,
        members: &[Self::Member],
        isolation: Isolation,
    ) -> Result<CommitEffects, JournalError> {
        self.sequencer.decider.decide(members.iter().cloned().collect(), isolation).await
    }

    async fn after_commit(&mut self, members: &mut Vec<Self::Member>, mut outcome: CommitEffects) {
        let left = std::mem::take(&mut outcome.left);
        members.retain(|(id, _)| left.contains(id));
        self.sequencer.publisher.after_commit(outcome).await;
    }

    async fn fail(&mut self, (id, _): Self::Member, error: JournalError) -> Result<(), Failed<Self::Member>> {
        // It is told again at a later look.
        tracing::debug!(error = error.with_causes(), saga_id = %id, "saga not told that it is the first of a key");
        Ok(())
    }
}
