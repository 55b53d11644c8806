//! The configuration of a stack: durability, the place of its data, and its servers.

use std::path::PathBuf;

/// How a private stack is set up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StackConfig {
    /// Sets if Postgres waits for the disk.
    pub durability: Durability,
    /// Where the servers keep their data.
    pub data: Data,
    /// True to start Postgres.
    pub postgres: bool,
    /// True to start NATS.
    pub nats: bool,
}

impl Default for StackConfig {
    /// Both servers, durable, in a directory that is removed at the end.
    fn default() -> StackConfig {
        StackConfig { durability: Durability::Full, data: Data::Ephemeral, postgres: true, nats: true }
    }
}

/// The rule by which a commit waits for the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// The servers' own defaults: a Postgres commit is on disk before it is answered.
    Full,
    /// Nothing waits for the disk (`fsync` and `full_page_writes` off), for tests.
    ///
    /// A killed server still loses nothing that was committed, only a crash of the machine does. Therefore
    /// `synchronous_commit` stays on: without it a commit is answered while it is only in the server's memory.
    Relaxed,
}

impl Durability {
    /// The word that reports use.
    pub fn as_str(self) -> &'static str {
        match self {
            Durability::Full => "full",
            Durability::Relaxed => "relaxed",
        }
    }
}

/// Where the servers keep their data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Data {
    /// A temporary directory that goes with the stack, also after `kill -9`.
    Ephemeral,
    /// A directory that stays, and is used by one program at a time.
    Kept {
        /// The directory; it is made when it does not exist, and refused when it holds anything but our data.
        dir: PathBuf,
        /// True to begin with empty servers, deleting the data that are there.
        fresh: bool,
    },
}

/// How a server is made to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StopMode {
    /// In order: connections are cut, data is written (`SIGINT` for Postgres, `SIGTERM` for NATS).
    Fast,
    /// At once, with recovery at the next start (`SIGQUIT` for Postgres, `SIGKILL` for NATS).
    Immediate,
    /// `SIGKILL`.
    Kill,
}
