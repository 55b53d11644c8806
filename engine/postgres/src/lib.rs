//! How the engine gets, checks and gives up connections to Postgres: the code that coordinator and participant share.
//!
//! - A database is looked at once before it is used ([`Target::inspect`]), so that any fault is told in words: which
//!   server, which user, and the remedy ([`DatabaseError`]).
//! - A connection that only reads is refused right after it was opened, and closed when it is given back
//!   ([`guarded_pool`]); those opened before one was met are given up with it ([`Cutoff`]).
//! - Connections that a rush has left behind are closed ([`trim()`]).
//! - A connection goes from one unit of work to the next without the round trips of the pool ([`Leases`]).
//! - What the driver says is sorted once ([`classify`]); what follows from a class is each side's own affair.
//! - A database that says nothing is not waited for without end ([`answered`]).
//! - No setting stays on a session that others may use: between us and Postgres there may be a pooler ([`Sessions`]).
//! - Tables are brought up to date only if they are not, so that a role without rights to create can serve
//!   ([`bring_up_to_date`]).

mod classify;
mod ensure;
mod error;
mod guard;
mod inspect;
mod leases;
mod location;
mod migrate;
mod sessions;
mod silence;
mod target;
mod trim;

pub use classify::{FailureClass, classify};
pub use ensure::ensure_database;
pub use error::{DatabaseError, Fault, is_of_a_pooler, is_of_a_reader};
pub use guard::{CLEAN_TIME_MAX, Cutoff, clean, guarded_pool, only_reads, purge, refuse_readers};
pub use leases::{Lease, Leases, Origin};
pub use location::Location;
pub use migrate::{MigrateError, Migrations, bring_up_to_date};
pub use sessions::Sessions;
pub use silence::{answered, silence};
pub use target::Target;
pub use trim::trim;
