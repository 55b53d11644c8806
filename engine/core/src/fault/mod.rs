//! Injected failures: one vocabulary for HTTP, tests and simulators.
//!
//! A fault names where it strikes (saga or service, step or command, phase), what happens and how often. The
//! coordinator decides which command carries one and stamps it; a participant obeys only if it was started to. An
//! injected rejection is stored in the inbox like a real one, so that what a test sees is what a user would see.
//!
//! Drawing is pure: the chance of a fault is a hash of its seed, the question and the attempt.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use thiserror::Error;

use crate::ids::{IdempotencyKey, Name, Phase};

mod reach;

pub use reach::{InvalidFaults, StrikesNothing, of_saga};

/// The longest injected delay, in milliseconds: longer than any timeout that a test would wait for.
pub const DELAY_MS_MAX: u64 = 600_000;

/// What goes wrong.
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
    /// The command is lost before anybody handles it.
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

/// An injected failure: where, what and how often.
///
/// ```
/// let fault: redress_core::fault::Fault =
///     serde_json::from_str(r#"{"step": "ship-order", "kind": "reject", "code": "address-undeliverable"}"#)?;
/// assert_eq!(fault.kind.to_string(), "reject:address-undeliverable");
/// # Ok::<(), serde_json::Error>(())
/// ```
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(try_from = "RawFault", into = "RawFault")]
pub struct Fault {
    /// Only this saga definition.
    pub saga: Option<Name>,
    /// Only this service.
    pub service: Option<Name>,
    /// Only this step.
    pub step: Option<Name>,
    /// Only this command.
    pub command: Option<Name>,
    /// Only this phase.
    pub phase: Phase,
    /// What happens.
    pub kind: FaultKind,
    /// How often; `None` is every time.
    pub times: Option<u32>,
    /// How likely each time, from 0 to 1.
    pub probability: f64,
    /// Makes the draw of `probability` repeatable.
    pub seed: u64,
}

impl Fault {
    /// Whether it fits the command and the draw falls on it; says nothing of `times`.
    pub fn strikes(&self, target: &Target<'_>) -> bool {
        let fits = |want: &Option<Name>, is: &Name| want.as_ref().is_none_or(|want| want == is);
        fits(&self.saga, target.saga)
            && fits(&self.service, target.service)
            && fits(&self.step, &target.key.step)
            && fits(&self.command, target.command)
            && self.phase == target.key.phase
            && (self.probability >= 1.0 || draw(self.seed, target.key, target.attempt) < self.probability)
    }
}

/// A number in 0.0..1.0 that depends on nothing but its arguments.
fn draw(seed: u64, key: &IdempotencyKey, attempt: u32) -> f64 {
    let digest =
        Sha256::new().chain_update(seed.to_be_bytes()).chain_update(format!("{key}#{attempt}")).finalize();
    let first = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
    f64::from(first) / (f64::from(u32::MAX) + 1.0)
}

/// The command that a fault may strike.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The question.
    pub key: &'a IdempotencyKey,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The saga definition's name.
    pub saga: &'a Name,
    /// The service that is asked.
    pub service: &'a Name,
    /// The command that is asked for.
    pub command: &'a Name,
}

/// A fault of the whole installation, with what is left of its `times`.
#[derive(Clone, Debug, PartialEq)]
pub struct StandingFault {
    /// Its number in the journal.
    pub id: i64,
    /// The fault.
    pub fault: Fault,
    /// How often it may still strike; `None` is for ever.
    pub remaining: Option<u32>,
}

/// The standing faults of one batch, and how often each struck.
#[derive(Clone, Debug, Default)]
pub struct FaultBook {
    standing: Vec<StandingFault>,
    struck: std::collections::BTreeMap<i64, u32>,
}

impl FaultBook {
    /// A book of these faults, in this order: the first that strikes wins.
    pub fn new(standing: Vec<StandingFault>) -> Self {
        Self { standing, struck: Default::default() }
    }

