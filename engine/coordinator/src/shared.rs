//! The parts of a coordinator that its loops share.

use std::sync::Arc;

use redress_core::Timestamp;
use tokio::sync::{Semaphore, watch};
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::clock::JournalClock;
use crate::config::Config;
use crate::metrics::Metrics;
use crate::probes::Probes;
use crate::registry::Registry;
use crate::rules::Rules;
use crate::waiters::Waiters;

pub(crate) struct Shared<J, B, C> {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    /// Everything that a unit of work needs to decide.
    pub(crate) rules: Arc<Rules<C>>,
    pub(crate) journal: J,
    pub(crate) bus: B,
    pub(crate) clock: C,
    pub(crate) broker: Arc<Broker>,
    pub(crate) journal_clock: Arc<JournalClock<C>>,
    pub(crate) waiters: Arc<Waiters>,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: TaskTracker,
    /// Room for starts that wait for their batch, a permit per byte.
    pub(crate) starts_room: Arc<Semaphore>,
    /// Room for commands on their way to the broker that no loop waits for, a permit per byte.
    pub(crate) outgoing_room: Arc<Semaphore>,
    /// True once sagas may move.
    pub(crate) started: watch::Sender<bool>,
    /// The time of its opening, by the journal's clock.
    pub(crate) opened_at: Timestamp,
    pub(crate) probes: Probes,
}

impl<J, B, C> Shared<J, B, C> {
    /// Returns true if sagas may move.
    pub(crate) fn has_started(&self) -> bool {
        *self.started.borrow()
    }
}
