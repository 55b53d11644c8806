//! A supervised consumer: messages in batches, for ever.
//!
//! The stream of a pull consumer may end, or stay silent for ever, when its consumer or its stream is gone. So any
//! trouble (an end, a deleted consumer, missing heartbeats, no responders) leads to the same remedy: drop the buffered
//! messages, make sure that stream and consumer exist, and pull again. If the stream was made anew, its sequences start
//! again, and acknowledgements of the incarnation before are not sent any more. Another process may have made it anew
//! before we look, so a lost connection alone makes us look (`stream_incarnation`).

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::consumer::pull;
use async_nats::jetstream::message::{Info, Message};
use futures_util::{FutureExt, StreamExt};
use redress_core::{LetterCode, Timestamp};
use tokio::task::coop::unconstrained;

use crate::consumers::{self, ConsumerError};
use crate::delivery::{AckHandle, Delivery, Means, Position, means};
use crate::headers::{self, Envelope, Malformed, ReplyAddress, Unpacked};
use crate::stream_incarnation::StreamIncarnation;
use crate::streams::is_absent;
use crate::unreadable::{ConsumerName, Found, Lookout, StoredMessage};
use crate::wire::Wire;

/// Pauses between attempts to rebuild, first and longest.
const REBUILD_PAUSE: Duration = Duration::from_millis(100);
const REBUILD_PAUSE_MAX: Duration = Duration::from_secs(2);
/// How long one pull may stay open on the server.
const PULL_EXPIRES: Duration = Duration::from_secs(30);

/// The bytes that the server counts of a message beside its headers and payload, at most: subject and reply subject.
const ENVELOPE_BYTES: usize = 64 << 10;

/// Messages of one consumer, in batches, for ever.
pub struct Consumer<M> {
    wire: Wire,
    consumer: ConsumerName,
    /// The id of the inbox for which messages are taken, if only one may take them.
    inbox: Option<String>,
    source: Option<pull::Stream>,
    /// Messages that travelled in one with those of the batch before.
    unpacked: VecDeque<Delivery<M>>,
    /// The time at which the stream was created, in nanoseconds since 1970; `None` until the consumer was built once.
    born: Option<i128>,
    incarnation: Arc<StreamIncarnation>,
    /// From the first build on.
    lookout: Option<Lookout>,
}

impl<M: Envelope> Consumer<M> {
    pub(crate) fn new(wire: Wire, consumer: ConsumerName, inbox: Option<String>) -> Self {
        let incarnation = Arc::new(StreamIncarnation::on(&wire.link()));
        Self {
            wire,
            consumer,
            inbox,
            source: None,
            unpacked: VecDeque::new(),
            born: None,
            incarnation,
            lookout: None,
        }
    }

    /// Makes the consumer, unless it is there.
    ///
    /// # Errors
    /// [`ConsumerError::Stranger`] if another inbox has it. All else is waited out when messages are taken.
    pub async fn claim(&mut self) -> Result<(), ConsumerError> {
        match self.rebuild().await {
            Err(error @ ConsumerError::Stranger { .. }) => Err(error),
            Err(error) => {
                tracing::warn!(consumer = %self.consumer.durable, error = %error.with_causes(), "consumer not ready; retrying");
                Ok(())
            }
            Ok(()) => Ok(()),
        }
    }

