//! The words of operators: commands, resolutions, and the reasons to refuse them.

use serde::{Deserialize, Serialize};

use crate::ids::Name;
use crate::inbox::GivenAnswer;
use crate::json::JsonText;

/// A command of an operator.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OperatorCommand {
    /// The verb.
    pub verb: Verb,
    /// The operator.
    pub actor: String,
    /// The reason, for people.
    pub reason: String,
}

/// The verbs that an operator may use on a saga.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Verb {
    /// Turn back.
    Cancel,
    /// Try now what waits or is parked.
    Retry {
        /// Only this step; `None` for all.
        step: Option<Name>,
    },
    /// Give the answer that a step awaits.
    Answer {
        /// The step.
        step: Name,
        /// The answer.
        answer: GivenAnswer,
    },
    /// Believe this outcome of a step.
    Resolve {
        /// The step.
        step: Name,
        /// The outcome.
        resolution: Resolution,
    },
    /// End here; the operator clears up the rest.
    Close,
    /// Send nothing more until `resume`.
    Pause,
    /// Go on after `pause`.
    Resume,
}

/// The operator's account of a step's outcome.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// Its action took effect.
    Happened {
        /// With this reply.
        reply: JsonText,
    },
    /// Its action took no effect.
    NeverHappened,
    /// Its effect was undone outside of the saga.
    Compensated,
}

impl Verb {
    /// The word in HTTP, the audit log and on the command line.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Cancel => "cancel",
            Self::Retry { .. } => "retry",
            Self::Answer { .. } => "answer",
            Self::Resolve { .. } => "resolve",
            Self::Close => "close",
            Self::Pause => "pause",
            Self::Resume => "resume",
        }
    }
}

macro_rules! refusals {
    ($($(#[$doc:meta])* $variant:ident = $word:literal: $sentence:literal),+ $(,)?) => {
        /// The reasons to refuse an operator command.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Refusal {
            $($(#[$doc])* $variant,)+
        }

        impl Refusal {
            /// A stable word for programs.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// The obstacle and the remedy, for people.
            pub const fn explain(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

refusals! {
    /// The pivot was sent: it alone decides now.
    PivotSent = "pivot-sent": "its pivot was sent: it alone decides now, and there is no way back",
    /// The saga has ended.
    Ended = "ended": "it has ended, and an end has no way out",
    /// The saga is going back already.
    AlreadyCompensating = "already-compensating": "it is going back already",
    /// The saga is parked: there is nothing to pause.
    Parked = "parked": "it is parked: `retry`, `resolve` or `close` it",
    /// The saga is paused.
    Paused = "paused": "it is paused: `resume` it first",
    /// Only a paused saga can be resumed.
    NotPaused = "not-paused": "it is not paused",
    /// Only a saga that stands still can be closed.
    Moving = "moving": "it is going on by itself: `pause` it first",
    /// No step waits or is parked.
    NothingToRetry = "nothing-to-retry": "nothing in it waits or is parked; what was sent is being answered",
    /// There is no such step.
    UnknownStep = "unknown-step": "its definition has no step of this name",
    /// The step's outcome is not in doubt.
    NotInDoubt = "not-in-doubt": "what became of this step is not in doubt",
    /// Steps after the pivot were sent.
    BeyondPivot = "beyond-pivot": "steps after its pivot were sent, which have no way back: `retry` or `close` it",
    /// The decision of its pivot comes too late.
    UndoneAlready = "undone-already": "what its pivot rests on does not stand any more: `close` it, and clear up the rest",
    /// The participant of a step has said both that it happened and that it did not.
    Contradicted = "contradicted": "its participant says both that it happened and that it did not: `resolve` it",
    /// A retriable step must succeed.
    MustSucceed = "must-succeed": "a retriable step must succeed: `retry` it, or do it by hand and say that it happened",
    /// The step awaits no answer.
    NotAwaiting = "not-awaiting": "this step awaits no answer that comes later",
    /// Only the service may answer.
    NotForPeople = "not-for-people": "only its service may answer this step: the definition does not let people do it",
    /// The reply is not one of this step.
    ReplyDoesNotFit = "reply-does-not-fit": "the reply does not fit the reply type of this step",
}
