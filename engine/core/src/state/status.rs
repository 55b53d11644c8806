//! The status of a saga: one word for its direction and its hold together.

use crate::state::direction::{Direction, End};
use crate::state::hold::Hold;

/// Where a saga stands, as one word. Nothing stores or computes with it but the journal's column and the readers: it is
/// derived from the [`Direction`] and the [`Hold`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Status {
    /// Going forward.
    Running,
    /// Going back.
    Compensating,
    /// The engine cannot go on by itself; the saga keeps its direction.
    Parked,
    /// An operator holds it: answers are heard, nothing is sent.
    Paused,
    /// Every awaited effect stands.
    Completed,
    /// No effect that has a compensation stands.
    Compensated,
    /// An operator ended it by hand: its remaining effects are that operator's to clear up.
    Closed,
}

impl Status {
    /// The words of all states, the ends last.
    pub const WORDS: [&'static str; 7] =
        ["running", "compensating", "parked", "paused", "completed", "compensated", "closed"];

    /// The status of a saga that goes this way and is held up so. Nothing holds an end up.
    pub const fn of(direction: &Direction, hold: &Hold) -> Self {
        match (direction, hold) {
            (Direction::Ended(End::Completed), Hold::None | Hold::Paused | Hold::Parked { .. }) => {
                Self::Completed
            }
            (Direction::Ended(End::Compensated { .. }), Hold::None | Hold::Paused | Hold::Parked { .. }) => {
                Self::Compensated
            }
            (Direction::Ended(End::Closed { .. }), Hold::None | Hold::Paused | Hold::Parked { .. }) => {
                Self::Closed
            }
            (Direction::Forward | Direction::Back { .. }, Hold::Parked { .. }) => Self::Parked,
            (Direction::Forward | Direction::Back { .. }, Hold::Paused) => Self::Paused,
            (Direction::Forward, Hold::None) => Self::Running,
            (Direction::Back { .. }, Hold::None) => Self::Compensating,
        }
    }

    /// The status as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Compensating => "compensating",
            Self::Parked => "parked",
            Self::Paused => "paused",
            Self::Completed => "completed",
            Self::Compensated => "compensated",
            Self::Closed => "closed",
        }
    }
}
