//! Mistakes in a definition, and in what it is given.

use thiserror::Error;

use crate::ids::{InvalidName, Name};
use crate::json::Unfit;

/// A closure of the definition could not be used on this saga.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum ClosureError {
    /// The stored data or reply does not fit the types of the definition.
    #[error("the `{closure}` of step `{step}` could not read its data or reply ({problem})")]
    Data {
        /// The step.
        step: Name,
        /// `when`, `action`, `compensate`, `on_reply`, `on_event`, `wait`, `wait_until` or `ordered_by`.
        closure: &'static str,
        /// Serde's message.
        problem: String,
    },
    /// The closure's result can be neither sent nor stored.
    #[error("what the `{closure}` of step `{step}` makes is unusable: {unfit}")]
    Unfit {
        /// The step.
        step: Name,
        /// `action`, `compensate`, `on_reply` or `on_event`.
        closure: &'static str,
        /// Why.
        unfit: Unfit,
    },
    /// The closure panicked.
    #[error("the `{closure}` of step `{step}` panicked; see the coordinator's log for where")]
    Panicked {
        /// The step.
        step: Name,
        /// `when`, `action`, `compensate`, `on_reply`, `on_event`, `wait` or `wait_until`.
        closure: &'static str,
    },
}

/// An input that does not fit the definition.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("the input does not fit: at `{at}`, {problem}")]
pub struct InvalidInput {
    /// A JSON pointer to the place; `/` is the whole input.
    pub at: String,
    /// The problem there.
    pub problem: String,
}

/// A definition that cannot be built; a mistake in the program, found when it starts.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidDefinition {
    /// A name is invalid.
    #[error("saga `{saga}`: {problem}")]
    Name {
        /// The saga.
        saga: String,
        /// The problem with the name.
        problem: InvalidName,
    },
    /// Two steps share a name.
    #[error("saga `{saga}` has two steps named `{step}`: give each its own name")]
    DuplicateStep {
        /// The saga.
        saga: String,
        /// The name.
        step: String,
    },
    /// There is no step.
    #[error("saga `{saga}` has no step: add one")]
    NoStep {
        /// The saga.
        saga: String,
    },
    /// A compensation belongs to another service than its action.
    #[error(
        "saga `{saga}`: the compensation of step `{step}` belongs to service `{compensation}`, the action to \
         `{action}`: a fence in another database is none, so both must be of one service"
    )]
    OtherService {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
        /// Service of the action.
        action: String,
        /// Service of the compensation.
        compensation: String,
    },
    /// A child has a step that cannot be undone.
    #[error(
        "saga `{saga}`: step `{step}` of the child `{child}` is a pivot or retriable: a child has only steps that can \
         be undone, because its parent may still turn back"
    )]
    ChildKind {
        /// The saga.
        saga: String,
        /// The child.
        child: String,
        /// The step.
        step: String,
    },
    /// People may answer a step whose participant does not remember it.
    #[error(
        "saga `{saga}`: step `{step}` is delivered at least once, and people may answer it: no participant remembers the \
         step, so none can keep their answer; leave `.people_may_answer()` or `.delivery(..)` out"
    )]
    AnswerNotKept {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
    /// The field is not of the child's type.
    #[error("saga `{saga}`: the field given to the child `{child}` is not of the type of the child's data")]
    ChildData {
        /// The saga.
        saga: String,
        /// The child.
        child: String,
    },
    /// A child has a deadline.
    #[error("saga `{saga}`: the child `{child}` has a deadline of its own: give it to the parent")]
    ChildDeadline {
        /// The saga.
        saga: String,
        /// The child.
        child: String,
    },
    /// A step's timeout is zero, which no answer can meet.
    #[error("saga `{saga}`: the timeout of step `{step}` is zero: give it at least a millisecond")]
    ZeroTimeout {
        /// The saga.
        saga: String,
        /// The step.
        step: String,
    },
    /// The deadline is zero, so no saga could begin.
    #[error("saga `{saga}`: its deadline is zero: give it at least a millisecond, or none")]
    ZeroDeadline {
        /// The saga.
        saga: String,
    },
    /// An example given by the author is no JSON.
    #[error("saga `{saga}`: an example of its data cannot be written as JSON ({problem})")]
    Example {
        /// The saga.
        saga: String,
        /// Serde's message.
        problem: String,
    },
    /// The version is zero.
    #[error("saga `{saga}` has version 0: versions count from 1")]
    Version {
        /// The saga.
        saga: String,
    },
}
