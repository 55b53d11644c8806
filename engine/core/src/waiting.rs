//! Steps that send nothing and wait: for a time to pass, or for an event from outside.
//!
//! A wait has no participant and no effect: nothing is undone for it, and nothing has to be settled when the saga turns
//! back meanwhile. The journal is authoritative for its end, which is stored when the step is reached
//! ([`Progress::Waiting`](crate::state::Progress::Waiting)); the timer only looks at it, so that one that fires twice
//! or too early changes nothing.
//!
//! An event has the name of its step. It is of one type, whose schema the definition shows and whose values alone are
//! taken. If it does not come in time the saga turns back or goes on without it, as the definition says.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::definition::{ClosureError, InvalidInput, ReadInput, Step, StepKind, guarded};
use crate::ids::{Timestamp, after_ms};
use crate::json::JsonText;

/// The place of service and command in a step that sends nothing: the engine itself.
pub(crate) const NO_SERVICE: &str = "redress";

/// A function of a saga's data.
type Of<T> = Arc<dyn Fn(&JsonText) -> Result<T, serde_json::Error> + Send + Sync>;

/// A wait for a time to pass.
#[derive(Clone)]
pub struct Wait {
    pub(crate) end: WaitEnd,
}

/// The end of a wait.
#[derive(Clone)]
pub(crate) enum WaitEnd {
    /// So long after its step is reached.
    After(Of<Duration>),
    /// At a time, which may have passed.
    At(Of<Timestamp>),
}

impl Wait {
    /// `after` or `at`: the end is measured from when the step is reached, or is a time of the clock.
    pub const fn as_str(&self) -> &'static str {
        match self.end {
            WaitEnd::After(_) => "after",
            WaitEnd::At(_) => "at",
        }
    }
}

impl WaitEnd {
    /// The same wait for the data of which these are a part.
    pub(crate) fn of_part(
        &self,
        part: impl Fn(&JsonText) -> Result<JsonText, serde_json::Error> + Send + Sync + 'static,
    ) -> Self {
        match self.clone() {
            Self::After(length) => Self::After(Arc::new(move |data| length(&part(data)?))),
            Self::At(time) => Self::At(Arc::new(move |data| time(&part(data)?))),
        }
    }
}

/// An event from outside that a step waits for. It has the name of the step.
#[derive(Clone)]
pub struct AwaitedEvent {
    /// How long it is waited for once its step is reached, in milliseconds.
    pub timeout_ms: u64,
    /// What follows if it does not come in this time.
    pub on_timeout: OnTimeout,
    pub(crate) read: ReadInput,
}

/// The course of a saga whose event did not come in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnTimeout {
    /// It turns back; only before the pivot.
    TurnBack,
    /// It goes on without the event.
    GoOn,
}

impl StepKind {
    /// Returns true if a command or a notification is sent for such a step; false if it only waits.
    pub const fn is_sent(&self) -> bool {
        match self {
            Self::Compensatable { .. } | Self::Pivot | Self::Retriable | Self::Notification => true,
            Self::Wait(_) | Self::Event(_) => false,
        }
    }
}

impl Step {
    /// The event that the step waits for, if it waits for one.
    pub const fn awaited_event(&self) -> Option<&AwaitedEvent> {
        match &self.kind {
            StepKind::Event(event) => Some(event),
            StepKind::Compensatable { .. }
            | StepKind::Pivot
            | StepKind::Retriable
            | StepKind::Notification
            | StepKind::Wait(_) => None,
        }
    }

    /// When the wait of the step ends if it is reached now; `None` if it does not wait.
    ///
    /// # Errors
    /// As [`action_payload`](Self::action_payload).
    pub fn waits_until(&self, data: &JsonText, now: Timestamp) -> Result<Option<Timestamp>, ClosureError> {
        match &self.kind {
            StepKind::Wait(Wait { end: WaitEnd::After(length) }) => {
                let length = guarded(&self.name, "wait", || length(data))?;
                Ok(Some(after_ms(now, millis(length))))
            }
            StepKind::Wait(Wait { end: WaitEnd::At(time) }) => {
                guarded(&self.name, "wait_until", || time(data)).map(Some)
            }
            StepKind::Event(event) => Ok(Some(after_ms(now, event.timeout_ms))),
            StepKind::Compensatable { .. }
            | StepKind::Pivot
            | StepKind::Retriable
            | StepKind::Notification => Ok(None),
        }
    }

    /// Returns true if its wait has a length of its own and does not end at a time of the clock.
    pub(crate) const fn waits_for_a_length(&self) -> bool {
        match &self.kind {
            StepKind::Wait(Wait { end: WaitEnd::After(_) }) | StepKind::Event(_) => true,
            StepKind::Wait(Wait { end: WaitEnd::At(_) })
            | StepKind::Compensatable { .. }
            | StepKind::Pivot
            | StepKind::Retriable
            | StepKind::Notification => false,
        }
    }

    /// What the closure of a wait makes of the data; `None` if there is none.
    pub(crate) fn wait_made(&self, data: &JsonText) -> Option<Result<Value, ClosureError>> {
        let StepKind::Wait(wait) = &self.kind else { return None };
        Some(match &wait.end {
            WaitEnd::After(length) => {
                guarded(&self.name, "wait", || length(data)).map(|length| json!(millis(length)))
            }
            WaitEnd::At(time) => guarded(&self.name, "wait_until", || time(data)).map(|time| json!(time)),
        })
    }

    /// Checks the payload of the event that the step waits for, and fills in the defaults of its type; `None` if it waits
    /// for none.
    ///
    /// # Errors
    /// [`InvalidInput`] as for the input of a saga: a field is unknown, missing or of the wrong type, or it could be
    /// neither stored nor sent.
    pub fn read_event(&self, payload: &JsonText) -> Option<Result<JsonText, InvalidInput>> {
        let event = self.awaited_event()?;
        let unfit = |problem: String| InvalidInput { at: String::from("/"), problem };
        let read = || {
            payload.check_sendable().map_err(|problem| unfit(problem.to_string()))?;
            let value: Value = payload.read().map_err(|problem| unfit(problem.to_string()))?;
            let read = std::panic::AssertUnwindSafe(|| (event.read)(&value));
            let read = std::panic::catch_unwind(read)
                .unwrap_or_else(|_| Err(unfit("the event's own reading of it panicked".to_owned())))?;
            read.check_sendable().map_err(|problem| unfit(problem.to_string()))?;
            Ok(read)
        };
        Some(read())
    }
}

/// A duration in whole milliseconds, at most the longest that there is.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
