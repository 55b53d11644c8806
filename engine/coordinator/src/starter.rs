//! Starts in batches: whoever comes while a batch is written joins the next one.
//!
//! A batch is one statement: key, saga and history. Nothing lingers; under load the batches grow by themselves.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redress_core::decide;
use redress_core::fault::FaultBook;
use redress_core::{SagaId, Timestamp};
use tokio::sync::{Semaphore, mpsc, oneshot};

use crate::engine::Shared;
use crate::journal::JournalError;
use crate::metrics::Kind;
use crate::ports::{Inserted, Journal, NewSaga};
use crate::waiters::Ended;
use crate::work::Outgoing;

/// How often a batch is tried again when another one is in the way or the answer to its commit was lost.
const TRIES_MAX: u32 = 5;
/// Batches in flight: while one is written, the next one gathers.
const LANES: usize = 1;

/// A start that was read and checked, waiting for its batch.
pub(crate) struct Waiting {
    pub(crate) prepared: Prepared,
    pub(crate) answer: oneshot::Sender<Result<Inserted, JournalError>>,
}

/// A start that was read and checked.
#[derive(Clone)]
pub(crate) struct Prepared {
    pub(crate) id: SagaId,
    pub(crate) definition: usize,
    pub(crate) key: String,
    pub(crate) fingerprint: [u8; 32],
    pub(crate) input: Vec<u8>,
    pub(crate) tags: serde_json::Value,
    pub(crate) data: redress_core::JsonText,
    pub(crate) faults: Vec<redress_core::fault::Fault>,
    pub(crate) traceparent: Option<String>,
}

/// The journal's clock, read now and then and carried on by a monotonic one in between.
#[derive(Debug)]
pub(crate) struct JournalClock {
    anchor: std::sync::Mutex<(Timestamp, Instant)>,
}

impl JournalClock {
    pub(crate) fn new(now: Timestamp) -> Self {
        Self { anchor: std::sync::Mutex::new((now, Instant::now())) }
    }

    pub(crate) fn set(&self, now: Timestamp) {
        *self.anchor.lock().expect("nobody panics while holding the clock") = (now, Instant::now());
    }

    pub(crate) fn now(&self) -> Timestamp {
        let (anchor, at) = *self.anchor.lock().expect("nobody panics while holding the clock");
        let now = anchor + chrono::TimeDelta::from_std(at.elapsed()).unwrap_or_default();
        // The journal keeps microseconds, and what is answered must be what is stored.
        let nanos = now.timestamp_subsec_nanos() % 1_000;
        now - chrono::TimeDelta::nanoseconds(i64::from(nanos))
    }
}

/// Takes starts until every sender is gone.
pub(crate) async fn run(shared: Arc<Shared>, mut waiting: mpsc::Receiver<Waiting>) {
    let lanes = Arc::new(Semaphore::new(LANES));
    let mut batch = Vec::new();
    loop {
        let lane = lanes.clone().acquire_owned().await.expect("the lanes are never closed");
        if waiting.recv_many(&mut batch, shared.config.start_batch_max).await == 0 {
            break;
        }
        let (shared, batch) = (shared.clone(), std::mem::take(&mut batch));
        shared.clone().tasks.spawn(async move {
            start_all(&shared, batch).await;
            drop(lane);
        });
    }
}

async fn start_all(shared: &Shared, batch: Vec<Waiting>) {
    let (prepared, answers): (Vec<Prepared>, Vec<_>) =
        batch.into_iter().map(|waiting| (waiting.prepared, waiting.answer)).unzip();
    match insert(shared, &prepared).await {
        Ok(inserted) => {
            for (answer, inserted) in answers.into_iter().zip(inserted) {
                // Whoever has gone away asks again with the same key.
                let _ = answer.send(Ok(inserted));
            }
        }
        Err(error) if prepared.len() > 1 && shared.journal.may_fail_less_alone(&error).await => {
            tracing::warn!(
                error = error.with_causes(),
                "batch of starts failed; they are started one by one"
            );
            start_alone(shared, prepared.into_iter().zip(answers).collect()).await;
        }
        Err(error) => {
            let mut error = Some(error);
            for answer in answers {
                let _ = answer.send(Err(error.take().unwrap_or_else(JournalError::unavailable)));
            }
        }
    }
}

/// Each start in a unit of work of its own, so that only the culprit waits or is refused.
async fn start_alone(
    shared: &Shared,
    starts: Vec<(Prepared, oneshot::Sender<Result<Inserted, JournalError>>)>,
) {
    for (prepared, answer) in starts {
        // Whoever has gone away meanwhile asks again with the same key.
        if !answer.is_closed() {
            Box::pin(start_all(shared, vec![Waiting { prepared, answer }])).await;
        }
    }
}

async fn insert(shared: &Shared, prepared: &[Prepared]) -> Result<Vec<Inserted>, JournalError> {
    let mut tries = 0;
    loop {
        let mut faults = shared.journal.read_faults().await?;
        let (sagas, outgoing) = decide_all(shared, prepared, &mut faults);
        let at_rest: Vec<Option<&'static str>> = sagas.iter().map(NewSaga::at_rest).collect();
        let struck: Vec<(i64, u32)> = faults.struck().collect();
        match shared.journal.insert(sagas, struck).await {
            Ok(inserted) => {
                after_commit(shared, prepared, &inserted, outgoing, &at_rest);
                return Ok(inserted);
            }
            Err(error) if error.is_worth_another_try() && tries < TRIES_MAX => {
                tries += 1;
                shared.metrics.batch_retries.inc();
                tokio::time::sleep(Duration::from_millis(u64::from(rand::random::<u8>()))).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// The first decision of each saga, and what it sends.
fn decide_all(
    shared: &Shared,
    prepared: &[Prepared],
    faults: &mut FaultBook,
) -> (Vec<NewSaga>, Vec<Outgoing>) {
    let now = shared.clock.now();
    // Started paused: taken and written down, and first sent by the timers, once they turn.
    let first = if shared.begun.is_cancelled() { decide::start } else { decide::start_unsent };
    prepared.iter().map(|start| shared.begin(start, now, faults, first)).unzip()
}

fn after_commit(
    shared: &Shared,
    prepared: &[Prepared],
    inserted: &[Inserted],
    outgoing: Vec<Outgoing>,
    at_rest: &[Option<&'static str>],
) {
    let mut to_send = Outgoing::default();
    let mut ended = Vec::new();
    for (((start, inserted), outgoing), at_rest) in prepared.iter().zip(inserted).zip(outgoing).zip(at_rest) {
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
        let saga = shared.registry.all()[start.definition].name.to_string();
        shared.metrics.started.get_or_create(&Kind { saga, kind: "start" }).inc();
        ended.extend(at_rest.map(|status| Ended { id: start.id, status }));
        to_send.extend(outgoing);
    }
    shared.metrics.commands.inc_by(to_send.commands.len() as u64);
    shared.waiters.notify(&ended);
    let (wire, crash) = (shared.wire.clone(), shared.config.crash.clone());
    shared.tasks.spawn(async move { to_send.publish(&wire, &crash).await });
}
