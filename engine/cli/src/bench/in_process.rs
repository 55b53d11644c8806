//! Sagas that are started by calls within the coordinator's process (`--via engine`), and whose ends are heard there
//! without a look into the journal.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use anyhow::Context as _;
use indicatif::ProgressBar;
use redress_coordinator::{Engine, StartRequest};
use redress_core::SagaId;
use tokio::sync::oneshot;
use tokio_util::task::AbortOnDropHandle;

use super::drive::{Drive, Measured, SagaEnd};
use super::pace::Pace;
use crate::failure::Failure;

/// Starts sagas and hears of their ends.
#[derive(Clone)]
pub(super) struct InProcess {
    engine: Engine,
    ends: Arc<Ends>,
    _watch: Arc<AbortOnDropHandle<()>>,
}

/// Pairs each start with its end; either may be known first.
#[derive(Default)]
struct Ends(Mutex<HashMap<SagaId, Half>>);

/// The half of a pair that was known first.
enum Half {
    Awaited(oneshot::Sender<SagaEnd>),
    Ended(SagaEnd),
}

impl InProcess {
    /// Hears of all ends from now on.
    pub(super) fn new(engine: Engine) -> Self {
        let (mut watched, ends) = (engine.watch_ended(), Arc::<Ends>::default());
        let watch = tokio::spawn({
            let ends = ends.clone();
            async move {
                while let Some(ended) = watched.recv().await {
                    ends.ended(ended.id, SagaEnd { status: ended.status, at: Instant::now() });
                }
            }
        });
        Self { engine, ends, _watch: Arc::new(AbortOnDropHandle::new(watch)) }
    }

    /// Starts a saga and waits for its end.
    ///
    /// # Errors
    /// If the start is refused.
    pub(super) async fn play(self, request: StartRequest) -> anyhow::Result<SagaEnd> {
        let started = self.engine.start_request(request).await?;
        self.ends.wait_for(started.id).await.context("the coordinator tells of no ends any more")
    }
}

impl Ends {
    fn ended(&self, id: SagaId, end: SagaEnd) {
        let mut halves = self.0.lock().expect("no code panics under this lock");
        match halves.remove(&id) {
            // A caller that has gone away needs no answer.
            Some(Half::Awaited(caller)) => drop(caller.send(end)),
            Some(Half::Ended(_)) | None => drop(halves.insert(id, Half::Ended(end))),
        }
    }

    fn wait_for(&self, id: SagaId) -> oneshot::Receiver<SagaEnd> {
        let (sender, receiver) = oneshot::channel();
        let mut halves = self.0.lock().expect("no code panics under this lock");
        match halves.remove(&id) {
            Some(Half::Ended(end)) => drop(sender.send(end)),
            Some(Half::Awaited(_)) | None => drop(halves.insert(id, Half::Awaited(sender))),
        }
        receiver
    }
}

/// Runs so many sagas in process, so many at once; `request` is called with the number of each, from 0, right before its
/// start.
///
/// # Errors
/// If a start is refused, or nothing has ended for two minutes.
pub(crate) async fn closed_loop(
    engine: &Engine,
    sagas: u64,
    concurrency: usize,
    progress: ProgressBar,
    request: impl Fn(u64) -> StartRequest,
) -> Result<Measured, Failure> {
    let in_process = InProcess::new(engine.clone());
    let drive = Drive { pace: Pace::Closed, sagas, concurrency, progress };
    Ok(drive.run(|number| in_process.clone().play(request(number))).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn end_that_is_known_before_its_start_is_kept_for_it() {
        let (ends, id) = (Ends::default(), SagaId(uuid::Uuid::now_v7()));
        let end = |status| SagaEnd { status, at: Instant::now() };
        ends.ended(id, end("completed"));
        assert_eq!(ends.wait_for(id).await.unwrap().status, "completed");
        let later = ends.wait_for(id);
        ends.ended(id, end("compensated"));
        assert_eq!(later.await.unwrap().status, "compensated");
        assert!(ends.0.lock().unwrap().is_empty());
    }
}
