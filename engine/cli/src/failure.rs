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
//! | 124 | the time to wait was over |
//! | 130 | interrupted |

use std::process::ExitCode;

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

/// What went wrong, and the exit code that says so.
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

    pub(crate) fn remedy(mut self, remedy: impl Into<String>) -> Self {
        self.remedy = Some(remedy.into());
        self
    }

    pub(crate) fn error(&self) -> &anyhow::Error {
        &self.error
    }

    pub(crate) fn report(self) -> ExitCode {
        eprintln!("error: {}", self.error);
        for cause in self.error.chain().skip(1) {
            eprintln!("  because: {cause}");
        }
        if let Some(remedy) = self.remedy {
            eprintln!("  try: {remedy}");
        }
        ExitCode::from(self.code)
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self::new(1, error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saga_that_has_ended_otherwise_or_not_at_all_is_told_by_the_exit_code() {
        let codes = ["completed", "compensated", "parked", "running", "compensating"]
            .map(|status| format!("{:?}", Exit::of_status(status).code()));
        let expected = [0, 3, 4, 124, 124].map(|code| format!("{:?}", ExitCode::from(code)));
        assert_eq!(codes, expected);
    }
}
