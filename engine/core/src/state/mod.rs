//! Where a saga stands.
//!
//! One enum per lifecycle, with the data of a situation inside its variant. [`Status`] is the saga's, [`Progress`] a
//! step's; both are stored by the journal as they are here, by names. `completed`, `compensated` and `closed` are the
//! ends, and no transition leads out of them.
//!
//! ```text
//! running ───────────────► completed
//!    │  ▲                                      from each of these on the left,
//!    │  └──── parked, paused ───► closed       an operator: pause, close;
//!    ▼  ┌────  (operator)                      the engine: park
//! compensating ──────────► compensated
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::definition::SagaDefinition;
use crate::fault::Fault;
use crate::ids::{Name, Phase, Timestamp};
use crate::json::JsonText;

mod step;

pub use step::{Closed, Finding, Progress, Question, StepError, StepState, Told, Turn};

/// A saga: all that a decision needs to know of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SagaState {
    /// Where the saga stands.
    pub status: Status,
    /// The user's data; the journal keeps them in a column of their own.
    #[serde(skip, default = "JsonText::null")]
    pub data: JsonText,
    /// Its steps, in the definition's order.
    pub steps: Vec<StepState>,
    /// Failures that were ordered with the start.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub faults: Vec<Fault>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// When it turns back by itself, as long as its pivot has not succeeded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deadline_at: Option<Timestamp>,
    /// The question that was closed last: its reply, redelivered, means that the command after it may be lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub closed_last: Option<Closed>,
    /// How many rows its history has.
    pub history_length: u32,
    /// W3C trace context with which it was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

/// Where a saga stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// Going forward.
    Running,
    /// Going back.
    Compensating {
        /// Why.
        cause: Cause,
        /// How far the going back has come.
        unwinding: Unwinding,
    },
    /// The engine cannot go on by itself; the saga keeps its place.
    Parked {
        /// Why.
        reason: ParkReason,
        /// What else must be gone before it goes on, in the order in which it came.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        others: Vec<ParkReason>,
        /// Where it goes on when the reason is gone.
        place: Place,
    },
    /// An operator holds it: answers are heard, nothing is sent.
    Paused {
        /// Where it goes on when it is resumed.
        place: Place,
    },
    /// Every awaited effect stands.
    Completed,
    /// No effect that has a compensation stands.
    Compensated {
        /// Why it went back.
        cause: Cause,
    },
    /// An operator ended it by hand: what it left is that operator's to know.
    Closed {
        /// Who.
        actor: String,
        /// Why.
        reason: String,
        /// Why it was going back, if it was.
        cause: Option<Cause>,
    },
}

/// The place that a parked or paused saga keeps.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// It was going forward.
    Running,
    /// It was going back.
    Compensating {
        /// Why.
        cause: Cause,
        /// How far the going back had come.
        unwinding: Unwinding,
    },
}

/// How far the going back has come.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unwinding {
    /// Some step was sent and has no final answer yet: nothing is undone before it has.
    Settling,
    /// What will be undone is fixed.
    Frozen {
        /// In this order.
        plan: Vec<PlannedUndo>,
    },
}

/// One line of a frozen plan.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct PlannedUndo {
    /// The step to undo.
    pub step: Name,
    /// The compensation's payload, computed when the plan was frozen.
    pub payload: JsonText,
}

/// Why a saga turned back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The step that failed, if one did.
    pub step: Option<Name>,
    /// What kind of reason it is.
    pub kind: CauseKind,
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// What kind of reason a saga has to turn back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CauseKind {
    /// A participant said no.
    Rejected,
    /// A step got no answer, and its settlement found that it never happened.
    Fenced,
    /// Somebody cancelled it.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// A step succeeded after it had been given up, and is made to be undone then.
    LateSuccess,
}

/// Why the engine cannot go on by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ParkReason {
    /// The step at which it stands.
    pub step: Option<Name>,
    /// What the step was being asked.
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
    /// The participant could make nothing of the command.
    Refused,
    /// A closure of the definition failed on this saga's data.
    Definition,
    /// A participant took back what it had promised, or denies what an operator has told.
    Contradiction,
    /// It was paused when it was parked for something else: it is paused once that is gone, until `resume`.
    Paused,
}

impl SagaState {
    /// A saga that has not sent anything yet.
    pub fn new(definition: &SagaDefinition, data: JsonText, faults: Vec<Fault>, now: Timestamp) -> Self {
        Self {
            status: Status::Running,
            data,
            steps: definition.steps.iter().map(|step| StepState::new(step.name.clone())).collect(),
            faults,
            started_at: now,
            ended_at: None,
            deadline_at: definition.deadline_ms.map(|ms| crate::decide::after_ms(now, ms)),
            closed_last: None,
            history_length: 0,
            traceparent: None,
        }
    }

