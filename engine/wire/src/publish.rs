//! Publishing in bursts: send all, then wait for all.
//!
//! A burst ends in time whatever the server does, because the loops that publish have other things to do: sending
//! and waiting each take `publish_timeout` at most. Who is not told "stored" knows nothing and sends again when due.

use std::error::Error as _;
use std::sync::atomic::Ordering;

use async_nats::HeaderMap;
use async_nats::header::HeaderName;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use futures_util::FutureExt;
use redress_core::message::PAYLOAD_BYTES_MAX;
use redress_core::{CommandMessage, Name, ReplyMessage};
use thiserror::Error;
use tokio::task::coop::unconstrained;
use tokio::time::timeout;

use crate::anchor::Anchor;
use crate::connect::Wire;
use crate::headers::{self, Envelope};
use crate::topology::Topology;

/// Messages that are sent before their acknowledgements are awaited: as many as the largest batch brings.
const PORTION_MAX: usize = 2_000;

/// A message that nobody could use, on its way to where it is kept.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The service that gave it up.
    pub service: Name,
    /// The subject on which it came.
    pub subject: String,
    /// Why it was given up.
    pub reason: String,
    /// The headers that it had.
    pub headers: Vec<(String, String)>,
    /// The body that it had.
    pub payload: Vec<u8>,
}

/// A message was not stored by the broker, or nobody knows whether it was.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// No acknowledgement in time: the message may be stored or not.
    #[error("the broker did not acknowledge in time; the message is sent again when it is due")]
    TimedOut,
    /// The stream is full; nothing of what it holds was lost.
    #[error("the broker's stream is full; the message is sent again when it is due")]
    StreamFull,
    /// The stream is gone, or the server is starting; the stream is being made anew.
    #[error("the broker has no stream for the message; it is sent again when it is due")]
    NoStream,
    /// The stream refused.
    #[error("the broker refused the message ({0}); it is sent again when it is due")]
    Refused(String),
    /// The payload is too large.
    #[error("the payload has {bytes} bytes, more than {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its size, in bytes.
        bytes: usize,
    },
}

/// Something that can be published.
trait Outgoing {
    /// Its subject, its headers and its body.
    fn outgoing(&self, topology: &Topology) -> (String, HeaderMap, Bytes);

    /// The anchor of its stream.
    fn anchor(wire: &Wire) -> Option<&Anchor>;
}

impl Outgoing for CommandMessage {
    fn outgoing(&self, topology: &Topology) -> (String, HeaderMap, Bytes) {
        let reply_to = topology.reply_subject_of(&self.service, &self.saga, self.version);
        let body = Bytes::copy_from_slice(self.payload.as_bytes());
        (self.subject(topology), headers::of_command(self, &reply_to), body)
    }

    fn anchor(wire: &Wire) -> Option<&Anchor> {
        Some(&wire.inner.command_anchor)
    }
}

impl Outgoing for ReplyMessage {
    fn outgoing(&self, topology: &Topology) -> (String, HeaderMap, Bytes) {
        let (headers, body) = headers::of_reply(self);
        (self.subject(topology), headers, body.into())
    }

    fn anchor(wire: &Wire) -> Option<&Anchor> {
        Some(&wire.inner.reply_anchor)
    }
}

impl Outgoing for DeadLetter {
    fn outgoing(&self, topology: &Topology) -> (String, HeaderMap, Bytes) {
        let mut headers = HeaderMap::new();
        for (name, value) in &self.headers {
            // The id would make the broker take the letter for the message that it already knows.
            if name == "Nats-Msg-Id" || name.is_empty() {
                continue;
            }
            if let Ok(name) = name.parse::<HeaderName>() {
                headers.append(name, headers::one_line(value));
            }
        }
        headers.insert("Redress-Reason", headers::one_line(&self.reason));
        headers.insert("Redress-Subject", headers::one_line(&self.subject));
        (topology.dead_letters_of(&self.service), headers, self.payload.clone().into())
    }

    fn anchor(_: &Wire) -> Option<&Anchor> {
        None
    }
}

impl Wire {
    /// Publishes commands, and waits until each is acknowledged or has failed; in the order given.
    ///
    /// Safe to cancel: what was sent is then stored or not, as after a timeout.
    pub async fn publish_commands(&self, commands: &[CommandMessage]) -> Vec<Result<(), PublishError>> {
        self.publish_all(commands).await
    }

    /// Publishes replies, and waits until each is acknowledged or has failed; in the order given.
    pub async fn publish_replies(&self, replies: &[ReplyMessage]) -> Vec<Result<(), PublishError>> {
        self.publish_all(replies).await
    }

