//! What keeps a saga from going on.
//!
//! While a saga is held up, answers are heard and pending commands kept, but nothing is sent. An operator may pause a
//! saga, and the engine parks it when it cannot go on by itself. Both may come together: a saga that is paused when it
//! is parked goes on only when every reason is gone and an operator has resumed it.

use crate::state::park::{ParkCode, ParkReason};

/// What keeps a saga from going on, if anything does.
#[derive(Clone, Debug, PartialEq)]
pub enum Hold {
    /// Nothing does.
    None,
    /// An operator, until `resume`.
    Paused,
    /// The engine cannot go on by itself. The saga goes on when the last reason is gone.
    Parked {
        /// The first reason.
        reason: ParkReason,
        /// The other reasons that must be gone, in the order in which they came.
        others: Vec<ParkReason>,
    },
}

impl Hold {
    /// Returns true if nothing keeps the saga from going on.
    pub const fn is_none(&self) -> bool {
        match self {
            Self::None => true,
            Self::Paused | Self::Parked { .. } => false,
        }
    }

    /// The reasons for which the saga is parked, in the order in which they came; none if it is not.
    pub fn reasons(&self) -> impl Iterator<Item = &ParkReason> {
        let (first, others) = match self {
            Self::None | Self::Paused => (None, [].as_slice()),
            Self::Parked { reason, others } => (Some(reason), others.as_slice()),
        };
        first.into_iter().chain(others)
    }

    /// Adds a reason. It replaces one of the same kind about the same step, and no other: each must be gone.
    pub(crate) fn park(&mut self, reason: ParkReason) {
        *self = match std::mem::replace(self, Self::None) {
            Self::None => Self::Parked { reason, others: Vec::new() },
            // The operator who paused it has still to resume it.
            Self::Paused => {
                let paused = ParkReason {
                    step: None,
                    phase: None,
                    code: ParkCode::Paused,
                    message: "an operator has paused it, too: `resume` it".to_owned(),
                };
                Self::Parked { reason, others: vec![paused] }
            }
            Self::Parked { reason: first, others } => {
                let is_another =
                    |other: &ParkReason| (&other.step, other.code) != (&reason.step, reason.code);
                let mut reasons: Vec<_> = [first].into_iter().chain(others).filter(is_another).collect();
                reasons.push(reason);
                Self::parked(reasons)
            }
        }
    }

    /// Removes reasons. A saga is held up as long as one is left, and paused if only the pause is.
    pub(crate) fn forget(&mut self, is_gone: impl Fn(&ParkReason) -> bool) {
        *self = match std::mem::replace(self, Self::None) {
            still @ (Self::None | Self::Paused) => still,
            Self::Parked { reason, others } => {
                let left: Vec<_> =
                    [reason].into_iter().chain(others).filter(|reason| !is_gone(reason)).collect();
                let is_paused = !left.is_empty() && left.iter().all(|reason| reason.code == ParkCode::Paused);
                if is_paused { Self::Paused } else { Self::parked(left) }
            }
        }
    }

    /// Parked for these reasons, if there are any.
    fn parked(reasons: Vec<ParkReason>) -> Self {
        let mut reasons = reasons.into_iter();
        match reasons.next() {
            None => Self::None,
            Some(reason) => Self::Parked { reason, others: reasons.collect() },
        }
    }
}
