//! Whether a stream is still the one that a message came from.
//!
//! A stream that was wiped and made anew counts its messages from 1 again, so an acknowledgement of the life before
//! would remove a message that nobody has seen. A wipe takes the connection down with it; therefore nothing is
//! acknowledged after a reconnect until somebody has looked when the stream was born. What is not acknowledged
//! comes again, which costs a duplicate and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::Client;
use async_nats::connection::State;

/// The present life of one consumer's stream.
#[derive(Debug)]
pub(crate) struct Life {
    client: Client,
    number: AtomicU64,
    /// The connection on which it was last seen to go on.
    seen_on: AtomicU64,
}

impl Life {
    pub(crate) fn new(client: Client) -> Self {
        Self { client, number: AtomicU64::new(0), seen_on: AtomicU64::new(0) }
    }

    /// Its number, from 0.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Number of the present connection, from 1.
    pub(crate) fn connection(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Whether nobody has looked at the stream since the connection was lost.
    pub(crate) fn is_in_doubt(&self) -> bool {
        self.seen_on.load(Ordering::Acquire) != self.connection()
    }

    /// The stream was seen on this connection, and is the same as before or not.
    pub(crate) fn seen(&self, connection: u64, same: bool) {
        if !same {
            self.number.fetch_add(1, Ordering::Release);
        }
        self.seen_on.store(connection, Ordering::Release);
    }

    /// Whether life number `born_in` certainly goes on.
    pub(crate) fn is_surely(&self, born_in: u64) -> bool {
        born_in == self.number() && !self.is_in_doubt() && self.client.connection_state() == State::Connected
    }
}
