//! Where a step stands.

use serde::{Deserialize, Serialize};

use crate::ids::{Name, Phase, Timestamp};
use crate::json::JsonText;
use crate::state::ParkCode;

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
    /// A reply that could not be folded into the data: the closure failed, and a retry folds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfolded: Option<JsonText>,
    /// What an operator has told of it, as long as no participant has told the same.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
}

/// What an operator has told of a step whose outcome was in doubt.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What it was.
    pub finding: Finding,
    /// The settlement that is asked until the participant tells its own outcome, so that no late command can take
    /// effect behind the operator's back. `None` for a compensation, of which no participant can be asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub verification: Option<Question>,
}

/// An operator's word on a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Finding {
    /// The action took effect.
    Happened,
    /// The action did not take effect.
    NeverHappened,
    /// What the action did was undone, outside of the saga.
    Compensated,
    /// Nothing is said of it: the saga was closed.
    Unknown,
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
    /// Its condition did not hold when its turn came; it has no effect.
    Skipped,
    /// Its effect is undone.
    Compensated,
    /// An operator must say what becomes of it.
    Parked {
        /// What it was being asked.
        question: Question,
        /// Why the engine cannot go on by itself.
        code: ParkCode,
    },
}

/// A question that has no final answer yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Question {
    /// What is asked.
    pub phase: Phase,
    /// The attempt that was sent last, from 1; 0 if none was.
    pub attempt: u32,
    /// Whose turn it is.
    pub turn: Turn,
    /// When the turn ends.
    pub until: Timestamp,
    /// The command's payload, the same in every attempt.
    pub payload: JsonText,
    /// Attempts that no longer count, because an operator asked for another try.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub forgiven: u32,
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

impl StepState {
    /// A step that has not been sent.
    pub(crate) const fn new(name: Name) -> Self {
        Self {
            name,
            progress: Progress::Pending,
            generation: 1,
            attempts: 0,
            compensation_attempts: 0,
            settlement_attempts: 0,
            started_at: None,
            ended_at: None,
            error: None,
            unfolded: None,
            told: None,
        }
    }

    /// The question that is open.
    pub const fn open(&self) -> Option<&Question> {
        match &self.progress {
            Progress::Open(question) => Some(question),
            Progress::Pending
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Parked { .. } => None,
        }
    }

    /// The question at which it is parked.
    pub const fn parked(&self) -> Option<(&Question, ParkCode)> {
        match &self.progress {
            Progress::Parked { question, code } => Some((question, *code)),
            Progress::Pending
            | Progress::Open(_)
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::Skipped
            | Progress::Compensated => None,
        }
    }

    /// What is still asked about what an operator has told.
    pub fn verification(&self) -> Option<&Question> {
        self.told.as_ref()?.verification.as_ref()
    }
}

impl Question {
    /// A question that was not asked yet.
    pub(crate) const fn new(phase: Phase, payload: JsonText, now: Timestamp) -> Self {
        Self { phase, attempt: 0, turn: Turn::Backoff, until: now, payload, forgiven: 0 }
    }

    /// How many attempts count against the budget.
    pub(crate) const fn counted(&self) -> u32 {
        self.attempt.saturating_sub(self.forgiven)
    }
}

impl Finding {
    /// The finding as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Happened => "happened",
            Self::NeverHappened => "never-happened",
            Self::Compensated => "compensated",
            Self::Unknown => "unknown",
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
            Self::Skipped => "skipped",
            Self::Compensated => "compensated",
            Self::Parked { .. } => "parked",
        }
    }

    /// Whether the saga goes forward past a step that stands here.
    pub const fn is_passed(&self) -> bool {
        match self {
            Self::Succeeded | Self::Skipped => true,
            Self::Pending
            | Self::Open(_)
            | Self::Rejected
            | Self::Fenced
            | Self::Compensated
            | Self::Parked { .. } => false,
        }
    }
}
