//! What can be asked of a coordinator, and how it says no.

use std::collections::BTreeMap;

use redress_core::decide::{Order, Refusal};
use redress_core::definition::{ClosureError, InvalidInput};
use redress_core::fault::{InvalidFaults, StrikesNothing};
use redress_core::{Name, SagaId};
use serde::Serialize;
use serde_json::Value;
use thiserror::Error;

use crate::journal::{JournalError, RegisterError};
use crate::view::SagaView;

/// The longest key of a start, in bytes.
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

/// A saga that was started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Started {
    /// The saga.
    pub id: SagaId,
    /// Whether it is new: not if the key was used before with the same body.
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
    /// The journal is not usable.
    #[error(transparent)]
    Journal(#[from] JournalError),
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
    /// A label holds a NUL character.
    #[error("a tag holds a NUL character, which cannot be stored")]
    InvalidTag,
    /// The key was used before with another body.
    #[error(
        "the idempotency key was used before for saga {0} with another body: use a new key for a new saga"
    )]
    KeyReused(SagaId),
    /// The journal could not do it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// An operator's order, and the condition on which it is given.
#[derive(Clone, Debug)]
pub struct OrderRequest {
    /// What, who and why.
    pub order: Order,
    /// Only if the saga has this revision.
    pub if_match: Option<i64>,
}

/// An order could not be carried out; nothing has changed.
#[derive(Debug, Error)]
pub enum OrderError {
    /// There is no such saga.
    #[error("there is no saga {0}")]
    NotFound(SagaId),
    /// It is too late, or makes no sense here.
    #[error("`{verb}` of saga {}: {}", saga.id, refusal.explain())]
    Refused {
        /// What was wanted.
        verb: &'static str,
        /// What is in the way.
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
    StrikesNothing(#[from] StrikesNothing),
    /// The journal could not do it.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

/// Whether the coordinator can work.
#[derive(Clone, Debug, Serialize)]
pub struct Readiness {
    /// Whether everything is there.
    pub ready: bool,
    /// `ok`, or what is wrong.
    pub database: String,
    /// `ok`, or what is wrong. Starts are accepted without the broker too.
    pub broker: String,
    /// What it does.
    pub mode: Mode,
    /// Versions with open sagas that are not known here: they wait for a coordinator that knows them.
    pub waiting_versions: Vec<LiveVersion>,
}

/// What a coordinator does.
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
    /// How many of its sagas have not ended.
    pub open: i64,
    /// Whether this coordinator can carry them on.
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
