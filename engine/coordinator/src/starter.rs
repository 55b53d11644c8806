//! Starts in batches: a start that comes while a batch is written joins the next one.
//!
//! A batch is one statement: key, saga and history. Nothing lingers; under load the batches grow by themselves.

use std::sync::Arc;

use redress_core::decide;
use redress_core::fault::FaultBook;
use redress_core::{SagaDefinition, SagaId};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::batch::Outgoing;
use crate::batch_size::{BatchSize, SharedLimit};
use crate::broker::BrokerState;
use crate::metrics::Kind;
use crate::ports::{Bus, Clock, Fingerprint, Inserted, Journal, JournalError, NewSaga};
use crate::sending;
use crate::shared::Shared;
use crate::units::{Again, BatchWork, Failed, Isolation, Retries, retry_unit, run_batch};
use crate::waiters::Ended;

const RETRIES: Retries = Retries { max: 5, first: Again::AfterPause };
/// Batches in flight: while one is written, the next one gathers.
const LANES: usize = 1;

/// A start that was read and checked, waiting for its batch.
pub(crate) struct Waiting {
    pub(crate) prepared: Prepared,
    pub(crate) answer: oneshot::Sender<Result<Inserted, JournalError>>,
    /// The room that it takes until it is answered.
    pub(crate) room: OwnedSemaphorePermit,
}

/// A start that was read and checked.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) id: SagaId,
    pub(crate) definition: Arc<SagaDefinition>,
    pub(crate) key: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) input: Vec<u8>,
    pub(crate) tags: serde_json::Value,
    pub(crate) data: redress_core::JsonText,
    pub(crate) faults: Vec<redress_core::fault::Fault>,
    pub(crate) traceparent: Option<String>,
}

impl Prepared {
    /// Its weight, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.input.len() + self.data.as_bytes().len() + self.key.len()
    }
}

/// Takes starts until every sender is gone.
pub(crate) async fn run<J: Journal, B: Bus, C: Clock>(
    shared: Arc<Shared<J, B, C>>,
    mut waiting: mpsc::Receiver<Waiting>,
) {
    let lanes = Arc::new(Semaphore::new(LANES));
    let limit = Arc::new(SharedLimit::new(shared.config.start_batch_max, shared.config.batch_bytes_max));
    loop {
        let lane = lanes.clone().acquire_owned().await.expect("the lanes are never closed");
        let Some(batch) = gather(&mut waiting, limit.now()).await else { break };
        let (shared, limit) = (shared.clone(), limit.clone());
        shared.clone().tasks.spawn(async move {
            start_all(&shared, batch, &limit).await;
            drop(lane);
        });
    }
}

/// Waits for a start and takes with it those that are there already and fit.
async fn gather(waiting: &mut mpsc::Receiver<Waiting>, size: BatchSize) -> Option<Vec<Waiting>> {
    let first = waiting.recv().await?;
    let (mut bytes, mut batch) = (first.prepared.bytes(), vec![first]);
    while batch.len() < size.rows && bytes < size.bytes {
        let Ok(next) = waiting.try_recv() else { break };
        bytes += next.prepared.bytes();
        batch.push(next);
    }
    Some(batch)
}

/// Starts a batch, in as many units of work as its consequences need; the limit of the batches learns from it.
async fn start_all<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    batch: Vec<Waiting>,
    limit: &SharedLimit,
) {
    let started = run_batch(&shared.journal, limit, &mut WaitingStarts { shared }, batch).await;
    if let Err(Failed { members, error }) = started {
        refuse(members, error);
    }
}

fn refuse(starts: Vec<Waiting>, error: JournalError) {
    let mut error = Some(error);
    for start in starts {
        let _ = start.answer.send(Err(error.take().unwrap_or_else(JournalError::given_up)));
    }
}

/// Starts sagas: a start that fails even alone is refused.
struct WaitingStarts<'s, J, B, C> {
    shared: &'s Arc<Shared<J, B, C>>,
}

impl<J: Journal, B: Bus, C: Clock> BatchWork for WaitingStarts<'_, J, B, C> {
    type Member = Waiting;
    type Outcome = Begun;
    const NAME: &'static str = "starts";

    async fn run(&mut self, starts: &[Waiting], isolation: Isolation) -> Result<Begun, JournalError> {
        // A caller that has gone away while others were started one by one comes again with the same key.
        if isolation == Isolation::Alone && starts.iter().all(|start| start.answer.is_closed()) {
            return Ok(Begun::default());
        }
        insert(self.shared, starts, isolation.bytes_max()).await
    }

    async fn after_commit(&mut self, starts: &mut Vec<Waiting>, begun: Begun) {
        if !begun.inserted.is_empty() {
            answer_and_send(self.shared, starts, begun).await;
        }
    }

    async fn fail(&mut self, start: Waiting, error: JournalError) -> Result<(), Failed<Waiting>> {
        refuse(vec![start], error);
        Ok(())
    }
}

