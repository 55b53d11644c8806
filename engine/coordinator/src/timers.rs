//! Timers: sagas whose time has come, and those whose wait has become too long because the clock was set back.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_core::definition::StepKind;
use redress_core::{Name, RetryPolicy, SagaDefinition, SagaId, Timestamp};
use tokio_util::sync::CancellationToken;

use crate::batch::{Occasion, decide_batch};
use crate::batch_size::SharedLimit;
use crate::broker::BrokerState;
use crate::clock::{ClockWatch, Reading, Recheck};
use crate::decider::Decider;
use crate::metrics::labels::{NameLabel, OfVersion};
use crate::pauses::Ticks;
use crate::ports::{Bus, Changes, Clock, Journal, JournalError, LongestWaits, Selection, Snapshot};
use crate::publisher::Publisher;
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

/// The timers.
pub(crate) struct Timers<J, B, C> {
    pub(crate) decider: Arc<Decider<J, C>>,
    pub(crate) publisher: Arc<Publisher<J, B, C>>,
    /// Pause between two looks.
    pub(crate) poll: Duration,
    /// How large the next batch may be.
    pub(crate) limit: SharedLimit,
}

impl<J: Journal, B: Bus, C: Clock> Timers<J, B, C> {
    /// Looks for sagas that are due until the shutdown; any number of coordinators do so at once.
    ///
    /// While the broker is away nothing is sent and nothing is written: a saga that is due then, by its deadline or
    /// otherwise, is looked at when it is back. While the replies are behind, it is looked at once those of its time were
    /// taken ([`crate::reply_lag`]).
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let (clock, broker) = (&self.decider.clock, &self.publisher.broker);
        let mut ticks = Ticks::new(clock, self.poll);
        let mut watch = ClockWatch::new(clock.monotonic());
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                () = ticks.tick() => {}
            }
            if let Err(error) = self.decider.journal.look_for_faults().await {
                tracing::debug!(%error, "failed to look up standing faults; retrying");
            }
            while let BrokerState::There { since } = broker.state() {
                match self.fire(since, &mut watch).await {
                    Ok(true) if !shutdown.is_cancelled() => {}
                    Ok(_) => break,
                    Err(error) => {
                        tracing::warn!(error = error.with_causes(), "failed to look up due sagas; retrying");
                        break;
                    }
                }
            }
            let is_there = broker.state() != BrokerState::Away;
            if let Some(recheck) = watch.due(clock.monotonic()).filter(|_| is_there) {
                match self.look_again(recheck).await {
                    Err(error) if error.is_unavailable() => {
                        tracing::warn!(
                            error = error.with_causes(),
                            "failed to recheck waiting sagas; retrying"
                        );
                    }
                    Err(error) => {
                        tracing::error!(error = error.with_causes(), "failed to recheck waiting sagas");
                        watch.done();
                    }
                    Ok(()) => watch.done(),
                }
            }
        }
    }

    /// Fires the timers of one batch of sagas that are due; returns true if there may be more.
    ///
    /// A batch that cannot be written as a whole is turned saga by saga: the culprit is set aside, or it would come
    /// first again for ever and stop all the others.
    async fn fire(&self, asked_before: Timestamp, watch: &mut ClockWatch) -> Result<bool, JournalError> {
        let size = self.limit.now();
        let looked = Arc::new(Mutex::new(Looked::default()));
        let rows = i64::try_from(size.rows).unwrap_or(i64::MAX);
        let due = Selection::Due { known: self.known(), limit: rows };
        let occasion = Occasion::Due { asked_before };
        let result = self.fire_these(due, occasion, size.bytes, looked.clone()).await;
        let looked = std::mem::take(&mut *looked.lock().expect("nobody panics while holding the ids"));
        if let Some(reading) = looked.reading {
            self.publisher.broker.clock_says(reading.now);
            watch.see(reading);
        }
        let selected = looked.ids;
        if result.is_err() || !selected.is_empty() {
            self.limit.learn(&result);
        }
        match result {
            Ok(left) => Ok(left > 0 || selected.len() >= size.rows),
            Err(error) => {
                let mut due = DueSagas { timers: self, occasion, in_trouble: 0 };
                let isolated = isolate(&self.decider.journal, &mut due, selected, error).await;
                isolated.map(|()| true).map_err(|failed| failed.error)
            }
        }
    }

    /// The definitions, and how far the replies to their sagas are behind.
    fn known(&self) -> Vec<(Name, u32, Duration)> {
        let Publisher { reply_lag, metrics, .. } = &*self.publisher;
        let (now, monotonic) = (self.decider.now(), self.decider.clock.monotonic());
        let behind = |(saga, version): (Name, u32)| {
            let behind = reply_lag.behind(&saga, version, now, monotonic);
            let label = OfVersion { saga: NameLabel::from(&saga), version };
            metrics.replies_behind.get_or_create(&label).set(behind.as_secs().cast_signed());
            (saga, version, behind)
        };
        self.decider.rules.registry.known().into_iter().map(behind).collect()
    }

    /// Looks once at the sagas that wait, in the order of their times, and measures their waits anew where they are too
    /// long.
    async fn look_again(&self, recheck: Recheck) -> Result<(), JournalError> {
        let longest = |saga: &SagaDefinition| match recheck {
            Recheck::AllThatWait => LongestWaits::default(),
            Recheck::TooLong => longest_waits(saga),
        };
        let known = self.decider.rules.registry.all().iter();
        let known: Vec<_> = known.map(|saga| (saga.name.clone(), saga.version, longest(saga))).collect();
        let mut after = None;
        loop {
            let size = self.limit.now();
            let rows = i64::try_from(size.rows).unwrap_or(i64::MAX);
            let waiting = Selection::Waiting { known: known.clone(), after, limit: rows };
            let looked = Arc::new(Mutex::new(Looked::default()));
            self.fire_these(waiting, Occasion::Recheck, size.bytes, looked.clone()).await?;
            after = looked.lock().expect("nobody panics while holding the ids").last;
            if after.is_none() {
                return Ok(());
            }
        }
    }

    /// Fires the timers of the sagas that are selected, as far as the bytes go; notes the sagas that it has seen, and
    /// returns how many are left.
    async fn fire_these(
        &self,
        selection: Selection,
        occasion: Occasion,
        bytes_max: usize,
        looked: Arc<Mutex<Looked>>,
    ) -> Result<usize, JournalError> {
        let decider = self.decider.clone();
        let asked_at = decider.clock.monotonic();
        let fire = move |snapshot: Snapshot| {
            decider.journal_clock.set(snapshot.now);
            let answered_at = decider.clock.monotonic();
            *looked.lock().expect("nobody panics while holding the ids") = Looked {
                ids: snapshot.sagas.iter().map(|stored| stored.id).collect(),
                last: snapshot.sagas.iter().filter_map(|stored| Some((stored.wake_at?, stored.id))).max(),
                reading: Some(Reading { now: snapshot.now, asked_at, answered_at }),
            };
            decide_batch(&decider.rules, snapshot, BTreeMap::new(), occasion, bytes_max)
        };
        let mut outcome = self.decider.journal.transact(selection, bytes_max, fire).await?;
        self.decider.kept.put(std::mem::take(&mut outcome.kept));
        let left = outcome.left.len();
        self.publisher.after_commit(outcome).await;
        Ok(left)
    }
}

