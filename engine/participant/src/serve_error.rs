//! The reasons why a participant cannot serve at all.

use redress_core::ids::InvalidName;
use redress_core::inbox::Retention;
use redress_wire::ConsumerError;
use thiserror::Error;

/// A participant could not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The service or a command has no proper name.
    #[error("the participant cannot be served: {0}")]
    Name(#[from] InvalidName),
    /// A command of another service was registered.
    #[error("command `{command}` belongs to another service than `{service}`: register it there")]
    OtherService {
        /// The command.
        command: String,
        /// This service.
        service: String,
    },
    /// It was to be served without a database, and a handler needs one.
    #[error(
        "service `{service}` needs a database: `{command}` is handled in a transaction; serve it with a pool, or handle it \
         with `HandleAtLeastOnce` or `ListenWithoutDatabase`, which have none"
    )]
    NeedsDatabase {
        /// The command, or the notification.
        command: String,
        /// This service.
        service: String,
    },
    /// Another installation takes the commands of this service.
    #[error(transparent)]
    Stranger(#[from] ConsumerError),
    /// The inbox would forget everything at once.
    #[error(
        "service `{service}` would answer every command `expired`: its inbox keeps answers for {:?}, no longer than the \
         margin of {:?} in which they count as forgotten; set `retention.keep` to more than `retention.margin`",
        .retention.keep, .retention.margin
    )]
    Retention {
        /// This service.
        service: String,
        /// The retention that it was given.
        retention: Retention,
    },
}
