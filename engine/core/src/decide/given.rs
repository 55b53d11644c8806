//! The words of events from outside: what is given to a saga, and what becomes of it.

use crate::definition::InvalidInput;
use crate::ids::Name;
use crate::json::JsonText;

/// An event from outside for a saga.
#[derive(Clone, Debug, PartialEq)]
pub struct GivenEvent {
    /// Its name, which is that of the step that waits for it.
    pub name: Name,
    /// The key of its sender: another one with the same key is the same event.
    pub key: String,
    /// Its payload.
    pub payload: JsonText,
}

/// What becomes of an event that is given to a saga.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventVerdict {
    /// The saga was waiting for it, and goes on.
    Taken,
    /// It came before its step, and is kept until then.
    Kept,
    /// It was given before, under the same key: nothing changes.
    Repeated,
    /// It is not taken, and nothing changes.
    Refused(EventRefusal),
}

impl EventVerdict {
    /// Returns true if the saga has changed.
    pub const fn is_new(&self) -> bool {
        match self {
            Self::Taken | Self::Kept => true,
            Self::Repeated | Self::Refused(_) => false,
        }
    }

    /// A stable word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Taken => "taken",
            Self::Kept => "kept",
            Self::Repeated => "repeated",
            Self::Refused(refusal) => refusal.as_str(),
        }
    }
}

/// The reasons to refuse an event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EventRefusal {
    /// The definition awaits no event of this name.
    #[error("its definition awaits no event of this name")]
    NotAwaited,
    /// The payload is not of the event's type.
    #[error("the payload is not of the event's type: at `{}`, {}", .0.at, .0.problem)]
    DoesNotFit(InvalidInput),
    /// Another event of this name came first.
    #[error("another event of this name, with another key, came first: the first counts")]
    AlreadyGiven,
    /// The time in which it could come is over.
    #[error("it comes too late: the time in which the saga waited for it is over")]
    TimedOut,
    /// The step that would wait for it was skipped.
    #[error("the saga does not wait for it: the condition of this step did not hold")]
    Skipped,
    /// The saga goes back.
    #[error("the saga does not wait for it any more: it goes back")]
    TurnedBack,
    /// The saga has ended.
    #[error("the saga does not wait for it any more: it has ended")]
    Ended,
}

impl EventRefusal {
    /// A stable word for programs.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::NotAwaited => "not-awaited",
            Self::DoesNotFit(_) => "does-not-fit",
            Self::AlreadyGiven => "already-given",
            Self::TimedOut => "timed-out",
            Self::Skipped => "skipped",
            Self::TurnedBack => "turned-back",
            Self::Ended => "ended",
        }
    }
}
