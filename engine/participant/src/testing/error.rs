//! The reasons why a command has no outcome in a test.

use thiserror::Error;

use crate::serve_error::ServeError;
use crate::service::ServiceError;
use crate::unit_error::UnitError;

/// A service could not be tested.
#[derive(Debug, Error)]
pub enum ServiceTestError {
    /// The private server made no database.
    #[error("the private server made no database for service `{service}`; its log says more")]
    Create {
        /// The service.
        service: &'static str,
        /// The error of the driver.
        source: sqlx::Error,
    },
    /// The database or its tables cannot be used.
    #[error(transparent)]
    Service(#[from] ServiceError),
    /// The handlers cannot be run.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The command is handled elsewhere.
    #[error(
        "command `{command}` belongs to service `{of}`, and `{service}` is under test: run it in a test of `{of}`"
    )]
    OtherService {
        /// The command.
        command: &'static str,
        /// The service to which it belongs.
        of: &'static str,
        /// The service under test.
        service: &'static str,
    },
    /// The coordinator could not have sent the command.
    #[error("command `{command}` cannot travel as JSON")]
    Command {
        /// The command.
        command: &'static str,
        /// The reason.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The saga could not read the reply.
    #[error("the reply to `{command}` is not of the type that its contract names")]
    Reply {
        /// The command.
        command: &'static str,
        /// The error of the JSON reader.
        source: serde_json::Error,
    },
    /// The step under test was to die after a call, and there was none.
    #[error("command `{command}` called no third party: its handler calls none, or the inbox had its answer")]
    NotCalled {
        /// The command.
        command: String,
    },
    /// The commands got no answer: in an installation they would come again.
    #[error("the commands got no answer, and would come again later; mend the cause and run them once more")]
    Unanswered(#[source] Box<dyn std::error::Error + Send + Sync>),
}

impl From<UnitError> for ServiceTestError {
    fn from(error: UnitError) -> Self {
        Self::Unanswered(Box::new(error))
    }
}
