//! Pauses and events, through a whole installation: events that come in time, early, twice, late and unfit, to one saga and
//! to many; waits that are cancelled, that time out, and that outlive their coordinator.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

mod events;
mod house;
mod times;
