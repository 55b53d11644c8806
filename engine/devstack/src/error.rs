//! The errors of starting or restarting a private stack.

use std::io;
use std::path::PathBuf;

use crate::server::Server;
use crate::version::Version;

/// The reason why a private stack could not be started, restarted or wiped.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DevstackError {
    /// No binary is usable and none could be installed.
    #[error(
        "no usable {server} server found, and none could be installed\n  looked at:\n{looked_at}\n  {fix}"
    )]
    NoServer {
        /// The server that is missing.
        server: Server,
        /// One line for every place that was looked at, with the reason why it did not serve.
        looked_at: String,
        /// The commands to type.
        fix: &'static str,
    },
    /// We are root, Postgres refuses that, and there is no other user to run it.
    #[error(
        "Postgres cannot run as root, and neither of the users `postgres` and `nobody` exists here; \
         run as a normal user, or set DATABASE_URL"
    )]
    NoUnprivilegedUser,
    /// We are root, but may not become another user.
    #[error(
        "Postgres cannot run as root, and this process may not become user `{user}` (no CAP_SETUID?); \
         run as a normal user, or set DATABASE_URL"
    )]
    CannotDropRoot {
        /// The user that was to run Postgres.
        user: String,
        /// The error of the operating system.
        source: io::Error,
    },
    /// No directory is there that the user of Postgres can enter.
    #[error(
        "user `{user}`, who runs Postgres because root may not, cannot enter {}; \
         choose a data directory that every user can enter",
        dir.display()
    )]
    Unreachable {
        /// The user that was to run Postgres.
        user: String,
        /// The directory that was to hold its data.
        dir: PathBuf,
    },
    /// Another program uses the data directory.
    #[error(
        "the data directory {} is in use by process {holder}; stop that one, or choose another directory",
        dir.display()
    )]
    Locked {
        /// The data directory.
        dir: PathBuf,
        /// The process that holds it, as far as is known.
        holder: String,
    },
    /// The data directory holds something else.
    #[error(
        "{} is not empty and was not made by redress, so it is left alone; \
         choose a new or an empty directory",
        dir.display()
    )]
    NotOurs {
        /// The directory.
        dir: PathBuf,
    },
    /// Another user could change the content of the data directory.
    #[error(
        "the data directory {} is not used: {reason}; or choose a directory of your own",
        dir.display()
    )]
    Untrusted {
        /// The directory.
        dir: PathBuf,
        /// The fault of the directory.
        reason: String,
    },
    /// The data was written by another major version.
    #[error(
        "the data in {} belongs to Postgres {data}, but only {found} is here; set REDRESS_PG_BIN to the \
         directory of a Postgres {data}, or start fresh (which deletes that data)",
        dir.display()
    )]
    WrongMajor {
        /// The data directory.
        dir: PathBuf,
        /// The major version that wrote the data.
        data: u32,
        /// The version that was found.
        found: Version,
    },
    /// Kept data without the file that is needed to open it.
    #[error(
        "the data in {} is unusable: {reason}; start fresh (which deletes that data), or choose another directory",
        dir.display()
    )]
    Unusable {
        /// The data directory.
        dir: PathBuf,
        /// The fault of the data.
        reason: String,
    },
    /// A server, or the preparation of one, ended before it was ready.
    #[error("{what} ended before it was ready ({status}); its log ends with:\n{log}")]
    Exited {
        /// The program that was started.
        what: String,
        /// Its exit status.
        status: String,
        /// The last lines that it logged.
        log: String,
    },
    /// A server runs but does not become ready.
    #[error("{server} was not ready within {seconds} s; its log ends with:\n{log}")]
    NotReady {
        /// The server.
        server: Server,
        /// How long the start was waited for.
        seconds: u64,
        /// The last lines that it logged.
        log: String,
    },
    /// A server does not end, not even by `SIGKILL`.
    #[error("{server} (process {pid}) does not stop, not even by SIGKILL; look at the process table")]
    WillNotStop {
        /// The server.
        server: Server,
        /// Its process id.
        pid: u32,
    },
    /// A process could not be paused.
    #[error("process {pid} cannot be paused: it has ended, or is not ours to stop")]
    NotPaused {
        /// Its id.
        pid: u32,
    },
    /// The operating system refused something.
    #[error(
        "could not {doing} {}; check that it exists, is no link and may be used, and that the disk is not full",
        path.display()
    )]
    Io {
        /// The attempted action, as a verb.
        doing: &'static str,
        /// The file or program.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
}

impl DevstackError {
    /// For `map_err`: says what was being done to which file.
    pub(crate) fn io(
        doing: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> DevstackError {
        let path = path.into();
        move |source| DevstackError::Io { doing, path, source }
    }
}
