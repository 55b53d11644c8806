//! The saga coordinator: journal, intake, dispatch, timers.
//!
//! Any number of coordinators share one journal without a leader and without a lease. Each takes batches of replies,
//! reads the sagas that they speak of, decides in memory, writes everything in one transaction, and only then
//! acknowledges the replies and publishes the commands. The revision keeps two of them apart: if a saga has moved since
//! it was read, nothing of the batch is written, and it is decided again under row locks, taken in the order of the ids.
//!
//! | trouble | what happens |
//! |---|---|
//! | crash before the commit | the replies are delivered again |
//! | crash after the commit | the reply comes again and the open command is published again; or `due_at` passes |
//! | the answer to a COMMIT is lost | the batch is decided again on what the journal then says |
//! | another coordinator moved a saga meanwhile | the batch is decided again, with locks |
//! | one saga of a batch is broken | it alone becomes a dead letter; the others go on |
//! | database down | replies rest, starts are refused with "unavailable" |
//! | broker down | starts are accepted; commands go out when they are due |

pub mod config;
pub mod crash;
pub mod engine;
mod fingerprint;
mod housekeeping;
mod intake;
pub mod journal;
pub mod metrics;
mod orders;
pub mod ports;
mod registry;
pub mod requests;
mod starter;
pub mod view;
mod waiters;
mod work;

pub use config::{Admission, Config, Keep};
pub use engine::Engine;
pub use journal::{JournalError, ListFilter};
pub use requests::{
    FaultError, OpenError, OrderError, OrderRequest, PlanError, Readiness, StartError, StartRequest, Started,
};
pub use view::{Page, SagaView};
pub use waiters::Ended;
