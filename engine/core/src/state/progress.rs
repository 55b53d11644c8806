//! Where a step stands.

use serde::{Deserialize, Serialize};

use crate::ids::{Phase, Timestamp};
use crate::state::command::{AttemptState, PendingCommand};
use crate::state::park::ParkCode;
use crate::state::time;
use crate::state::transition::ProgressKind;

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Not sent yet.
    Pending,
    /// Sent, and without a final answer.
    Open(PendingCommand),
    /// Its effect stands.
    Succeeded,
    /// The participant said no; it has no effect.
    Rejected,
    /// It never happened and never will.
    Fenced,
    /// Nobody can say whether it happened; it is undone as if it had, or left at that if nothing undoes it.
    InDoubt,
    /// Its condition did not hold when its turn came; it has no effect.
    Skipped,
    /// Its effect is undone.
    Compensated,
    /// It sends nothing, and waits for a time or an event.
    Waiting {
        /// When that ends, if no event comes.
        #[serde(with = "time")]
        until: Timestamp,
    },
    /// The event did not come in time: the saga goes on without it, or has turned back.
    TimedOut,
    /// It was waiting when the saga turned back or was closed.
    GivenUp,
    /// An operator must say what becomes of it.
    Parked {
        /// The command that was pending.
        #[serde(rename = "question")]
        pending: PendingCommand,
        /// Why the engine cannot go on by itself.
        code: ParkCode,
    },
}

impl Progress {
    /// The kind, without the data.
    pub const fn kind(&self) -> ProgressKind {
        match self {
            Self::Pending => ProgressKind::Pending,
            Self::Open(PendingCommand { phase: Phase::Action, .. }) => ProgressKind::Action,
            Self::Open(PendingCommand { phase: Phase::Settlement, .. }) => ProgressKind::Settlement,
            Self::Open(PendingCommand { phase: Phase::Compensation, .. }) => ProgressKind::Compensation,
            Self::Succeeded => ProgressKind::Succeeded,
            Self::Rejected => ProgressKind::Rejected,
            Self::Fenced => ProgressKind::Fenced,
            Self::InDoubt => ProgressKind::InDoubt,
            Self::Skipped => ProgressKind::Skipped,
            Self::Compensated => ProgressKind::Compensated,
            Self::Waiting { .. } => ProgressKind::Waiting,
            Self::TimedOut => ProgressKind::TimedOut,
            Self::GivenUp => ProgressKind::GivenUp,
            Self::Parked { pending: PendingCommand { phase: Phase::Action, .. }, .. } => {
                ProgressKind::ParkedAction
            }
            Self::Parked { pending: PendingCommand { phase: Phase::Settlement, .. }, .. } => {
                ProgressKind::ParkedSettlement
            }
            Self::Parked { pending: PendingCommand { phase: Phase::Compensation, .. }, .. } => {
                ProgressKind::ParkedCompensation
            }
        }
    }

    /// The step's status as one word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Open(PendingCommand {
                phase: Phase::Action, attempt_state: AttemptState::Sent, ..
            }) => "running",
            Self::Open(PendingCommand {
                phase: Phase::Action, attempt_state: AttemptState::Backoff, ..
            }) => "waiting",
            Self::Open(PendingCommand {
                phase: Phase::Action | Phase::Settlement,
                attempt_state: AttemptState::Awaiting,
                ..
            })
            | Self::Waiting { .. } => "awaiting",
            Self::Open(PendingCommand {
                phase: Phase::Settlement,
                attempt_state: AttemptState::Sent | AttemptState::Backoff,
                ..
            }) => "settling",
            Self::Open(PendingCommand { phase: Phase::Compensation, .. }) => "compensating",
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Fenced => "fenced",
            Self::InDoubt => "in-doubt",
            Self::Skipped => "skipped",
            Self::Compensated => "compensated",
            Self::TimedOut => "timed-out",
            Self::GivenUp => "given-up",
            Self::Parked { .. } => "parked",
        }
    }

    /// Returns true if the saga goes forward past a step that stands here.
    pub const fn is_passed(&self) -> bool {
        match self {
            Self::Succeeded | Self::Skipped | Self::TimedOut => true,
            Self::Pending
            | Self::Open(_)
            | Self::Rejected
            | Self::Fenced
            | Self::InDoubt
            | Self::Compensated
            | Self::Waiting { .. }
            | Self::GivenUp
            | Self::Parked { .. } => false,
        }
    }
}