/// The longest waits of a definition. How long a pause lasts its data say, so that all sagas of a definition that has one
/// are looked at if they wait.
fn longest_waits(saga: &SagaDefinition) -> LongestWaits {
    let (mut under_way_ms, mut awaiting_ms, mut has_pause) = (0, 0, false);
    for step in &saga.steps {
        under_way_ms = under_way_ms.max(step.longest_wait_ms());
        let of_step_ms = match (&step.kind, step.waits_for_a_length()) {
            (StepKind::Event(event), _) => event.timeout_ms,
            (StepKind::Wait(_), true) => {
                has_pause = true;
                0
            }
            // Until a time, which no step of the clock changes.
            (StepKind::Wait(_), false) => u64::MAX,
            (StepKind::Notification, _) => 0,
            (StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable, _) => {
                RetryPolicy::AWAITING.backoff_ms_max
            }
        };
        awaiting_ms = awaiting_ms.max(of_step_ms);
    }
    let awaiting_ms = if has_pause { 0 } else { awaiting_ms };
    LongestWaits {
        under_way: Duration::from_millis(under_way_ms),
        awaiting: Duration::from_millis(awaiting_ms),
    }
}

/// Turns the timers of sagas one by one.
///
/// A saga may also end its connection by itself (its row is too large, say); if one after the other does, it is the
/// database that is in trouble, and no saga is to blame.
struct DueSagas<'t, J, B, C> {
    timers: &'t Timers<J, B, C>,
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
        let fired = self.timers.fire_these(selection, self.occasion, isolation.bytes_max(), Arc::default());
        fired.await.map(drop)
    }

    async fn after_commit(&mut self, ids: &mut Vec<SagaId>, (): ()) {
        self.in_trouble = 0;
        ids.clear();
    }

    async fn fail(&mut self, id: SagaId, error: JournalError) -> Result<(), Failed<SagaId>> {
        let journal = &self.timers.decider.journal;
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
            tracing::warn!(error = error.with_causes(), saga_id = %id, "saga put off: the database is in trouble");
            changes.put_off.push(id);
        } else {
            tracing::error!(error = error.with_causes(), saga_id = %id, "saga set aside");
            changes.set_aside.push(id);
        }
        let written = journal.transact(Selection::These(vec![id]), 1, move |_| (changes, ())).await;
        written.map_err(|error| Failed::one(id, error))
    }
}
