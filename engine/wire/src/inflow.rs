//! A supervised consumer: messages in batches, for ever.
//!
//! The stream of a pull consumer may end, or stay silent for ever, when its consumer or its stream is gone. So any
//! trouble (an end, a deleted consumer, missing heartbeats, no responders) leads to the same remedy: drop what
//! was buffered, make sure that stream and consumer exist, and pull again. If the stream was made anew, its
//! sequences start again, and acknowledgements of the life before are not sent any more. Another process may have
//! made it anew before we look, so a lost connection alone makes us look ([`crate::life`]).

use std::marker::PhantomData;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::{AckPolicy, DeliverPolicy, PullConsumer, pull};
use async_nats::jetstream::message::Message;
use futures_util::{FutureExt, StreamExt};
use tokio::task::coop::unconstrained;

use crate::connect::Wire;
use crate::delivery::{Delivery, Handle};
use crate::headers::{self, Envelope, Malformed};
use crate::life::Life;
use crate::streams::is_absent;

/// Pauses between attempts to rebuild, first and longest.
const REBUILD_PAUSE: Duration = Duration::from_millis(100);
const REBUILD_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long one pull may stay open on the server.
const PULL_EXPIRES: Duration = Duration::from_secs(30);

/// Messages of one consumer, in batches, for ever.
pub struct Inflow<M> {
    wire: Wire,
    stream: String,
    durable: String,
    filter: String,
    source: Option<pull::Stream>,
    /// When the stream was created, in nanoseconds since 1970; `None` until the consumer was built once.
    born: Option<i128>,
    life: Arc<Life>,
    _message: PhantomData<fn() -> M>,
}

impl<M: Envelope> Inflow<M> {
    pub(crate) fn new(wire: Wire, stream: String, durable: String, filter: String) -> Self {
        let life = Arc::new(Life::new(wire.inner.client.clone()));
        Self { wire, stream, durable, filter, source: None, born: None, life, _message: PhantomData }
    }

    /// Waits for a message and takes with it what is there already, at most `max`; never lingers.
    ///
    /// Cancel safe: a message that was not returned is delivered again.
    pub async fn next_batch(&mut self, max: usize) -> Vec<Delivery<M>> {
        let first = self.next().await;
        let mut batch = Vec::with_capacity(max.min(64));
        batch.push(first);
        while batch.len() < max {
            let Some(source) = &mut self.source else { break };
            // Unconstrained, because tokio would call the buffer empty after 128 messages.
            match unconstrained(source.next()).now_or_never() {
                Some(Some(Ok(message))) => batch.push(self.read(message)),
                Some(Some(Err(_)) | None) => {
                    self.source = None;
                }
                None => break,
            }
        }
        batch
    }

    async fn next(&mut self) -> Delivery<M> {
        let mut pause = REBUILD_PAUSE;
        loop {
            let Some(source) = &mut self.source else {
                match self.rebuild().await {
                    Ok(()) => {}
                    Err(error) => {
                        tracing::warn!(consumer = %self.durable, error = format!("{error:#}"), "consumer not ready");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(REBUILD_PAUSE_MAX);
                    }
                }
                continue;
            };
            match source.next().await {
                Some(Ok(message)) => {
                    if self.life.is_in_doubt() && !self.goes_on().await {
                        continue;
                    }
                    return self.read(message);
                }
                Some(Err(error)) => {
                    tracing::info!(consumer = %self.durable, %error, "consumer is built anew");
                    self.source = None;
                }
                None => {
                    tracing::info!(consumer = %self.durable, "consumer is gone and is built anew");
                    self.source = None;
                }
            }
        }
    }

    /// Whether the stream is still the same after a reconnect; if not, the consumer and what it sent are given up.
    async fn goes_on(&mut self) -> bool {
        let mut pause = REBUILD_PAUSE;
        while self.life.is_in_doubt() {
            let connection = self.life.connection();
            match self.wire.inner.context.get_stream(&self.stream).await {
                Ok(stream) if Some(stream.cached_info().created.unix_timestamp_nanos()) == self.born => {
                    self.life.seen(connection, true);
                }
                Ok(_) => {
                    self.source = None;
                    return false;
                }
                Err(error) if is_absent(&error.kind()) => {
                    self.source = None;
                    return false;
                }
                Err(error) => {
                    tracing::debug!(stream = %self.stream, %error, "stream not seen yet");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REBUILD_PAUSE_MAX);
                }
            }
        }
        true
    }

    async fn rebuild(&mut self) -> Result<(), async_nats::Error> {
        let inner = &self.wire.inner;
        let connection = self.life.connection();
        self.wire.ensure_streams().await?;
        let stream = inner.context.get_stream(&self.stream).await?;
        let born = stream.cached_info().created.unix_timestamp_nanos();
        let before = self.born.replace(born);
        self.life.seen(connection, before.is_none_or(|before| before == born));
        let settings = &inner.settings;
        let config = pull::Config {
            durable_name: Some(self.durable.clone()),
            filter_subject: self.filter.clone(),
            ack_policy: AckPolicy::Explicit,
            deliver_policy: DeliverPolicy::All,
            ack_wait: settings.ack_wait,
            // The receiver counts deliveries: what the server gives up would lie in a work queue for ever.
            max_deliver: -1,
            max_ack_pending: settings.ack_pending_max,
            ..pull::Config::default()
        };
        let consumer: PullConsumer = stream.create_consumer(config).await?;
        let source = consumer
            .stream()
            .max_messages_per_batch(settings.pull_messages_max)
            .expires(PULL_EXPIRES)
            .heartbeat(settings.heartbeat)
            .messages()
            .await?;
        self.source = Some(source);
        if before.is_some() {
            inner.stats.rebuilds.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }

    fn read(&self, message: Message) -> Delivery<M> {
        let deliveries = message.info().map_or(1, |info| u64::try_from(info.delivered).unwrap_or(1)).max(1);
        if deliveries > 1 {
            self.wire.stats().redeliveries.fetch_add(1, Ordering::Relaxed);
        }
        let (message, acker) = message.split();
        let empty = async_nats::HeaderMap::new();
        let headers = message.headers.as_ref().unwrap_or(&empty);
        let read = M::read(headers, &message.payload).and_then(|read| {
            let expected = read.subject(self.wire.topology());
            if expected == *message.subject {
                return Ok(read);
            }
            // Whoever may publish here may not speak for others, so nobody is told.
            Err((format!("its headers belong on the subject `{expected}`"), None))
        });
        let read = read.map_err(|(reason, address)| Malformed {
            reason: headers::brief(&reason),
            address,
            subject: message.subject.to_string(),
            headers: headers::to_text(headers),
            payload: message.payload.to_vec(),
        });
        Delivery {
            message: read,
            deliveries,
            handle: Handle { acker: Arc::new(acker), born_in: self.life.number(), life: self.life.clone() },
        }
    }
}

/// Gives back what was sent to us and not returned, so that others need not wait for it until `ack_wait` is over.
impl<M> Drop for Inflow<M> {
    fn drop(&mut self) {
        let (Some(mut source), Ok(runtime)) = (self.source.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let mut unread = Vec::new();
        while let Some(Some(Ok(message))) = unconstrained(source.next()).now_or_never() {
            unread.push(message.split().1);
        }
        // Before the rest, lest it comes to us again.
        drop(source);
        let (life, number) = (self.life.clone(), self.life.number());
        runtime.spawn(async move {
            for acker in unread {
                if life.is_surely(number) && acker.ack_with(AckKind::Nak(None)).await.is_err() {
                    break;
                }
            }
        });
    }
}
