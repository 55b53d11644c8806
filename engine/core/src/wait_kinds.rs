//! What a step waits for that sends nothing: a time, or an event from outside.

use std::sync::Arc;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::definition_errors::InvalidInput;
use crate::ids::Timestamp;
use crate::json::JsonText;

/// Reads the payload of an event.
type Read = Arc<dyn Fn(&Value) -> Result<JsonText, InvalidInput> + Send + Sync>;

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
    pub(crate) read: Read,
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

/// A duration in whole milliseconds, at most the longest that there is.
pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
