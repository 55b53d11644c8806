//! The coordinator on a real Postgres and a real NATS.
//!
//! Every test has a database and a prefix of its own. The [party](party::Party) on the other end of the wire does what
//! each saga's input says.

// `cfg(test)` tells the lints that these modules are tests as a whole.

#[cfg(test)]
mod cancels;
#[cfg(test)]
mod exam;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod party;
#[cfg(test)]
mod place;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod sagas;
#[cfg(test)]
mod several;
#[cfg(test)]
mod starts;
#[cfg(test)]
#[cfg(test)]
mod timers;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod upkeep;
