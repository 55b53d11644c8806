//! Publishing in bursts: send all, then wait for all.

use std::sync::atomic::Ordering;

use async_nats::HeaderMap;
use async_nats::jetstream::context::{PublishAckFuture, PublishErrorKind};
use async_nats::jetstream::message::PublishMessage;
use bytes::Bytes;
use futures_util::future::join_all;
use redress_core::message::PAYLOAD_BYTES_MAX;
use redress_core::{CommandMessage, Name, ReplyMessage};
use thiserror::Error;

use crate::connect::Wire;
use crate::headers;

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
    /// The stream refused: it is full or gone.
    #[error("the broker refused the message ({0}); it is sent again when it is due")]
    Refused(String),
    /// The payload is too large.
    #[error("the payload has {bytes} bytes, more than {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its size, in bytes.
        bytes: usize,
    },
}

impl Wire {
    /// Publishes commands, and waits until each is acknowledged or has failed; in the order given.
    pub async fn publish_commands(&self, commands: &[CommandMessage]) -> Vec<Result<(), PublishError>> {
        let topology = self.topology();
        let mut acks = Vec::with_capacity(commands.len());
        for command in commands {
            let reply_to = format!(
                "{}.reply.{}.{}.{}",
                topology.prefix(),
                command.service,
                command.saga,
                command.version
            );
            let subject = topology.command_subject(&command.service, &command.command);
            let payload = Bytes::copy_from_slice(command.payload.as_bytes());
            acks.push(self.send(subject, headers::of_command(command, &reply_to), payload).await);
        }
        self.await_all(acks).await
    }

    /// Publishes replies, and waits until each is acknowledged or has failed; in the order given.
    pub async fn publish_replies(&self, replies: &[ReplyMessage]) -> Vec<Result<(), PublishError>> {
        let mut acks = Vec::with_capacity(replies.len());
        for reply in replies {
            let (headers, body) = headers::of_reply(reply);
            acks.push(self.send(self.topology().reply_subject(reply), headers, body.into()).await);
        }
        self.await_all(acks).await
    }

    /// Keeps a message that nobody could use.
    ///
    /// # Errors
    /// [`PublishError`] if the broker does not store it.
    pub async fn publish_dead_letter(&self, letter: &DeadLetter) -> Result<(), PublishError> {
        let mut headers = HeaderMap::new();
        for (name, value) in &letter.headers {
            // The id would make the broker take the letter for the message that it already knows.
            if name != "Nats-Msg-Id" {
                headers.append(name.as_str(), value.as_str());
            }
        }
        headers.insert("Redress-Reason", letter.reason.replace(['\r', '\n'], " "));
        headers.insert("Redress-Subject", letter.subject.as_str());
        let subject = self.topology().dead_letters_of(&letter.service);
        let ack = self.send(subject, headers, letter.payload.clone().into()).await;
        self.await_all(vec![ack]).await.pop().unwrap_or(Ok(()))
    }

    async fn send(
        &self,
        subject: String,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<PublishAckFuture, PublishError> {
        if payload.len() > PAYLOAD_BYTES_MAX {
            return Err(PublishError::TooLarge { bytes: payload.len() });
        }
        let message = PublishMessage::build().headers(headers).payload(payload);
        self.inner.context.send_publish(subject, message).await.map_err(|error| refusal(&error))
    }

    async fn await_all(
        &self,
        sent: Vec<Result<PublishAckFuture, PublishError>>,
    ) -> Vec<Result<(), PublishError>> {
        let stats = self.stats();
        let waiting = sent.into_iter().map(|sent| async move {
            match sent?.await {
                Ok(ack) if ack.duplicate => {
                    stats.duplicates.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                Ok(_) => {
                    stats.published.fetch_add(1, Ordering::Relaxed);
                    Ok(())
                }
                Err(error) => Err(refusal(&error)),
            }
        });
        let results = join_all(waiting).await;
        let failed = results.iter().filter(|result| result.is_err()).count() as u64;
        if failed > 0 {
            stats.publish_failures.fetch_add(failed, Ordering::Relaxed);
        }
        results
    }
}

fn refusal(error: &async_nats::jetstream::context::PublishError) -> PublishError {
    match error.kind() {
        PublishErrorKind::TimedOut | PublishErrorKind::BrokenPipe => PublishError::TimedOut,
        PublishErrorKind::StreamNotFound
        | PublishErrorKind::WrongLastMessageId
        | PublishErrorKind::WrongLastSequence
        | PublishErrorKind::MaxAckPending
        | PublishErrorKind::MaxPayloadExceeded
        | PublishErrorKind::Other => PublishError::Refused(error.to_string()),
    }
}
