//! Private Postgres and NATS servers for demo, development and tests.
//!
//! Real servers, run as child processes on loopback, without Docker and without anything set up by hand:
//! what the machine lacks is installed, pinned and hash-checked, into a cache of our own.
//!
//! What must hold:
//!
//! - **Nothing outlives us**, also after `kill -9`: a [guard process](guard) reads a pipe that only we hold open.
//!   At its end of file it stops the servers that were announced to it, and removes the directory of an
//!   ephemeral stack. The guard is authoritative at the end of a process; [`Stack::stop`] is the polite way.
//! - **Only what we started is signalled**: a process is known by its id *and* its time of birth.
//! - **Only what we made is deleted**: directories carry a marker file, others are refused.
//! - **Postgres never runs as root**: it refuses to, so it is started as `postgres` or `nobody`.
//! - A restarted server comes back **on its port**, so clients reconnect by themselves.
//!
//! [`Stack::start`] is for the program, [`shared`] and [`Thief`] for tests, [`inspect`] for `redress doctor`.

mod cache;
mod discover;
mod error;
mod guard;
mod home;
mod http;
mod inspect;
mod install;
mod keeper;
mod leftover;
mod nats;
mod options;
mod postgres;
mod process;
mod provide;
mod run_as;
mod server;
mod shared;
mod stack;
mod thief;
mod version;

pub use discover::{Finding, Subject, Verdict};
pub use error::DevstackError;
pub use inspect::inspect;
pub use nats::Nats;
pub use options::{Data, Durability, StackOptions, StopMode};
pub use postgres::Postgres;
pub use server::Server;
pub use shared::shared;
pub use stack::Stack;
pub use thief::{Loot, Thief};
pub use version::Version;