/// The outcome of the first starts of a batch.
#[derive(Default)]
struct Begun {
    inserted: Vec<Inserted>,
    outgoing: Vec<Outgoing>,
    at_rest: Vec<Option<&'static str>>,
}

/// Starts the first of a batch, until their consequences weigh `bytes_max` (but always one).
async fn insert<J: Journal, B: Bus, C: Clock>(
    shared: &Shared<J, B, C>,
    starts: &[Waiting],
    bytes_max: usize,
) -> Result<Begun, JournalError> {
    retry_unit(&shared.clock, RETRIES, Some(&shared.metrics.batch_retries), |_| async move {
        let mut faults = shared.journal.read_faults().await?;
        let (sagas, outgoing) = decide_some(shared, starts, &mut faults, bytes_max);
        let at_rest: Vec<Option<&'static str>> = sagas.iter().map(NewSaga::at_rest).collect();
        let struck: Vec<(i64, u32)> = faults.struck().collect();
        let inserted = shared.journal.insert(sagas, struck).await?;
        Ok(Begun { inserted, outgoing, at_rest })
    })
    .await
}

/// The first decisions, and the messages that they send.
fn decide_some<J, B, C: Clock>(
    shared: &Shared<J, B, C>,
    starts: &[Waiting],
    faults: &mut FaultBook,
    bytes_max: usize,
) -> (Vec<NewSaga>, Vec<Outgoing>) {
    let now = shared.journal_clock.now();
    // Started paused: taken and written down, and first sent by the timers, once they turn.
    // So are those that come while the broker is away.
    let first = match (shared.has_started(), shared.broker.state()) {
        (true, BrokerState::There { .. }) => decide::start,
        (false, _) | (true, BrokerState::Away) => decide::start_unsent,
    };
    let (mut sagas, mut all_outgoing) = (Vec::with_capacity(starts.len()), Vec::with_capacity(starts.len()));
    let mut bytes = 0;
    for Waiting { prepared: start, .. } in starts {
        let (saga, outgoing) = shared.begin(start, now, faults, first);
        bytes += start.bytes() + outgoing.bytes();
        sagas.push(saga);
        all_outgoing.push(outgoing);
        if bytes >= bytes_max {
            break;
        }
    }
    (sagas, all_outgoing)
}

/// Answers those that have begun, which are the first of the batch, and sends their messages.
async fn answer_and_send<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    starts: &mut Vec<Waiting>,
    mut begun: Begun,
) {
    let to_send = count(shared, starts, &mut begun);
    for (start, inserted) in starts.drain(..begun.inserted.len()).zip(begun.inserted) {
        // A caller that has gone away comes again with the same key.
        let _ = start.answer.send(Ok(inserted));
    }
    // Answered already; but the next batch waits if the broker does not keep up.
    let room = shared.room_for(&to_send).await;
    let sending = sending::send(shared.clone(), to_send);
    shared.tasks.spawn(async move {
        sending.await;
        drop(room);
    });
}

/// Counts, wakes the waiters, and returns the messages to be sent.
fn count<J, B, C>(shared: &Shared<J, B, C>, starts: &[Waiting], begun: &mut Begun) -> Outgoing {
    let mut to_send = Outgoing::default();
    let mut ended = Vec::new();
    let outgoing = std::mem::take(&mut begun.outgoing);
    let results = begun.inserted.iter().zip(outgoing).zip(&begun.at_rest);
    for (Waiting { prepared: start, .. }, ((inserted, outgoing), at_rest)) in starts.iter().zip(results) {
        // A saga that had been started before was sent its first command before; but one of this very start, found
        // after the answer to its commit was lost, was not.
        let is_ours = match inserted {
            Inserted::New => true,
            Inserted::Same(id) => *id == start.id,
            Inserted::Other(_) => false,
        };
        if !is_ours {
            continue;
        }
        let saga = start.definition.name.to_string();
        shared.metrics.started.get_or_create(&Kind { saga, kind: "start" }).inc();
        ended.extend(at_rest.map(|status| Ended { id: start.id, status }));
        to_send.extend(outgoing);
    }
    shared.metrics.commands.inc_by(to_send.commands.len() as u64);
    shared.waiters.notify(&ended);
    to_send
}
