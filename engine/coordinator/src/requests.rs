//! The requests that a coordinator takes, and its refusals.

use std::collections::BTreeMap;

use redress_core::decide::{OperatorCommand, Refusal};
use redress_core::definition::{ClosureError, InvalidInput};
use redress_core::fault::{InvalidFaults, UnmatchedFault};
use redress_core::{Name, SagaId};
use redress_wire::streams::StreamError;
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::journal::OpenJournalError;
use crate::ports::{JournalError, RegisterError};
use crate::tags::InvalidTag;
use crate::view::SagaView;

/// The longest key of a start, or of an event, in bytes.
pub const KEY_BYTES_MAX: usize = 255;

/// A saga to be started.
#[derive(Clone, Debug, Default)]
pub struct StartRequest {
    /// The definition's name.
    pub saga: String,
    /// Its version; the newest one if not given.
    pub version: Option<u32>,
    /// The input.
    pub input: Value,
    /// The same key is the same saga; 1 to 255 bytes.
    pub key: String,
    /// Failures of this saga, as a JSON array.
    pub faults: Option<Value>,
    /// Labels for finding it again.
    pub tags: BTreeMap<String, String>,
    /// W3C trace context of the caller.
    pub traceparent: Option<String>,
}

impl StartRequest {
    /// The failures that the request asks for; an empty list asks for none.
    pub(crate) fn given_faults(&self) -> Option<&Value> {
        self.faults.as_ref().filter(|faults| !faults.as_array().is_some_and(Vec::is_empty))
    }
}

/// A saga that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The saga.
    pub id: SagaId,
    /// True if it is new: not if the key was used before with the same body.
    pub created: bool,
}

/// The coordinator could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Two definitions share name and version.
    #[error("saga `{0}` version {1} is defined twice: give one of them another version")]
    DefinedTwice(Name, u32),
    /// A definition was changed.
    #[error(transparent)]
    Register(#[from] RegisterError),
    /// The journal's database cannot be used, or its tables are not up to date.
    #[error(transparent)]
    Open(#[from] OpenJournalError),
    /// The journal does not answer.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The streams at the broker belong to another installation.
    #[error(transparent)]
    Stranger(StreamError),
}

/// A saga could not be started.
///
/// Nothing has happened, except that an unavailable journal may have kept it and not been able to say so: the same
/// request with the same key finds out.
#[derive(Debug, Error)]
pub enum StartError {
    /// No such definition.
    #[error("there is no saga named `{0}`; GET /v1/definitions lists what can be started")]
    UnknownSaga(String),
    /// No such version.
    #[error("there is no version {1} of saga `{0}`; GET /v1/definitions lists what can be started")]
    UnknownVersion(String, u32),
    /// The key is empty, too long or not printable.
    #[error("the idempotency key must have 1 to 255 visible ASCII characters")]
    InvalidKey,
    /// This coordinator is being taken away.
    #[error("this coordinator is draining and takes no new sagas; ask another one")]
    Draining,
    /// The input does not fit.
    #[error(transparent)]
    InvalidInput(#[from] InvalidInput),
    /// The faults make no sense.
    #[error("the faults are unusable: {0}")]
    InvalidFaults(InvalidFaults),
    /// Faults are given and not allowed.
    #[error("this coordinator does not inject failures; start it with --allow-faults to try them")]
    FaultsNotAllowed,
    /// A label could not be found again.
    #[error(transparent)]
    InvalidTag(#[from] InvalidTag),
    /// The key was used before with another body.
    #[error(
        "the idempotency key was used before for saga {0} with another body: use a new key for a new saga"
    )]
    KeyReused(SagaId),
    /// The journal could not do it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// An operator command, and the condition on which it is given.
#[derive(Clone, Debug)]
pub struct OperatorRequest {
    /// The verb, the actor and the reason.
    pub command: OperatorCommand,
    /// Only if the saga has one of these revisions.
    pub if_match: Option<Vec<i64>>,
}

/// An operator command could not be carried out; nothing has changed.
#[derive(Debug, Error)]
pub enum OperatorError {
    /// There is no such saga.
    #[error("there is no saga {0}")]
    NotFound(SagaId),
    /// It is too late, or makes no sense here.
    #[error("`{verb}` of saga {}: {}", saga.id, refusal.explain())]
    Refused {
        /// The verb that was refused.
        verb: &'static str,
        /// The reason of the refusal.
        refusal: Refusal,
        /// The saga as it is.
        saga: Box<SagaView>,
    },
    /// It has moved since.
    #[error("saga {} has moved on to revision {}: look at it again before you decide", .0.id, .0.revision)]
    StaleRevision(Box<SagaView>),
    /// Its definition is not known here.
    #[error("this coordinator does not know version {1} of saga `{0}`; ask one that does")]
    VersionNotHere(String, u32),
    /// The journal could not do it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// A standing fault could not be added.
#[derive(Debug, Error)]
pub enum FaultError {
    /// Faults are not allowed.
    #[error("this coordinator does not inject failures; start it with --allow-faults to try them")]
    NotAllowed,
    /// No command of a definition that is known here could carry it.
    #[error(transparent)]
    UnmatchedFault(#[from] UnmatchedFault),
    /// It cannot be read.
    #[error(transparent)]
    Unreadable(#[from] serde_json::Error),
    /// The journal could not do it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl From<InvalidFaults> for FaultError {
    fn from(error: InvalidFaults) -> Self {
        match error {
            InvalidFaults::Unreadable(error) => Self::Unreadable(error),
            InvalidFaults::UnmatchedFault(error) => Self::UnmatchedFault(error),
        }
    }
}

/// The readiness of a coordinator.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// True if everything is there.
    pub ready: bool,
    /// `ok`, or the trouble.
    pub database: String,
    /// `ok`, or the trouble. Starts are accepted without the broker too.
    pub broker: String,
    /// The mode in which it runs.
    pub mode: Mode,
    /// Versions with open sagas that are not known here: they wait for a coordinator that knows them.
    pub waiting_versions: Vec<LiveVersion>,
}

/// The mode of a coordinator.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Mode {
    /// Everything.
    Serving,
    /// It takes no new sagas.
    Draining,
    /// It moves no saga until it is told to begin.
    Paused,
}

/// A version of a definition that has sagas which have not ended.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct LiveVersion {
    /// The definition's name.
    pub saga: String,
    /// Its version.
    pub version: u32,
    /// The number of its sagas that have not ended.
    pub open: i64,
    /// True if this coordinator can carry them on.
    pub known_here: bool,
}

/// A plan could not be drawn.
#[derive(Debug, Error)]
pub enum PlanError {
    /// The definition is not known here.
    #[error("this coordinator does not know version {1} of saga `{0}`; ask one that does")]
    VersionNotHere(String, u32),
    /// A closure of the definition failed.
    #[error(transparent)]
    Closure(ClosureError),
}
