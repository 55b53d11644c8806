//! The place of a step in the order of its key.
//!
//! A step that is [ordered by](crate::Builder::ordered_by) a key takes its place when its saga starts, in the transaction of the
//! start; the order of the places is the order of the starts, and the journal keeps it. A step is sent only when no
//! place of its key stands before its own. That a place is the first is a fact that the journal tells
//! ([`Event::PlaceIsFirst`](crate::decide::Event::PlaceIsFirst)); it never ceases to hold, since new places come behind.
//! The decision that lets a place go (`decide/places.rs`) commits with it, so that the next of the key never runs beside
//! an earlier one whose outcome is not known.

use serde::{Deserialize, Serialize};

use crate::ids::Timestamp;
use crate::state::time;

/// Where a step stands in the order of its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OrderPlace {
    /// Others may stand before it, and the saga has not come to the step yet.
    Taken {
        /// The key.
        key: String,
    },
    /// The saga has come to the step, which waits until none stands before it. Nothing was sent.
    Waiting {
        /// The key.
        key: String,
        /// When the saga came to the step.
        #[serde(with = "time")]
        since: Timestamp,
    },
    /// None stands before it: the step may be sent.
    First {
        /// The key.
        key: String,
    },
    /// It was given up for good, and the next of its key may go on.
    LetGo,
}

/// A change of a place that the journal must know of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PlaceMove {
    /// Its saga has come to the step and waits.
    Waits,
    /// Its saga knows that it is the first.
    IsFirst,
    /// It was let go.
    IsLetGo,
}

impl OrderPlace {
    /// Returns true if the saga has come to the step and waits for those before it.
    pub const fn is_waiting(&self) -> bool {
        match self {
            Self::Waiting { .. } => true,
            Self::Taken { .. } | Self::First { .. } | Self::LetGo => false,
        }
    }

    /// The key, unless the place was let go.
    pub fn key(&self) -> Option<&str> {
        match self {
            Self::Taken { key } | Self::Waiting { key, .. } | Self::First { key } => Some(key),
            Self::LetGo => None,
        }
    }

    /// The change that leads from the place before to this one, if it is one for the journal.
    pub(super) fn moved_from(&self, before: Option<&Self>) -> Option<PlaceMove> {
        match (before, self) {
            (before, now) if before == Some(now) => None,
            (_, Self::Taken { .. }) => None,
            (_, Self::Waiting { .. }) => Some(PlaceMove::Waits),
            (_, Self::First { .. }) => Some(PlaceMove::IsFirst),
            (_, Self::LetGo) => Some(PlaceMove::IsLetGo),
        }
    }
}