    /// The fault that this command must carry: one of its saga's own, else a standing one.
    ///
    /// `times` of a saga's own fault counts attempts; it is used up when an operator re-opens the step.
    pub fn strike(&mut self, own: &[Fault], target: &Target<'_>) -> Option<FaultKind> {
        let is_left = |times: u32| target.key.generation == 1 && target.attempt <= times;
        let of_saga = own.iter().find(|f| f.times.is_none_or(is_left) && f.strikes(target));
        if let Some(fault) = of_saga {
            return Some(fault.kind.clone());
        }
        let standing = self
            .standing
            .iter_mut()
            .find(|s| s.remaining.is_none_or(|left| left > 0) && s.fault.strikes(target))?;
        standing.remaining = standing.remaining.map(|left| left - 1);
        *self.struck.entry(standing.id).or_default() += 1;
        Some(standing.fault.kind.clone())
    }

    /// How often each standing fault struck, by its number.
    pub fn struck(&self) -> impl Iterator<Item = (i64, u32)> + '_ {
        self.struck.iter().map(|(&id, &times)| (id, times))
    }

    /// Whether there is nothing that could strike.
    pub fn is_empty(&self) -> bool {
        self.standing.is_empty()
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
        /// What is wrong.
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
        /// What it takes.
        range: &'static str,
    },
}

#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFault {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    saga: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    service: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    step: Option<Name>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    command: Option<Name>,
    #[serde(default = "action")]
    phase: Phase,
    kind: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    code: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    times: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    ms: Option<u64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    probability: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    seed: Option<u64>,
}

fn action() -> Phase {
    Phase::Action
}

impl TryFrom<RawFault> for Fault {
    type Error = InvalidFault;

    fn try_from(raw: RawFault) -> Result<Self, InvalidFault> {
        let kind = raw.kind()?;
        if matches!(kind, FaultKind::Reject { .. }) && raw.phase != Phase::Action {
            return Err(InvalidFault::NotRejectable(raw.phase));
        }
        if raw.saga.is_none() && raw.service.is_none() && raw.step.is_none() && raw.command.is_none() {
            return Err(InvalidFault::Nowhere);
        }
        let probability = raw.probability.unwrap_or(1.0);
        if !(probability > 0.0 && probability <= 1.0) {
            return Err(InvalidFault::Range { field: "probability", range: "above 0 and at most 1" });
        }
        // A coin is thrown at every attempt; a certain fault strikes once unless it says otherwise.
        let times = raw.times.or(if raw.probability.is_some() { None } else { Some(1) });
        if times == Some(0) {
            return Err(InvalidFault::Range { field: "times", range: "at least 1" });
        }
        Ok(Self {
            saga: raw.saga,
            service: raw.service,
            step: raw.step,
            command: raw.command,
            phase: raw.phase,
            kind,
            times,
            probability,
            seed: raw.seed.unwrap_or(0),
        })
    }
}

