//! Timers: sagas whose time has come, and those whose wait has become too long because the clock was set back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_core::{SagaId, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::batch::{Occasion, decide_batch};
use crate::batch_size::SharedLimit;
use crate::broker::BrokerState;
use crate::clock::{ClockWatch, Reading, Recheck};
use crate::pauses::Ticks;
use crate::ports::{Bus, Changes, Clock, Journal, JournalError, Selection};
use crate::sending::after_commit;
use crate::shared::Shared;
use crate::units::{BatchWork, Failed, Isolation, isolate};

/// How many sagas in a row may meet trouble of the database's before it is taken for the database's and not theirs.
const TROUBLE_MAX: u32 = 3;

/// The findings of a look.
#[derive(Default)]
struct Looked {
    ids: Vec<SagaId>,
    /// The last one, in the order of their times.
    last: Option<(Timestamp, SagaId)>,
    reading: Option<Reading>,
}

/// Looks for sagas that are due until the shutdown; any number of coordinators do so at once.
///
/// While the broker is away nothing is sent and nothing is written: a saga that is due then, by its deadline or
/// otherwise, is looked at when it is back.
pub(crate) async fn run<J: Journal, B: Bus, C: Clock>(
    shared: Arc<Shared<J, B, C>>,
    shutdown: CancellationToken,
) {
    let mut ticks = Ticks::new(&shared.clock, shared.config.timer_poll);
    let limit = SharedLimit::new(shared.config.timer_batch_max, shared.config.batch_bytes_max);
    let mut watch = ClockWatch::new(shared.clock.monotonic());
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            () = ticks.tick() => {}
        }
        if let Err(error) = shared.journal.look_for_faults().await {
            tracing::debug!(%error, "standing faults not looked up");
        }
        while let BrokerState::There { since } = shared.broker.state() {
            match fire(&shared, since, &limit, &mut watch).await {
                Ok(true) if !shutdown.is_cancelled() => {}
                Ok(_) => break,
                Err(error) => {
                    tracing::warn!(error = error.with_causes(), "timers not looked up");
                    break;
                }
            }
        }
        let is_there = shared.broker.state() != BrokerState::Away;
        if let Some(recheck) = watch.due(shared.clock.monotonic()).filter(|_| is_there) {
            match look_again(&shared, &limit, recheck).await {
                Err(error) if error.is_unavailable() => {
                    tracing::warn!(error = error.with_causes(), "what waits not looked at again; later");
                }
                Err(error) => {
                    tracing::error!(error = error.with_causes(), "what waits not looked at again");
                    watch.done();
                }
                Ok(()) => watch.done(),
            }
        }
    }
}

/// Fires the timers of one batch of sagas that are due; returns true if there may be more.
///
/// A batch that cannot be written as a whole is turned saga by saga: the culprit is set aside, or it would come first
/// again for ever and stop all the others.
async fn fire<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    asked_before: Timestamp,
    limit: &SharedLimit,
    watch: &mut ClockWatch,
) -> Result<bool, JournalError> {
    let size = limit.now();
    let looked = Arc::new(Mutex::new(Looked::default()));
    let rows = i64::try_from(size.rows).unwrap_or(i64::MAX);
    let due = Selection::Due { known: shared.registry.known(), limit: rows };
    let result = fire_these(shared, due, Occasion::Due { asked_before }, size.bytes, looked.clone()).await;
    let looked = std::mem::take(&mut *looked.lock().expect("nobody panics while holding the ids"));
    if let Some(reading) = looked.reading {
        shared.broker.clock_says(reading.now);
        watch.see(reading);
    }
    let selected = looked.ids;
    if result.is_err() || !selected.is_empty() {
        limit.learn(&result);
    }
    match result {
        Ok(left) => Ok(left > 0 || selected.len() >= size.rows),
        Err(error) => {
            let mut due = DueSagas { shared, occasion: Occasion::Due { asked_before }, in_trouble: 0 };
            let isolated = isolate(&shared.journal, &mut due, selected, error).await;
            isolated.map(|()| true).map_err(|failed| failed.error)
        }
    }
}

/// Turns the timers of sagas one by one.
///
/// A saga may also end its connection by itself (its row is too large, say); if one after the other does, it is the
/// database that is in trouble, and no saga is to blame.
struct DueSagas<'s, J, B, C> {
    shared: &'s Arc<Shared<J, B, C>>,
    occasion: Occasion,
    /// So many in a row have met trouble of the database's.
    in_trouble: u32,
}

