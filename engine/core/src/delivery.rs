//! The guarantees of delivery, from which the author of a definition chooses one for each step.
//!
//! | guarantee | said by | what it takes | what may happen |
//! |---|---|---|---|
//! | at most once | `.notify(..)` | a listener | a message is lost, and nobody notices |
//! | at least once | `.delivery(Delivery::AtLeastOnce)` | a handler that may run again, without a database | an effect comes twice |
//! | exactly once | by default | an inbox in the database of the effects | neither |
//!
//! What is delivered at least once is sent until it is answered, like everything else. But its participant does not
//! remember it, so there is nobody to be asked what became of it: it is never settled, and no answer of its participant is
//! a promise. If the saga turns back, or its patience ends, while the step is not answered, the step is in doubt and stays
//! so, and the saga goes on unwinding: its author has said that the effect does no harm and needs no undo. So only a step
//! without a compensation can be delivered at least once, and never the pivot, on whose outcome everything depends; the
//! types of the [builder](crate::builder) see to that.

use serde::{Deserialize, Serialize};

/// The guarantee with which the action of a step is delivered.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Delivery {
    /// Sent until it is answered, and its participant remembers it: whatever arrives twice takes effect once.
    #[default]
    ExactlyOnce,
    /// Sent until it is answered, and no participant remembers it: whatever arrives twice takes effect twice. For
    /// handlers that may run again without harm. The step is never settled.
    AtLeastOnce,
}

impl Delivery {
    /// The word in HTTP and digest.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::ExactlyOnce => "exactly-once",
            Self::AtLeastOnce => "at-least-once",
        }
    }
}
