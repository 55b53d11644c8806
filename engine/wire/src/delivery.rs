//! One message, to be settled.
//!
//! An acknowledgement is a hint: it may be lost, and then the message comes again and the inbox or the journal
//! recognises it. So failures to acknowledge are only logged.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::Acker;

use crate::headers::Malformed;
use crate::stream_incarnation::StreamIncarnation;
use crate::unreadable::{self, StoredMessage};

/// A message that was delivered and waits to be settled.
pub struct Delivery<M> {
    /// The message, or the malformed one that came instead.
    pub message: Result<M, Malformed>,
    /// The number of its deliveries, this one included; from 1.
    pub deliveries: u64,
    /// Its size on the wire, in bytes.
    pub bytes: usize,
    pub(crate) handle: AckHandle,
}

/// The right to settle a message.
#[derive(Clone)]
pub struct AckHandle {
    pub(crate) means: Means,
    /// The incarnation of the stream from which it came; sequences start again in the next one.
    pub(crate) incarnation_number: u64,
    pub(crate) incarnation: Arc<StreamIncarnation>,
}

/// The way in which a message is settled.
#[derive(Clone)]
pub(crate) enum Means {
    /// It was delivered.
    Acker(Arc<Acker>),
    /// It was found in the stream, as it cannot be delivered, and is deleted from it.
    Stored(Arc<StoredMessage>),
}

impl<M> Delivery<M> {
    /// The right to settle it, to be kept when the message is moved elsewhere.
    pub fn handle(&self) -> AckHandle {
        self.handle.clone()
    }

    /// Takes it apart.
    pub fn split(self) -> (Result<M, Malformed>, u64, AckHandle) {
        (self.message, self.deliveries, self.handle)
    }
}

impl AckHandle {
    /// It is done: never again.
    pub async fn ack(&self) {
        self.settle(AckKind::Ack).await;
    }

    /// Not now: again after `delay`.
    pub async fn nak(&self, delay: Duration) {
        self.settle(AckKind::Nak(Some(delay))).await;
    }

    /// Give it up: never again, though it was not done.
    pub async fn term(&self) {
        self.settle(AckKind::Term).await;
    }

    /// It is being worked on: wait longer.
    pub async fn in_progress(&self) {
        self.settle(AckKind::Progress).await;
    }

    async fn settle(&self, kind: AckKind) {
        let acker = match (&self.means, &kind) {
            (Means::Acker(acker), _) => acker,
            (Means::Stored(stored), AckKind::Ack | AckKind::Term) => return unreadable::delete(stored).await,
            // It stays where it is, and is found again.
            (Means::Stored(_), _) => return,
        };
        // An acknowledgement from an earlier incarnation of the stream could hit a new message.
        if !self.incarnation.is_current(self.incarnation_number) {
            return;
        }
        let result = match kind {
            AckKind::Ack => acker.ack().await,
            other => acker.ack_with(other).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "failed to acknowledge; the message will be redelivered");
        }
    }
}
