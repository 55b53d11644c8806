//! The six services on a real Postgres and a real NATS: their effects, their refusals, and their books.
//!
//! A test of one service runs its handlers on a database of their own (`bench`). A test of several, or of several instances,
//! has a prefix as well, and speaks to the services as a coordinator does (`shop`).

// `cfg(test)` tells the lints that these modules are tests as a whole.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod bench;
#[cfg(test)]
mod card;
#[cfg(test)]
mod inventory;
#[cfg(test)]
mod office;
#[cfg(test)]
mod order;
#[cfg(test)]
mod payment;
#[cfg(test)]
mod shipping;
#[cfg(test)]
mod shop;
