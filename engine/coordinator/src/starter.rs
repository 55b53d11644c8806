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
use crate::pauses::stagger;
use crate::ports::{Bus, Clock, Fingerprint, Inserted, Journal, JournalError, NewSaga};
use crate::sending;
use crate::shared::Shared;
use crate::waiters::Ended;

/// How often a batch is tried again when another one is in the way or the answer to its commit was lost.
const TRIES_MAX: u32 = 5;
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

/// The caller that waits for a start, and the room that the start takes meanwhile.
type Answer = (oneshot::Sender<Result<Inserted, JournalError>>, OwnedSemaphorePermit);

/// Starts a batch, in as many units of work as its consequences need; the limit of the batches learns from it.
async fn start_all<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    batch: Vec<Waiting>,
    limit: &SharedLimit,
) {
    let (mut prepared, mut answers): (Vec<Prepared>, Vec<Answer>) =
        batch.into_iter().map(|waiting| (waiting.prepared, (waiting.answer, waiting.room))).unzip();
    while !prepared.is_empty() {
        match insert(shared, &prepared, limit.now().bytes).await {
            Ok(begun) => {
                limit.committed();
                answer_and_send(shared, &mut prepared, &mut answers, begun).await;
            }
            Err(error) => {
                if !matches!(error, JournalError::Collision(_)) {
                    limit.failed();
                }
                if prepared.len() > 1 && shared.journal.should_isolate(&error).await {
                    tracing::warn!(
                        error = error.with_causes(),
                        "batch of starts failed; they are started one by one"
                    );
                    return start_alone(shared, prepared, answers).await;
                }
                return refuse(answers, error);
            }
        }
    }
}

fn refuse(answers: Vec<Answer>, error: JournalError) {
    let mut error = Some(error);
    for (answer, _) in answers {
        let _ = answer.send(Err(error.take().unwrap_or_else(JournalError::given_up)));
    }
}

/// Each start in a unit of work of its own, so that only the culprit waits or is refused.
async fn start_alone<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    prepared: Vec<Prepared>,
    answers: Vec<Answer>,
) {
    for (prepared, answer) in prepared.into_iter().zip(answers) {
        // A caller that has gone away meanwhile comes again with the same key.
        if answer.0.is_closed() {
            continue;
        }
        match insert(shared, std::slice::from_ref(&prepared), 1).await {
            Ok(begun) => answer_and_send(shared, &mut vec![prepared], &mut vec![answer], begun).await,
            Err(error) => refuse(vec![answer], error),
        }
    }
}

/// The outcome of the first starts of a batch.
struct Begun {
    inserted: Vec<Inserted>,
    outgoing: Vec<Outgoing>,
    at_rest: Vec<Option<&'static str>>,
}

/// Starts the first of a batch, until their consequences weigh `bytes_max` (but always one).
async fn insert<J: Journal, B: Bus, C: Clock>(
    shared: &Shared<J, B, C>,
    prepared: &[Prepared],
    bytes_max: usize,
) -> Result<Begun, JournalError> {
    let mut tries = 0;
    loop {
        let mut faults = shared.journal.read_faults().await?;
        let (sagas, outgoing) = decide_some(shared, prepared, &mut faults, bytes_max);
        let at_rest: Vec<Option<&'static str>> = sagas.iter().map(NewSaga::at_rest).collect();
        let struck: Vec<(i64, u32)> = faults.struck().collect();
        match shared.journal.insert(sagas, struck).await {
            Ok(inserted) => return Ok(Begun { inserted, outgoing, at_rest }),
            Err(error) if error.is_retryable() && tries < TRIES_MAX => {
                tries += 1;
                shared.metrics.batch_retries.inc();
                stagger(&shared.clock).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The first decisions, and the messages that they send.
fn decide_some<J, B, C: Clock>(
    shared: &Shared<J, B, C>,
    prepared: &[Prepared],
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
    let (mut sagas, mut all_outgoing) =
        (Vec::with_capacity(prepared.len()), Vec::with_capacity(prepared.len()));
    let mut bytes = 0;
    for start in prepared {
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
    prepared: &mut Vec<Prepared>,
    answers: &mut Vec<Answer>,
    mut begun: Begun,
) {
    let to_send = after_commit(shared, prepared, &mut begun);
    prepared.drain(..begun.inserted.len());
    for ((answer, _), inserted) in answers.drain(..begun.inserted.len()).zip(begun.inserted) {
        // A caller that has gone away comes again with the same key.
        let _ = answer.send(Ok(inserted));
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
fn after_commit<J, B, C>(shared: &Shared<J, B, C>, prepared: &[Prepared], begun: &mut Begun) -> Outgoing {
    let mut to_send = Outgoing::default();
    let mut ended = Vec::new();
    let outgoing = std::mem::take(&mut begun.outgoing);
    let results = begun.inserted.iter().zip(outgoing).zip(&begun.at_rest);
    for (start, ((inserted, outgoing), at_rest)) in prepared.iter().zip(results) {
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
