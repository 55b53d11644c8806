//! Letters about messages that could not be used.
//!
//! A letter keeps everything that came, and the broker obeys none of it (`letter_headers`). A letter that the server does
//! not take even so is kept reduced: reason, subject, key, and the beginning of the body. A letter that the broker does not
//! store is for the caller to keep elsewhere.
//!
//! A letter has an id from the moment in which the message is given up: however often it is published, delivered or kept,
//! it is one letter. Coordinators take letters from the stream into their journal ([`Wire::dead_letters`]); from there an
//! operator has the message published again, as it came ([`Wire::replay`]).

use async_nats::HeaderMap;
use bytes::Bytes;

use crate::consumer::Consumer;
use crate::delivery::AckHandle;
use crate::headers::{self, Envelope, Malformed, ReplyAddress};
pub use crate::letter::DeadLetter;
use crate::letter_headers;
use crate::publish::{Outgoing, PublishError};
use crate::topology::Topology;
use crate::unreadable::ConsumerName;
use crate::wire::Wire;

/// How much of a letter was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole,
    /// Its subject, its reason and its beginning; the rest was refused.
    Reduced,
}

impl Envelope for DeadLetter {
    fn subject(&self, topology: &Topology) -> String {
        topology.dead_letters_of(&self.service)
    }

    fn read(headers: &HeaderMap, payload: &[u8]) -> Result<Self, (String, Option<ReplyAddress>)> {
        let service = letter_headers::service(headers).map_err(|reason| (reason, None))?;
        Ok(letter_headers::read(service, headers::to_text(headers), payload.to_vec()))
    }

    fn address(&self) -> Option<ReplyAddress> {
        None
    }
}

impl Outgoing for DeadLetter {
    fn outgoing(&self, topology: &Topology) -> (String, HeaderMap, Bytes) {
        let payload = self.payload.clone().into();
        (topology.dead_letters_of(&self.service), letter_headers::write(self), payload)
    }

    fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    fn anchor(_: &Wire) -> Option<&crate::anchor::Anchor> {
        None
    }
}

/// A message that is published again, as it came.
struct Replayed<'l> {
    message_id: String,
    subject: &'l str,
    headers: &'l [(String, String)],
    payload: &'l [u8],
}

impl Outgoing for Replayed<'_> {
    fn outgoing(&self, _: &Topology) -> (String, HeaderMap, Bytes) {
        let headers = letter_headers::to_replay(self.headers, &self.message_id);
        (self.subject.to_owned(), headers, Bytes::copy_from_slice(self.payload))
    }

    fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    fn anchor(_: &Wire) -> Option<&crate::anchor::Anchor> {
        None
    }
}

/// The letters in the stream, for ever.
pub struct DeadLetters {
    topology: Topology,
    consumer: Consumer<DeadLetter>,
}

impl DeadLetters {
    /// Waits for letters and takes those that are there, at most `max`; each is to be settled.
    ///
    /// What cannot be read as a letter, as an older version or a stranger wrote it, is made the best of.
    ///
    /// Cancel safe: a letter that was not returned is delivered again.
    pub async fn next_batch(&mut self, max: usize) -> Vec<(DeadLetter, AckHandle)> {
        let mut taken = Vec::new();
        for delivery in self.consumer.next_batch(max).await {
            let (message, _, ack) = delivery.split();
            let letter = message.unwrap_or_else(|malformed| self.salvaged(malformed));
            taken.push((letter, ack));
        }
        taken
    }

    fn salvaged(&self, malformed: Malformed) -> DeadLetter {
        let service = self.topology.dead_letter_service(&malformed.subject);
        letter_headers::read(service, malformed.headers, malformed.payload)
    }
}

impl Wire {
    /// Keeps a message that could not be used: whole, or reduced if the broker refuses the whole.
    ///
    /// # Errors
    /// [`PublishError`] if the broker does not store it even so.
    pub async fn publish_dead_letter(&self, letter: &DeadLetter) -> Result<Kept, PublishError> {
        match self.publish_one(letter).await {
            Ok(()) => Ok(Kept::Whole),
            Err(PublishError::Refused(_) | PublishError::TooLarge { .. }) => {
                self.publish_one(&letter.reduced()).await.map(|()| Kept::Reduced)
            }
            Err(error @ (PublishError::TimedOut | PublishError::StreamFull | PublishError::NoStream)) => {
                Err(error)
            }
        }
    }

    /// The letters in the stream; coordinators share them.
    pub fn dead_letters(&self) -> DeadLetters {
        let topology = self.topology();
        let consumer = ConsumerName {
            stream: topology.dead_letters_stream(),
            durable: topology.dead_letters_consumer(),
            filter: topology.dead_letters_of("*"),
        };
        DeadLetters { topology: topology.clone(), consumer: Consumer::new(self.clone(), consumer, None) }
    }

    /// Publishes the message of a letter again: on its subject, with its body and its headers, but for those that the
    /// server obeys. Instead of the message id that it had, which the server may remember, it has `message_id`: within the
    /// server's window the same one is stored once.
    ///
    /// # Errors
    /// [`PublishError`] if the broker does not store it, or that is not known.
    pub async fn replay(
        &self,
        message_id: String,
        subject: &str,
        headers: &[(String, String)],
        payload: &[u8],
    ) -> Result<(), PublishError> {
        self.publish_one(&Replayed { message_id, subject, headers, payload }).await
    }

    async fn publish_one<M: Outgoing>(&self, message: &M) -> Result<(), PublishError> {
        let mut results = self.publish_all(std::slice::from_ref(message)).await;
        results.pop().expect("one message, one result")
    }
}
