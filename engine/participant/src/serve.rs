//! Serves the commands of a participant: takes batches from its consumer until the shutdown.

use std::future::Future;
use std::sync::Arc;

use redress_wire::knowing::KnownCommand;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::handlers::Handlers;
use crate::listen::Listening;
use crate::prune;
use crate::serve_error::ServeError;
use crate::worker::Worker;

/// Serves until the shutdown, with the listeners and the pruning beside it.
pub(crate) async fn serve<S: Send + Sync + 'static>(
    worker: Arc<Worker<S>>,
    listening: Listening<S>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    let listening = tokio::spawn(listening.run(stop.clone()));
    let pruning = tokio::spawn(prune::run(worker.clone(), stop.clone()));
    let taken = take(worker, shutdown).await;
    stop.cancel();
    // A listener that panics is caught where it is called, and pruning only deletes.
    let _ = tokio::join!(listening, pruning);
    taken
}

impl<S> Handlers<S> {
    /// The commands that other instances are told that this one knows.
    fn known(&self) -> Vec<KnownCommand> {
        let named = self.by_command.iter().map(|(name, handler)| (handler.phase(), Some(name.clone())));
        let unnamed = [&self.actions_without_name, &self.undos_without_name].into_iter().flatten();
        named.chain(unnamed.map(|handler| (handler.phase(), None))).collect()
    }
}

/// Takes batches until the shutdown; a batch in its task is never cancelled.
async fn take<S: Send + Sync + 'static>(
    worker: Arc<Worker<S>>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let mut shutdown = std::pin::pin!(shutdown);
    let inbox = tokio::select! {
        biased;
        () = &mut shutdown => return Ok(()),
        id = worker.inbox_id() => id,
    };
    let mut consumer = worker.wire.commands_for(&worker.service, &inbox);
    consumer.claim().await?;
    let _telling = worker.wire.tell_known(&worker.service, &worker.inbox.handlers.known()).await;
    let lanes = Arc::new(Semaphore::new(worker.inbox.config.lanes));
    let tasks = TaskTracker::new();
    tracing::info!(service = %worker.service, "participant is serving");
    loop {
        let lane = lanes.clone().acquire_owned().await.expect("the lanes are never closed");
        let batch = tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = worker.database_down.notified() => {
                // Messages that the broker has sent already are dropped with the consumer, and come again elsewhere or
                // later.
                consumer = worker.wire.commands_for(&worker.service, &inbox);
                tokio::select! {
                    biased;
                    () = &mut shutdown => break,
                    () = worker.database_is_back() => continue,
                }
            }
            batch = consumer.next_batch(worker.inbox.pace.commands(worker.inbox.config.batch_max)) => batch,
        };
        let worker = worker.clone();
        tasks.spawn(async move {
            worker.process(batch).await;
            drop(lane);
        });
    }
    tasks.close();
    tasks.wait().await;
    tracing::info!(service = %worker.service, "participant has stopped");
    Ok(())
}
