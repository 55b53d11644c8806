//! Steps that send nothing and wait: for a time to pass, or for an event from outside.
//!
//! A wait has no participant and no effect: nothing is undone for it, and nothing has to be settled when the saga turns
//! back meanwhile. The journal is authoritative for its end, which is stored when the step is reached
//! ([`Progress::Waiting`](crate::state::Progress::Waiting)); the timer only looks at it, so that one that fires twice
//! or too early changes nothing.
//!
//! An event has the name of its step. It is of one type, whose schema the definition shows and whose values alone are
//! taken. If it does not come in time the saga turns back or goes on without it, as the definition says.

use serde_json::{Value, json};

use crate::definition::{ClosureError, InvalidInput, Step, StepKind, guarded};
use crate::ids::{Timestamp, after_ms};
use crate::json::JsonText;

pub use crate::wait_kinds::{AwaitedEvent, OnTimeout, Wait};
pub(crate) use crate::wait_kinds::{NO_SERVICE, WaitEnd, millis};

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
    pub const fn waits_for_a_length(&self) -> bool {
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
