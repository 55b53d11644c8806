//! Publishing in bursts: send all, then wait for all.
//!
//! A burst ends in time, also if the server hangs, because the loops that publish have other things to do: sending and
//! waiting each take `publish_timeout` at most. A caller that is not told "stored" knows nothing and sends again when
//! due.

use std::error::Error as _;
use std::sync::atomic::Ordering;

use async_nats::HeaderMap;
use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{Context, PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use async_nats::jetstream::publish::PublishAck;
use bytes::Bytes;
use futures_util::FutureExt;
use redress_core::message::PAYLOAD_BYTES_MAX;
use redress_core::{CommandMessage, Outcome, ReplyMessage};
use thiserror::Error;
use tokio::task::coop::unconstrained;
use tokio::time::timeout;

use crate::anchor::Anchor;
use crate::headers::{self, Envelope};
use crate::topology::Topology;
use crate::wire::Wire;

/// Messages that are sent before their acknowledgements are awaited: as many as the largest batch brings.
const PORTION_MAX: usize = 2_000;

/// Bytes of payloads in a portion: a copy of them waits in the client until it is sent.
const PORTION_BYTES_MAX: usize = 8 << 20;
/// Payloads that may be out unacknowledged, in KiB: those of a few portions. A copy of each waits in the client while the
/// server is away.
pub(crate) const IN_FLIGHT_KIB_MAX: usize = 32 << 10;

/// A message was not stored by the broker, or that is not known.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum PublishError {
    /// No acknowledgement in time: the message may be stored or not.
    #[error("the broker did not acknowledge in time; the message is sent again when it is due")]
    TimedOut,
    /// The stream is full; none of its messages was lost.
    #[error("the broker's stream is full; the message is sent again when it is due")]
    StreamFull,
    /// The stream is gone, or the server is starting; the stream is being made anew.
    #[error("the broker has no stream for the message; it is sent again when it is due")]
    NoStream,
    /// The stream refused.
    #[error("the broker refused the message ({0}); it is sent again when it is due")]
    Refused(String),
    /// The message is larger than the protocol or the broker allows ([`Wire::payload_bytes_max`]): it can never be sent.
    #[error(
        "the message is too large to be sent, now or ever: its payload has {bytes} bytes; at most {PAYLOAD_BYTES_MAX} are \
         allowed, and with its headers no more than the broker's `max_payload`"
    )]
    TooLarge {
        /// Size of its payload, in bytes.
        bytes: usize,
    },
}

/// Something that can be published.
pub(crate) trait Outgoing {
    /// Its subject, its headers and its body.
    fn outgoing(&self, topology: &Topology) -> (String, HeaderMap, Bytes);

    /// Bytes of its payload, or about as many.
    fn payload_bytes(&self) -> usize;

    /// The anchor of its stream.
    fn anchor(wire: &Wire) -> Option<&Anchor>;
}

impl Outgoing for CommandMessage {
    fn outgoing(&self, topology: &Topology) -> (String, HeaderMap, Bytes) {
        let reply_to = topology.reply_subject_of(&self.service, &self.saga, self.version);
        let body = Bytes::copy_from_slice(self.payload.as_bytes());
        (self.subject(topology), headers::of_command(self, &reply_to), body)
    }

    fn payload_bytes(&self) -> usize {
        self.payload.as_bytes().len()
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

    fn payload_bytes(&self) -> usize {
        match &self.outcome {
            Outcome::Done { reply } => reply.as_bytes().len(),
            Outcome::Rejected(rejection) => rejection.code.len() + rejection.message.len(),
            Outcome::Failed { message: text }
            | Outcome::Refused { reason: text }
            | Outcome::InDoubt { reason: text } => text.len(),
            Outcome::Fenced | Outcome::Expired | Outcome::Accepted => 0,
        }
    }

    fn anchor(wire: &Wire) -> Option<&Anchor> {
        Some(&wire.inner.reply_anchor)
    }
}

impl Wire {
    /// Publishes commands, and waits until each is acknowledged or has failed; in the order given.
    ///
    /// Safe to cancel: messages that were sent are then stored or not, as after a timeout.
    pub async fn publish_commands(&self, commands: &[CommandMessage]) -> Vec<Result<(), PublishError>> {
        self.publish_all(commands).await
    }

    pub(crate) async fn publish_all<M: Outgoing>(&self, messages: &[M]) -> Vec<Result<(), PublishError>> {
        if !self.may_publish().await {
            let refused = "the streams of this prefix belong to another installation".to_owned();
            return vec![Err(PublishError::Refused(refused)); messages.len()];
        }
        let portion_max = PORTION_MAX.min(self.config().publishes_in_flight_max).max(1);
        let mut results = Vec::with_capacity(messages.len());
        let mut rest = messages;
        while !rest.is_empty() {
            let (portion, behind) = rest.split_at(portion(rest, portion_max));
            results.extend(self.publish_portion(portion).await);
            rest = behind;
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
        let payloads: usize = messages.iter().map(Outgoing::payload_bytes).sum();
        let kibibytes =
            u32::try_from(payloads.div_ceil(1024).min(IN_FLIGHT_KIB_MAX)).expect("a portion is small");
        let mut acks = Vec::with_capacity(messages.len());
        let (mut room, mut bytes) = (None, 0);
        let sending = async {
            // Both in this order, everywhere: two bursts never wait for each other.
            let places = self.inner.room.acquire_many(size).await.expect("the room is never closed");
            let memory = self.inner.memory.acquire_many(kibibytes).await.expect("the memory is never closed");
            room = Some((places, memory));
            let context = self.link().context.clone();
            for message in messages {
                acks.push(self.send(&context, message, &mut bytes).await);
            }
        };
        // A server that is away takes the messages that fit into the client's queue, and then nothing for as long as it
        // is away.
        let _ = timeout(self.config().publish_timeout, sending).await;
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
        context: &Context,
        message: &M,
        bytes: &mut usize,
    ) -> Result<PublishAckFuture, PublishError> {
        let (subject, headers, payload) = message.outgoing(self.topology());
        *bytes += payload.len();
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(PublishError::TooLarge { bytes: payload.len() });
        }
        let bytes = payload.len();
        let message = PublishMessage::build().headers(headers).payload(payload);
        context.send_publish(subject, message).await.map_err(|error| match error.kind() {
            PublishErrorKind::MaxPayloadExceeded => PublishError::TooLarge { bytes },
            _ => refusal(&error),
        })
    }

    /// Waits for acknowledgements in the order of sending, which is mostly that of arrival.
    async fn await_all(
        &self,
        sent: Vec<Result<PublishAckFuture, PublishError>>,
    ) -> Vec<Result<(), PublishError>> {
        let mut deadline = std::pin::pin!(tokio::time::sleep(self.config().publish_timeout));
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
    pub(crate) fn mend(&self) {
        if self.inner.mending.swap(true, Ordering::AcqRel) {
            return;
        }
        let wire = self.clone();
        tokio::spawn(async move {
            if let Err(error) = wire.ensure_streams().await {
                tracing::warn!(%error, "failed to recreate missing streams; retrying");
            }
            wire.inner.mending.store(false, Ordering::Release);
        });
    }
}

/// The number of these messages that are sent together: `max` at most, and few enough bytes; at least one.
fn portion<M: Outgoing>(messages: &[M], max: usize) -> usize {
    let mut bytes = 0;
    let fits = |message: &M| {
        bytes += message.payload_bytes();
        bytes <= PORTION_BYTES_MAX
    };
    messages.iter().take(max).map(fits).take_while(|fits| *fits).count().max(1)
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