impl RawFault {
    fn kind(&self) -> Result<FaultKind, InvalidFault> {
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
            (
                "fail"
                | "drop-command"
                | "drop-reply"
                | "duplicate"
                | "crash-before-commit"
                | "crash-after-commit"
                | "crash-after-reply"
                | "reject"
                | "delay"
                | "delay-reply",
                _,
                _,
            ) => return Err(detail("this", "takes no such `code` or `ms`")),
            (other, _, _) => return Err(InvalidFault::Kind(other.chars().take(80).collect())),
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

impl From<Fault> for RawFault {
    fn from(fault: Fault) -> Self {
        let (code, ms) = match &fault.kind {
            FaultKind::Reject { code } => (Some(code.clone()), None),
            FaultKind::Delay { ms } | FaultKind::DelayReply { ms } => (None, Some(*ms)),
            FaultKind::Fail
            | FaultKind::DropCommand
            | FaultKind::DropReply
            | FaultKind::Duplicate
            | FaultKind::CrashBeforeCommit
            | FaultKind::CrashAfterCommit
            | FaultKind::CrashAfterReply => (None, None),
        };
        Self {
            kind: fault.kind.word().to_owned(),
            code,
            ms,
            saga: fault.saga,
            service: fault.service,
            step: fault.step,
            command: fault.command,
            phase: fault.phase,
            times: fault.times,
            // Left out when certain, so that reading it back does not turn "once" into "always".
            probability: if fault.probability >= 1.0 && fault.times.is_some() {
                None
            } else {
                Some(fault.probability)
            },
            seed: (fault.seed != 0).then_some(fault.seed),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<Fault, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn what_is_written_reads_back() {
        for json in [
            r#"{"step":"ship-order","phase":"action","kind":"reject","code":"x","times":1}"#,
            r#"{"service":"payment","phase":"compensation","kind":"fail","times":3}"#,
            r#"{"command":"charge","phase":"action","kind":"delay","ms":250,"probability":0.25,"seed":7}"#,
            r#"{"saga":"place-order","phase":"settlement","kind":"drop-reply","times":1}"#,
            r#"{"step":"ship-order","phase":"action","kind":"delay-reply","times":1,"ms":9}"#,
            r#"{"step":"ship-order","phase":"action","kind":"crash-before-commit","times":1}"#,
            r#"{"step":"ship-order","phase":"action","kind":"drop-command","times":1}"#,
            r#"{"step":"ship-order","phase":"action","kind":"duplicate","times":1}"#,
        ] {
            let fault = read(json).unwrap();
            assert_eq!(serde_json::to_string(&fault).unwrap(), json);
            assert_eq!(fault.kind.to_string().parse::<FaultKind>().unwrap(), fault.kind);
        }
    }

    #[test]
    fn nonsense_is_refused_with_a_reason() {
        let reasons: Vec<String> = [
            r#"{"step":"a","kind":"reject"}"#,
            r#"{"step":"a","kind":"reject","code":"x","phase":"compensation"}"#,
            r#"{"kind":"fail"}"#,
            r#"{"step":"a","kind":"explode"}"#,
            r#"{"step":"a","kind":"fail","times":0}"#,
            r#"{"step":"a","kind":"fail","probability":2}"#,
            r#"{"step":"a","kind":"delay"}"#,
            r#"{"step":"a","kind":"fail","colour":"red"}"#,
        ]
        .iter()
        .map(|json| read(json).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(reasons.join("\n"), @"
        a fault of kind `reject` needs a `code` such as `out-of-stock`
        a compensation cannot be rejected: no such answer exists; use `fail` instead
        the fault names neither saga, service, step nor command: say where it strikes
        `explode` is no kind of fault: use reject (with a code), fail, delay (with ms), drop-command, drop-reply, delay-reply (with ms), duplicate, crash-before-commit, crash-after-commit or crash-after-reply
        `times` is out of range: at least 1
        `probability` is out of range: above 0 and at most 1
        a fault of kind `delay` needs `ms`, at most 600000
        unknown field `colour`, expected one of `saga`, `service`, `step`, `command`, `phase`, `kind`, `code`, `times`, `ms`, `probability`, `seed` at line 1 column 34
        ");
    }

    #[test]
    fn a_standing_fault_strikes_as_often_as_it_says() {
        let fault = read(r#"{"step":"charge","kind":"fail","times":2}"#).unwrap();
        let mut book = FaultBook::new(vec![StandingFault { id: 9, remaining: fault.times, fault }]);
        let key: IdempotencyKey = "0190163d-8694-739b-aea5-966c26f8ad91/charge/action/1".parse().unwrap();
        let (saga, service, command) =
            (Name::new("s").unwrap(), Name::new("p").unwrap(), Name::new("c").unwrap());
        let target = Target { key: &key, attempt: 1, saga: &saga, service: &service, command: &command };
        let struck: Vec<bool> = (0..3).map(|_| book.strike(&[], &target).is_some()).collect();
        assert_eq!(struck, [true, true, false]);
        assert_eq!(book.struck().collect::<Vec<_>>(), [(9, 2)]);
    }
}
