//! The broker dies, and comes back with or without its store.

use std::time::Duration;

use redress_devstack::{DevstackError, StopMode};

use super::Played;
use crate::clients::Clients;
use crate::rest;

/// Killed, and back with its store at once.
pub(super) async fn restart(clients: &Clients) -> Played {
    let _alone = clients.yard.broker.lock().await;
    clients.book.broker_died();
    back(clients, clients.yard.stack.nats().restart(StopMode::Kill).await)
}

/// Killed, and back empty at once.
pub(super) async fn wipe(clients: &Clients) -> Played {
    let _alone = clients.yard.broker.lock().await;
    clients.book.broker_died();
    back(clients, clients.yard.stack.nats().wipe_store().await)
}

/// Away for a while; empty when it is back, as a toss decides (always after a long time: its node was replaced).
pub(super) async fn away(clients: &Clients, length: Duration, mut chance: fastrand::Rng) -> Played {
    let _alone = clients.yard.broker.lock().await;
    clients.book.broker_died();
    let nats = clients.yard.stack.nats();
    nats.stop(StopMode::Kill).await.map_err(|error| error.to_string())?;
    rest(length).await;
    let is_empty = chance.bool() || length > Duration::from_secs(60);
    back(clients, if is_empty { nats.wipe_store().await } else { nats.start().await })
}

fn back(clients: &Clients, started: Result<(), DevstackError>) -> Played {
    if started.is_ok() {
        clients.book.broker_is_back();
    }
    started.map(|()| 1).map_err(|error| format!("the broker did not come back: {error}"))
}
