//! The cause for which a saga turned back.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::ids::Name;

/// Why a saga turned back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cause {
    /// The step that failed, if one did.
    pub step: Option<Name>,
    /// The kind of the reason.
    pub kind: CauseKind,
    /// A stable word for programs.
    pub code: String,
    /// A sentence for people.
    pub message: String,
}

/// The kinds of reasons for a saga to turn back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum CauseKind {
    /// A participant said no.
    Rejected,
    /// A step got no answer, and its settlement found that it never happened.
    Fenced,
    /// A step got no answer, and nobody can say whether it happened.
    InDoubt,
    /// An operator cancelled it.
    Cancelled,
    /// Its deadline passed.
    Deadline,
    /// A step succeeded after it had been given up, and its policy is to undo it then.
    LateSuccess,
    /// An event from outside did not come in time.
    TimedOut,
}

impl CauseKind {
    /// All of them.
    pub const ALL: [Self; 7] = [
        Self::Rejected,
        Self::Fenced,
        Self::InDoubt,
        Self::Cancelled,
        Self::Deadline,
        Self::LateSuccess,
        Self::TimedOut,
    ];

    /// The kind as one word.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::Fenced => "fenced",
            Self::InDoubt => "in-doubt",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
            Self::LateSuccess => "late-success",
            Self::TimedOut => "timed-out",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.step {
            Some(step) => write!(f, "{step} {}: {} ({})", self.kind.as_str(), self.code, self.message),
            None => write!(f, "{}: {}", self.kind.as_str(), self.message),
        }
    }
}
