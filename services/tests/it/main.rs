//! The four services on a real Postgres and a real NATS: what they do, what they refuse, and what their books say.
//!
//! Every test has databases and a prefix of its own, and speaks to the services as a coordinator does.

// `cfg(test)` tells the lints that these modules are tests as a whole.

#[cfg(test)]
mod audit;
#[cfg(test)]
mod inventory;
#[cfg(test)]
mod order;
#[cfg(test)]
mod payment;
#[cfg(test)]
mod shipping;
#[cfg(test)]
mod shop;
