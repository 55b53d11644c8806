//! A saga: all that a decision needs to know of it.

use crate::definition::SagaDefinition;
use crate::fault::Fault;
use crate::ids::{Name, Timestamp, after_ms};
use crate::json::JsonText;
use crate::state::cause::Cause;
use crate::state::command::{AttemptState, PendingCommand};
use crate::state::direction::{Direction, End};
use crate::state::hold::Hold;
use crate::state::park::ParkReason;
use crate::state::place::{OrderPlace, PlaceMove};
use crate::state::status::Status;
use crate::state::step::{AnsweredCommand, StepState};

/// The form in which [`SagaState`] is stored, by number. It counts on with every change after which an older program
/// could not read a state, or would lose a part of it by writing it back: a new field, a new variant. Older
/// coordinators leave a state with a higher number than theirs to others; this one reads every form up to its own.
pub const STATE_FORMAT: u32 = 6;

/// A saga: all that a decision needs to know of it.
#[derive(Clone, Debug, PartialEq)]
pub struct SagaState {
    /// The way that it goes.
    pub direction: Direction,
    /// What keeps it from going on. Nothing does once it has ended.
    pub hold: Hold,
    /// The user's data; the journal keeps them in a column of their own.
    pub data: JsonText,
    /// Its steps, in the definition's order.
    pub steps: Vec<StepState>,
    /// Failures that were ordered with the start.
    pub faults: Vec<Fault>,
    /// When it was started.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// When it turns back by itself, as long as its pivot has not succeeded.
    pub deadline_at: Option<Timestamp>,
    /// The command that was closed last: its reply, redelivered, means that the command after it may be lost.
    pub closed_last: Option<AnsweredCommand>,
    /// How many rows its history has.
    pub history_length: u32,
    /// W3C trace context with which it was started.
    pub traceparent: Option<String>,
}

impl SagaState {
    /// A saga that has not sent anything yet.
    pub fn new(definition: &SagaDefinition, data: JsonText, faults: Vec<Fault>, now: Timestamp) -> Self {
        Self {
            direction: Direction::Forward,
            hold: Hold::None,
            data,
            steps: definition.steps.iter().map(|step| StepState::new(step.name.clone())).collect(),
            faults,
            started_at: now,
            ended_at: None,
            deadline_at: definition.deadline_ms.map(|ms| after_ms(now, ms)),
            closed_last: None,
            history_length: 0,
            traceparent: None,
        }
    }

    /// When something must happen even if no reply comes; `None` if nothing will by itself.
    pub fn due_at(&self) -> Option<Timestamp> {
        let verifications = self.verifications().map(|(_, pending)| pending.until);
        let open = self.open().map(|(_, pending)| pending.until);
        let waits = self.waits().map(|(_, until)| until);
        match (&self.direction, &self.hold) {
            // A saga that was started inside a transaction of its caller's has sent nothing yet.
            (Direction::Forward, Hold::None)
                if self.open().next().is_none()
                    && self.waits().next().is_none()
                    && self.waiting_for_place().next().is_none() =>
            {
                Some(self.started_at)
            }
            (Direction::Forward, Hold::None) => {
                verifications.chain(open).chain(waits).chain(self.deadline_at).min()
            }
            (Direction::Back { .. }, Hold::None) => verifications.chain(open).min(),
            (Direction::Forward, Hold::Paused) => verifications.chain(self.deadline_at).min(),
            (Direction::Back { .. }, Hold::Paused)
            | (Direction::Forward | Direction::Back { .. }, Hold::Parked { .. })
            | (Direction::Ended(_), Hold::None | Hold::Paused | Hold::Parked { .. }) => verifications.min(),
        }
    }

    /// The pending commands and the indices of their steps.
    pub fn open(&self) -> impl Iterator<Item = (usize, &PendingCommand)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| Some((index, step.open()?)))
    }

    /// The steps that send nothing and wait, with the ends of their waits.
    pub fn waits(&self) -> impl Iterator<Item = (usize, Timestamp)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| Some((index, step.waits_until()?)))
    }

    /// Returns true if all that it waits for are times, events, answers that come later, as their participants have said, and
    /// sagas before it in the order of a key. One that rests waits for an operator, whatever else it waits for.
    pub fn is_awaiting(&self) -> bool {
        match &self.hold {
            Hold::None => {}
            Hold::Paused | Hold::Parked { .. } => return false,
        }
        let open = self.open().map(|(_, pending)| pending.attempt_state == AttemptState::Awaiting);
        let mut all = open.chain(self.waits().map(|_| true)).chain(self.waiting_for_place().map(|_| true));
        all.next().is_some_and(|first| first && all.all(|awaiting| awaiting))
    }

    /// The steps whose places have changed since the state before, and how.
    pub fn place_moves<'s>(&'s self, before: &'s Self) -> impl Iterator<Item = (&'s Name, PlaceMove)> {
        let pairs = self.steps.iter().zip(&before.steps);
        pairs.filter_map(|(now, before)| {
            let place_move = now.place.as_ref()?.moved_from(before.place.as_ref())?;
            Some((&now.name, place_move))
        })
    }

    /// The steps that wait for those before them in the order of their keys.
    pub fn waiting_for_place(&self) -> impl Iterator<Item = &StepState> {
        self.steps.iter().filter(|step| step.place.as_ref().is_some_and(OrderPlace::is_waiting))
    }

    /// The pending verifications of resolutions and the indices of their steps.
    pub fn verifications(&self) -> impl Iterator<Item = (usize, &PendingCommand)> {
        self.steps.iter().enumerate().filter_map(|(index, step)| Some((index, step.verification()?)))
    }

    /// Returns true once the saga has ended.
    pub const fn is_ended(&self) -> bool {
        match &self.direction {
            Direction::Ended(_) => true,
            Direction::Forward | Direction::Back { .. } => false,
        }
    }

    /// Where the saga stands.
    pub const fn status(&self) -> Status {
        Status::of(&self.direction, &self.hold)
    }

    /// The status as one word.
    pub const fn status_word(&self) -> &'static str {
        self.status().as_str()
    }

    /// Why the saga turned back, if it did.
    pub const fn cause(&self) -> Option<&Cause> {
        match &self.direction {
            Direction::Back { cause, .. } | Direction::Ended(End::Compensated { cause }) => Some(cause),
            Direction::Ended(End::Closed { cause, .. }) => cause.as_ref(),
            Direction::Forward | Direction::Ended(End::Completed) => None,
        }
    }

    /// Why the saga is parked, if it is.
    pub const fn parked(&self) -> Option<&ParkReason> {
        match &self.hold {
            Hold::Parked { reason, .. } => Some(reason),
            Hold::None | Hold::Paused => None,
        }
    }

    /// The other reasons that keep it parked, besides [`parked`](Self::parked).
    pub fn parked_also(&self) -> &[ParkReason] {
        match &self.hold {
            Hold::Parked { others, .. } => others,
            Hold::None | Hold::Paused => &[],
        }
    }
}
