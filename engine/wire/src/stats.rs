//! Counters of the wire.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use async_nats::Event;

/// Counters of the wire since it was connected.
#[derive(Debug, Default)]
pub struct Stats {
    /// Messages published and acknowledged.
    pub published: AtomicU64,
    /// Publishes that the server knew already.
    pub duplicates: AtomicU64,
    /// Publishes that failed.
    pub publish_failures: AtomicU64,
    /// Messages that came more than once.
    pub redeliveries: AtomicU64,
    /// Connections lost and made again.
    pub reconnects: AtomicU64,
    /// Consumers built anew; the first time does not count.
    pub rebuilds: AtomicU64,
    connected_before: AtomicBool,
}

impl Stats {
    pub(crate) fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                if self.connected_before.swap(true, Ordering::Relaxed) {
                    self.reconnects.fetch_add(1, Ordering::Relaxed);
                }
                tracing::info!("connected to NATS");
            }
            // So it ends when its last user has gone.
            Event::Closed => tracing::debug!("NATS connection closed"),
            // Servers say so by default; the demo, whose servers end with it, does not.
            Event::Disconnected => tracing::info!("NATS connection lost; reconnecting"),
            // Each try that fails while it is away, and a refused permission comes as an event of its own.
            Event::ClientError(error) => tracing::debug!(%error, "NATS connection failed; retrying"),
            other => tracing::warn!(event = %other, "NATS connection event"),
        }
    }
}
