//! Serves a service that keeps nothing: takes commands from its consumer until the shutdown, and hears notifications.
//!
//! The consumer is that of any service, so coordinators and probes see no difference. It carries no inbox's id: an instance
//! without a database is no stranger to any other, and what it does not know it passes on.

use std::future::Future;
use std::sync::Arc;

use redress_core::{CommandMessage, Phase};
use redress_wire::Delivery;
use redress_wire::knowing::KnownCommand;
use tokio_util::sync::CancellationToken;

use crate::config::count;
use crate::listen::Listening;
use crate::member::{Member, UnknownCommand};
use crate::repeated::Repeated;
use crate::serve_error::ServeError;

/// Serves until the shutdown, with the listeners beside it.
pub(crate) async fn serve_without_database<S: Send + Sync + 'static>(
    repeated: Arc<Repeated<S>>,
    listening: Listening<S>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    repeated.post.config.monitor.watch(&repeated);
    let stop = CancellationToken::new();
    let listening = tokio::spawn(listening.run(stop.clone()));
    let taken = take(&repeated, shutdown).await;
    stop.cancel();
    // A listener that panics is caught where it is called.
    let _ = listening.await;
    taken
}

impl<S: Send + Sync + 'static> Repeated<S> {
    /// The commands that other instances are told that this one knows.
    pub(crate) fn known(&self) -> Vec<KnownCommand> {
        self.commands().map(|command| (Phase::Action, Some(command.clone()))).collect()
    }
}

async fn take<S: Send + Sync + 'static>(
    repeated: &Arc<Repeated<S>>,
    shutdown: impl Future<Output = ()> + Send,
) -> Result<(), ServeError> {
    let post = repeated.post.clone();
    let mut shutdown = std::pin::pin!(shutdown);
    let mut consumer = post.wire.commands(&post.service);
    consumer.claim().await?;
    let _telling = post.wire.tell_known(&post.service, &repeated.known()).await;
    tracing::info!(service = %post.service, "participant is serving, without a database");
    loop {
        let batch = tokio::select! {
            biased;
            () = &mut shutdown => break,
            batch = consumer.next_batch(post.config.batch_max) => batch,
        };
        sort(repeated, batch);
    }
    repeated.stop().await;
    tracing::info!(service = %post.service, "participant has stopped");
    Ok(())
}

/// Gives each delivery to those who can do something about it.
fn sort<S: Send + Sync + 'static>(repeated: &Arc<Repeated<S>>, batch: Vec<Delivery<CommandMessage>>) {
    let (mut poison, mut unknown) = (Vec::new(), Vec::new());
    for delivery in batch {
        let (message, deliveries, ack) = delivery.split();
        let command = match message {
            Ok(command) => command,
            Err(malformed) => {
                poison.push((malformed, ack));
                continue;
            }
        };
        if let Some(misaddressed) = repeated.post.misaddressed(&command) {
            poison.push((misaddressed, ack));
        } else if repeated.knows(&command) {
            if deliveries > 1 {
                count(&repeated.post.stats.redelivered);
            }
            repeated.take(Member { command, ack, deliveries });
        } else {
            unknown.push(UnknownCommand { command, deliveries, ack });
        }
    }
    if !poison.is_empty() || !unknown.is_empty() {
        let aside = repeated.clone();
        repeated.spawn(async move {
            aside.set_aside(poison).await;
            aside.pass_on(unknown).await;
        });
    }
}
