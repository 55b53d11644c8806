//! Where a saga stands.
//!
//! One enum per lifecycle, with the data of a situation inside its variant. [`Status`] is the saga's, [`Progress`] a
//! step's; both are stored by the journal as they are here, by names. `completed`, `compensated` and nothing else
//! are the ends, and no transition leads out of them.
//!
//! ```text
//! running ──────────────► completed
//!    │  ▲ │
//!    │  │ └──► parked ◄──┐
//!    ▼  └─────── (operator)
//! compensating ─────────► compensated
//! ```

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::definition::SagaDefinition;
use crate::fault::Fault;
use crate::ids::{Name, Phase, Timestamp};
use crate::json::JsonText;

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
        /// Where it goes on when the reason is gone.
        place: Place,
    },
    /// Every awaited effect stands.
    Completed,
    /// No effect that has a compensation stands.
    Compensated {
        /// Why it went back.
        cause: Cause,
    },
}

/// The place that a parked saga keeps.
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
    /// A participant took back what it had promised.
    Contradiction,
}

/// A step of a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct StepState {
    /// Its name in the definition.
    pub name: Name,
    /// Where it stands.
    pub progress: Progress,
    /// 1, and one more when an operator re-opens it.
    pub generation: u32,
    /// How often its action was sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub attempts: u32,
    /// How often its compensation was sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub compensation_attempts: u32,
    /// How often its settlement was sent.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub settlement_attempts: u32,
    /// When its action was first sent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub started_at: Option<Timestamp>,
    /// When it got its last final answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended_at: Option<Timestamp>,
    /// What went wrong last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<StepError>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

/// What went wrong with a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepError {
    /// A stable word for programs: a rejection's code, or `failed`, `timed-out`, ...
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// Where a step stands.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// Not sent yet.
    Pending,
    /// Asked, and without a final answer.
    Open(Question),
    /// Its effect stands.
    Succeeded,
    /// The participant said no; it has no effect.
    Rejected,
    /// It never happened and never will.
    Fenced,
    /// Its effect is undone.
    Compensated,
    /// An operator must say what becomes of it.
    Parked {
        /// What it was being asked.
        phase: Phase,
    },
}

/// A question that has no final answer yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// What is asked.
    pub phase: Phase,
    /// The attempt that was sent last, from 1.
    pub attempt: u32,
    /// Whose turn it is.
    pub turn: Turn,
    /// When the turn ends.
    pub until: Timestamp,
    /// The command's payload, the same in every attempt.
    pub payload: JsonText,
}

/// Whose turn it is in an open question.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Turn {
    /// The participant's: the command was sent.
    Asked,
    /// Ours: the next attempt waits for its time.
    Backoff,
}

/// A question that has been closed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Closed {
    /// The step.
    pub step: Name,
    /// Compensation, or else action; a settlement closes the action that it asks about.
    pub phase: Phase,
    /// The step's generation.
    pub generation: u32,
}

impl SagaState {
    /// A saga that has not sent anything yet.
    pub fn new(definition: &SagaDefinition, data: JsonText, faults: Vec<Fault>, now: Timestamp) -> Self {
        let steps = definition.steps.iter().map(|step| StepState {
            name: step.name.clone(),
            progress: Progress::Pending,
            generation: 1,
            attempts: 0,
            compensation_attempts: 0,
            settlement_attempts: 0,
            started_at: None,
            ended_at: None,
            error: None,
        });
        Self {
            status: Status::Running,
            data,
            steps: steps.collect(),
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
        match &self.status {
            Status::Parked { .. } | Status::Completed | Status::Compensated { .. } => None,
            Status::Running => self.open_until().into_iter().chain(self.deadline_at).min(),
            Status::Compensating { .. } => self.open_until(),
        }
    }

    fn open_until(&self) -> Option<Timestamp> {
        self.open().map(|(_, question)| question.until).min()
    }

    /// The open questions and the places of their steps.
    pub fn open(&self) -> impl Iterator<Item = (usize, &Question)> {
        self.steps.iter().enumerate().filter_map(|(place, step)| match &step.progress {
            Progress::Open(question) => Some((place, question)),
            Progress::Pending
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::Compensated
            | Progress::Parked { .. } => None,
        })
    }

    /// Whether the saga has ended.
    pub const fn is_ended(&self) -> bool {
        match &self.status {
            Status::Completed | Status::Compensated { .. } => true,
            Status::Running | Status::Compensating { .. } | Status::Parked { .. } => false,
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
            | Status::Parked { place: Place::Compensating { cause, .. }, .. } => Some(cause),
            Status::Running | Status::Completed | Status::Parked { place: Place::Running, .. } => None,
        }
    }

    /// Why the saga is parked, if it is.
    pub const fn parked(&self) -> Option<&ParkReason> {
        match &self.status {
            Status::Parked { reason, .. } => Some(reason),
            Status::Running
            | Status::Compensating { .. }
            | Status::Completed
            | Status::Compensated { .. } => None,
        }
    }
}

impl Status {
    /// The words of all states, the ends last.
    pub const WORDS: [&'static str; 5] = ["running", "compensating", "parked", "completed", "compensated"];

    /// The status as one word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating { .. } => "compensating",
            Self::Parked { .. } => "parked",
            Self::Completed => "completed",
            Self::Compensated { .. } => "compensated",
        }
    }
}

impl Progress {
    /// The step's status as one word.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Open(Question { phase: Phase::Action, turn: Turn::Asked, .. }) => "running",
            Self::Open(Question { phase: Phase::Action, turn: Turn::Backoff, .. }) => "waiting",
            Self::Open(Question { phase: Phase::Settlement, .. }) => "settling",
            Self::Open(Question { phase: Phase::Compensation, .. }) => "compensating",
            Self::Succeeded => "succeeded",
            Self::Rejected => "rejected",
            Self::Fenced => "fenced",
            Self::Compensated => "compensated",
            Self::Parked { .. } => "parked",
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
