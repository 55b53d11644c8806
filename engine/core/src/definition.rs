//! A saga definition: name, version and ordered steps, as plain data.
//!
//! Built once by [`saga`](crate::saga) in Rust; the type of the saga's data is erased here, so definitions of
//! different data stand in one array. The user's closures are kept behind [`Step::action_payload`] and its kin,
//! which never panic: a closure that does becomes an error that parks the one saga that met it.

use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::data_type::DataType;
use crate::ids::{Name, Phase};
use crate::json::{JsonText, Unfit};
use crate::retry::RetryPolicy;
use crate::wait_kinds::{AwaitedEvent, Wait};

pub use crate::definition_errors::{ClosureError, InvalidDefinition, InvalidInput};
pub use crate::delivery::Delivery;

pub(crate) type Make = Arc<dyn Fn(&JsonText) -> Result<JsonText, serde_json::Error> + Send + Sync>;
pub(crate) type Fold = Arc<dyn Fn(&JsonText, &JsonText) -> Result<JsonText, serde_json::Error> + Send + Sync>;
pub(crate) type When = Arc<dyn Fn(&JsonText) -> Result<bool, serde_json::Error> + Send + Sync>;
pub(crate) type OrderKey = Arc<dyn Fn(&JsonText) -> Result<String, serde_json::Error> + Send + Sync>;
pub(crate) type ReadInput = Arc<dyn Fn(&Value) -> Result<JsonText, InvalidInput> + Send + Sync>;

/// How long an attempt may stay unanswered before it counts as failed, in milliseconds: ten times the slowest
/// answer of a healthy service.
pub const TIMEOUT_MS_DEFAULT: u64 = 10_000;

/// How long an answer that comes later is waited for, in milliseconds, before the step is settled: a week, so that an
/// approval survives a holiday.
pub const ANSWER_WITHIN_MS_DEFAULT: u64 = 7 * 86_400_000;

/// The kind of a step.
#[derive(Clone)]
pub enum StepKind {
    /// Can be undone: by its compensation, or by doing nothing if it needs none.
    Compensatable {
        /// How it is undone.
        compensation: Option<Compensation>,
    },
    /// Decides the saga: from its success on there is no way back.
    Pivot,
    /// Must succeed in the end; only after the pivot.
    Retriable,
    /// Told once and never answered; has no effect that the saga knows of.
    Notification,
    /// Waits for a time to pass; sends nothing.
    Wait(Wait),
    /// Waits for an event from outside, which has the name of the step; sends nothing.
    Event(AwaitedEvent),
}

impl StepKind {
    /// The word in HTTP, digest and diagram.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Compensatable { .. } => "compensatable",
            Self::Pivot => "pivot",
            Self::Retriable => "retriable",
            Self::Notification => "notification",
            Self::Wait(_) => "wait",
            Self::Event(_) => "event",
        }
    }
}

/// The command that undoes a step.
#[derive(Clone)]
pub struct Compensation {
    /// The command's name, in the service of the step.
    pub command: Name,
    /// How often and how long it is tried before the saga parks.
    pub retry: RetryPolicy,
    /// How long one attempt may stay unanswered, if not as long as the step's action.
    pub timeout_ms: Option<u64>,
    /// The policy for a step that succeeded after it had been given up.
    pub late_success: LateSuccess,
    /// The policy for a step of which nobody can say whether it happened.
    pub in_doubt: InDoubt,
    pub(crate) make: Make,
}

/// The policy for a settlement that finds that a step succeeded after all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LateSuccess {
    /// Go on, as if the answer had come in time.
    #[default]
    Accept,
    /// Turn back and undo it with the rest: a success that late is worth nothing.
    Compensate,
}

/// The policy for a settlement that finds that nobody can say whether a step happened, because it called a third party
/// that does not tell. A step without a compensation always parks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum InDoubt {
    /// Park, so that an operator looks at the third party and resolves the step.
    #[default]
    Park,
    /// Turn back and undo it as if it had happened. Its compensation gets what was prepared for the call, and must bear
    /// that nothing is there to be undone.
    Undo,
}

/// The sources of an answer that comes later.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AnswersFrom {
    /// The service alone.
    #[default]
    Service,
    /// People too, over HTTP. The service still has the last word: an answer that it gave before counts.
    ServiceAndPeople,
}

