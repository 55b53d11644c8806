//! The connection to the server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions, Event, ServerAddr};
use redress_core::{CommandMessage, Name, ReplyMessage};
use thiserror::Error;
use tokio::sync::Semaphore;

use crate::anchor::Anchor;
use crate::inflow::Inflow;
use crate::settings::Settings;
use crate::streams::{self, StreamError};
use crate::topology::Topology;

/// The oldest server that does what we ask for; older ones ignore `filter_subjects` silently.
pub const SERVER_VERSION_MIN: (u64, u64) = (2, 10);

/// How often the client asks whether the server is still there.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long one connection attempt may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);
/// Pause between looks at a server that is waited for.
const WAIT_PAUSE: Duration = Duration::from_millis(250);

/// A connection to the broker. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Wire {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) client: Client,
    pub(crate) context: Context,
    pub(crate) topology: Topology,
    pub(crate) settings: Settings,
    pub(crate) stats: Arc<Stats>,
    /// Room for publishes. A burst takes all that it needs at once: bursts that each hold a part and wait for the
    /// rest would wait for each other for ever.
    pub(crate) room: Semaphore,
    /// Whether somebody is making streams anew that a publish found missing.
    pub(crate) mending: AtomicBool,
    pub(crate) command_anchor: Anchor,
    pub(crate) reply_anchor: Anchor,
}

/// What the wire has counted since it was connected.
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
    dead: AtomicBool,
}

/// Notices that the client library's own task is gone, as after a panic in it: the callback that owns this is then
/// dropped. Nothing brings such a client back; whoever watches our health starts the process anew.
struct Vigil(Arc<Stats>);

impl Drop for Vigil {
    fn drop(&mut self) {
        self.0.dead.store(true, Ordering::Release);
    }
}

/// Whether the broker can be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WireHealth {
    /// Connected.
    Connected,
    /// Trying to connect, or ended for good.
    Disconnected,
}

/// The broker could not be used.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// The URL is none.
    #[error("the NATS URL is unusable; it looks like nats://user:password@host:4222")]
    Url,
    /// No connection.
    #[error("no connection to the NATS server; check NATS_URL and that the server runs")]
    Connect(#[source] async_nats::ConnectError),
    /// The server is too old.
    #[error(
        "the NATS server is {found}; Redress needs 2.10 or newer, because older ones ignore what it asks for"
    )]
    TooOld {
        /// Its version.
        found: String,
    },
    /// JetStream is off.
    #[error("JetStream does not answer on this NATS server; start it with `-js`")]
    NoJetStream(#[source] async_nats::jetstream::context::AccountError),
    /// A stream cannot be made.
    #[error(transparent)]
    Stream(#[from] StreamError),
}

impl Wire {
    /// Connects, checks the server and creates the streams.
    ///
    /// `url` may hold credentials, as in `nats://user:password@127.0.0.1:4222`.
    ///
    /// # Errors
    /// [`ConnectError`] if the server cannot be reached, is older than 2.10 or has no JetStream.
    pub async fn connect(url: &str, topology: Topology, settings: Settings) -> Result<Self, ConnectError> {
        let stats = Arc::new(Stats::default());
        let vigil = Arc::new(Vigil(stats.clone()));
        let options = ConnectOptions::new()
            .name(topology.prefix().as_str())
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECTION_TIMEOUT)
            .custom_inbox_prefix(format!("_INBOX_{}", topology.prefix()))
            .event_callback(move |event| {
                let vigil = vigil.clone();
                async move { vigil.0.note(&event) }
            });
        let options = if settings.wait_for_server { options.retry_on_initial_connect() } else { options };
        // The client library passes over the credentials of a URL.
        let address: ServerAddr = url.parse().map_err(|_| ConnectError::Url)?;
        let options = match (address.username(), address.password()) {
            (Some(user), Some(password)) => options.user_and_password(decoded(user), decoded(password)),
            (Some(token), None) => options.token(decoded(token)),
            (None, _) => options,
        };
        let client = options.connect(address).await.map_err(ConnectError::Connect)?;
        let room = settings.publishes_in_flight_max.max(1);
        let context = ContextBuilder::new()
            .timeout(settings.publish_timeout)
            .ack_timeout(settings.publish_timeout)
            // Our own bound comes first. Acknowledgements that nobody waits for any more take room here, not there.
            .max_ack_inflight(2 * room)
            .build(client.clone());
        let (room, mending) = (Semaphore::new(room), AtomicBool::new(false));
        let [command_anchor, reply_anchor] = topology.anchors().map(Anchor::new);
        let inner =
            Inner { client, context, topology, settings, stats, room, mending, command_anchor, reply_anchor };
        let wire = Self { inner: Arc::new(inner) };
        loop {
            match wire.prepare().await {
                Err(error) if wire.settings().wait_for_server && error.may_pass() => {
                    tracing::info!(%error, "waiting for the NATS server");
                    tokio::time::sleep(WAIT_PAUSE).await;
                }
                result => return result.map(|()| wire),
            }
        }
    }

    async fn prepare(&self) -> Result<(), ConnectError> {
        self.probe().await?;
        self.ensure_streams().await?;
        Ok(())
    }

    async fn probe(&self) -> Result<(), ConnectError> {
        self.inner.context.query_account().await.map_err(ConnectError::NoJetStream)?;
        let found = self.inner.client.server_info().version;
        match version(&found) {
            Some(version) if version >= SERVER_VERSION_MIN => Ok(()),
            Some(_) | None => Err(ConnectError::TooOld { found }),
        }
    }

    /// Creates the streams that are missing.
    ///
    /// # Errors
    /// [`StreamError`] if the server refuses.
    pub async fn ensure_streams(&self) -> Result<(), StreamError> {
        streams::ensure(&self.inner.context, &self.inner.topology, &self.inner.settings).await?;
        self.cast(&self.inner.command_anchor);
        self.cast(&self.inner.reply_anchor);
        Ok(())
    }

    /// The commands for a service; instances of a service share them.
    pub fn commands(&self, service: &Name) -> Inflow<CommandMessage> {
        let topology = &self.inner.topology;
        Inflow::new(
            self.clone(),
            topology.commands_stream(),
            topology.service_consumer(service),
            topology.commands_of(service),
        )
    }

    /// The replies to sagas of one definition; coordinators that know it share them.
    pub fn replies(&self, saga: &Name, version: u32) -> Inflow<ReplyMessage> {
        let topology = &self.inner.topology;
        Inflow::new(
            self.clone(),
            topology.replies_stream(),
            topology.definition_consumer(saga, version),
            topology.replies_to(saga, &version.to_string()),
        )
    }

    /// Waits until what was sent has left this process: acknowledgements, which nobody answers, among it.
    pub async fn flush(&self) {
        if let Err(error) = self.inner.client.flush().await {
            tracing::debug!(%error, "not flushed; what did not leave comes again");
        }
    }

    /// Whether the broker can be reached.
    pub fn health(&self) -> WireHealth {
        if self.stats().dead.load(Ordering::Acquire) {
            return WireHealth::Disconnected;
        }
        match self.inner.client.connection_state() {
            async_nats::connection::State::Connected => WireHealth::Connected,
            async_nats::connection::State::Pending | async_nats::connection::State::Disconnected => {
                WireHealth::Disconnected
            }
        }
    }

    /// The version of the server.
    pub fn server_version(&self) -> String {
        self.inner.client.server_info().version
    }

    /// The names in use.
    pub fn topology(&self) -> &Topology {
        &self.inner.topology
    }

    /// The tuning in force.
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// What was counted.
    pub fn stats(&self) -> &Stats {
        &self.inner.stats
    }
}

