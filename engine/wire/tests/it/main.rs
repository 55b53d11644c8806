//! The wire on a real server: what arrives, what comes again, and what survives a bad day.

#![expect(clippy::unwrap_used, reason = "in a test, a broken expectation is the finding")]

mod batches;
mod exam;
mod outages;
mod place;
mod poison;
mod publishing;
mod round_trip;
mod settling;
mod streams;