/// A named unit of a saga: an action and, unless it needs none, its compensation.
#[derive(Clone)]
pub struct Step {
    /// Its name, unique in the definition.
    pub name: Name,
    /// The stage to which it belongs, from 0 and never falling: the steps of one stage run side by side.
    pub stage: u32,
    /// Its kind.
    pub kind: StepKind,
    /// The participant; `redress` for a step that [sends nothing](StepKind::is_sent).
    pub service: Name,
    /// The command of the action; `redress` for a step that sends nothing.
    pub command: Name,
    /// How long one attempt may stay unanswered, in milliseconds; a compensation may have its own
    /// ([`timeout_ms_of`](Self::timeout_ms_of)).
    pub timeout_ms: u64,
    /// How often and how long the action is tried before its outcome is settled.
    pub retry: RetryPolicy,
    /// How long an answer that comes later is waited for before the step is settled, in milliseconds. A retriable step
    /// waits for ever.
    pub answer_within_ms: u64,
    /// Who may give an answer that comes later.
    pub answers_from: AnswersFrom,
    /// The guarantee with which its action is delivered; a notification is delivered at most once, whatever stands here.
    pub delivery: Delivery,
    /// JSON Schema of the command and of its reply.
    pub schemas: StepSchemas,
    pub(crate) when: Option<When>,
    pub(crate) make: Make,
    pub(crate) fold: Option<Fold>,
    pub(crate) order: Option<OrderKey>,
}

/// JSON Schemas of the messages that a step sends and gets back.
#[derive(Clone, Debug, PartialEq)]
pub struct StepSchemas {
    /// Of the action's command.
    pub command: Value,
    /// Of the action's reply, or of the event that is waited for.
    pub reply: Value,
    /// Of the compensation's command.
    pub compensation: Option<Value>,
}

impl Step {
    /// Returns true if the step is done for this data, false if it is skipped.
    ///
    /// # Errors
    /// As [`action_payload`](Self::action_payload).
    pub fn applies(&self, data: &JsonText) -> Result<bool, ClosureError> {
        match &self.when {
            Some(when) => guarded(&self.name, "when", || when(data)),
            None => Ok(true),
        }
    }

    /// Returns true if it has a condition.
    pub const fn is_conditional(&self) -> bool {
        self.when.is_some()
    }

    /// The action's payload for this data.
    ///
    /// # Errors
    /// [`ClosureError`] if the data do not fit the definition, the user's closure panics, or what it makes cannot be
    /// sent.
    pub fn action_payload(&self, data: &JsonText) -> Result<JsonText, ClosureError> {
        let payload = guarded(&self.name, "action", || (self.make)(data))?;
        self.sendable("action", payload)
    }

    /// The compensation's payload for this data; `None` if the step needs no compensation.
    ///
    /// # Errors
    /// As [`action_payload`](Self::action_payload).
    pub fn compensation_payload(&self, data: &JsonText) -> Result<Option<JsonText>, ClosureError> {
        match &self.kind {
            StepKind::Compensatable { compensation: Some(compensation) } => {
                let payload = guarded(&self.name, "compensate", || (compensation.make)(data))?;
                self.sendable("compensate", payload).map(Some)
            }
            StepKind::Compensatable { compensation: None }
            | StepKind::Pivot
            | StepKind::Retriable
            | StepKind::Notification
            | StepKind::Wait(_)
            | StepKind::Event(_) => Ok(None),
        }
    }

    /// The data after this reply to the action, or after this event.
    ///
    /// # Errors
    /// As [`action_payload`](Self::action_payload), and if the reply is not of the step's reply type.
    pub fn fold_reply(&self, data: &JsonText, reply: &JsonText) -> Result<JsonText, ClosureError> {
        match &self.fold {
            Some(fold) => {
                let closure = if self.kind.is_sent() { "on_reply" } else { "on_event" };
                let data = guarded(&self.name, closure, || fold(data, reply))?;
                data.check_storable().map_err(|unfit| self.unfit(closure, unfit))?;
                Ok(data)
            }
            None => Ok(data.clone()),
        }
    }

    /// A payload is frozen when it is made, so one that cannot travel now never will.
    fn sendable(&self, closure: &'static str, payload: JsonText) -> Result<JsonText, ClosureError> {
        match payload.check_sendable() {
            Ok(()) => Ok(payload),
            Err(unfit) => Err(self.unfit(closure, unfit)),
        }
    }

    fn unfit(&self, closure: &'static str, unfit: Unfit) -> ClosureError {
        ClosureError::Unfit { step: self.name.clone(), closure, unfit }
    }

    /// How long one attempt in this phase may stay unanswered, in milliseconds.
    pub fn timeout_ms_of(&self, phase: Phase) -> u64 {
        match phase {
            Phase::Action | Phase::Settlement => self.timeout_ms,
            Phase::Compensation => self
                .compensation()
                .and_then(|compensation| compensation.timeout_ms)
                .unwrap_or(self.timeout_ms),
        }
    }