impl<J: Journal, B: Bus, C: Clock> BatchWork for DueSagas<'_, J, B, C> {
    type Member = SagaId;
    type Outcome = ();
    const NAME: &'static str = "timers";

    async fn run(&mut self, ids: &[SagaId], isolation: Isolation) -> Result<(), JournalError> {
        let selection = match ids {
            &[id] => Selection::Alone(id),
            ids => Selection::These(ids.to_vec()),
        };
        let bytes_max = isolation.bytes_max();
        fire_these(self.shared, selection, self.occasion, bytes_max, Arc::default()).await.map(drop)
    }

    async fn after_commit(&mut self, ids: &mut Vec<SagaId>, (): ()) {
        self.in_trouble = 0;
        ids.clear();
    }

    async fn fail(&mut self, id: SagaId, error: JournalError) -> Result<(), Failed<SagaId>> {
        let journal = &self.shared.journal;
        if matches!(error, JournalError::Held(_) | JournalError::Collision(_)) {
            // Another transaction holds the saga and is busy with it; it stays due.
            self.in_trouble = 0;
            return Ok(());
        }
        if self.in_trouble >= TROUBLE_MAX || !journal.should_isolate(&error).await {
            return Err(Failed::one(id, error));
        }
        let mut changes = Changes::default();
        if error.is_unavailable() {
            self.in_trouble += 1;
            tracing::warn!(error = error.with_causes(), saga_id = %id, "saga put off");
            changes.put_off.push(id);
        } else {
            tracing::error!(error = error.with_causes(), saga_id = %id, "saga set aside");
            changes.set_aside.push(id);
        }
        let written = journal.transact(Selection::These(vec![id]), 1, move |_| (changes, ())).await;
        written.map_err(|error| Failed::one(id, error))
    }
}

/// Looks once at the sagas that wait, in the order of their times, and measures their waits anew where they are too long.
async fn look_again<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    limit: &SharedLimit,
    recheck: Recheck,
) -> Result<(), JournalError> {
    let longest = |saga: &redress_core::SagaDefinition| match recheck {
        Recheck::AllThatWait => Duration::ZERO,
        Recheck::TooLong => {
            let waits = saga.steps.iter().map(redress_core::definition::Step::longest_wait_ms);
            Duration::from_millis(waits.max().unwrap_or_default())
        }
    };
    let known = shared.registry.all().iter().map(|saga| (saga.name.clone(), saga.version, longest(saga)));
    let known: Vec<_> = known.collect();
    let mut after = None;
    loop {
        let size = limit.now();
        let rows = i64::try_from(size.rows).unwrap_or(i64::MAX);
        let waiting = Selection::Waiting { known: known.clone(), after, limit: rows };
        let looked = Arc::new(Mutex::new(Looked::default()));
        fire_these(shared, waiting, Occasion::Recheck, size.bytes, looked.clone()).await?;
        after = looked.lock().expect("nobody panics while holding the ids").last;
        if after.is_none() {
            return Ok(());
        }
    }
}

/// Fires the timers of the sagas that are selected, as far as the bytes go; notes the sagas that it has seen, and
/// returns how many are left.
async fn fire_these<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    selection: Selection,
    occasion: Occasion,
    bytes_max: usize,
    looked: Arc<Mutex<Looked>>,
) -> Result<usize, JournalError> {
    let (rules, journal_clock, clock) =
        (shared.rules.clone(), shared.journal_clock.clone(), shared.clock.clone());
    let asked_at = clock.monotonic();
    let outcome = shared
        .journal
        .transact(selection, bytes_max, move |snapshot| {
            journal_clock.set(snapshot.now);
            let reading = Reading { now: snapshot.now, asked_at, answered_at: clock.monotonic() };
            *looked.lock().expect("nobody panics while holding the ids") = Looked {
                ids: snapshot.sagas.iter().map(|stored| stored.id).collect(),
                last: snapshot.sagas.iter().filter_map(|stored| Some((stored.wake_at?, stored.id))).max(),
                reading: Some(reading),
            };
            decide_batch(&rules, snapshot, BTreeMap::new(), occasion, bytes_max)
        })
        .await?;
    let left = outcome.left.len();
    after_commit(shared, outcome).await;
    Ok(left)
}
