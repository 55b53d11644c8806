//! The participant library: handlers behind an inbox.
//!
//! A participant is a service that handles commands in a database of its own. Its author writes what a command does
//! ([`Handle`], [`Compensate`]) inside a transaction that the library owns; effect and stored answer commit together.
//! The library does the rest, and a handler cannot forget it: duplicates get the stored answer, an undo that comes
//! before its action leaves a fence, a settlement says what happened, poison is set aside.
//!
//! ```
//! # use redress_core::Command;
//! # use redress_participant::{Answer, Handle, Participant, ServeError, Tx, done, reject};
//! # use schemars::JsonSchema;
//! # use serde::{Deserialize, Serialize};
//! # #[derive(Serialize, Deserialize, JsonSchema)]
//! # struct Charge { account: i64, amount: i64 }
//! # impl Command for Charge {
//! #     const SERVICE: &'static str = "payment";
//! #     const NAME: &'static str = "charge";
//! #     type Reply = Charged;
//! # }
//! # #[derive(Serialize, Deserialize, JsonSchema)]
//! # struct Charged { left: i64 }
//! struct Payments;
//!
//! impl Handle<Charge> for Payments {
//!     /// Takes the money or says why not.
//!     async fn handle(&self, tx: &mut Tx<'_>, command: Charge) -> Answer<Charged> {
//!         let left: Option<i64> = sqlx::query_scalar(
//!             "UPDATE account SET balance = balance - $2 WHERE id = $1 AND balance >= $2 RETURNING balance",
//!         )
//!         .bind(command.account)
//!         .bind(command.amount)
//!         .fetch_optional(&mut **tx)
//!         .await?;
//!         match left {
//!             Some(left) => done(Charged { left }),
//!             None => reject("insufficient-funds", "the account does not hold that much"),
//!         }
//!     }
//! }
//!
//! # async fn run(pool: sqlx::PgPool, wire: redress_wire::Wire) -> Result<(), ServeError> {
//! Participant::new("payment", pool, wire).handle::<Charge>().serve(Payments, std::future::pending()).await
//! # }
//! ```
//!
//! What must hold, and where:
//!
//! - Claim first, then read what was there, then rule, then run: `store` and `batch`.
//! - Commit first, then reply, then acknowledge: `worker`. A crash in between costs a redelivery, answered from memory.
//! - An `Err` never becomes a rejection: it is rolled back and answered `failed`; the coordinator alone retries.
//! - A batch that fails as a whole is run again member by member, so that the culprit fails alone.

mod alone;
mod answer;
mod batch;
mod connection;
mod echo;
mod erased;
mod handler;
mod listen;
mod prune;
mod retryable;
mod serve;
mod service;
mod settings;
mod store;
mod unknown;
mod worker;

pub use echo::echo;
pub use handler::{
    Answer, Compensate, CompensateAll, Handle, HandleAll, HandlerError, Keyed, Listen, Outcome, Tx, Undone,
    done, reject,
};
pub use serve::{Participant, ServeError};
pub use service::{MigrateError, Service, ServiceError, ServiceOptions};
pub use settings::{EXIT_CODE_OF_INJECTED_CRASH, FaultObedience, ParticipantSettings, Stats};

/// The database driver, in the version that [`Tx`] and the pool of a [`Participant`] are of.
pub use sqlx;

/// The tables of the inbox, to be created in each participant's database.
pub fn inbox_migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("../../migrations/participant");
    migrator.dangerous_set_table_name("_redress_participant_migrations");
    migrator
}
