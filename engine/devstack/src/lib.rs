//! Private Postgres and NATS servers for demo, development and tests.
//!
//! Real servers, run as child processes on loopback, without Docker and without anything set up by hand:
//! a server that the machine lacks is installed, pinned and hash-checked, into a cache of our own.
//!
//! The invariants:
//!
//! - **Nothing outlives us**, also after `kill -9`: a guard process (`guard`) reads a pipe that only we hold open.
//!   At its end of file it stops the servers that were announced to it, and removes the directory of an
//!   ephemeral stack. The guard is authoritative at the end of a process; [`Stack::stop`] is the polite way.
//! - **Only what we started is signalled**: a process is known by its id *and* its start time.
//! - **Only what we made is deleted**: directories carry a marker file, others are refused.
//! - **Only what is ours is used**: a directory of another user, or one that others may change, is refused
//!   (`trust`), and children are told nothing of our environment that they do not need (`environment`).
//! - **Postgres never runs as root**: it refuses to, so it is started as `postgres` or `nobody`.
//! - **Nothing stays paused**: a paused process goes on after its time, and at once when we are gone (`pause`).
//! - A restarted server comes back **on its port**, so clients reconnect by themselves.
//!
//! [`Stack::start`] is for the program, [`shared`] and [`FaultProxy`] for tests, [`NatsProxy`] for
//! experiments with delivery, [`inspect`] for `redress doctor`.

mod cache;
mod config;
mod discover;
mod environment;
mod error;
mod fault_proxy;
mod guard;
mod home;
mod http;
mod inspect;
mod install;
mod nats;
mod nats_proxy;
mod orphans;
mod pause;
mod postgres;
mod probe;
mod process;
mod provide;
mod run_as;
mod server;
mod shared;
mod stack;
mod supervisor;
mod trust;
mod version;

pub use config::{Data, Durability, StackConfig, StopMode};
pub use discover::{CheckResult, Subject, Verdict};
pub use error::DevstackError;
pub use fault_proxy::{Drop, FaultProxy};
pub use home::kept_places;
pub use inspect::inspect;
pub use nats::Nats;
pub use nats_proxy::{NatsFaults, NatsProxy, NatsTraffic, TrafficCount};
pub use pause::{PAUSE_MAX, Pause};
pub use postgres::Postgres;
pub use server::Server;
pub use shared::shared;
pub use stack::Stack;
pub use version::Version;
