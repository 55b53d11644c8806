//! The address of a database as messages may show it.

use std::fmt;

/// The parts of a database's address that a message may show. Never the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Location {
    pub(crate) database: String,
    pub(crate) server: String,
    pub(crate) user: String,
}

impl Location {
    /// The database's name.
    pub fn database(&self) -> &str {
        &self.database
    }

    /// The user.
    pub fn user(&self) -> &str {
        &self.user
    }
}

impl fmt::Display for Location {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "database `{}` at {} as user `{}`", self.database, self.server, self.user)
    }
}
