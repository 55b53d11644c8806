//! The answers of the API, as types.
//!
//! They are read liberally: a member that a newer coordinator adds is kept in `more`, and a status that is not known here
//! is [`SagaStatus::Other`]. What has a type in the core (causes, reasons, errors, history) has that type here.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use redress_core::state::{Cause, ParkReason, StepError};
use redress_core::{JsonText, Name, SagaData, SagaId, Timestamp};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};

/// A saga as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Saga {
    /// Its id.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: String,
    /// Its definition's version.
    pub version: u32,
    /// Its status.
    pub status: SagaStatus,
    /// The number of its moves; an operator command is given on one.
    pub revision: i64,
    /// The input as it was given; not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input: Option<JsonText>,
    /// Its data now; not in a list.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub data: Option<JsonText>,
    /// Labels.
    pub tags: Value,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// The time at which it goes on even if no reply comes.
    pub due_at: Option<Timestamp>,
    /// Why it turned back.
    pub cause: Option<Cause>,
    /// Why it is parked.
    pub parked: Option<ParkReason>,
    /// Further reasons that must be gone before it goes on.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub parked_also: Vec<ParkReason>,
    /// True if it goes on by itself, but for longer than it should.
    pub stalled: bool,
    /// Its steps, in the definition's order.
    pub steps: Vec<Step>,
    /// Steps whose replies are left out because there is too much of them; the history has them, page by page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub replies_left_out: Vec<String>,
    /// Members that are not known here.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

impl Saga {
    /// Returns true if it has ended or cannot go on by itself.
    pub fn rests(&self) -> bool {
        self.ended_at.is_some() || self.parked.is_some()
    }

    /// Its data in their own type.
    ///
    /// # Errors
    /// If they are not of type `D`, or the answer holds none, as in a list.
    pub fn data_as<D: SagaData>(&self) -> Result<D, serde_json::Error> {
        self.data.as_ref().map_or_else(|| JsonText::null().read(), JsonText::read)
    }
}

/// The status of a saga, as one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum SagaStatus {
    /// Going forward.
    Running,
    /// Going back.
    Compensating,
    /// Standing still until an operator acts.
    Parked,
    /// Held by an operator.
    Paused,
    /// Ended: every awaited effect stands.
    Completed,
    /// Ended: no effect that has a compensation stands.
    Compensated,
    /// Ended by an operator.
    Closed,
    /// A word that is not known here.
    #[serde(untagged)]
    Other(String),
}

impl SagaStatus {
    /// The word in HTTP.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Parked => "parked",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Closed => "closed",
            Self::Other(word) => word,
        }
    }
}

