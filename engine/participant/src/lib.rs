//! The participant library: handlers behind an inbox.
//!
//! A participant is a service that handles commands in a database of its own. Its author writes the effect of each
//! command ([`Handle`], [`Compensate`]) inside a transaction that the library owns; effect and stored answer commit
//! together. What is outside this database is done by a call between two transactions ([`CallOut`], [`UndoByCall`]).
//! What may be done again without harm needs none of that, and no database: [`HandleAtLeastOnce`]. When a message is
//! acknowledged, and what that costs, is the subject of [`ack_mode`].
//! The library does the rest, and a handler cannot forget it: duplicates get the stored answer, an undo that
//! comes before its action leaves a fence, a settlement reports the outcome, poison is set aside.
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
//!         .fetch_optional(tx)
//!         .await?;
//!         match left {
//!             Some(left) => done(Charged { left }),
//!             None => reject("insufficient-funds", "the account does not hold that much"),
//!         }
//!     }
//! }
//!
//! # async fn run(pool: sqlx::PgPool, wire: redress_wire::Wire) -> Result<(), ServeError> {
//! let participant = Participant::new("payment").handle::<Charge>();
//! participant.serve(Payments, pool, wire, std::future::pending()).await
//! # }
//! ```
//!
//! The rules, and the modules that keep them:
//!
//! - Claim or read, then rule, then run; the unique key of the inbox decides, before the handlers run or when their answers
//!   are inserted: `claims`, `store`, `batch` and `answers`. What is young is not even read: `batch/begin`.
//! - Commit first, then reply, then acknowledge: `worker`. A crash in between costs a redelivery, answered from memory.
//! - An `Err` never becomes a rejection: it is rolled back and answered `failed`; the coordinator alone retries.
//! - A table or a right that is missing fails no command: the commands wait until an operator has created or granted
//!   it.
//! - Short handlers share a batch and its transaction; those that take long run beside the others, each in a transaction
//!   of its own, and which is which is measured: `tempo`, `lane` and `beside`.
//! - A third party is called between two transactions, and what it is asked is kept before: [`CallOut`], `batch/calls` and
//!   `calling`. From then on nobody but the third party says that nothing happened.
//! - A handler may answer [`later`]: the question stays open in the inbox until the service gives the [`answer`], or gives
//!   it up: `later`, `given` and `due`.
//! - Handlers that may run again are called beside all that: `repeated`; reply first, then acknowledge. A service that has
//!   no other ones, and no listener with a transaction, is served without a database.
//! - A batch that fails as a whole is run again member by member, so that the culprit fails alone.

pub mod ack_mode;
mod answer;
mod answers;
mod at_least_once;
mod at_work;
mod batch;
mod beside;
mod call_dispatch;
mod call_faults;
mod call_out;
mod call_store;
mod calling;
mod claims;
mod collision;
mod config;
mod connection;
pub mod crash;
mod database_time;
mod dead_letters;
mod dispatch;
mod due;
mod echo;
mod execute;
mod exposition;
mod given;
mod handler;
mod handlers;
mod identity;
mod inbox;
mod isolation;
mod jobs;
mod kept_letters;
mod lane;
mod later;
mod lease;
mod listen;
mod member;
mod meter;
mod migrations;
mod monitor;
mod open;
mod pace;
mod pacer;
mod participant;
mod passing_on;
mod pipeline;
mod places;
mod post;
mod prune;
mod quarantine;
mod recovery;
mod repeated;
mod row;
mod runs;
mod savepoint;
mod serve;
mod serve_error;
mod serve_without_database;
mod service;
mod stats;
mod store;
mod tempo;
#[cfg(feature = "testing")]
pub mod testing;
mod tx;
mod unit_error;
mod unknown;
mod watched;
mod ways;
mod worker;

pub use ack_mode::AckMode;
pub use at_least_once::{HandleAtLeastOnce, ListenWithoutDatabase, Received};
pub use call_out::{CallOut, Inquiry, Prepared, PreparedUndo, Purpose, UndoByCall};
pub use config::{CommandLimits, FaultMode, ParticipantConfig, Stats};
pub use crash::EXIT_CODE_OF_INJECTED_CRASH;
pub use echo::echo;
pub use given::{AnswerError, Given, answer};
pub use handler::{
    Answer, Compensate, CompensateAll, Handle, HandleAll, HandlerError, HandlerOutcome, Keyed, Listen,
    Undone, done, reject,
};
pub use later::{AnswerOrLater, CompensateLater, GiveUp, HandleLater, OrLater, UndoneOrLater, later};
pub use migrations::inbox_migrator;
pub use monitor::{Monitor, ServiceHealth};
pub use participant::Participant;
pub use redress_postgres::{DatabaseError, Migrations};
pub use serve_error::ServeError;
pub use service::{MigrateError, Service, ServiceConfig, ServiceError, ServiceHandlers};
pub use tx::{ActionInDoubt, Tx};

/// The database driver, in the version that [`Tx`] and the pool of a [`Participant`] are of.
pub use sqlx;
