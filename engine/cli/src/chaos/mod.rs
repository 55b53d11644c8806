//! Disruptions of the servers and services that a `redress up` has started.
//!
//! `up` alone is authoritative for its processes: it has started them, knows that they are still the same, and starts
//! them again. So `redress chaos` signals nothing by itself. It asks the `up` that holds the data directory, over a Unix
//! socket in that directory which takes requests of the same user only, and `up` carries out one disruption after the other.
//! Servers that were given to `up` are not its own, and are left alone.
//!
//! | disruption | carried out as | afterwards |
//! |---|---|---|
//! | pause | `SIGSTOP`, of Postgres also to its connections' processes | `SIGCONT` after its time, or once `up` is gone |
//! | kill | `SIGKILL` | started again, a server on its port with its data |
//! | wipe | `SIGKILL`, and the broker's store is emptied | started again on its port |
//!
//! Each request and each answer is one line of JSON.

mod control;
mod plan;
mod refusal;
mod request;
mod service_requests;

pub(crate) use control::{Control, ask};
pub(crate) use plan::{Planned, plan};
pub(crate) use refusal::Refusal;
pub(crate) use request::{Answer, Deed, Disruption, Request, Target};
pub(crate) use service_requests::{ServiceDeed, ServiceHandles, ServiceRequest};
