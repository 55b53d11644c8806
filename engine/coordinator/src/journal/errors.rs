//! What can go wrong with the journal, sorted by what to do about it.

use thiserror::Error;

/// The journal could not do what was asked.
#[derive(Debug, Error)]
pub enum JournalError {
    /// The database is not there: later.
    #[error("the database is not available; the request can be made again")]
    Unavailable(#[source] sqlx::Error),
    /// Two units of work met: the same again will do.
    #[error("another unit of work was in the way; the request can be made again")]
    Collision(#[source] sqlx::Error),
    /// Somebody holds a row and does not let go. Whoever asks next may be luckier; nobody else needs to wait for it.
    #[error("a row is held by somebody for too long; the request can be made again")]
    Held(#[source] sqlx::Error),
    /// The answer to a COMMIT was lost: it happened or it did not.
    #[error("the answer to the commit was lost; what the journal says now decides")]
    CommitUnknown(#[source] sqlx::Error),
    /// The tables could not be brought up to date.
    #[error("the journal's tables could not be created or brought up to date")]
    Migrate(#[source] sqlx::migrate::MigrateError),
    /// Something stored or sent is wrong.
    #[error("the database refused the statement")]
    Refused(#[source] sqlx::Error),
    /// A row is not what this program wrote.
    #[error("a row of the journal is unreadable: {0}")]
    Unreadable(String),
    /// The unit of work panicked.
    #[error("the unit of work panicked; see the log for where")]
    Panicked,
}

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        match &error {
            sqlx::Error::Database(database) => match database.code().as_deref() {
                // Serialization failure, deadlock.
                Some("40001" | "40P01") => Self::Collision(error),
                // Lock not available in time.
                Some("55P03") => Self::Held(error),
                Some(code) if is_of_the_server(code) => Self::Unavailable(error),
                Some(_) | None => Self::Refused(error),
            },
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => Self::Unavailable(error),
            _ => Self::Refused(error),
        }
    }
}

/// Whether the trouble is the server's own and not the statement's: it passes, or somebody repairs it.
fn is_of_the_server(code: &str) -> bool {
    // Connection exceptions; not let in; disk full, out of memory, too many connections; shutdown, start-up, crash,
    // statement timeout; errors of the system beneath.
    let classes = ["08", "28", "53", "57", "58"];
    // Read-only after a failover; transaction ended by a timeout, as of a process that was stopped and went on; no such
    // database; a database that takes no connections; rights, a table or a column taken away, which somebody gives back.
    let codes = ["25006", "25P03", "25P04", "3D000", "55000", "42501", "42P01", "42703"];
    classes.iter().any(|class| code.starts_with(class)) || codes.contains(&code)
}

impl JournalError {
    /// No connection, whatever the reason: nothing was asked yet, so no statement can be at fault.
    pub(crate) const fn of_connecting(error: sqlx::Error) -> Self {
        Self::Unavailable(error)
    }

    /// That of a request whose batch failed because the database was not there.
    pub(crate) fn unavailable() -> Self {
        Self::Unavailable(sqlx::Error::PoolTimedOut)
    }

    /// What happened and why, in one line, for logs and dead letters.
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = std::error::Error::source(self);
        while let Some(error) = cause {
            let said = error.to_string();
            // Some libraries repeat their source.
            if !text.contains(&said) {
                text.push_str(": ");
                text.push_str(&said);
            }
            cause = error.source();
        }
        text
    }

    /// A failed COMMIT: if the database answered, nothing happened; if it did not, nobody knows.
    pub(crate) fn of_commit(error: sqlx::Error) -> Self {
        Self::from(error).of_its_commit()
    }

    /// A failed statement that is its own transaction: the same.
    pub(crate) fn of_its_commit(self) -> Self {
        match self {
            Self::Unavailable(error) => Self::CommitUnknown(error),
            other => other,
        }
    }

    /// Whether the same may be asked again at once. Not if a row is held: that has been waited for already.
    pub(crate) const fn is_worth_another_try(&self) -> bool {
        match self {
            Self::Collision(_) | Self::CommitUnknown(_) => true,
            Self::Unavailable(_)
            | Self::Held(_)
            | Self::Migrate(_)
            | Self::Refused(_)
            | Self::Unreadable(_)
            | Self::Panicked => false,
        }
    }

    /// Whether it is nobody's fault and passes: whoever asked may ask again.
    pub const fn is_unavailable(&self) -> bool {
        match self {
            Self::Unavailable(_) | Self::CommitUnknown(_) | Self::Collision(_) | Self::Held(_) => true,
            Self::Migrate(_) | Self::Refused(_) | Self::Unreadable(_) | Self::Panicked => false,
        }
    }
}