impl ConnectError {
    /// Whether it may be otherwise in a moment, because the server is starting.
    fn may_pass(&self) -> bool {
        match self {
            Self::Connect(_) | Self::NoJetStream(_) | Self::Stream(StreamError::Silent { .. }) => true,
            Self::Url
            | Self::TooOld { .. }
            | Self::Stream(StreamError::Refused { .. } | StreamError::Unfit { .. }) => false,
        }
    }
}

impl Stats {
    fn note(&self, event: &Event) {
        match event {
            Event::Connected => {
                if self.connected_before.swap(true, Ordering::Relaxed) {
                    self.reconnects.fetch_add(1, Ordering::Relaxed);
                }
                tracing::info!("connected to NATS");
            }
            other => tracing::warn!(event = %other, "NATS connection event"),
        }
    }
}

/// Percent-encoding undone, as credentials in a URL are encoded.
fn decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, tail)) = rest.split_first() {
        let code = if first == b'%' { tail.get(..2).and_then(hex) } else { None };
        bytes.push(code.unwrap_or(first));
        rest = if code.is_some() { &tail[2..] } else { tail };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

fn hex(pair: &[u8]) -> Option<u8> {
    u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok()
}

fn version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.trim_start_matches('v').split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_decoded() {
        for (text, plain) in [("user", "user"), ("p%40ss%2fw", "p@ss/w"), ("100%", "100%"), ("%zz", "%zz")] {
            assert_eq!(decoded(text), plain);
        }
    }

    #[test]
    fn old_servers_are_told_from_new_ones() {
        for (text, new_enough) in
            [("2.9.10", false), ("2.10.0", true), ("2.15.1", true), ("v2.14.0-RC.1", true), ("3.0", true)]
        {
            assert_eq!(version(text).unwrap() >= SERVER_VERSION_MIN, new_enough, "{text}");
        }
        assert_eq!(version("unknown"), None);
    }
}
