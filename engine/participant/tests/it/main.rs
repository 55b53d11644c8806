//! The participant on a real Postgres and a real NATS.
//!
//! Every test has a database and a prefix of its own. The service under test is a [`till`](till::Till) whose
//! commands say themselves how their handler ends.

mod batches;
mod faults;
mod inbox;
mod place;
mod races;
mod till;
mod trouble;
