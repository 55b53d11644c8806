//! One message, to be settled.
//!
//! An acknowledgement is a hint: it may be lost, and then the message comes again and the inbox or the journal
//! recognises it. So failures to acknowledge are only logged.

use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::jetstream::message::Acker;

use crate::headers::Malformed;
use crate::life::Life;

/// A message that was delivered and waits to be settled.
pub struct Delivery<M> {
    /// The message, or what came instead.
    pub message: Result<M, Malformed>,
    /// How often it was delivered, this time included; from 1.
    pub deliveries: u64,
    pub(crate) handle: Handle,
}

/// The right to settle a message.
#[derive(Clone)]
pub struct Handle {
    pub(crate) acker: Arc<Acker>,
    /// The life of the stream from which it came; sequences start again in the next one.
    pub(crate) born_in: u64,
    pub(crate) life: Arc<Life>,
}

impl<M> Delivery<M> {
    /// The right to settle it, to be kept when the message is moved elsewhere.
    pub fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Takes it apart.
    pub fn split(self) -> (Result<M, Malformed>, u64, Handle) {
        (self.message, self.deliveries, self.handle)
    }
}

impl Handle {
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
        // An acknowledgement from an earlier life of the stream could hit a new message.
        if !self.life.is_surely(self.born_in) {
            return;
        }
        let result = match kind {
            AckKind::Ack => self.acker.ack().await,
            other => self.acker.ack_with(other).await,
        };
        if let Err(error) = result {
            tracing::debug!(%error, "acknowledgement not sent; the message comes again");
        }
    }
}
