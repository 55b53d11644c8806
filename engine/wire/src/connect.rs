//! The connection to the server.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::anchor::Anchor;
use crate::config::WireConfig;
use crate::connect_error::ConnectError;
use crate::link::{Links, Recipe};
use crate::ownership::Ownership;
use crate::publish::IN_FLIGHT_KIB_MAX;
use crate::servers::Servers;
use crate::stats::Stats;
use crate::streams::{self, Incarnation, StreamError};
use crate::succession;
use crate::topology::Topology;
use crate::wire::{Inner, Wire};

/// The oldest server that does all that we need; older ones ignore `filter_subjects` silently.
pub const SERVER_VERSION_MIN: (u64, u64) = (2, 10);

/// Pause between looks at a server that is waited for.
const WAIT_PAUSE: Duration = Duration::from_millis(250);

impl Wire {
    /// Connects, checks the server and creates the streams.
    ///
    /// `url` may hold credentials, as in `nats://user:password@127.0.0.1:4222`, and name several servers of one cluster,
    /// separated by commas.
    ///
    /// # Errors
    /// [`ConnectError`] if the server cannot be reached, is older than 2.10 or has no JetStream.
    pub async fn connect(url: &str, topology: Topology, config: WireConfig) -> Result<Self, ConnectError> {
        let wire = Self::open(url, topology, config).await?;
        loop {
            match wire.prepare().await {
                Err(error) if wire.config().wait_for_server && error.may_pass() => {
                    tracing::info!(%error, "waiting for the NATS server");
                    tokio::time::sleep(WAIT_PAUSE).await;
                }
                result => return result.map(|()| wire),
            }
        }
    }

    /// Connects and checks the server, and changes nothing on it: for a look at how things are.
    ///
    /// # Errors
    /// As [`Wire::connect`].
    pub async fn look(url: &str, topology: Topology, config: WireConfig) -> Result<Self, ConnectError> {
        let wire = Self::open(url, topology, config).await?;
        wire.probe().await?;
        Ok(wire)
    }

    async fn open(url: &str, topology: Topology, config: WireConfig) -> Result<Self, ConnectError> {
        let stats = Arc::new(Stats::default());
        let recipe = Recipe {
            servers: Servers::read(url)?,
            name: topology.prefix().to_string(),
            stats: stats.clone(),
        };
        let link = recipe.connect(0, &config, config.wait_for_server).await;
        let links = Links::new(link.map_err(ConnectError::Connect)?);
        let room = Semaphore::new(config.publishes_in_flight_max.max(1));
        let memory = Semaphore::new(IN_FLIGHT_KIB_MAX);
        let [commands, replies] = topology.anchors();
        let command_anchor = Anchor::new(topology.commands_stream(), commands);
        let reply_anchor = Anchor::new(topology.replies_stream(), replies);
        let inner = Arc::new(Inner {
            links,
            recipe,
            topology,
            config,
            stats,
            room,
            memory,
            mending: AtomicBool::new(false),
            journal: OnceLock::new(),
            ownership: Mutex::new(Ownership::Unknown),
            command_anchor,
            reply_anchor,
        });
        tokio::spawn(succession::watch(Arc::downgrade(&inner)));
        Ok(Self { inner })
    }

    async fn prepare(&self) -> Result<(), ConnectError> {
        self.probe().await?;
        self.ensure_streams().await?;
        Ok(())
    }

    async fn probe(&self) -> Result<(), ConnectError> {
        self.link().context.query_account().await.map_err(ConnectError::NoJetStream)?;
        let found = self.link().client.server_info().version;
        match version(&found) {
            Some(version) if version >= SERVER_VERSION_MIN => Ok(()),
            Some(_) | None => Err(ConnectError::TooOld { found }),
        }
    }

    /// The times at which the streams of commands and replies were made. Those that are missing are made anew in the
    /// background.
    ///
    /// # Errors
    /// [`StreamError`] if the server does not say.
    pub async fn incarnation(&self) -> Result<Incarnation, StreamError> {
        let incarnation = streams::incarnation(&self.link().context, &self.inner.topology).await;
        match &incarnation {
            Err(StreamError::Silent { source, .. }) if streams::is_absent(&source.kind()) => self.mend(),
            Ok(_) | Err(_) => {}
        }
        incarnation
    }
}

fn version(text: &str) -> Option<(u64, u64)> {
    let mut numbers = text.trim_start_matches('v').split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

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
