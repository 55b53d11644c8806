//! Starts in batches: a start that comes while a batch is written joins the next one.
//!
//! A batch is one statement: key, saga and history. Nothing lingers; under load the batches grow by themselves.

use std::sync::Arc;

use redress_core::decide;
use redress_core::fault::FaultBook;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot, watch};
use tokio_util::task::TaskTracker;

use crate::batch::Outgoing;
use crate::batch_size::{BatchSize, SharedLimit};
use crate::broker::BrokerState;
use crate::decider::Decider;
use crate::kept::is_worth_keeping;
use crate::metrics::labels::{Kind, NameLabel};
use crate::ports::{
    Bus, Clock, FIRST_REVISION, Inserted, Journal, JournalError, NewSaga, Stored, StoredState,
};
use crate::prepared::Prepared;
use crate::publisher::Publisher;
use crate::units::{Again, BatchWork, Failed, Isolation, Retries, run_batch};
use crate::waiters::Ended;

const RETRIES: Retries = Retries { max: 5, first: Again::AfterPause };
/// Batches in flight: while one is written, the next one gathers.
const LANES: usize = 1;

/// A start that waits for its batch.
pub(crate) struct Waiting {
    pub(crate) prepared: Prepared,
    pub(crate) answer: oneshot::Sender<Result<Inserted, JournalError>>,
    /// The room that it takes until it is answered.
    pub(crate) room: OwnedSemaphorePermit,
}

/// The starter of sagas.
pub(crate) struct Starter<J, B, C> {
    pub(crate) decider: Arc<Decider<J, C>>,
    pub(crate) publisher: Arc<Publisher<J, B, C>>,
    pub(crate) tasks: TaskTracker,
    /// True once sagas may move.
    pub(crate) started: watch::Receiver<bool>,
    /// How large the next batch may be.
    pub(crate) limit: SharedLimit,
}

/// The outcome of the first starts of a batch.
#[derive(Default)]
struct Begun {
    inserted: Vec<Inserted>,
    outgoing: Vec<Outgoing>,
    at_rest: Vec<Option<&'static str>>,
    /// True if places in the orders of keys were taken.
    takes_places: bool,
}

impl<J: Journal, B: Bus, C: Clock> Starter<J, B, C> {
    /// Takes starts until every sender is gone.
    pub(crate) async fn run(self, mut waiting: mpsc::Receiver<Waiting>) {
        let lanes = Arc::new(Semaphore::new(LANES));
        let starter = Arc::new(self);
        loop {
            let lane = lanes.clone().acquire_owned().await.expect("the lanes are never closed");
            let Some(batch) = gather(&mut waiting, starter.limit.now()).await else { break };
            let of_batch = starter.clone();
            starter.tasks.spawn(async move {
                of_batch.start_all(batch).await;
                drop(lane);
            });
        }
    }

    /// Starts a batch, in as many units of work as its consequences need.
    async fn start_all(&self, batch: Vec<Waiting>) {
        let started = run_batch(&self.decider.journal, &self.limit, &mut WaitingStarts(self), batch).await;
        if let Err(Failed { members, error }) = started {
            refuse(members, error);
        }
    }

    /// Starts the first of a batch, until their consequences weigh `bytes_max` (but always one).
    async fn insert(&self, starts: &[Waiting], bytes_max: usize) -> Result<Begun, JournalError> {
        let journal = &self.decider.journal;
        let unit = |_: Option<&JournalError>| async move {
            let mut faults = journal.read_faults().await?;
            let (sagas, outgoing) = self.decide_some(starts, &mut faults, bytes_max);
            let at_rest: Vec<Option<&'static str>> = sagas.iter().map(NewSaga::at_rest).collect();
            let struck = faults.struck().to_vec();
            let takes_places = sagas.iter().any(|saga| !saga.places.is_empty());
            let kept: Vec<Option<Stored>> = sagas.iter().map(kept).collect();
            let inserted = journal.insert(sagas, struck).await?;
            let new = inserted.iter().zip(kept).filter(|(inserted, _)| **inserted == Inserted::New);
            self.decider.kept.put(new.filter_map(|(_, kept)| kept).collect());
            Ok(Begun { inserted, outgoing, at_rest, takes_places })
        };
        self.decider.retry(RETRIES, unit).await
    }

    /// The first decisions, and the messages that they send.
    fn decide_some(
        &self,
        starts: &[Waiting],
        faults: &mut FaultBook,
        bytes_max: usize,
    ) -> (Vec<NewSaga>, Vec<Outgoing>) {
        let now = self.decider.now();
        // Started paused: taken and written down, and first sent by the timers, once they turn.
        // So are those that come while the broker is away.
        let first = match (*self.started.borrow(), self.publisher.broker.state()) {
            (true, BrokerState::There { .. }) => decide::start,
            (false, _) | (true, BrokerState::Away) => decide::start_unsent,
        };
        let mut sagas = Vec::with_capacity(starts.len());
        let mut all_outgoing = Vec::with_capacity(starts.len());
        let mut bytes = 0;
        for Waiting { prepared, .. } in starts {
            if faults.asks_for_tags() {
                faults.know_tags(prepared.id, &prepared.tags);
            }
            let (saga, outgoing) = prepared.begin(now, faults, first);
            bytes += prepared.bytes() + outgoing.bytes();
            sagas.push(saga);
            all_outgoing.push(outgoing);
            if bytes >= bytes_max {
                break;
            }
        }
        (sagas, all_outgoing)
    }