    /// How often, how long and how soon a command in this phase is sent again.
    pub fn retry_of(&self, phase: Phase) -> RetryPolicy {
        match phase {
            Phase::Action => self.retry,
            Phase::Settlement => RetryPolicy::FOR_EVER,
            Phase::Compensation => self.compensation().map_or(RetryPolicy::COMPENSATION, |c| c.retry),
        }
    }

    /// The longest that one attempt, or the pause after it, can last in any phase, in milliseconds; a step that sends
    /// nothing has no attempts.
    pub fn longest_wait_ms(&self) -> u64 {
        if !self.kind.is_sent() {
            return 0;
        }
        let phases = [Phase::Action, Phase::Settlement, Phase::Compensation];
        let waits = phases.map(|phase| self.timeout_ms_of(phase).max(self.retry_of(phase).backoff_ms_max));
        waits.into_iter().max().unwrap_or_default()
    }

    /// The compensation, if there is one.
    pub fn compensation(&self) -> Option<&Compensation> {
        match &self.kind {
            StepKind::Compensatable { compensation } => compensation.as_ref(),
            StepKind::Pivot
            | StepKind::Retriable
            | StepKind::Notification
            | StepKind::Wait(_)
            | StepKind::Event(_) => None,
        }
    }
}

pub(crate) fn guarded<T>(
    step: &Name,
    closure: &'static str,
    call: impl FnOnce() -> Result<T, serde_json::Error>,
) -> Result<T, ClosureError> {
    match catch_unwind(AssertUnwindSafe(call)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(problem)) => {
            Err(ClosureError::Data { step: step.clone(), closure, problem: problem.to_string() })
        }
        Err(_) => Err(ClosureError::Panicked { step: step.clone(), closure }),
    }
}

/// A saga definition: plain data, immutable once deployed.
#[derive(Clone)]
pub struct SagaDefinition {
    /// Its name.
    pub name: Name,
    /// Its version, from 1; a changed definition takes the next one.
    pub version: u32,
    /// The steps, in the order in which they are done.
    pub steps: Vec<Step>,
    /// How long the saga may take before it turns back, in milliseconds from its start.
    pub deadline_ms: Option<u64>,
    /// SHA-256, in hex, of names, order, kinds, policies and schemas. The results of the closures are covered by the
    /// [behaviour](crate::behaviour::Behaviour::of).
    pub digest: String,
    /// JSON Schema of the saga's data, which is that of its input.
    pub input_schema: Value,
    /// The type that the builder had for the data: all that is left of it here.
    pub(crate) data_type: DataType,
    pub(crate) read_input: ReadInput,
    pub(crate) examples: Examples,
}

/// The data on which a definition's closures are tried.
#[derive(Clone, Debug)]
pub(crate) struct Examples {
    /// The author's.
    pub(crate) given: Vec<JsonText>,
    /// True if there are others, from the schema.
    pub(crate) generated: bool,
}

impl Examples {
    /// Returns true if closures are not tried at all.
    pub(crate) const fn are_none(&self) -> bool {
        self.given.is_empty() && !self.generated
    }
}

impl SagaDefinition {
    /// Checks an input and makes it the saga's first data, with the defaults filled in.
    ///
    /// # Errors
    /// [`InvalidInput`] if a field is unknown, missing or of the wrong type, or a text holds a NUL character.
    pub fn read_input(&self, input: &Value) -> Result<JsonText, InvalidInput> {
        match catch_unwind(AssertUnwindSafe(|| (self.read_input)(input))) {
            Ok(Ok(data)) => match data.check_storable() {
                Ok(()) => self.check_order_keys(&data).map(|()| data),
                Err(unfit) => Err(InvalidInput { at: String::from("/"), problem: unfit.to_string() }),
            },
            Ok(Err(invalid)) => Err(invalid),
            Err(_) => Err(InvalidInput {
                at: String::from("/"),
                problem: "the definition's own reading of the input panicked".to_owned(),
            }),
        }
    }

    /// The step of this name and its place.
    pub fn step(&self, name: &str) -> Option<(usize, &Step)> {
        self.steps.iter().enumerate().find(|(_, step)| step.name == *name)
    }
}

impl fmt::Debug for SagaDefinition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let steps: Vec<&str> = self.steps.iter().map(|step| step.name.as_str()).collect();
        f.debug_struct("SagaDefinition")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("steps", &steps)
            .finish_non_exhaustive()
    }
}
