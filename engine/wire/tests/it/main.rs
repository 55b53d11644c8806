//! The wire on a real server: messages that arrive, that come again, and that survive outages.

#![expect(clippy::unwrap_used, reason = "in a test, a broken expectation is the finding")]

mod batches;
mod bundles;
mod conformance;
mod ends;
mod fixture;
mod outages;
mod poison;
mod publishing;
mod round_trip;
mod settling;
mod strangers;
mod streams;
mod unreadable;
