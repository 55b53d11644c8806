//! Publishes the answers that were given later.
//!
//! An answer is due from its commit on. Every instance of the service looks for such rows, so it does not matter which
//! process gave the answer, and whether it is still there:
//!
//! 1. Take a few rows, and put them off by [`TAKEN_FOR`], so that other instances pass them over.
//! 2. Publish the replies, and wait until the broker has stored them.
//! 3. Take the mark off those that were stored, if it is still the one of step 1.
//!
//! A crash in between, or a broker that is away, costs that time: then the row is due again. A reply that is published twice
//! is a late one to the coordinator. And whatever goes wrong here, it asks again, and is answered by the inbox.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_core::ReplyMessage;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::crash::CrashPoint;
use crate::open::{self, Due};
use crate::unit_error::UnitError;
use crate::worker::Worker;

/// The most answers that are taken at a time: with the largest payloads (256 KiB) as much as a batch holds.
const ANSWERS_MAX: u32 = 32;
/// How long answers that were taken are put off: longer than the broker may take to store them, twice.
pub(crate) const TAKEN_FOR: Duration = Duration::from_secs(10);

/// Whether answers are due beyond those that were just published.
enum Rest {
    /// Perhaps: as many were taken as may be.
    Perhaps,
    None,
}

pub(crate) async fn run<S: Send + Sync + 'static>(worker: Arc<Worker<S>>, shutdown: CancellationToken) {
    // An interval of nothing panics.
    let mut ticks = interval(worker.inbox.config.look_for_answers_every.max(Duration::from_millis(1)));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            _ = ticks.tick() => {}
        }
        while !shutdown.is_cancelled() {
            // In a task of its own, because nothing may cancel a write.
            let of_turn = worker.clone();
            match tokio::spawn(async move { of_turn.publish_due().await }).await {
                Ok(Ok(Rest::Perhaps)) => {}
                Ok(Ok(Rest::None)) => break,
                Ok(Err(error)) => {
                    // The commands that come meanwhile say it more loudly.
                    let error = error.chain();
                    tracing::debug!(service = %worker.service, error, "failed to look for answers; again soon");
                    break;
                }
                Err(panic) => {
                    tracing::error!(service = %worker.service, %panic, "publishing answers panicked");
                    break;
                }
            }
        }
    }
}

impl<S: Send + Sync + 'static> Worker<S> {
    async fn publish_due(&self) -> Result<Rest, UnitError> {
        let taken = self.inbox.on_connection(|connection| {
            Box::pin(async move { open::take_due(connection, ANSWERS_MAX, TAKEN_FOR).await })
        });
        let rows = taken.await?;
        let Due { replies, taken_until } = open::due(&rows, &self.service)?;
        let Some(taken_until) = taken_until else { return Ok(Rest::None) };
        self.pass(CrashPoint::BeforeAnswer, &replies);
        let keys = self.publish_answers(&replies).await;
        self.pass(CrashPoint::AfterAnswer, &replies);
        let published = keys.len();
        self.inbox.stats.answered_later.fetch_add(published as u64, Ordering::Relaxed);
        self.inbox
            .on_connection(|connection| {
                Box::pin(async move { open::sent(connection, &keys, taken_until).await })
            })
            .await?;
        // If the broker is away, there is no use in going on.
        Ok(if published == ANSWERS_MAX as usize { Rest::Perhaps } else { Rest::None })
    }

    fn pass(&self, point: CrashPoint, replies: &[ReplyMessage]) {
        replies.iter().for_each(|reply| self.inbox.config.crash.pass(point, &reply.key));
    }

    /// Publishes these replies, and gives the keys of those that the broker has stored.
    async fn publish_answers(&self, replies: &[ReplyMessage]) -> Vec<String> {
        let mut keys = Vec::with_capacity(replies.len());
        for (reply, result) in replies.iter().zip(self.wire.publish_replies(replies).await) {
            let key = &reply.key;
            match result {
                Ok(()) => keys.push(key.to_string()),
                Err(error) => {
                    tracing::warn!(service = %self.service, %key, %error, "answer not stored by the broker; it is sent again");
                }
            }
        }
        keys
    }
}
