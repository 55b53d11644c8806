//! The kinds of faults, and their words.

use std::fmt;
use std::str::FromStr;

use thiserror::Error;

use crate::ids::Phase;

/// The longest injected delay, in milliseconds: longer than any timeout that a test would wait for.
pub const DELAY_MS_MAX: u64 = 600_000;

/// The kind of a fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// The participant says no, with this code.
    Reject {
        /// The rejection's code.
        code: String,
    },
    /// This attempt fails technically and leaves nothing behind.
    Fail,
    /// The participant takes its time before it begins.
    Delay {
        /// How long, in milliseconds.
        ms: u64,
    },
    /// The command is lost before the participant handles it.
    DropCommand,
    /// The effect is committed and the reply is lost.
    DropReply,
    /// The effect is committed and the reply comes late.
    DelayReply {
        /// How late, in milliseconds.
        ms: u64,
    },
    /// The command is delivered, and answered, twice.
    Duplicate,
    /// The participant dies before its commit: no effect, no reply, no acknowledgement.
    CrashBeforeCommit,
    /// The participant dies after its commit: no reply, no acknowledgement.
    CrashAfterCommit,
    /// The participant dies after its reply: no acknowledgement.
    CrashAfterReply,
    /// The call to the third party is lost: it is never made, and its time passes.
    CallLost,
    /// The third party is called and does it, and its answer comes after the time limit of the call.
    CallLate,
    /// The third party is called twice with the same key; the second answer counts.
    CallTwice,
    /// The third party is called and does it, and answers with an error.
    CallFailed,
}

impl FaultKind {
    /// The word of the kind, as in HTTP and in the history.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Reject { .. } => "reject",
            Self::Fail => "fail",
            Self::Delay { .. } => "delay",
            Self::DropCommand => "drop-command",
            Self::DropReply => "drop-reply",
            Self::DelayReply { .. } => "delay-reply",
            Self::Duplicate => "duplicate",
            Self::CrashBeforeCommit => "crash-before-commit",
            Self::CrashAfterCommit => "crash-after-commit",
            Self::CrashAfterReply => "crash-after-reply",
            Self::CallLost => "call-lost",
            Self::CallLate => "call-late",
            Self::CallTwice => "call-twice",
            Self::CallFailed => "call-failed",
        }
    }

    /// Returns true if it is a failure of a call to a third party.
    pub const fn is_of_call(&self) -> bool {
        matches!(self, Self::CallLost | Self::CallLate | Self::CallTwice | Self::CallFailed)
    }

    /// Returns true if a command of this phase can meet with it: an undo cannot be rejected, and a settlement asks a
    /// third party and never calls it.
    pub const fn can_strike(&self, phase: Phase) -> bool {
        match self {
            Self::Reject { .. } => matches!(phase, Phase::Action),
            Self::CallLost | Self::CallLate | Self::CallTwice | Self::CallFailed => {
                matches!(phase, Phase::Action | Phase::Compensation)
            }
            Self::Fail
            | Self::Delay { .. }
            | Self::DropCommand
            | Self::DropReply
            | Self::DelayReply { .. }
            | Self::Duplicate
            | Self::CrashBeforeCommit
            | Self::CrashAfterCommit
            | Self::CrashAfterReply => true,
        }
    }
}

/// As in the header: `reject:out-of-stock`, `delay:250`, `fail`.
impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.word())?;
        match self {
            Self::Reject { code } => write!(f, ":{code}"),
            Self::Delay { ms } | Self::DelayReply { ms } => write!(f, ":{ms}"),
            Self::Fail
            | Self::DropCommand
            | Self::DropReply
            | Self::Duplicate
            | Self::CrashBeforeCommit
            | Self::CrashAfterCommit
            | Self::CrashAfterReply
            | Self::CallLost
            | Self::CallLate
            | Self::CallTwice
            | Self::CallFailed => Ok(()),
        }
    }
}

impl FromStr for FaultKind {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let millis = |ms: &str| ms.parse().map_err(|_| InvalidFault::Kind(text.to_owned()));
        let (word, detail) = text.split_once(':').map_or((text, None), |(word, detail)| (word, Some(detail)));
        match (word, detail) {
            ("reject", Some(code)) => Ok(Self::Reject { code: code.to_owned() }),
            ("fail", None) => Ok(Self::Fail),
            ("delay", Some(ms)) => millis(ms).map(|ms| Self::Delay { ms }),
            ("drop-command", None) => Ok(Self::DropCommand),
            ("drop-reply", None) => Ok(Self::DropReply),
            ("delay-reply", Some(ms)) => millis(ms).map(|ms| Self::DelayReply { ms }),
            ("duplicate", None) => Ok(Self::Duplicate),
            ("crash-before-commit", None) => Ok(Self::CrashBeforeCommit),
            ("crash-after-commit", None) => Ok(Self::CrashAfterCommit),
            ("crash-after-reply", None) => Ok(Self::CrashAfterReply),
            ("call-lost", None) => Ok(Self::CallLost),
            ("call-late", None) => Ok(Self::CallLate),
            ("call-twice", None) => Ok(Self::CallTwice),
            ("call-failed", None) => Ok(Self::CallFailed),
            _ => Err(InvalidFault::Kind(text.to_owned())),
        }
    }
}

/// A fault that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidFault {
    /// The kind is unknown or lacks its detail.
    #[error(
        "`{0}` is no kind of fault: use reject (with a code), fail, delay (with ms), drop-command, \
         drop-reply, delay-reply (with ms), duplicate, crash-before-commit, crash-after-commit, crash-after-reply, \
         call-lost, call-late, call-twice or call-failed"
    )]
    Kind(String),
    /// A detail is given that the kind does not take, or lacks.
    #[error("a fault of kind `{kind}` {problem}")]
    Detail {
        /// The kind.
        kind: &'static str,
        /// The problem.
        problem: &'static str,
    },
    /// `reject` on a compensation or a settlement.
    #[error("a {0} cannot be rejected: no such answer exists; use `fail` instead")]
    NotRejectable(Phase),
    /// A fault of a third party's call, on a settlement.
    #[error("a settlement calls no third party, it asks what became of the call: use another phase or kind")]
    NothingCalled,
    /// Nothing says where it strikes.
    #[error(
        "the fault does not say where it strikes: name a saga, saga_id, tag, service, step, command or phase, \
         or say `\"everything\": true`"
    )]
    Nowhere,
    /// `everything`, and a condition as well.
    #[error(
        "the fault is to strike everything, and is bound to a condition as well: leave one of the two out"
    )]
    EverythingAndMore,
    /// A phase that does not exist.
    #[error("`{0}` is no phase: use action, compensation, settlement or any")]
    Phase(String),
    /// A tag that cannot be looked for.
    #[error("`{0}` is no tag: use `name:value`")]
    Tag(String),
    /// A number out of range.
    #[error("`{field}` is out of range: {range}")]
    Range {
        /// The field.
        field: &'static str,
        /// The range that it takes.
        range: &'static str,
    },
}
