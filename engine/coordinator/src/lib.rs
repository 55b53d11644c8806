//! The saga coordinator: journal, intake, dispatch, timers.
//!
//! Any number of coordinators share one journal without a leader and without a lease. Each takes batches of replies,
//! locks the sagas that they speak of in the order of their ids, decides in memory, writes everything in one
//! transaction, and only then acknowledges the replies and publishes the commands. The row lock and the revision keep
//! two of them apart; a zombie's write finds another revision and does nothing.
//!
//! | trouble | what happens |
//! |---|---|
//! | crash before the commit | the replies are delivered again |
//! | crash after the commit | the reply comes again and the open command is published again; or `due_at` passes |
//! | the answer to a COMMIT is lost | the batch is decided again on what the journal then says |
//! | one saga of a batch is broken | it alone becomes a dead letter; the others go on |
//! | database down | replies rest, starts are refused with "unavailable" |
//! | broker down | starts are accepted; commands go out when they are due |

mod cancel;
pub mod config;
pub mod engine;
mod fingerprint;
mod intake;
pub mod journal;
pub mod metrics;
pub mod ports;
mod registry;
pub mod requests;
mod starter;
pub mod view;
mod waiters;
mod work;

pub use config::Config;
pub use engine::Engine;
pub use journal::{JournalError, ListFilter};
pub use requests::{
    CancelError, CancelRequest, FaultError, OpenError, PlanError, Readiness, StartError, StartRequest,
    Started,
};
pub use view::{Page, SagaView};
pub use waiters::Ended;
