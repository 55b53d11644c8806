//! Processes that die or do not run for a while.

use std::time::Duration;

use nix::sys::signal::Signal;

use super::Played;
use crate::rest;
use crate::supervisor::Supervisor;

/// `kill -9` of one of these.
pub(super) async fn kill(supervisors: &[Supervisor], mut chance: fastrand::Rng) -> Played {
    let supervisor = &supervisors[chance.usize(..supervisors.len())];
    supervisor.kill().await;
    Ok(1)
}

/// One of these stops running for a while.
pub(super) async fn freeze(
    supervisors: &[Supervisor],
    length: Duration,
    mut chance: fastrand::Rng,
) -> Played {
    let supervisor = &supervisors[chance.usize(..supervisors.len())];
    supervisor.until_ready().await;
    let Some((pid, _)) = supervisor.ready() else { return Ok(0) };
    let frozen = supervisor.signal(pid, Signal::SIGSTOP);
    rest(length).await;
    // Another disruption may have killed it meanwhile.
    supervisor.signal(pid, Signal::SIGCONT);
    Ok(u64::from(frozen))
}
