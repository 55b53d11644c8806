//! The coordinator on a real Postgres and a real NATS.
//!
//! Every test has a database and a prefix of its own. The [party](party::Party) on the other end of the wire does as
//! each saga's input says.

// `cfg(test)` tells the lints that these modules are tests as a whole.

#[cfg(test)]
mod answers;
mod cancels;
#[cfg(test)]
mod clock;
#[cfg(test)]
mod conformance;
#[cfg(test)]
mod ends_elsewhere;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixture;
#[cfg(test)]
mod footprint;
#[cfg(test)]
mod formats;
#[cfg(test)]
mod leases;
#[cfg(test)]
mod lists;
#[cfg(test)]
mod lost;
#[cfg(test)]
mod many_waits;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod operator;
#[cfg(test)]
mod orders;
#[cfg(test)]
mod party;
#[cfg(test)]
mod probes;
#[cfg(test)]
mod reads;
#[cfg(test)]
mod sagas;
#[cfg(test)]
mod several;
#[cfg(test)]
mod starts;
#[cfg(test)]
mod timers;
#[cfg(test)]
mod trouble;
#[cfg(test)]
mod typed_starts;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod waits;
