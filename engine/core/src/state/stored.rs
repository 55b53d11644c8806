//! The form in which a saga is stored: the only place that reads and writes it.
//!
//! The journal's rows are older than the model that the engine computes with, and other programs read them: a query
//! looks into `status`, an older coordinator carries a saga on. So the stored form stays what it is, whatever becomes of the
//! model, and a change of it has a number of its own ([`STATE_FORMAT`](crate::state::STATE_FORMAT)):
//!
//! | stored `status` | direction | hold |
//! |---|---|---|
//! | `running` | forward | none |
//! | `compensating` | back | none |
//! | `paused` | its `place` | paused |
//! | `parked` | its `place` | parked, `reason` first, then `others` |
//! | `completed`, `compensated`, `closed` | ended | none |
//!
//! Writing borrows from the state, and reading moves into it: nothing is copied. A text that is none of these is refused
//! with the place and the problem, and the saga is left alone.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::fault::Fault;
use crate::ids::Timestamp;
use crate::json::JsonText;
use crate::state::cause::Cause;
use crate::state::direction::{Direction, End, Unwinding};
use crate::state::hold::Hold;
use crate::state::optional_time;
use crate::state::park::ParkReason;
use crate::state::saga::SagaState;
use crate::state::step::{AnsweredCommand, StepState};
use crate::state::time;

/// A saga as it is stored. The data are not part of it: the journal keeps them in a column of their own.
#[derive(Serialize, Deserialize)]
struct StoredSaga<'a> {
    status: StoredStatus<'a>,
    steps: Cow<'a, [StepState]>,
    #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
    faults: Cow<'a, [Fault]>,
    #[serde(with = "time")]
    started_at: Timestamp,
    #[serde(default, with = "optional_time", skip_serializing_if = "Option::is_none")]
    ended_at: Option<Timestamp>,
    #[serde(default, with = "optional_time", skip_serializing_if = "Option::is_none")]
    deadline_at: Option<Timestamp>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    closed_last: Option<Cow<'a, AnsweredCommand>>,
    history_length: u32,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    traceparent: Option<Cow<'a, str>>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredStatus<'a> {
    Running,
    Compensating {
        cause: Cow<'a, Cause>,
        unwinding: Cow<'a, Unwinding>,
    },
    Parked {
        reason: Cow<'a, ParkReason>,
        #[serde(default, skip_serializing_if = "<[_]>::is_empty")]
        others: Cow<'a, [ParkReason]>,
        #[serde(rename = "place")]
        direction: StoredDirection<'a>,
    },
    Paused {
        #[serde(rename = "place")]
        direction: StoredDirection<'a>,
    },
    Completed,
    Compensated {
        cause: Cow<'a, Cause>,
    },
    Closed {
        actor: Cow<'a, str>,
        reason: Cow<'a, str>,
        cause: Option<Cow<'a, Cause>>,
    },
}

/// The direction of a saga that has not ended.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StoredDirection<'a> {
    Running,
    Compensating { cause: Cow<'a, Cause>, unwinding: Cow<'a, Unwinding> },
}

impl Serialize for SagaState {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        StoredSaga::from(self).serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for SagaState {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        StoredSaga::deserialize(deserializer).map(Self::from)
    }
}

impl<'a> From<&'a SagaState> for StoredSaga<'a> {
    fn from(state: &'a SagaState) -> Self {
        Self {
            status: StoredStatus::of(&state.direction, &state.hold),
            steps: Cow::Borrowed(&state.steps),
            faults: Cow::Borrowed(&state.faults),
            started_at: state.started_at,
            ended_at: state.ended_at,
            deadline_at: state.deadline_at,
            closed_last: state.closed_last.as_ref().map(Cow::Borrowed),
            history_length: state.history_length,
            traceparent: state.traceparent.as_deref().map(Cow::Borrowed),
        }
    }
}

impl From<StoredSaga<'_>> for SagaState {
    fn from(stored: StoredSaga<'_>) -> Self {
        let (direction, hold) = stored.status.into_model();
        Self {
            direction,
            hold,
            data: JsonText::null(),
            steps: stored.steps.into_owned(),
            faults: stored.faults.into_owned(),
            started_at: stored.started_at,
            ended_at: stored.ended_at,
            deadline_at: stored.deadline_at,
            closed_last: stored.closed_last.map(Cow::into_owned),
            history_length: stored.history_length,
            traceparent: stored.traceparent.map(Cow::into_owned),
        }
    }
}

impl<'a> StoredStatus<'a> {
    fn of(direction: &'a Direction, hold: &'a Hold) -> Self {
        let direction = match direction {
            Direction::Forward => StoredDirection::Running,
            Direction::Back { cause, unwinding } => StoredDirection::Compensating {
                cause: Cow::Borrowed(cause),
                unwinding: Cow::Borrowed(unwinding),
            },
            Direction::Ended(end) => return Self::of_end(end),
        };
        match (hold, direction) {
            (Hold::Parked { reason, others }, direction) => {
                Self::Parked { reason: Cow::Borrowed(reason), others: Cow::Borrowed(others), direction }
            }
            (Hold::Paused, direction) => Self::Paused { direction },
            (Hold::None, StoredDirection::Running) => Self::Running,
            (Hold::None, StoredDirection::Compensating { cause, unwinding }) => {
                Self::Compensating { cause, unwinding }
            }
        }
    }

    fn of_end(end: &'a End) -> Self {
        match end {
            End::Completed => Self::Completed,
            End::Compensated { cause } => Self::Compensated { cause: Cow::Borrowed(cause) },
            End::Closed { actor, reason, cause } => Self::Closed {
                actor: Cow::Borrowed(actor),
                reason: Cow::Borrowed(reason),
                cause: cause.as_ref().map(Cow::Borrowed),
            },
        }
    }

    fn into_model(self) -> (Direction, Hold) {
        match self {
            Self::Running => (Direction::Forward, Hold::None),
            Self::Compensating { cause, unwinding } => {
                (StoredDirection::Compensating { cause, unwinding }.into(), Hold::None)
            }
            Self::Parked { reason, others, direction } => {
                let hold = Hold::Parked { reason: reason.into_owned(), others: others.into_owned() };
                (direction.into(), hold)
            }
            Self::Paused { direction } => (direction.into(), Hold::Paused),
            Self::Completed => (Direction::Ended(End::Completed), Hold::None),
            Self::Compensated { cause } => {
                (Direction::Ended(End::Compensated { cause: cause.into_owned() }), Hold::None)
            }
            Self::Closed { actor, reason, cause } => {
                let (actor, reason) = (actor.into_owned(), reason.into_owned());
                let cause = cause.map(Cow::into_owned);
                (Direction::Ended(End::Closed { actor, reason, cause }), Hold::None)
            }
        }
    }
}

impl From<StoredDirection<'_>> for Direction {
    fn from(stored: StoredDirection<'_>) -> Self {
        match stored {
            StoredDirection::Running => Self::Forward,
            StoredDirection::Compensating { cause, unwinding } => {
                Self::Back { cause: cause.into_owned(), unwinding: unwinding.into_owned() }
            }
        }
    }
}
