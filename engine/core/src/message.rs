//! The messages that travel between coordinator and participant.
//!
//! The envelope is plain data here; `redress-wire` turns it into NATS headers and back. A reply names the command that
//! it answers by its key and says which attempt carried it, so that the coordinator never has to guess what a late
//! message was about.

use serde::{Deserialize, Serialize};

use crate::fault::FaultKind;
use crate::ids::{IdempotencyKey, Name, SagaId, Timestamp};
use crate::json::JsonText;

pub use crate::json::PAYLOAD_BYTES_MAX;

/// A command on its way to a participant.
#[derive(Clone, Debug, PartialEq)]
pub struct CommandMessage {
    /// The key of the command: saga, step, phase and generation.
    pub key: IdempotencyKey,
    /// How often the command was sent, this time included; from 1.
    pub attempt: u32,
    /// The saga definition's name.
    pub saga: Name,
    /// The saga definition's version.
    pub version: u32,
    /// The participant to which it is sent.
    pub service: Name,
    /// The command: of a settlement, that of the action in question.
    pub command: Name,
    /// When the step's *action* was first sent; a participant refuses a command that is older than its memory.
    pub action_sent_at: Timestamp,
    /// A failure to play, obeyed only by participants that allow it.
    pub fault: Option<FaultKind>,
    /// W3C trace context of the saga.
    pub traceparent: Option<String>,
    /// The command itself, the same bytes in every attempt; `null` in a settlement.
    pub payload: JsonText,
}

/// A notification on its way to a participant: sent once, at most once heard, never answered.
#[derive(Clone, Debug, PartialEq)]
pub struct NotificationMessage {
    /// The saga that tells.
    pub saga_id: SagaId,
    /// The saga definition's name.
    pub saga: Name,
    /// The saga definition's version.
    pub version: u32,
    /// The step.
    pub step: Name,
    /// The participant that is told.
    pub service: Name,
    /// The command.
    pub command: Name,
    /// W3C trace context of the saga.
    pub traceparent: Option<String>,
    /// The command itself.
    pub payload: JsonText,
}

/// A participant's answer on its way to the coordinator.
#[derive(Clone, Debug, PartialEq)]
pub struct ReplyMessage {
    /// The key of the command that it answers.
    pub key: IdempotencyKey,
    /// The attempt that carried the command.
    pub attempt: u32,
    /// The saga definition's name.
    pub saga: Name,
    /// The saga definition's version.
    pub version: u32,
    /// The participant that answers.
    pub service: Name,
    /// The answer.
    pub outcome: Outcome,
}

/// A participant's answer.
///
/// All but `failed`, `accepted` and `in-doubt` are final: they answer the command whatever the attempt that carried it.
/// `failed` speaks of its own attempt only, `in-doubt` of the moment in which it was said, and `accepted` promises an
/// answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It happened (or, to a compensation, it is undone or there was nothing to undo).
    Done {
        /// The participant's reply.
        reply: JsonText,
    },
    /// The business "no": final, proven to have had no effect.
    Rejected(Rejection),
    /// A technical failure of this attempt, rolled back.
    Failed {
        /// The problem, for people.
        message: String,
    },
    /// It never happened, and a late command will be refused.
    Fenced,
    /// The action is older than the inbox remembers: nothing was done and nothing can be said.
    Expired,
    /// The participant could make nothing of this command and will not try again.
    Refused {
        /// Why, for people.
        reason: String,
    },
    /// The answer comes later. To a settlement: the action cannot be given up, its answer is still to come.
    Accepted,
    /// Only to a settlement: a third party was called for the action, and nobody can say what became of it.
    InDoubt {
        /// Why nobody can, for people.
        reason: String,
    },
}

impl Outcome {
    /// The word on the wire and in the history.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Done { .. } => "done",
            Self::Rejected(_) => "rejected",
            Self::Failed { .. } => "failed",
            Self::Fenced => "fenced",
            Self::Expired => "expired",
            Self::Refused { .. } => "refused",
            Self::Accepted => "accepted",
            Self::InDoubt { .. } => "in-doubt",
        }
    }
}

/// Why a participant said no.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rejection {
    /// A stable word for programs, such as `insufficient-funds`.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

impl Rejection {
    /// A rejection with a stable `code` and a `message` for people.
    pub fn new(code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { code: code.into(), message: message.into() }
    }
}
