//! Tells if a stream is still the one that a message came from.
//!
//! A stream that was wiped and made anew counts its messages from 1 again, so an acknowledgement of the incarnation
//! before would remove a message that no consumer has seen. A wipe takes the connection down with it; therefore nothing
//! is acknowledged after a reconnect until the consumer has looked when the stream was born. A message that is not
//! acknowledged comes again, which costs a duplicate and nothing else.

use std::sync::atomic::{AtomicU64, Ordering};

use async_nats::Client;
use async_nats::connection::State;

use crate::link::Link;

/// The present incarnation of one consumer's stream.
#[derive(Debug)]
pub(crate) struct StreamIncarnation {
    client: Client,
    /// The number of the link that the client belongs to.
    pub(crate) link: u64,
    number: AtomicU64,
    /// The connection on which it was last seen to go on.
    seen_on: AtomicU64,
}

impl StreamIncarnation {
    pub(crate) fn on(link: &Link) -> Self {
        Self {
            client: link.client.clone(),
            link: link.number,
            number: AtomicU64::new(0),
            seen_on: AtomicU64::new(0),
        }
    }

    /// Its number, from 0.
    pub(crate) fn number(&self) -> u64 {
        self.number.load(Ordering::Acquire)
    }

    /// Number of the present connection, from 1.
    pub(crate) fn connection(&self) -> u64 {
        self.client.statistics().connects.load(Ordering::Relaxed)
    }

    /// Returns true if the stream was not looked at since the connection was lost.
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

    /// Returns true if incarnation number `incarnation_number` certainly goes on.
    pub(crate) fn is_current(&self, incarnation_number: u64) -> bool {
        incarnation_number == self.number()
            && !self.is_in_doubt()
            && self.client.connection_state() == State::Connected
    }
}
