//! How the program ends: exit codes, and errors with cause and remedy.
//!
//! | code | meaning |
//! |---|---|
//! | 0 | done; of a saga: completed |
//! | 1 | something went wrong |
//! | 2 | the command line is wrong |
//! | 3 | the saga ended compensated |
//! | 4 | the saga is parked |
//! | 5 | not found |
//! | 6 | conflict: too late, or the key was used before |
//! | 7 | the saga was closed by an operator |
//! | 69 | database, broker or API not available |
//! | 77 | not allowed: a wrong password, a missing right |
//! | 78 | set up wrongly: no such database, not UTF8, tables behind, a pooler that forgets |
//! | 124 | the time to wait was over |
//! | 130 | interrupted |

use std::process::ExitCode;

use redress_coordinator::OpenJournalError;
use redress_participant::ServiceError;
use redress_postgres::{DatabaseError, Fault, MigrateError};

use crate::legible::say;

/// How the program ends when nothing went wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exit {
    Ok,
    Compensated,
    Parked,
    Closed,
    WaitTimedOut,
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> ExitCode {
        ExitCode::from(match self {
            Self::Ok => 0,
            Self::Compensated => 3,
            Self::Parked => 4,
            Self::Closed => 7,
            Self::WaitTimedOut => 124,
            Self::Interrupted => 130,
        })
    }

    /// The exit code that tells a saga's status.
    pub(crate) fn of_status(status: &str) -> Self {
        match status {
            "completed" => Self::Ok,
            "compensated" => Self::Compensated,
            "parked" => Self::Parked,
            "closed" => Self::Closed,
            _ => Self::WaitTimedOut,
        }
    }
}

/// A failure of the program, with its exit code and remedy.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    error: anyhow::Error,
    remedy: Option<String>,
}

impl Failure {
    pub(crate) fn new(code: u8, error: impl Into<anyhow::Error>) -> Self {
        Self { code, error: error.into(), remedy: None }
    }

    /// Something that the program depends on is not there.
    pub(crate) fn unavailable(error: impl Into<anyhow::Error>) -> Self {
        Self::new(69, error)
    }

    /// The command line is wrong.
    pub(crate) fn usage(message: impl std::fmt::Display) -> Self {
        Self::new(2, anyhow::anyhow!("{message}"))
    }

    /// The database cannot be used.
    pub(crate) fn of_database(error: DatabaseError) -> Self {
        let (code, remedy) = (code_of(&error), error.remedy());
        Self::new(code, error).remedy(remedy)
    }

    /// The journal cannot be used.
    pub(crate) fn of_journal(error: OpenJournalError) -> Self {
        match error {
            OpenJournalError::Unusable(error) => Self::of_database(error),
            OpenJournalError::Migrate(error) => {
                Self::new(code_of_tables(&error), OpenJournalError::Migrate(error))
            }
            OpenJournalError::Journal(error) if error.is_unavailable() => Self::unavailable(error),
            OpenJournalError::Journal(error) => Self::new(1, error),
        }
    }

    /// A service cannot run.
    pub(crate) fn of_service(error: ServiceError) -> Self {
        match &error {
            ServiceError::Database { source, .. } => {
                let (code, remedy) = (code_of(source), source.remedy());
                Self::new(code, error).remedy(remedy)
            }
            ServiceError::Migrate(tables) => Self::new(code_of_tables(&tables.source), error),
            ServiceError::Serve(_) => Self::new(1, error),
        }
    }

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn error(&self) -> &anyhow::Error {
        &self.error
    }

    pub(crate) fn report(self) -> ExitCode {
        say(&format!("error: {}", self.error));
        for cause in self.error.chain().skip(1) {
            say(&format!("  because: {cause}"));
        }
        if let Some(remedy) = self.remedy {
            say(&format!("  try: {remedy}"));
        }
        ExitCode::from(self.code)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(1, error)
    }
}

fn code_of(error: &DatabaseError) -> u8 {
    match error.fault() {
        Fault::Url => 2,
        Fault::Away | Fault::ReadsOnly => 69,
        Fault::Denied => 77,
        Fault::Missing(_) | Fault::Encoding(_) | Fault::Pooler | Fault::Setup => 78,
    }
}

fn code_of_tables(error: &MigrateError) -> u8 {
    match error {
        MigrateError::Forbidden { .. } => 77,
        MigrateError::Behind { .. } => 78,
        MigrateError::Failed(_) => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exit_code_reports_saga_status() {
        let codes = ["completed", "compensated", "parked", "running", "compensating"]
            .map(|status| format!("{:?}", Exit::of_status(status).code()));
        let expected = [0, 3, 4, 124, 124].map(|code| format!("{:?}", ExitCode::from(code)));
        assert_eq!(codes, expected);
    }
}
