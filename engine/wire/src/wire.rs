//! The wire: a connection to the broker, and the values that all its parts share.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, OnceLock};

use tokio::sync::Semaphore;

use crate::anchor::Anchor;
use crate::config::WireConfig;
use crate::link::{Link, Links, Recipe};
use crate::ownership::{Connection, Ownership};
use crate::stats::Stats;
use crate::topology::Topology;

/// A connection to the broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Wire {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) links: Links,
    pub(crate) recipe: Recipe,
    pub(crate) topology: Topology,
    pub(crate) config: WireConfig,
    pub(crate) stats: Arc<Stats>,
    /// Room for publishes. A burst takes all that it needs at once: bursts that each hold a part and wait for the
    /// rest would wait for each other for ever.
    pub(crate) room: Semaphore,
    /// Room for the payloads of publishes, in KiB; taken after `room`.
    pub(crate) memory: Semaphore,
    /// True while a task makes streams anew that a publish found missing.
    pub(crate) mending: AtomicBool,
    /// The id of the journal whose commands and replies the streams hold, once it is known.
    pub(crate) journal: OnceLock<String>,
    pub(crate) ownership: Mutex<Ownership>,
    pub(crate) command_anchor: Anchor,
    pub(crate) reply_anchor: Anchor,
}

/// The connection's health.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireHealth {
    /// Connected.
    Connected,
    /// Trying to connect, or ended for good.
    Disconnected,
    /// Connected, but the streams of this prefix belong to another installation.
    Strange,
}

impl Wire {
    /// The client in use.
    pub(crate) fn link(&self) -> Arc<Link> {
        self.inner.links.present()
    }

    /// The connection in use, or the last one that was.
    pub(crate) fn connection(&self) -> Connection {
        let link = self.link();
        (link.number, link.client.statistics().connects.load(Ordering::Relaxed))
    }

    /// Returns true if there is a client that can work. One that has ended is replaced at once, so that this is true
    /// again soon; if it is not, nothing but a new process helps.
    pub fn is_alive(&self) -> bool {
        !self.link().ended.is_cancelled()
    }

    /// Waits until the messages that were sent have left this process: acknowledgements, which the server does not
    /// answer, among them.
    pub async fn flush(&self) {
        if let Err(error) = self.link().client.flush().await {
            tracing::debug!(%error, "flush failed; unsent acknowledgements lead to redelivery");
        }
    }

    /// The connection's health.
    pub fn health(&self) -> WireHealth {
        let link = self.link();
        if link.ended.is_cancelled() {
            return WireHealth::Disconnected;
        }
        match link.client.connection_state() {
            async_nats::connection::State::Connected => match self.ownership() {
                Ownership::Strange => WireHealth::Strange,
                Ownership::Unknown | Ownership::Ours(_) => WireHealth::Connected,
            },
            async_nats::connection::State::Pending | async_nats::connection::State::Disconnected => {
                WireHealth::Disconnected
            }
        }
    }

    /// The version of the server.
    pub fn server_version(&self) -> String {
        self.link().client.server_info().version
    }

    /// The largest message that the server takes, headers and payload together, in bytes.
    ///
    /// A message that is larger can never travel here: it is refused on this side, without a request to the server.
    pub fn payload_bytes_max(&self) -> usize {
        self.link().client.max_payload()
    }

    /// The names in use.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// The tuning in force.
    pub fn config(&self) -> &WireConfig {
        &self.inner.config
    }

    /// The counters.
    pub fn stats(&self) -> &Stats {
        &self.inner.stats
    }

    /// The owner of the streams, as they were at the last look.
    pub(crate) fn ownership(&self) -> Ownership {
        *self.inner.ownership.lock().expect("no code panics while it holds the ownership")
    }
}
