//! Tracks the state of the broker: if it answers, and since when it has lost nothing that was sent to it.
//!
//! Silence says something about a participant only if the command was stored. So while the broker is away the
//! coordinator sends nothing, which also costs nothing however many sagas wait; a probe finds out when to go on. A
//! command that was sent before the broker came back, lost its store, or before this coordinator began, is not held
//! against its participant: it is sent once more, as the same attempt (`Event::MayBeLost`).

use redress_core::Timestamp;
use redress_core::decide::{NotSent, Unsent};
use redress_core::message::CommandMessage;
use tokio::sync::watch;

use crate::clock::STEP_MIN;
use crate::ports::BusHealth;

/// The broker as this coordinator last saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BrokerState {
    /// Nothing is sent before it answers.
    Away,
    /// It answers.
    There {
        /// By the journal's clock: a command that was sent before may be lost.
        since: Timestamp,
    },
}

/// The state of the broker, shared by all loops.
#[derive(Debug)]
pub(crate) struct Broker {
    state: watch::Sender<BrokerState>,
}

impl Broker {
    /// One to which the connection stands, or not.
    pub(crate) fn new(health: BusHealth, now: Timestamp) -> Self {
        let state = match health {
            BusHealth::Connected => BrokerState::There { since: now },
            BusHealth::Disconnected | BusHealth::Strange => BrokerState::Away,
        };
        Self { state: watch::Sender::new(state) }
    }

    pub(crate) fn state(&self) -> BrokerState {
        *self.state.borrow()
    }

    /// The moment before which a command that was sent may be lost.
    pub(crate) fn lost_before(&self, now: Timestamp) -> Timestamp {
        match self.state() {
            BrokerState::Away => now,
            BrokerState::There { since } => since,
        }
    }

    /// Nothing of a whole burst was stored: the next probe finds out if the broker is there.
    pub(crate) fn doubt(&self) {
        self.state.send_if_modified(|state| match state {
            BrokerState::Away => false,
            BrokerState::There { .. } => {
                tracing::warn!("the broker does not answer; no command is sent until it does");
                *state = BrokerState::Away;
                true
            }
        });
    }

    /// Something was not stored, and its saga could not be told: no silence until now counts.
    pub(crate) fn forgive_before(&self, now: Timestamp) {
        self.state.send_if_modified(|state| match state {
            BrokerState::Away => false,
            BrokerState::There { since } => {
                *since = now.max(*since);
                true
            }
        });
    }

    /// The journal's clock was read. If it has stepped back, the broker came back in what is the future now, and every
    /// silence until then would be forgiven: so it counts from here on.
    pub(crate) fn clock_says(&self, now: Timestamp) {
        self.state.send_if_modified(|state| match state {
            BrokerState::There { since } if *since > now + STEP_MIN => {
                *since = now;
                true
            }
            BrokerState::There { .. } | BrokerState::Away => false,
        });
    }

    pub(crate) fn answers(&self, now: Timestamp, lost_its_store: bool) {
        self.state.send_if_modified(|state| match state {
            BrokerState::There { .. } if !lost_its_store => false,
            BrokerState::There { .. } | BrokerState::Away => {
                tracing::info!(lost_its_store, "the broker answers");
                *state = BrokerState::There { since: now };
                true
            }
        });
    }
}

/// The commands of a burst that is not sent, because the broker is away.
pub(crate) fn all_unsent(commands: &[CommandMessage]) -> Vec<NotSent> {
    let reason = "the broker is away; the command goes out when it is back";
    let not_sent = |command: &CommandMessage| NotSent {
        key: command.key.clone(),
        attempt: command.attempt,
        why: Unsent::Unknown { reason: reason.to_owned() },
    };
    commands.iter().map(not_sent).collect()
}
