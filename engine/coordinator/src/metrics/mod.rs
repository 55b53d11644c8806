//! The metrics of a coordinator, as OpenMetrics.
//!
//! Each coordinator counts its own work; gauges are of the whole journal, and of the broker as this coordinator sees it. No
//! label holds an id or a text of a payload ([`labels`]).
//!
//! A counter that appears with its first increment hides that increment from `rate()` and `increase()`. So the series of
//! all definitions are there at the first scrape, at zero (`seed`).

mod begin;
mod count;
mod families;
pub mod labels;
mod seed;
mod traffic;

pub use families::{Durations, Metrics};
pub(crate) use seed::{answering_services, zero};
