//! The participant on a real Postgres and a real NATS.
//!
//! Every test has a database and a prefix of its own. The service under test is a [`till`](till::Till) whose
//! commands say themselves how their handler ends.

// `cfg(test)` tells the lints that these modules are tests as a whole.

#[cfg(test)]
mod batches;
#[cfg(test)]
mod cards;
#[cfg(test)]
mod claims;
#[cfg(test)]
mod clerk;
#[cfg(test)]
mod company;
#[cfg(test)]
mod due;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod how;
#[cfg(test)]
mod inbox;
#[cfg(test)]
mod later;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod races;
#[cfg(test)]
mod size;
#[cfg(test)]
mod tables;
#[cfg(test)]
mod tempo;
#[cfg(test)]
#[cfg(feature = "testing")]
mod testing;
#[cfg(test)]
mod till;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod waits;
#[cfg(test)]
mod without_database;
