//! Dead letters and their way back: whatever landed among them is replayed to a right end.
//!
//! Sagas of one shape: a payment that decides, and a confirmation that must succeed. What becomes of the confirmation
//! depends on the version of the service `office` that runs.

mod installation;
mod replays;
mod store;
