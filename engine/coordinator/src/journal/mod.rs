//! The journal on Postgres: the only place in this crate that says `sqlx`.
//!
//! Authoritative for every saga. Each unit of work is one short READ COMMITTED transaction in a task of its own, so
//! that no caller's cancellation can reach its `begin` or its `commit`; row locks are taken in the order of the ids.

mod columns;
mod databases;
mod definitions;
mod errors;
mod faults;
mod identity;
mod letters;
mod list;
mod pg;
mod places;
mod pools;
mod port;
mod read_one;
mod reads;
mod search;
mod select;
mod starts;
mod unit;
mod upkeep;
mod walks;

pub use errors::OpenJournalError;
pub use faults::{ListedFault, ListedStrike, Struck};
pub use pg::PgJournal;
pub use reads::PAGE_BYTES_MAX;
pub use redress_postgres::{DatabaseError, MigrateError, ensure_database};
pub(crate) use starts::{insert, start_of};

/// A connection of the caller's, with a transaction open on it.
pub type Connection = sqlx::PgConnection;
