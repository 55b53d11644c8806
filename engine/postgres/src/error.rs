//! The faults that a database may have before it is used, and their remedies.

use sqlx::Error;
use thiserror::Error;

use crate::location::Location;

/// The fault of a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// The URL is none.
    Url,
    /// The server does not answer, or lets no client in at the moment.
    Away,
    /// The server only reads: a standby, or a primary that was set to read only.
    ReadsOnly,
    /// A wrong user or password, no entry in `pg_hba.conf`, or no right to connect.
    Denied,
    /// There is no such database, and it could not be made, for this reason.
    Missing(Option<String>),
    /// It stores texts in another encoding than UTF8.
    Encoding(String),
    /// Between us and the server is a pooler that forgets prepared statements.
    Pooler,
    /// The server wants to be talked to otherwise: with TLS, say.
    Setup,
}

/// A database that cannot be used.
#[derive(Debug, Error)]
#[error("{}", .fault.said(.location))]
pub struct DatabaseError {
    fault: Fault,
    location: Box<Location>,
    source: Option<Box<Error>>,
}

impl Fault {
    fn said(&self, location: &Location) -> String {
        match self {
            Self::Url => {
                "the database URL cannot be read: it looks like postgres://user:password@host:5432/name"
                    .to_owned()
            }
            Self::Away => format!("the server of {location} does not answer"),
            Self::ReadsOnly => {
                format!("the server of {location} only reads: it is a standby, or was set to read only")
            }
            Self::Denied => format!("{location} is denied"),
            Self::Missing(None) => format!("there is no {location}"),
            Self::Missing(Some(why)) => format!("there is no {location}, and it cannot be made: {why}"),
            Self::Encoding(encoding) => {
                format!(
                    "{location} stores texts in {encoding}, so that some of what users write cannot be stored"
                )
            }
            Self::Pooler => format!(
                "{location} is reached through a pooler that shares sessions and knows no prepared statements"
            ),
            Self::Setup => format!("{location} cannot be used as the URL says"),
        }
    }
}

impl DatabaseError {
    pub(crate) fn new(fault: Fault, location: Location, source: Option<Error>) -> Self {
        Self { fault, location: Box::new(location), source: source.map(Box::new) }
    }

    /// Sorts the server's answer to a new connection.
    pub(crate) fn of_connecting(location: Location, source: Error) -> Self {
        let fault = match &source {
            Error::Database(error) => match error.code().as_deref() {
                Some("3D000") => Fault::Missing(None),
                Some("25006") => Fault::ReadsOnly,
                _ if is_of_a_pooler(&source) => Fault::Pooler,
                // Not let in, no right to connect; a pooler of PgBouncer's says 08P01 to an unknown user.
                Some(code) if code.starts_with("28") || code == "42501" => Fault::Denied,
                Some("08P01" | "0A000" | "22023" | "42704") => Fault::Setup,
                _ => Fault::Away,
            },
            Error::Tls(_) | Error::Configuration(_) => Fault::Setup,
            _ => Fault::Away,
        };
        Self::new(fault, location, Some(source))
    }

    /// The fault.
    pub fn fault(&self) -> &Fault {
        &self.fault
    }

    /// Returns true if it passes by itself.
    pub fn is_unavailable(&self) -> bool {
        match self.fault {
            Fault::Away | Fault::ReadsOnly => true,
            Fault::Url
            | Fault::Denied
            | Fault::Missing(_)
            | Fault::Encoding(_)
            | Fault::Pooler
            | Fault::Setup => false,
        }
    }

    /// The remedy, for people.
    pub fn remedy(&self) -> String {
        let (database, user) = (self.location.database(), self.location.user());
        match self.fault {
            Fault::Url => "check the URL; what is no letter or digit in a name or password is written as %20".to_owned(),
            Fault::Away => "start the server, or check host and port".to_owned(),
            Fault::ReadsOnly => "point the URL at the primary".to_owned(),
            Fault::Denied => format!(
                "check user and password, and: GRANT CONNECT ON DATABASE \"{database}\" TO \"{user}\""
            ),
            Fault::Missing(_) => format!(
                "check the name, or have it made: CREATE DATABASE \"{database}\" TEMPLATE template0 \
                 ENCODING 'UTF8' OWNER \"{user}\""
            ),
            Fault::Encoding(_) => {
                "use a database that was made with TEMPLATE template0 ENCODING 'UTF8'; an existing one is dumped and \
                 restored into it"
                    .to_owned()
            }
            Fault::Pooler => "PgBouncer from 1.21 on with max_prepared_statements above 0, pool_mode = session, \
                              or Postgres itself"
                .to_owned(),
            Fault::Setup => "check the parameters of the URL, such as sslmode".to_owned(),
        }
    }
}

fn code(error: &Error) -> Option<String> {
    error.as_database_error().and_then(|error| error.code()).map(|code| code.into_owned())
}

/// Returns true if a server says that it only reads.
pub fn is_of_a_reader(error: &Error) -> bool {
    match code(error).as_deref() {
        Some("25006") => true,
        // The answer of a standby to `BEGIN READ WRITE`.
        Some("0A000") => error.to_string().contains("during recovery"),
        _ => matches!(error, Error::AnyDriverError(inner) if inner.is::<OnlyReads>()),
    }
}

/// Returns true if a prepared statement is not where it was left: another session answers than the one before.
pub fn is_of_a_pooler(error: &Error) -> bool {
    matches!(code(error).as_deref(), Some("26000" | "42P05"))
}

/// A connection that was refused because its server only reads.
#[derive(Debug, Error)]
#[error("the server only reads: it is a standby, or was set to read only; the connection is closed")]
pub(crate) struct OnlyReads;
