//! The participant library: handlers behind an inbox.
//!
//! A participant is a service that handles commands in a database of its own. Its author writes what a command does
//! ([`Handle`], [`Compensate`]) inside a transaction that the library owns; effect and stored answer commit together.
//! The library does the rest, and a handler cannot forget it: duplicates get the stored answer, an undo that comes
//! before its action leaves a fence, a settlement says what happened, poison is set aside.
//!
//! What must hold, and where:
//!
//! - Claim first, then read what was there, then rule, then run: [`store`](self) and `batch`.
//! - Commit first, then reply, then acknowledge: `serve`. A crash in between costs a redelivery, answered from memory.
//! - An `Err` never becomes a rejection: it is rolled back and answered `failed`; the coordinator alone retries.
//! - A batch that fails as a whole is run again member by member, so that the culprit fails alone.

mod batch;
mod echo;
mod erased;
mod handler;
mod retryable;
mod serve;
mod service;
mod settings;
mod store;

pub use echo::echo;
pub use handler::{
    Answer, Compensate, CompensateAll, Handle, HandleAll, HandlerError, Keyed, Outcome, Tx, Undone, done,
    reject,
};
pub use serve::{Participant, ServeError};
pub use service::{MigrateError, Service, ServiceError, ServiceOptions};
pub use settings::{EXIT_CODE_OF_INJECTED_CRASH, FaultObedience, ParticipantSettings, Stats};

/// The tables of the inbox, to be created in each participant's database.
pub fn inbox_migrator() -> sqlx::migrate::Migrator {
    let mut migrator = sqlx::migrate!("../../migrations/participant");
    migrator.dangerous_set_table_name("_redress_participant_migrations");
    migrator
}
