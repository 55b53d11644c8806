//! The guarantee that follows for a step from its kind and from its [delivery](crate::delivery).

use crate::definition::{Step, StepKind};
use crate::delivery::Delivery;

impl Step {
    /// The guarantee with which its action is delivered, as one word: `exactly-once`, `at-least-once` or, of a
    /// notification, `at-most-once`; `None` of a step that sends nothing.
    pub const fn guarantee(&self) -> Option<&'static str> {
        match self.kind {
            StepKind::Notification => Some("at-most-once"),
            StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable => {
                Some(self.delivery.as_str())
            }
            StepKind::Wait(_) | StepKind::Event(_) => None,
        }
    }

    /// Returns true unless its participant cannot be asked what became of its action: one that is delivered at least once
    /// remembers nothing, and a notification is not answered.
    pub const fn is_remembered(&self) -> bool {
        match self.kind {
            StepKind::Notification => false,
            StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable => match self.delivery {
                Delivery::ExactlyOnce => true,
                Delivery::AtLeastOnce => false,
            },
            StepKind::Wait(_) | StepKind::Event(_) => true,
        }
    }
}
