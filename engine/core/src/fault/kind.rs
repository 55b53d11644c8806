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
            | Self::CrashAfterReply => Ok(()),
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
         drop-reply, delay-reply (with ms), duplicate, crash-before-commit, crash-after-commit or crash-after-reply"
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
    /// Nothing says where it strikes.
    #[error("the fault names neither saga, service, step nor command: say where it strikes")]
    Nowhere,
    /// A number out of range.
    #[error("`{field}` is out of range: {range}")]
    Range {
        /// The field.
        field: &'static str,
        /// The range that it takes.
        range: &'static str,
    },
}