    /// Keeps a message that nobody could use.
    ///
    /// # Errors
    /// [`PublishError`] if the broker does not store it.
    pub async fn publish_dead_letter(&self, letter: &DeadLetter) -> Result<(), PublishError> {
        let mut results = self.publish_all(std::slice::from_ref(letter)).await;
        results.pop().expect("one letter, one result")
    }

    async fn publish_all<M: Outgoing>(&self, messages: &[M]) -> Vec<Result<(), PublishError>> {
        let portion = PORTION_MAX.min(self.settings().publishes_in_flight_max).max(1);
        let mut results = Vec::with_capacity(messages.len());
        for portion in messages.chunks(portion) {
            results.extend(self.publish_portion(portion).await);
        }
        let failed = results.iter().filter(|result| result.is_err()).count() as u64;
        if failed > 0 {
            self.stats().publish_failures.fetch_add(failed, Ordering::Relaxed);
        }
        if results.contains(&Err(PublishError::NoStream)) {
            self.mend();
        }
        results
    }

    async fn publish_portion<M: Outgoing>(&self, messages: &[M]) -> Vec<Result<(), PublishError>> {
        let size = u32::try_from(messages.len()).expect("a portion is small");
        let mut acks = Vec::with_capacity(messages.len());
        let (mut room, mut bytes) = (None, 0);
        let sending = async {
            room = Some(self.inner.room.acquire_many(size).await.expect("the room is never closed"));
            for message in messages {
                acks.push(self.send(message, &mut bytes).await);
            }
        };
        // A server that is away takes what fits into the client's queue, and then nothing for as long as it is away.
        let _ = timeout(self.settings().publish_timeout, sending).await;
        acks.resize_with(messages.len(), || Err(PublishError::TimedOut));
        let results = self.await_all(acks).await;
        drop(room);
        if let Some(anchor) = M::anchor(self).filter(|anchor| anchor.passed_by(messages.len(), bytes)) {
            self.cast(anchor);
        }
        results
    }

    async fn send<M: Outgoing>(
        &self,
        message: &M,
        bytes: &mut usize,
    ) -> Result<PublishAckFuture, PublishError> {
        let (subject, headers, payload) = message.outgoing(self.topology());
        *bytes += payload.len();
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(PublishError::TooLarge { bytes: payload.len() });
        }
        let message = PublishMessage::build().headers(headers).payload(payload);
        self.inner.context.send_publish(subject, message).await.map_err(|error| refusal(&error))
    }

    /// Waits for acknowledgements in the order of sending, which is mostly that of arrival.
    async fn await_all(
        &self,
        sent: Vec<Result<PublishAckFuture, PublishError>>,
    ) -> Vec<Result<(), PublishError>> {
        let mut deadline = std::pin::pin!(tokio::time::sleep(self.settings().publish_timeout));
        let mut late = false;
        let mut results = Vec::with_capacity(sent.len());
        for ack in sent {
            let answer = match ack {
                Err(error) => Err(error),
                // One that is missing does not make those behind it late.
                Ok(ack) if late => match unconstrained(ack.into_future()).now_or_never() {
                    Some(answer) => self.noted(answer),
                    None => Err(PublishError::TimedOut),
                },
                Ok(ack) => tokio::select! {
                    biased;
                    answer = ack.into_future() => self.noted(answer),
                    () = &mut deadline => {
                        late = true;
                        Err(PublishError::TimedOut)
                    }
                },
            };
            results.push(answer);
        }
        results
    }

    fn noted(
        &self,
        answer: Result<PublishAck, async_nats::jetstream::context::PublishError>,
    ) -> Result<(), PublishError> {
        let ack = answer.map_err(|error| refusal(&error))?;
        let counter = if ack.duplicate { &self.stats().duplicates } else { &self.stats().published };
        counter.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    /// Makes missing streams anew in the background, once at a time: there may be no consumer that would do it.
    fn mend(&self) {
        if self.inner.mending.swap(true, Ordering::AcqRel) {
            return;
        }
        let wire = self.clone();
        tokio::spawn(async move {
            if let Err(error) = wire.ensure_streams().await {
                tracing::warn!(%error, "streams not made anew yet");
            }
            wire.inner.mending.store(false, Ordering::Release);
        });
    }
}

fn refusal(error: &async_nats::jetstream::context::PublishError) -> PublishError {
    let code = error.source().and_then(|source| source.downcast_ref::<async_nats::jetstream::Error>());
    match error.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => PublishError::TimedOut,
        PublishErrorKind::StreamNotFound => PublishError::NoStream,
        PublishErrorKind::Other if code.is_some_and(|c| c.error_code() == ErrorCode::STREAM_STORE_FAILED) => {
            PublishError::StreamFull
        }
        PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::Other => PublishError::Refused(headers::brief(&error.to_string())),
    }
}