    /// Waits for a message and takes with it those that are there already, at most `max` and no more bytes than
    /// [`WireConfig::batch_bytes_max`](crate::WireConfig::batch_bytes_max) (but always one message); never lingers.
    ///
    /// Cancel safe: a message that was not returned is delivered again.
    pub async fn next_batch(&mut self, max: usize) -> Vec<Delivery<M>> {
        let first = self.next().await;
        let bytes_max = self.wire.config().batch_bytes_max;
        let mut bytes = first.bytes;
        let mut batch = Vec::with_capacity(max.min(64));
        batch.push(first);
        while batch.len() < max && bytes < bytes_max {
            if let Some(delivery) = self.unpacked.pop_front() {
                bytes += delivery.bytes;
                batch.push(delivery);
                continue;
            }
            let Some(source) = &mut self.source else { break };
            // Unconstrained, because tokio would call the buffer empty after 128 messages.
            match unconstrained(source.next()).now_or_never() {
                Some(Some(Ok(message))) => self.unpack(message),
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
            if let Some(delivery) = self.unpacked.pop_front() {
                return delivery;
            }
            let Some(source) = &mut self.source else {
                match self.rebuild().await {
                    Ok(()) => {}
                    Err(error) => {
                        let error = error.with_causes();
                        tracing::warn!(consumer = %self.consumer.durable, error, "consumer not ready; retrying");
                        tokio::time::sleep(pause).await;
                        pause = (pause * 2).min(REBUILD_PAUSE_MAX);
                    }
                }
                continue;
            };
            let message = match &mut self.lookout {
                Some(lookout) => tokio::select! {
                    biased;
                    found = lookout.next() => return self.found(found),
                    message = source.next() => message,
                },
                None => source.next().await,
            };
            match message {
                Some(Ok(message)) => {
                    if self.incarnation.is_in_doubt() && !self.goes_on().await {
                        continue;
                    }
                    self.unpack(message);
                }
                Some(Err(error)) => {
                    tracing::info!(consumer = %self.consumer.durable, %error, "consumer failed; recreating it");
                    self.source = None;
                }
                None => {
                    tracing::info!(consumer = %self.consumer.durable, "consumer is gone; recreating it");
                    self.source = None;
                }
            }
        }
    }

    /// Returns true if the stream is still the same after a reconnect; if not, the consumer and its messages are given
    /// up.
    async fn goes_on(&mut self) -> bool {
        let mut pause = REBUILD_PAUSE;
        while self.incarnation.is_in_doubt() {
            let (connection, link) = (self.incarnation.connection(), self.wire.link());
            if link.number != self.incarnation.link {
                self.source = None;
                return false;
            }
            match link.context.get_stream(&self.consumer.stream).await {
                Ok(stream) if Some(stream.cached_info().created.unix_timestamp_nanos()) == self.born => {
                    self.incarnation.seen(connection, true);
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
                    tracing::debug!(stream = %self.consumer.stream, %error, "failed to look at the stream; retrying");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(REBUILD_PAUSE_MAX);
                }
            }
        }
        true
    }

    async fn rebuild(&mut self) -> Result<(), ConsumerError> {
        let link = self.wire.link();
        if link.number != self.incarnation.link {
            // Messages that the client before brought are not settled, and come again.
            self.incarnation = Arc::new(StreamIncarnation::on(&link));
        }
        let connection = self.incarnation.connection();
        self.wire.ensure_streams().await?;
        let stream = link.context.get_stream(&self.consumer.stream).await?;
        let born = stream.cached_info().created.unix_timestamp_nanos();
        let consumer = consumers::ensure(&stream, &self.consumer, &self.wire, self.inbox.as_deref()).await?;
        let before = self.born.replace(born);
        self.incarnation.seen(connection, before.is_none_or(|before| before == born));
        let config = self.wire.config();
        let source = consumer
            .stream()
            .max_messages_per_batch(config.pull_messages_max)
            .max_bytes_per_batch(config.pull_bytes_max.max(self.wire.payload_bytes_max() + ENVELOPE_BYTES))
            .expires(PULL_EXPIRES)
            .heartbeat(config.heartbeat)
            .messages()
            .await?;
        self.source = Some(source);
        if before.is_some() {
            self.wire.stats().rebuilds.fetch_add(1, Ordering::Relaxed);
        }
        self.lookout.get_or_insert_with(|| Lookout::beside::<M>(self.wire.clone(), self.consumer.clone()));
        Ok(())
    }

    fn found(&self, found: Found) -> Delivery<M> {
        let place = StoredMessage {
            wire: self.wire.clone(),
            consumer: self.consumer.clone(),
            sequence: found.sequence,
        };
        let means = Means::Stored(Arc::new(place));
        Delivery {
            message: Err(found.malformed),
            deliveries: 1,
            position: None,
            bytes: found.bytes,
            handle: AckHandle {
                means,
                incarnation_number: self.incarnation.number(),
                incarnation: self.incarnation.clone(),
            },
        }
    }

    /// Takes the messages apart that travelled in this one.
    fn unpack(&mut self, message: Message) {
        let info = message.info().ok();
        let deliveries = info.as_ref().map_or(1, |info| u64::try_from(info.delivered).unwrap_or(1)).max(1);
        let position = info.and_then(|info| position(&info));
        if deliveries > 1 {
            self.wire.stats().redeliveries.fetch_add(1, Ordering::Relaxed);
        }
        let (message, acker) = message.split();
        let empty = async_nats::HeaderMap::new();
        let headers = message.headers.as_ref().unwrap_or(&empty);
        let unpacked = M::unpack(headers, &message.payload);
        let bytes = message.length / unpacked.len().max(1);
        let means = means(acker, unpacked.len());
        for (Unpacked { message: read, payload }, means) in unpacked.into_iter().zip(means) {
            let read = self.checked(read, &message.subject).map_err(|(code, reason, address)| Malformed {
                code,
                reason: headers::brief(&reason),
                address,
                subject: message.subject.to_string(),
                headers: headers::to_text(headers),
                payload: payload.unwrap_or_else(|| message.payload.to_vec()),
            });
            let (incarnation_number, incarnation) = (self.incarnation.number(), self.incarnation.clone());
            let handle = AckHandle { means, incarnation_number, incarnation };
            self.unpacked.push_back(Delivery { message: read, deliveries, position, bytes, handle });
        }
    }

    /// A message belongs on the subject on which it came: a program that may publish there may not speak for others, so no
    /// coordinator is told of one that does not.
    fn checked(
        &self,
        read: Result<M, (String, Option<ReplyAddress>)>,
        subject: &str,
    ) -> Result<M, (LetterCode, String, Option<ReplyAddress>)> {
        let read = read.map_err(|(reason, address)| (LetterCode::Unreadable, reason, address))?;
        let expected = read.subject(self.wire.topology());
        if expected == *subject {
            return Ok(read);
        }
        let reason = format!("its headers belong on the subject `{expected}`");
        Err((LetterCode::Misaddressed, reason, None))
    }
}

/// The place of a message; nothing if the broker's clock is not of our times.
fn position(info: &Info<'_>) -> Option<Position> {
    let nanoseconds = i64::try_from(info.published.unix_timestamp_nanos()).ok()?;
    Some(Position { published_at: Timestamp::from_timestamp_nanos(nanoseconds), pending: info.pending })
}

/// Gives back the messages that were sent to us and not returned, so that others need not wait for them until
/// `ack_wait` is over.
impl<M> Drop for Consumer<M> {
    fn drop(&mut self) {
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        let unpacked: Vec<AckHandle> = self.unpacked.drain(..).map(|delivery| delivery.handle).collect();
        let mut source = self.source.take();
        let mut unread = Vec::new();
        while let Some(source) = &mut source
            && let Some(Some(Ok(message))) = unconstrained(source.next()).now_or_never()
        {
            unread.push(message.split().1);
        }
        // Before the rest, lest it comes to us again.
        drop(source);
        let (incarnation, number) = (self.incarnation.clone(), self.incarnation.number());
        runtime.spawn(async move {
            for part in unpacked {
                part.nak(Duration::ZERO).await;
            }
            for acker in unread {
                if incarnation.is_current(number) && acker.ack_with(AckKind::Nak(None)).await.is_err() {
                    break;
                }
            }
        });
    }
}
