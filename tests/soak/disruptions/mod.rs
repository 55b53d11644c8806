//! The disruptions of the monkey, a function for each kind. Each gives the proofs that it happened, or a violation.

mod broker;
mod database;
pub(crate) mod faults;
pub(crate) mod operators;
pub(crate) mod poison;
mod processes;
mod raw;
mod requests;
mod sockets;
mod streams;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::clients::Clients;
use super::plan::{Disruption, Kind, LONGEST_OUTAGE};
use super::rest;

/// The result of a disruption: how often it happened.
pub(crate) type Played = Result<u64, String>;

/// How long a disruption is played again that another one kept from happening: a coordinator that was being started put
/// the limit of the stream back, or the broker was away. It outlasts the longest outage.
const TRY_FOR: Duration = LONGEST_OUTAGE.saturating_add(Duration::from_secs(45));
/// The pause between two tries.
const TRY_AGAIN_AFTER: Duration = Duration::from_secs(1);

/// Plays one disruption to its end and notes it.
pub(crate) async fn play(clients: Arc<Clients>, disruption: Disruption) {
    let begun = Instant::now();
    let mut played = play_kind(&clients, disruption).await;
    while played == Ok(0) && begun.elapsed() < TRY_FOR {
        rest(TRY_AGAIN_AFTER).await;
        played = play_kind(&clients, disruption).await;
    }
    let proofs = played.unwrap_or_else(|violation| {
        clients.book.violation(format!("{:?}: {violation}", disruption.kind));
        0
    });
    clients.book.played(disruption.kind, proofs);
}

async fn play_kind(clients: &Arc<Clients>, disruption: Disruption) -> Played {
    let chance = fastrand::Rng::with_seed(disruption.seed);
    let (yard, length) = (&clients.yard, disruption.length);
    match disruption.kind {
        Kind::KillCoordinator => processes::kill(&yard.coordinators, chance).await,
        Kind::FreezeCoordinator => processes::freeze(&yard.coordinators, length, chance).await,
        Kind::KillService => processes::kill(&yard.services, chance).await,
        Kind::FreezeService => processes::freeze(&yard.services, length, chance).await,
        Kind::RestartBroker => broker::restart(clients).await,
        Kind::WipeBroker => broker::wipe(clients).await,
        Kind::BrokerAway => broker::away(clients, length, chance).await,
        Kind::RestartDatabase => database::restart(clients).await,
        Kind::EndSessions => database::end_sessions(clients).await,
        Kind::DropAnswer => database::drop_answer(clients, chance).await,
        Kind::SilentSockets => sockets::silent(clients, length).await,
        Kind::SlowReaders => sockets::slow_readers(clients, length).await,
        Kind::PoisonCommands => poison::commands(clients).await,
        Kind::PoisonReplies => poison::replies(clients).await,
        Kind::PoisonHeaders => poison::headers(clients).await,
        Kind::BrokenHeaders => poison::broken_headers(clients).await,
        Kind::DoubleMessages => streams::double(clients, length).await,
        Kind::HugeInputs => requests::huge_inputs(clients, chance).await,
        Kind::HostileJson => requests::hostile(clients).await,
        Kind::InjectFaults => faults::inject(clients, chance).await,
        Kind::InjectCrashes => faults::inject_crashes(clients, chance).await,
        Kind::Cancel => operators::cancel(clients, chance).await,
        Kind::PauseAndResume => operators::pause_and_resume(clients, length, chance).await,
        Kind::ParkAndRetry => operators::park_and_retry(clients).await,
        Kind::HangUp => requests::hang_up(clients, chance).await,
        Kind::SameKeyTwice => requests::same_key_twice(clients).await,
        Kind::FullStream => streams::full(clients, length).await,
    }
}