    /// Answers those that have begun, which are the first of the batch, and sends their messages.
    async fn answer_and_send(&self, starts: &mut Vec<Waiting>, mut begun: Begun) {
        let to_send = self.count(starts, &mut begun);
        let begun_starts = starts.drain(..begun.inserted.len());
        for (Waiting { answer, room, .. }, inserted) in begun_starts.zip(begun.inserted) {
            // A caller that has gone away comes again with the same key.
            let _ = answer.send(Ok(inserted));
            drop(room);
        }
        // Answered already; but the next batch waits if the broker does not keep up.
        let room = self.publisher.room_for(&to_send).await;
        let sending = self.publisher.clone().send(to_send);
        self.tasks.spawn(async move {
            sending.await;
            drop(room);
        });
    }

    /// Counts, wakes the waiters, and returns the messages to be sent.
    fn count(&self, starts: &[Waiting], begun: &mut Begun) -> Outgoing {
        let metrics = &self.publisher.metrics;
        let mut to_send = Outgoing::default();
        let mut ended = Vec::new();
        let outgoing = std::mem::take(&mut begun.outgoing);
        let results = begun.inserted.iter().zip(outgoing).zip(&begun.at_rest);
        for (Waiting { prepared, .. }, ((inserted, outgoing), at_rest)) in starts.iter().zip(results) {
            // A saga that had been started before was sent its first command before; but one of this very start, found
            // after the answer to its commit was lost, was not.
            let is_ours = match inserted {
                Inserted::New => true,
                Inserted::Same(id) => *id == prepared.id,
                Inserted::Other(_) => false,
            };
            if !is_ours {
                continue;
            }
            let saga = NameLabel::from(&prepared.definition.name);
            metrics.started.get_or_create(&Kind { saga, kind: "start" }).inc();
            ended.extend(at_rest.map(|status| Ended { id: prepared.id, status }));
            to_send.extend(outgoing);
        }
        metrics.commands.inc_by(to_send.commands.len() as u64);
        self.publisher.waiters.notify(&ended);
        if begun.takes_places {
            self.publisher.places_changed.notify_one();
        }
        to_send
    }
}

/// The state that the first reply will be decided on.
fn kept(saga: &NewSaga) -> Option<Stored> {
    is_worth_keeping(&saga.state).then(|| Stored {
        id: saga.id,
        saga: saga.saga.clone(),
        version: saga.version,
        revision: FIRST_REVISION,
        wake_at: None,
        state: StoredState::Readable(Box::new(saga.state.clone())),
    })
}

/// Waits for a start and takes with it those that are there already and fit.
async fn gather(waiting: &mut mpsc::Receiver<Waiting>, size: BatchSize) -> Option<Vec<Waiting>> {
    let first = waiting.recv().await?;
    // Requests that came together are read one after the other: the rest of them come first.
    tokio::task::yield_now().await;
    let (mut bytes, mut batch) = (first.prepared.bytes(), vec![first]);
    while batch.len() < size.rows && bytes < size.bytes {
        let Ok(next) = waiting.try_recv() else { break };
        bytes += next.prepared.bytes();
        batch.push(next);
    }
    Some(batch)
}

fn refuse(starts: Vec<Waiting>, error: JournalError) {
    let mut error = Some(error);
    for start in starts {
        let _ = start.answer.send(Err(error.take().unwrap_or_else(JournalError::given_up)));
    }
}

/// Starts sagas: a start that fails even alone is refused.
struct WaitingStarts<'s, J, B, C>(&'s Starter<J, B, C>);

impl<J: Journal, B: Bus, C: Clock> BatchWork for WaitingStarts<'_, J, B, C> {
    type Member = Waiting;
    type Outcome = Begun;
    const NAME: &'static str = "starts";

    async fn run(&mut self, starts: &[Waiting], isolation: Isolation) -> Result<Begun, JournalError> {
        // A caller that has gone away while others were started one by one comes again with the same key.
        if isolation == Isolation::Alone && starts.iter().all(|start| start.answer.is_closed()) {
            return Ok(Begun::default());
        }
        self.0.insert(starts, isolation.bytes_max()).await
    }

    async fn after_commit(&mut self, starts: &mut Vec<Waiting>, begun: Begun) {
        if !begun.inserted.is_empty() {
            self.0.answer_and_send(starts, begun).await;
        }
    }

    async fn fail(&mut self, start: Waiting, error: JournalError) -> Result<(), Failed<Waiting>> {
        refuse(vec![start], error);
        Ok(())
    }
}
