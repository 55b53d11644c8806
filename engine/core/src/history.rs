//! The history of a saga, attempt by attempt.
//!
//! The history is append-only and gapless per saga. A row says what is known, never what is hoped: a step has an
//! outcome there only after its reply.
//!
//! A command that is sent for ever must not be written for ever: past [`ATTEMPT_ROWS_MAX`] attempts at a command only
//! those whose number is a power of two leave rows, and these say since when it is sent. The state counts all of them.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::ids::{Name, Phase, Timestamp};
use crate::json::JsonText;

/// Attempts at one command that all leave their rows: more than any budget by default, and about half an hour of a
/// service that is silent. From then on only those whose number is a power of two do.
pub const ATTEMPT_ROWS_MAX: u32 = 32;

/// Returns true if attempt number `nth` at a command, from 1, leaves rows.
pub const fn is_written(nth: u32) -> bool {
    nth <= ATTEMPT_ROWS_MAX || nth.is_power_of_two()
}

/// One row of a saga's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct HistoryEntry {
    /// Its place, from 1, without gaps.
    pub seq: u32,
    /// When it was recorded, by the journal's clock.
    pub at: Timestamp,
    /// The event.
    pub event: HistoryEvent,
    /// The step that it is about.
    pub step: Option<Name>,
    /// The phase of the step's command.
    pub phase: Option<Phase>,
    /// The attempt that it is about, from 1.
    pub attempt: Option<u32>,
    /// The particulars, as a JSON object.
    pub detail: JsonText,
}

macro_rules! history_events {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// The events of a saga's history.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum HistoryEvent {
            $($(#[$doc])* #[serde(rename = $word)] $variant,)+
        }

        impl HistoryEvent {
            /// All of them, in the order of a saga's life.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word in the journal and in HTTP.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl FromStr for HistoryEvent {
            type Err = UnknownEvent;

            fn from_str(text: &str) -> Result<Self, UnknownEvent> {
                match text { $($word => Ok(Self::$variant),)+ _ => Err(UnknownEvent(text.to_owned())) }
            }
        }
    };
}

history_events! {
    /// The saga exists.
    Started = "started",
    /// A command left for a participant; `detail` holds service, command, payload (first attempt) and fault.
    Sent = "sent",
    /// The step waits for the sagas before it in the order of its key; `detail` holds the key.
    Queued = "queued",
    /// The participant did it; `detail` holds the reply.
    Done = "done",
    /// The participant said no; `detail` holds code and message.
    Rejected = "rejected",
    /// One attempt failed technically; `detail` holds the message.
    Failed = "failed",
    /// The participant says it never happened and never will.
    Fenced = "fenced",
    /// The participant no longer remembers.
    Expired = "expired",
    /// The participant could make nothing of the command; `detail` holds the reason.
    Refused = "refused",
    /// The participant says that the answer comes later.
    Accepted = "accepted",
    /// Nobody can say whether it happened: its participant cannot, or is not asked, since it remembers nothing; `detail` holds
    /// the reason.
    InDoubt = "in-doubt",
    /// The broker did not store it, or did not say whether it did: no attempt; `detail` holds the reason.
    NotSent = "not-sent",
    /// One attempt was not answered in time, or an event did not come.
    TimedOut = "timed-out",
    /// A reply came to a command that was closed; it had no effect. `detail` holds its outcome.
    Late = "late",
    /// A notification was sent, once; it has no answer. `detail` holds service, command and payload.
    Notified = "notified",
    /// A step waits for a time or an event; `detail` says until when.
    Waiting = "waiting",
    /// The time of a wait is over.
    Waited = "waited",
    /// An event came before its step and is kept; `detail` holds its key and payload.
    EventKept = "event-kept",
    /// The event that a step waits for is there; `detail` holds its key and payload.
    EventTaken = "event-taken",
    /// A step is waited for no more, because the saga turned back or was closed.
    GivenUp = "given-up",
    /// Its condition did not hold; the step has no effect.
    Skipped = "skipped",
    /// An operator asked the saga to turn back; `detail` holds who and why.
    CancelRequested = "cancel-requested",
    /// An operator asked for another try; `detail` holds who and why.
    RetryRequested = "retry-requested",
    /// A person gave the answer that was awaited; `detail` holds who, why and what.
    AnswerGiven = "answer-given",
    /// An operator resolved a step; `detail` holds who, why and what.
    Resolved = "resolved",
    /// A participant has told the same outcome as the operator.
    Verified = "verified",
    /// An operator stopped the saga; `detail` holds who and why.
    Paused = "paused",
    /// An operator let the saga go on; `detail` holds who and why.
    Resumed = "resumed",
    /// The saga's deadline passed before its pivot.
    DeadlinePassed = "deadline-passed",
    /// The plan is fixed; `detail` holds the steps, in the order in which they will be undone.
    PlanFrozen = "plan-frozen",
    /// A participant took back what it had promised; `detail` says how.
    Contradiction = "contradiction",
    /// The engine cannot go on by itself; `detail` says why.
    Parked = "parked",
    /// Every awaited effect stands.
    Completed = "completed",
    /// Every effect that has a compensation is undone.
    Compensated = "compensated",
    /// An operator ended the saga by hand; `detail` holds who and why.
    Closed = "closed",
}

impl fmt::Display for HistoryEvent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// A word that names no event.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no event of a saga's history")]
pub struct UnknownEvent(pub String);
