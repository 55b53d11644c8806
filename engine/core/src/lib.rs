//! The pure core of Redress.
//!
//! Everything that Redress decides is decided here, by functions from values to values: no clock, no
//! randomness, no I/O. The coordinator calls [`decide`] with a saga's state and one event and carries out the
//! [`Decision`](decide::Decision) that comes back; the participant library calls [`inbox::rule`] with a command
//! and what its inbox remembers. Whoever wants to know what Redress does in a case reads this crate, and whoever
//! wants to prove it drives this crate through every case (`redress-testkit` does).
//!
//! `Cargo.toml` is the proof of purity: tokio, sqlx, async-nats and rand are deliberately absent.

pub mod builder;
pub mod contract;
pub mod decide;
pub mod definition;
pub mod diagram;
pub mod digest;
pub mod fault;
pub mod history;
pub mod ids;
pub mod inbox;
mod input;
pub mod json;
pub mod message;
pub mod plan;
pub mod retry;
mod schema;
pub mod state;

pub use builder::saga;
pub use contract::{Command, Compensates, SagaData};
pub use definition::SagaDefinition;
pub use ids::{IdempotencyKey, Name, Phase, SagaId, Timestamp};
pub use json::{JsonText, Unfit};
pub use message::{CommandMessage, Outcome, Rejection, ReplyMessage};
pub use retry::RetryPolicy;
