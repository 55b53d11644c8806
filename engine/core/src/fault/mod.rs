//! Injected failures: one vocabulary for HTTP, tests and simulators.
//!
//! A fault names where it strikes (saga, tag, service, step, command, phase: all must fit), what happens and how often.
//! The coordinator decides which command carries one and stamps it; a participant obeys only if it was started to. An
//! injected rejection is stored in the inbox like a real one, so that what a test sees is what a user would see.
//!
//! Drawing is pure: the chance of a fault is a hash of its seed, the command's key and the attempt.
//!
//! A standing fault has struck when the decision that sends the command is committed: the strikes of a [`FaultBook`] are
//! written in that transaction, so that each is counted once, with any number of coordinators.

mod book;
mod kind;
mod model;
mod raw;
mod reach;
mod tag;

pub use book::{FaultBook, StandingFault, Strike};
pub use kind::{DELAY_MS_MAX, FaultKind, InvalidFault};
pub use model::{Fault, Target};
pub use reach::{InvalidFaults, UnmatchedFault, of_saga, read};
pub use tag::TagCondition;