    /// When something must happen even if no reply comes; `None` if nothing will by itself.
    pub fn due_at(&self) -> Option<Timestamp> {
        let verifications = self.verifications().map(|(_, question)| question.until);
        let open = self.open().map(|(_, question)| question.until);
        match &self.status {
            // A saga that was started inside a transaction of its caller's has sent nothing yet.
            Status::Running if self.open().next().is_none() => Some(self.started_at),
            Status::Running => verifications.chain(open).chain(self.deadline_at).min(),
            Status::Compensating { .. } => verifications.chain(open).min(),
            Status::Paused { place: Place::Running } => verifications.chain(self.deadline_at).min(),
            Status::Paused { place: Place::Compensating { .. } }
            | Status::Parked { .. }
            | Status::Completed
            | Status::Compensated { .. }
            | Status::Closed { .. } => verifications.min(),
        }
    }

    /// The open questions and the places of their steps.
    pub fn open(&self) -> impl Iterator<Item = (usize, &Question)> {
        self.steps.iter().enumerate().filter_map(|(place, step)| Some((place, step.open()?)))
    }

    /// What is still asked about steps whose outcome an operator has told.
    pub fn verifications(&self) -> impl Iterator<Item = (usize, &Question)> {
        self.steps.iter().enumerate().filter_map(|(place, step)| Some((place, step.verification()?)))
    }

    /// Whether the saga has ended.
    pub const fn is_ended(&self) -> bool {
        match &self.status {
            Status::Completed | Status::Compensated { .. } | Status::Closed { .. } => true,
            Status::Running | Status::Compensating { .. } | Status::Parked { .. } | Status::Paused { .. } => {
                false
            }
        }
    }

    /// The status as one word.
    pub const fn status_word(&self) -> &'static str {
        self.status.as_str()
    }

    /// Why the saga turned back, if it did.
    pub const fn cause(&self) -> Option<&Cause> {
        match &self.status {
            Status::Compensating { cause, .. }
            | Status::Compensated { cause }
            | Status::Parked { place: Place::Compensating { cause, .. }, .. }
            | Status::Paused { place: Place::Compensating { cause, .. } } => Some(cause),
            Status::Closed { cause, .. } => cause.as_ref(),
            Status::Running
            | Status::Completed
            | Status::Parked { place: Place::Running, .. }
            | Status::Paused { place: Place::Running } => None,
        }
    }

    /// Why the saga is parked, if it is.
    pub const fn parked(&self) -> Option<&ParkReason> {
        match &self.status {
            Status::Parked { reason, .. } => Some(reason),
            Status::Running
            | Status::Compensating { .. }
            | Status::Paused { .. }
            | Status::Completed
            | Status::Compensated { .. }
            | Status::Closed { .. } => None,
        }
    }

    /// What else keeps it parked, besides [`parked`](Self::parked).
    pub fn parked_also(&self) -> &[ParkReason] {
        match &self.status {
            Status::Parked { others, .. } => others,
            Status::Running
            | Status::Compensating { .. }
            | Status::Paused { .. }
            | Status::Completed
            | Status::Compensated { .. }
            | Status::Closed { .. } => &[],
        }
    }
}

impl From<Place> for Status {
    fn from(place: Place) -> Self {
        match place {
            Place::Running => Self::Running,
            Place::Compensating { cause, unwinding } => Self::Compensating { cause, unwinding },
        }
    }
}

impl Status {
    /// The words of all states, the ends last.
    pub const WORDS: [&'static str; 7] =
        ["running", "compensating", "parked", "paused", "completed", "compensated", "closed"];

    /// The status as one word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating { .. } => "compensating",
            Self::Parked { .. } => "parked",
            Self::Paused { .. } => "paused",
            Self::Completed => "completed",
            Self::Compensated { .. } => "compensated",
            Self::Closed { .. } => "closed",
        }
    }
}

impl ParkCode {
    /// The code as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CompensationFailed => "compensation-failed",
            Self::RetriableRejected => "retriable-rejected",
            Self::Expired => "expired",
            Self::Refused => "refused",
            Self::Definition => "definition",
            Self::Contradiction => "contradiction",
            Self::Paused => "paused",
        }
    }

    /// Whether the reason is gone once the step that it names has its answer.
    pub const fn is_of_its_step(self) -> bool {
        match self {
            Self::CompensationFailed | Self::RetriableRejected | Self::Expired | Self::Refused => true,
            Self::Definition | Self::Contradiction | Self::Paused => false,
        }
    }

    /// Whether `retry` takes it away by asking for it: what hangs on no answer, and is not for `resume` to take away.
    pub const fn is_asked_away(self) -> bool {
        match self {
            Self::Definition | Self::Contradiction => true,
            Self::CompensationFailed
            | Self::RetriableRejected
            | Self::Expired
            | Self::Refused
            | Self::Paused => false,
        }
    }
}

impl CauseKind {
    /// The kind as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Fenced => "fenced",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::LateSuccess => "late-success",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "{step} {}: {} ({})", self.kind.as_str(), self.code, self.message),
            None => write!(f, "{}: {}", self.kind.as_str(), self.message),
        }
    }
}
