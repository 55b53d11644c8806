//! A fault as it is said in JSON, and the draw that decides whether it strikes.

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fault::kind::{DELAY_MS_MAX, FaultKind, InvalidFault};
use crate::ids::{IdempotencyKey, Name, Phase};

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
    /// The kind.
    pub kind: FaultKind,
    /// How often; `None` is every time.
    pub times: Option<u32>,
    /// How likely each time, from 0 to 1.
    pub probability: f64,
    /// Makes the draw of `probability` repeatable.
    pub seed: u64,
}

impl Fault {
    /// Returns true if it fits the command and the draw falls on it; says nothing of `times`.
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
    /// The command's key.
    pub key: &'a IdempotencyKey,
    /// The attempt, from 1.
    pub attempt: u32,
    /// The saga definition's name.
    pub saga: &'a Name,
    /// The service to which the command is sent.
    pub service: &'a Name,
    /// The command's name.
    pub command: &'a Name,
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
    fn fault_survives_serialization() {
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
    fn invalid_fault_is_refused_with_a_reason() {
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
}
