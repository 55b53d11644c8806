//! Where a batch runs, and what it tells about its lane while it runs.

use std::sync::{Arc, Mutex, MutexGuard};

use redress_core::CommandMessage;
use tokio::sync::Notify;

use crate::member::Member;

/// Where a batch runs, and what waits behind it.
#[derive(Clone)]
pub(crate) enum Isolation {
    /// On a lane, with all other commands behind it: handlers that are not short are left.
    Shared(Arc<Lane>),
    /// On a lane, one command whose handler is to be proven.
    Probe(Arc<Lane>),
    /// Beside the batches, in a transaction of its own.
    Beside,
    /// On a lane, whatever it holds, because there is no connection for another place.
    Everything,
}

impl Isolation {
    /// Returns true for a batch, whose end tells how large the next one may be.
    pub(crate) const fn is_on_lane(&self) -> bool {
        match self {
            Self::Shared(_) | Self::Everything => true,
            Self::Probe(_) | Self::Beside => false,
        }
    }
}

/// What a batch tells about its lane while it runs.
#[derive(Default)]
pub(crate) struct Lane {
    /// A handler takes too long for a lane.
    pub(crate) stalled: Notify,
    report: Mutex<LaneReport>,
}

/// What a batch has told about its lane.
#[derive(Default)]
pub(crate) struct LaneReport {
    pub(crate) left: Vec<Member>,
    /// They call third parties.
    pub(crate) apart: Vec<Member>,
    /// Of the actions about which the stalled batch has commands.
    pub(crate) keys: Vec<String>,
}

impl Lane {
    pub(crate) fn report(&self) -> MutexGuard<'_, LaneReport> {
        self.report.lock().expect("no thread panics while it holds what a batch tells")
    }

    /// A handler of this batch takes too long for a lane.
    pub(crate) fn stalls(&self, commands: &[CommandMessage]) {
        self.report().keys = commands.iter().map(|command| command.key.of_action().to_string()).collect();
        self.stalled.notify_one();
    }

    /// These commands were left by the batch; `apart` are those that have a transaction of their own.
    pub(crate) fn leave(&self, left: Vec<Member>, apart: Vec<Member>) {
        let mut report = self.report();
        report.left.extend(left);
        report.apart.extend(apart);
    }
}
