//! The pure core of Redress.
//!
//! Everything that Redress decides is decided here, by functions from values to values: no clock, no randomness, no
//! I/O. The coordinator calls [`decide`] with a saga's state and one event and carries out the
//! [`Decision`](decide::Decision) that comes back; the participant library calls [`inbox::rule`] with a command and
//! what its inbox remembers. To know what Redress does in a case, read this crate; to prove it, drive this crate
//! through every case, as `redress-testkit` does with a definition and `redress-simulation` with the engine itself.
//!
//! `Cargo.toml` is the proof of purity: tokio, sqlx, async-nats and rand are deliberately absent.

pub mod behaviour;
pub mod builder;
mod causes;
#[doc(hidden)]
pub mod checks;
pub mod contract;
mod data_type;
pub mod dead_letter;
pub mod decide;
pub mod definition;
mod definition_errors;
mod delivery;
mod described;
pub mod diagram;
pub mod digest;
mod ending;
mod examples;
pub mod fault;
mod guarantee;
pub mod history;
pub mod ids;
pub mod inbox;
mod input;
pub mod json;
pub mod message;
pub mod order;
pub mod plan;
pub mod retry;
mod saga_contract;
mod schema;
pub mod state;
mod unambiguous;
mod wait_kinds;
pub mod waiting;

pub use builder::saga;
pub use causes::with_causes;
pub use contract::{Command, Compensates, SagaData};
pub use dead_letter::{LetterCode, LetterRefusal, LetterStatus, LetterVerb};
pub use definition::SagaDefinition;
pub use ending::{EndedSaga, SagaEnd, UnreadableData};
pub use ids::{IdempotencyKey, Name, Phase, SagaId, Timestamp};
pub use json::{JsonText, Unfit};
pub use message::{CommandMessage, Outcome, Rejection, ReplyMessage};
pub use retry::RetryPolicy;
pub use saga_contract::{SagaContract, StartTarget, Startable, WrongData};
