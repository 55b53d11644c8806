//! The client, and its successor when it has ended.
//!
//! The client library ends for good when its own task panics, as it does on a header value with a lone carriage return
//! (nats.rs pull request 1612). Such a client answers nothing and says nothing. So a callback that only its task owns
//! notices the end, and another client takes its place; the messages in the hands of the old one come again. The
//! message that ended it is found and set aside by [`crate::unreadable`].

use std::sync::{Arc, RwLock};
use std::time::Duration;

use async_nats::jetstream::context::{Context, ContextBuilder};
use async_nats::{Client, ConnectOptions};
use tokio_util::sync::CancellationToken;

use crate::config::WireConfig;
use crate::servers::Servers;
use crate::stats::Stats;

/// Pause between two pings of the server.
const PING_INTERVAL: Duration = Duration::from_secs(10);
/// How long one connection attempt may take.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(5);

/// One client and its companions.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) client: Client,
    pub(crate) context: Context,
    /// Its number, from 0; the successor's is one more.
    pub(crate) number: u64,
    /// Cancelled when the client has ended for good.
    pub(crate) ended: CancellationToken,
}

/// Notices that the client library's own task is gone: the callback that owns this is then dropped.
struct Vigil {
    stats: Arc<Stats>,
    ended: CancellationToken,
}

impl Drop for Vigil {
    fn drop(&mut self) {
        self.ended.cancel();
    }
}

/// The options with which clients are made.
#[derive(Debug)]
pub(crate) struct Recipe {
    pub(crate) servers: Servers,
    pub(crate) name: String,
    pub(crate) stats: Arc<Stats>,
}

impl Recipe {
    /// Connects; `waits` for a server that is not there.
    pub(crate) async fn connect(
        &self,
        number: u64,
        config: &WireConfig,
        waits: bool,
    ) -> Result<Link, async_nats::ConnectError> {
        let ended = CancellationToken::new();
        let vigil = Arc::new(Vigil { stats: self.stats.clone(), ended: ended.clone() });
        let options = ConnectOptions::new()
            .name(&self.name)
            .ping_interval(PING_INTERVAL)
            .connection_timeout(CONNECTION_TIMEOUT)
            .custom_inbox_prefix(format!("_INBOX_{}", self.name))
            .event_callback(move |event| {
                let vigil = vigil.clone();
                async move { vigil.stats.note(&event) }
            });
        let options = if waits { options.retry_on_initial_connect() } else { options };
        let options = self.servers.sign_in(options);
        let client = options.connect(self.servers.addresses()).await?;
        let context = ContextBuilder::new()
            .timeout(config.publish_timeout)
            .ack_timeout(config.publish_timeout)
            // Our own bound comes first. Acknowledgements that no publish waits for any more take room here, not there.
            .max_ack_inflight(2 * config.publishes_in_flight_max.max(1))
            .build(client.clone());
        Ok(Link { client, context, number, ended })
    }
}

/// The client in use.
#[derive(Debug)]
pub(crate) struct Links {
    present: RwLock<Arc<Link>>,
}

impl Links {
    pub(crate) fn new(link: Link) -> Self {
        Self { present: RwLock::new(Arc::new(link)) }
    }

    pub(crate) fn present(&self) -> Arc<Link> {
        self.present.read().expect("nobody panics while holding the link").clone()
    }

    pub(crate) fn replace(&self, link: Link) {
        *self.present.write().expect("nobody panics while holding the link") = Arc::new(link);
    }
}
