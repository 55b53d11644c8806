//! A fault as it is said in JSON.
//!
//! Bodies of older clients keep their meaning: the phase is `action` unless it is said. A fault that says nowhere where
//! it strikes is refused, so that no forgotten field breaks a whole installation.

use serde::{Deserialize, Serialize};

use crate::fault::kind::{DELAY_MS_MAX, FaultKind, InvalidFault};
use crate::ids::{Name, Phase, SagaId};

/// The word for all phases.
pub(super) const ANY: &str = "any";
/// So much of a text that is refused is shown, in characters.
const SHOWN_CHARS: usize = 80;

/// A fault as it is written.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawFault {
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) everything: bool,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) saga: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) saga_id: Option<SagaId>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) tag: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) service: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) step: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) command: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) phase: Option<String>,
    pub(super) kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) times: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) probability: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) seed: Option<u64>,
}

impl RawFault {
    /// Returns true if something but the phase says where it strikes.
    pub(super) fn is_bound(&self) -> bool {
        self.saga.is_some()
            || self.saga_id.is_some()
            || self.tag.is_some()
            || self.service.is_some()
            || self.step.is_some()
            || self.command.is_some()
    }

    /// The phase; checks as well that it says where it strikes.
    pub(super) fn phase(&self) -> Result<Option<Phase>, InvalidFault> {
        let phase = match self.phase.as_deref() {
            None => None,
            Some(ANY) => Some(None),
            Some(word) => {
                let unknown = |_| InvalidFault::Phase(word.chars().take(SHOWN_CHARS).collect());
                Some(Some(word.parse().map_err(unknown)?))
            }
        };
        match (self.everything, self.is_bound(), phase) {
            (true, false, None | Some(None)) => Ok(None),
            (true, _, _) => Err(InvalidFault::EverythingAndMore),
            (false, false, None | Some(None)) => Err(InvalidFault::Nowhere),
            (false, _, Some(phase)) => Ok(phase),
            (false, true, None) => Ok(Some(Phase::Action)),
        }
    }

    pub(super) fn kind(&self) -> Result<FaultKind, InvalidFault> {
        let kind = match (self.kind.as_str(), &self.code, self.ms) {
            ("reject", Some(code), None) if is_code(code) => FaultKind::Reject { code: code.clone() },
            ("reject", _, None) => return Err(detail("reject", "needs a `code` such as `out-of-stock`")),
            ("delay", None, Some(ms)) if ms <= DELAY_MS_MAX => FaultKind::Delay { ms },
            ("delay", None, _) => return Err(detail("delay", "needs `ms`, at most 600000")),
            ("delay-reply", None, Some(ms)) if ms <= DELAY_MS_MAX => FaultKind::DelayReply { ms },
            ("delay-reply", None, _) => return Err(detail("delay-reply", "needs `ms`, at most 600000")),
            ("fail", None, None) => FaultKind::Fail,
            ("drop-command", None, None) => FaultKind::DropCommand,
            ("drop-reply", None, None) => FaultKind::DropReply,
            ("duplicate", None, None) => FaultKind::Duplicate,
            ("crash-before-commit", None, None) => FaultKind::CrashBeforeCommit,
            ("crash-after-commit", None, None) => FaultKind::CrashAfterCommit,
            ("crash-after-reply", None, None) => FaultKind::CrashAfterReply,
            ("call-lost", None, None) => FaultKind::CallLost,
            ("call-late", None, None) => FaultKind::CallLate,
            ("call-twice", None, None) => FaultKind::CallTwice,
            ("call-failed", None, None) => FaultKind::CallFailed,
            (
                "fail"
                | "drop-command"
                | "drop-reply"
                | "duplicate"
                | "crash-before-commit"
                | "crash-after-commit"
                | "crash-after-reply"
                | "call-lost"
                | "call-late"
                | "call-twice"
                | "call-failed"
                | "reject"
                | "delay"
                | "delay-reply",
                _,
                _,
            ) => return Err(detail("this", "takes no such `code` or `ms`")),
            (other, _, _) => return Err(InvalidFault::Kind(other.chars().take(SHOWN_CHARS).collect())),
        };
        Ok(kind)
    }
}

fn detail(kind: &'static str, problem: &'static str) -> InvalidFault {
    InvalidFault::Detail { kind, problem }
}

/// Codes travel in a header: the characters of a name.
fn is_code(code: &str) -> bool {
    Name::new(code).is_ok()
}
