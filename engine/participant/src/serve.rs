//! Serves the commands of a participant: takes batches from its consumer until the shutdown.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use redress_core::CommandMessage;
use redress_postgres::trim;
use redress_wire::Delivery;
use redress_wire::knowing::KnownCommand;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::due;
use crate::lane::LanePermit;
use crate::listen::Listening;
use crate::member::Member;
use crate::serve_error::ServeError;
use crate::worker::Worker;
use crate::{kept_letters, prune};

/// Serves until the shutdown, with the listeners, the pruning and the answers given later beside it.
pub(crate) async fn serve<S: Send + Sync + 'static>(
    worker: Arc<Worker<S>>,
    listening: Listening<S>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let stop = CancellationToken::new();
    let listening = tokio::spawn(listening.run(stop.clone()));
    let pruning = tokio::spawn(prune::run(worker.clone(), stop.clone()));
    let forwarding = tokio::spawn(kept_letters::forward(worker.clone(), stop.clone()));
    let publishing = tokio::spawn(due::run(worker.clone(), stop.clone()));
    let pool = worker.inbox.pool.clone();
    let trimming = tokio::spawn(async move { trim(&pool).await });
    let taken = take(worker, shutdown).await;
    trimming.abort();
    stop.cancel();
    // A listener that panics is caught where it is called, and pruning and publishing again can be done later.
    let _ = tokio::join!(listening, pruning, forwarding, publishing);
    taken
}

impl<S: Send + Sync + 'static> Worker<S> {
    /// The commands that other instances are told that this one knows.
    fn known(&self) -> Vec<KnownCommand> {
        let named = self.inbox.handlers.named().map(|(phase, command)| (phase, command.cloned()));
        named.chain(self.repeated.known()).collect()
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
    let _telling = worker.wire.tell_known(&worker.service, &worker.known()).await;
    let lanes = Arc::new(Semaphore::new(worker.inbox.config.lanes));
    let batches = Arc::new(Semaphore::new(worker.places.lanes_max));
    let alive = worker.clone();
    let heartbeat = tokio::spawn(async move { alive.keep_alive_beside().await });
    tracing::info!(service = %worker.service, "participant is serving");
    loop {
        let permit = LanePermit { lane: Some(permit(&lanes).await), _batch: permit(&batches).await };
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
            () = worker.has_returned.notified() => Taken::Returned(worker.take_returned()),
            batch = consumer.next_batch(worker.inbox.pace.commands(worker.inbox.config.batch_max)) => {
                Taken::Delivered(batch)
            }
        };
        let of_batch = worker.clone();
        worker.tasks.spawn(async move {
            match batch {
                Taken::Delivered(deliveries) => of_batch.process(deliveries, permit).await,
                Taken::Returned(members) => of_batch.run_members(members, permit).await,
            }
        });
    }
    let mut waiting = worker.beside().close();
    waiting.extend(worker.take_returned());
    for member in waiting {
        member.ack.nak(Duration::ZERO).await;
    }
    worker.tasks.close();
    worker.tasks.wait().await;
    worker.repeated.stop().await;
    heartbeat.abort();
    tracing::info!(service = %worker.service, "participant has stopped");
    Ok(())
}

/// A batch, by where it comes from.
enum Taken {
    Delivered(Vec<Delivery<CommandMessage>>),
    /// From the queues beside the batches.
    Returned(Vec<Member>),
}

async fn permit(semaphore: &Arc<Semaphore>) -> OwnedSemaphorePermit {
    semaphore.clone().acquire_owned().await.expect("the lanes are never closed")
}

impl<S> Worker<S> {
    fn take_returned(&self) -> Vec<Member> {
        std::mem::take(&mut *self.returned.lock().expect("no thread panics while it holds a list"))
    }
}
