//! One conformance suite for all adapters: the promises of a journal and of a bus on which Redress relies.
//!
//! The simulator plays the coordinator on the adapters in memory; that says something about Postgres and JetStream only
//! because these pass the same conformance suite. So can a journal of somebody's own: `examples/custom_journal.rs` shows
//! one that does.
//!
//! | function | takes | promises |
//! |---|---|---|
//! | [`journal()`] | the coordinator's `Journal…` ports, all four | keys, revisions, ends, timers, orders, reads, pruning, dead letters |
//! | [`replies()`] | the coordinator's `Bus` | commands go out; replies come until they are acknowledged |
//! | [`commands()`] | a [`ConformingBus`] | commands come to participants until they are acknowledged |
//!
//! A function panics at the first promise that is not kept, and says which. Each wants an adapter that is empty.

mod commands;
mod fixture;
mod journal;
mod letters;
mod lists;
mod places;
mod replies;
mod timers;
mod upkeep;

pub use commands::{ConformingBus, commands, commands_of_takers_that_die};
pub use fixture::{command, definition};
pub use journal::journal;
pub use replies::{FarEnd, replies};

#[cfg(test)]
mod tests;
