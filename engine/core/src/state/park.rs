//! The reasons why a saga parks.

use serde::{Deserialize, Serialize};

use crate::ids::{Name, Phase};

/// Why the engine cannot go on by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkReason {
    /// The step at which it stands.
    pub step: Option<Name>,
    /// The phase of the command that was pending.
    pub phase: Option<Phase>,
    /// A stable word for programs.
    pub code: ParkCode,
    /// A sentence for people.
    pub message: String,
}

/// Kinds of reasons to park.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ParkCode {
    /// A compensation failed as often as its policy allows.
    CompensationFailed,
    /// A retriable step was rejected, which it must not be.
    RetriableRejected,
    /// The participant no longer remembers the action.
    Expired,
    /// The participant could make nothing of the command, or it is too large to be sent.
    Refused,
    /// Nobody can say whether the step happened.
    InDoubt,
    /// A closure of the definition failed on this saga's data.
    Definition,
    /// A participant took back what it had promised, or denies an operator's resolution.
    Contradiction,
    /// It was paused when it was parked for something else: it is paused once that is gone, until `resume`.
    Paused,
}

impl ParkCode {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::CompensationFailed,
        Self::RetriableRejected,
        Self::Expired,
        Self::Refused,
        Self::InDoubt,
        Self::Definition,
        Self::Contradiction,
        Self::Paused,
    ];

    /// The code as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CompensationFailed => "compensation-failed",
            Self::RetriableRejected => "retriable-rejected",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::InDoubt => "in-doubt",
            Self::Definition => "definition",
            Self::Contradiction => "contradiction",
            Self::Paused => "paused",
        }
    }

    /// Returns true if the reason is gone once the step that it names has its answer.
    pub const fn is_of_its_step(self) -> bool {
        match self {
            Self::CompensationFailed
            | Self::RetriableRejected
            | Self::Expired
            | Self::Refused
            | Self::InDoubt => true,
            Self::Definition | Self::Contradiction | Self::Paused => false,
        }
    }

    /// Returns true if a `retry` alone removes the reason: it hangs on no answer, and is neither for `resolve` nor for
    /// `resume` to remove.
    pub const fn cleared_by_retry(self) -> bool {
        match self {
            Self::Definition => true,
            Self::CompensationFailed
            | Self::RetriableRejected
            | Self::Expired
            | Self::Refused
            | Self::InDoubt
            | Self::Contradiction
            | Self::Paused => false,
        }
    }
}
