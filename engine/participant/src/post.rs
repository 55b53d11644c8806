//! The post of a service on the wire: everything that it does there, with a database or without.
//!
//! | file | part |
//! |---|---|
//! | `answer` | publishes replies, then acknowledges |
//! | `passing_on`, `unknown` | commands that this instance does not know |
//! | `dead_letters` | poison, set aside |
//! | here | what injected failures make of a delivery before its handler runs |

use std::sync::Arc;
use std::time::Duration;

use redress_core::fault::FaultKind;
use redress_core::{CommandMessage, LetterCode, Name, Phase};
use redress_wire::Wire;
use redress_wire::delivery::AckHandle;

use crate::config::{FaultMode, ParticipantConfig, Stats, count};
use crate::unknown::Unknowns;

/// A service's place on the wire.
pub(crate) struct Post {
    pub(crate) service: Name,
    pub(crate) wire: Wire,
    pub(crate) unknowns: Unknowns,
    pub(crate) stats: Arc<Stats>,
    pub(crate) config: ParticipantConfig,
}

/// The effect of an injected failure on a delivery before anything is ruled.
pub(crate) enum InjectedDelivery {
    Late(Duration),
    Lost,
    Abandoned,
}

impl Post {
    pub(crate) fn new(service: Name, wire: Wire, stats: Arc<Stats>, config: ParticipantConfig) -> Self {
        Self { service, wire, unknowns: Unknowns::default(), stats, config }
    }

    /// Why a command is of no use here, if it is meant for another service.
    pub(crate) fn misaddressed(&self, command: &CommandMessage) -> Option<redress_wire::Malformed> {
        if command.service == self.service {
            return None;
        }
        let reason = format!("it is meant for service `{}`, not for `{}`", command.service, self.service);
        Some(self.poison(command, LetterCode::Misaddressed, reason))
    }

    /// The failure to play before anything is ruled, if one was ordered and is obeyed.
    pub(crate) fn delivery_fault(&self, command: &CommandMessage) -> Option<InjectedDelivery> {
        let disruption = match command.fault.as_ref()? {
            _ if self.config.faults == FaultMode::Refused => return None,
            FaultKind::Delay { ms } => InjectedDelivery::Late(Duration::from_millis(*ms)),
            FaultKind::DropCommand => InjectedDelivery::Lost,
            // A process of its own dies inside the transaction, after the handler.
            FaultKind::CrashBeforeCommit if self.config.faults == FaultMode::Exit => return None,
            FaultKind::CrashBeforeCommit => InjectedDelivery::Abandoned,
            FaultKind::Reject { .. }
            | FaultKind::Fail
            | FaultKind::DropReply
            | FaultKind::DelayReply { .. }
            | FaultKind::Duplicate
            | FaultKind::CrashAfterCommit
            | FaultKind::CrashAfterReply
            | FaultKind::CallLost
            | FaultKind::CallLate
            | FaultKind::CallTwice
            | FaultKind::CallFailed => return None,
        };
        count(&self.stats.injected);
        Some(disruption)
    }
}

/// A command that comes again: the fault that was ordered for its delivery has happened.
pub(crate) fn without_delivery_fault(command: CommandMessage) -> CommandMessage {
    let fault = command.fault.filter(|fault| match fault {
        FaultKind::Reject { .. }
        | FaultKind::Fail
        | FaultKind::DropReply
        | FaultKind::CallLost
        | FaultKind::CallLate
        | FaultKind::CallTwice
        | FaultKind::CallFailed => true,
        FaultKind::Delay { .. }
        | FaultKind::DropCommand
        | FaultKind::DelayReply { .. }
        | FaultKind::Duplicate
        | FaultKind::CrashBeforeCommit
        | FaultKind::CrashAfterCommit
        | FaultKind::CrashAfterReply => false,
    });
    CommandMessage { fault, ..command }
}

/// The phase under which other instances say that they know a command: a settlement is about an action.
pub(crate) const fn known_phase(phase: Phase) -> Phase {
    match phase {
        Phase::Action | Phase::Settlement => Phase::Action,
        Phase::Compensation => Phase::Compensation,
    }
}

/// Tells the broker, now and again, that deliveries are being worked on.
pub(crate) async fn keep_alive(acks: Vec<AckHandle>, every: Duration) {
    let mut ticks = tokio::time::interval(every);
    ticks.tick().await;
    loop {
        ticks.tick().await;
        for ack in &acks {
            ack.in_progress().await;
        }
    }
}