/// Any word is a status; the API knows which ones there are.
impl From<&str> for SagaStatus {
    fn from(word: &str) -> Self {
        match word {
            "running" => Self::Running,
            "compensating" => Self::Compensating,
            "parked" => Self::Parked,
            "paused" => Self::Paused,
            "completed" => Self::Completed,
            "compensated" => Self::Compensated,
            "closed" => Self::Closed,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl FromStr for SagaStatus {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(word.into())
    }
}

impl fmt::Display for SagaStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A step of a saga as it is now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Step {
    /// Its name.
    pub name: String,
    /// `compensatable`, `pivot`, `retriable` or `notification`; nothing if the coordinator does not know the definition.
    pub kind: Option<String>,
    /// The participant.
    pub service: Option<String>,
    /// The command of its action.
    pub command: Option<String>,
    /// The guarantee with which its action is delivered: `exactly-once`, `at-least-once` or `at-most-once`; nothing from an
    /// older coordinator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub delivery: Option<String>,
    /// The command of its compensation.
    pub compensation: Option<String>,
    /// Its status, as one word.
    pub status: String,
    /// The number of attempts of its action.
    pub attempts: u32,
    /// The number of attempts of its compensation.
    pub compensation_attempts: u32,
    /// The number of attempts of its settlement.
    pub settlement_attempts: u32,
    /// The reply to its action: nothing at all in a list or if it was left out, and `Some(None)` if there is none yet.
    #[serde(default, deserialize_with = "present", skip_serializing_if = "Option::is_none")]
    pub reply: Option<Option<JsonText>>,
    /// Its last error.
    pub error: Option<StepError>,
    /// What it waits for, if it is a wait that has begun or will.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub awaits: Option<Awaited>,
    /// When its action was first sent.
    pub started_at: Option<Timestamp>,
    /// When it got its last final answer.
    pub ended_at: Option<Timestamp>,
    /// Members that are not known here.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What a step waits for: an event, or only its time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Awaited {
    /// The name of the event; nothing for a pause.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// When the wait ends by itself; nothing while it has not begun.
    pub until: Option<Timestamp>,
    /// What follows then: `turn-back` or `go-on`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub on_timeout: Option<String>,
    /// JSON Schema of the event; nothing if the coordinator does not know the definition.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub schema: Option<Value>,
    /// Members that are not known here.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A member that is there, though it may be null.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<JsonText>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

/// A page of a list.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Page<T> {
    /// The items on it.
    pub items: Vec<T>,
    /// The cursor of the next one; nothing on the last page.
    pub next: Option<String>,
    /// Set if the page ended because it had looked at as many sagas as one page may, full or not: those that were started
    /// before this time were not looked at yet, and `next` goes on with them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub searched_back_to: Option<Timestamp>,
    /// The ids of rows that belong on it and cannot be read; the coordinator's log says why.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unreadable: Vec<String>,
}

/// The steps that a saga would still do, and those that it would undo now.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Plan {
    /// Steps that are not done yet, in the order in which they will be; empty once the saga goes back.
    pub remaining: Vec<RemainingStep>,
    /// Steps whose outcome must be settled before anything is undone.
    pub in_doubt: Vec<Name>,
    /// The compensations that would be sent now, in this order.
    pub undo: Vec<Undo>,
}

/// A step that is not done yet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RemainingStep {
    /// The step.
    pub step: Name,
    /// Its stage: the steps of one stage run side by side.
    pub stage: u32,
    /// `compensatable`, `pivot`, `retriable` or `notification`.
    pub kind: String,
    /// Its status, as one word.
    pub status: String,
}

/// A compensation that would be sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Undo {
    /// The step to undo.
    pub step: Name,
    /// The participant.
    pub service: Name,
    /// The compensation's command.
    pub command: Name,
    /// The payload that would be sent.
    pub payload: JsonText,
}

/// What became of a page of sagas that were to be tried again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RetriedPage {
    /// Sagas that the query found.
    pub matched: u64,
    /// Those that were tried again.
    pub retried: u64,
    /// Those that were refused, by the code of the refusal.
    pub refused: BTreeMap<String, u64>,
    /// The cursor at which to go on; nothing if that was all.
    pub next: Option<String>,
}

/// A version of a definition, as a coordinator knows it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct DefinitionVersion {
    /// The definition's name.
    pub saga: String,
    /// The version.
    pub version: u32,
    /// The number of its sagas that have not ended; nothing if the coordinator cannot say, which is no leave to delete it.
    pub open: Option<i64>,
    /// True if this coordinator can carry its sagas on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub known_here: Option<bool>,
    /// Its graph: `steps`, `digest`, `sagas` by status and more, as the API gives them.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// A failure that the coordinator injects.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct StandingFault {
    /// Its number.
    pub id: Value,
    /// The fault, as it was said.
    pub fault: Value,
    /// How often it strikes yet; every time if nothing is said.
    pub remaining: Option<u64>,
    /// What it has struck; nothing is said by coordinators that do not count it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub struck: Option<Struck>,
    /// Members that are not known here.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What a failure has struck.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Struck {
    /// How many commands carried it.
    pub count: u64,
    /// The time of the first one.
    pub first_at: Option<String>,
    /// The time of the last one.
    pub last_at: Option<String>,
    /// The last ones, the newest last: `saga_id`, `step`, `phase`, `generation`, `attempt` and `at` of each.
    #[serde(default)]
    pub last: Vec<Value>,
}

/// A failure that was just added.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct AddedFault {
    /// Its number.
    pub id: Value,
    /// The fault, as the coordinator has understood it.
    pub fault: Value,
}

/// The number of failures that were taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Cleared {
    /// So many.
    pub cleared: u64,
}

/// Whether a coordinator was paused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Begun {
    /// True if its sagas move only now.
    pub was_paused: bool,
}
