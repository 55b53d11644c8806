//! The answers of the model's participants, as small as the model needs them.

use redress_core::inbox::Recorded;
use redress_core::{JsonText, Outcome, Rejection};

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Said {
    Done,
    Rejected,
    Fenced,
}

impl Said {
    pub(crate) fn outcome(self) -> Outcome {
        match self {
            Self::Done => Outcome::Done { reply: JsonText::null() },
            Self::Rejected => Outcome::Rejected(Rejection::new("no", "no")),
            Self::Fenced => Outcome::Fenced,
        }
    }

    pub(crate) fn recorded(self) -> Recorded {
        match self {
            Self::Done => Recorded::Done { reply: JsonText::null() },
            Self::Rejected => Recorded::Rejected(Rejection::new("no", "no")),
            Self::Fenced => Recorded::Fenced,
        }
    }

    pub(crate) fn of_record(recorded: &Recorded) -> Self {
        match recorded {
            Recorded::Fenced => Self::Fenced,
            Recorded::Rejected(_) => Self::Rejected,
            Recorded::Done { .. } => Self::Done,
            Recorded::Open | Recorded::Prepared { .. } | Recorded::GivenUp { .. } => {
                unreachable!("the model's participants answer at once and call nobody")
            }
        }
    }

    pub(crate) fn of_outcome(outcome: &Outcome) -> Option<Self> {
        match outcome {
            Outcome::Done { .. } => Some(Self::Done),
            Outcome::Rejected(_) => Some(Self::Rejected),
            Outcome::Fenced => Some(Self::Fenced),
            Outcome::Failed { .. }
            | Outcome::Expired
            | Outcome::Refused { .. }
            | Outcome::Accepted
            | Outcome::InDoubt { .. } => None,
        }
    }
}
