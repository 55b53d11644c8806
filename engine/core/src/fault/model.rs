//! A fault, the commands that it fits, and the draw that decides whether it strikes.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::fault::kind::{FaultKind, InvalidFault};
use crate::fault::raw::{ANY, RawFault};
use crate::fault::tag::TagCondition;
use crate::ids::{IdempotencyKey, Name, Phase, SagaId};

/// An injected failure: where, what and how often.
///
/// It strikes the commands that all its conditions fit. One without a condition strikes every command, and in JSON must
/// say so: `"everything": true`. In JSON the phase is `action` unless it is said, and `any` for all of them.
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
    /// Only this saga.
    pub saga_id: Option<SagaId>,
    /// Only sagas that bear this tag.
    pub tag: Option<TagCondition>,
    /// Only this service.
    pub service: Option<Name>,
    /// Only this step.
    pub step: Option<Name>,
    /// Only this command.
    pub command: Option<Name>,
    /// Only this phase; `None` is each that the kind can strike.
    pub phase: Option<Phase>,
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
    /// Returns true if it fits the command of a saga with these tags, and the draw falls on it; says nothing of `times`.
    pub fn strikes(&self, target: &Target<'_>, tags: &BTreeMap<String, String>) -> bool {
        let fits = |want: &Option<Name>, is: &Name| want.as_ref().is_none_or(|want| want == is);
        fits(&self.saga, target.saga)
            && self.saga_id.is_none_or(|saga_id| saga_id == target.key.saga_id)
            && self.tag.as_ref().is_none_or(|tag| tag.fits(tags))
            && fits(&self.service, target.service)
            && fits(&self.step, &target.key.step)
            && fits(&self.command, target.command)
            && self.fits_phase(target.key.phase)
            && (self.probability >= 1.0 || draw(self.seed, target.key, target.attempt) < self.probability)
    }

    /// Returns true if commands of this phase may carry it.
    pub(super) fn fits_phase(&self, phase: Phase) -> bool {
        self.phase.is_none_or(|wanted| wanted == phase) && self.kind.can_strike(phase)
    }
}

impl TryFrom<RawFault> for Fault {
    type Error = InvalidFault;

    fn try_from(raw: RawFault) -> Result<Self, InvalidFault> {
        let kind = raw.kind()?;
        let phase = raw.phase()?;
        match phase {
            Some(phase) if kind.can_strike(phase) => {}
            Some(phase) if matches!(kind, FaultKind::Reject { .. }) => {
                return Err(InvalidFault::NotRejectable(phase));
            }
            Some(_) => return Err(InvalidFault::NothingCalled),
            None => {}
        }
        let tag = raw.tag.as_deref().map(str::parse).transpose()?;
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
            saga_id: raw.saga_id,
            tag,
            service: raw.service,
            step: raw.step,
            command: raw.command,
            phase,
            kind,
            times,
            probability,
            seed: raw.seed.unwrap_or(0),
        })
    }
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
            | FaultKind::CrashAfterReply
            | FaultKind::CallLost
            | FaultKind::CallLate
            | FaultKind::CallTwice
            | FaultKind::CallFailed => (None, None),
        };
        let mut raw = Self {
            everything: false,
            saga: fault.saga,
            saga_id: fault.saga_id,
            tag: fault.tag.map(|tag| tag.to_string()),
            service: fault.service,
            step: fault.step,
            command: fault.command,
            phase: fault.phase.map(|phase| phase.to_string()),
            kind: fault.kind.word().to_owned(),
            code,
            ms,
            times: fault.times,
            // Left out when certain, so that reading it back does not turn "once" into "always".
            probability: if fault.probability >= 1.0 && fault.times.is_some() {
                None
            } else {
                Some(fault.probability)
            },
            seed: (fault.seed != 0).then_some(fault.seed),
        };
        if raw.phase.is_none() {
            raw.everything = !raw.is_bound();
            raw.phase = raw.is_bound().then(|| ANY.to_owned());
        }
        raw
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

#[cfg(test)]
mod tests {
    use super::*;

    fn struck(fault: &str, tags: &[(&str, &str)]) -> Vec<String> {
        let fault: Fault = serde_json::from_str(fault).unwrap();
        let tags = tags.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let name = |name: &str| Name::new(name).unwrap();
        let (saga, other) = (name("place-order"), name("book-trip"));
        let commands = [
            (&saga, "payment", "charge", "charge-card", Phase::Action),
            (&saga, "payment", "charge", "refund-card", Phase::Compensation),
            (&saga, "payment", "charge", "charge-card", Phase::Settlement),
            (&other, "hotel", "room", "book-room", Phase::Action),
        ];
        let is_struck = |(saga, service, step, command, phase): (&Name, &str, &str, &str, Phase)| {
            let key = format!("0190163d-8694-739b-aea5-966c26f8ad91/{step}/{phase}/1").parse().unwrap();
            let (service, command) = (name(service), name(command));
            let target = Target { key: &key, attempt: 1, saga, service: &service, command: &command };
            fault.strikes(&target, &tags).then(|| format!("{command} {phase}"))
        };
        commands.into_iter().filter_map(is_struck).collect()
    }

    /// Each condition narrows, all must fit, and the kind has its say on the phases.
    #[test]
    fn fault_strikes_what_all_its_conditions_fit() {
        let cases: &[(&str, &[(&str, &str)])] = &[
            (r#"{"everything":true,"kind":"fail"}"#, &[]),
            (r#"{"everything":true,"kind":"reject","code":"no"}"#, &[]),
            (r#"{"everything":true,"kind":"call-lost"}"#, &[]),
            (r#"{"service":"payment","kind":"fail"}"#, &[]),
            (r#"{"service":"payment","phase":"any","kind":"fail"}"#, &[]),
            (r#"{"service":"payment","phase":"any","kind":"call-failed"}"#, &[]),
            (r#"{"phase":"compensation","kind":"fail"}"#, &[]),
            (r#"{"saga":"book-trip","kind":"fail"}"#, &[]),
            (r#"{"saga":"book-trip","service":"payment","kind":"fail"}"#, &[]),
            (r#"{"command":"refund-card","phase":"any","kind":"fail"}"#, &[]),
            (r#"{"saga_id":"0190163d-8694-739b-aea5-966c26f8ad91","kind":"fail"}"#, &[]),
            (r#"{"saga_id":"0190163d-8694-739b-aea5-966c26f8ad92","kind":"fail"}"#, &[]),
            (r#"{"tag":"region:north","step":"charge","kind":"fail"}"#, &[("region", "north")]),
            (r#"{"tag":"region:north","step":"charge","kind":"fail"}"#, &[("region", "south")]),
            (r#"{"tag":"region:north","step":"charge","kind":"fail"}"#, &[]),
        ];
        let lines = cases.iter().map(|(fault, tags)| {
            let struck = struck(fault, tags);
            format!(
                "{fault} {tags:?}: {}",
                if struck.is_empty() { "none".to_owned() } else { struck.join(", ") }
            )
        });
        insta::assert_snapshot!(lines.collect::<Vec<_>>().join("\n"), @r#"
        {"everything":true,"kind":"fail"} []: charge-card action, refund-card compensation, charge-card settlement, book-room action
        {"everything":true,"kind":"reject","code":"no"} []: charge-card action, book-room action
        {"everything":true,"kind":"call-lost"} []: charge-card action, refund-card compensation, book-room action
        {"service":"payment","kind":"fail"} []: charge-card action
        {"service":"payment","phase":"any","kind":"fail"} []: charge-card action, refund-card compensation, charge-card settlement
        {"service":"payment","phase":"any","kind":"call-failed"} []: charge-card action, refund-card compensation
        {"phase":"compensation","kind":"fail"} []: refund-card compensation
        {"saga":"book-trip","kind":"fail"} []: book-room action
        {"saga":"book-trip","service":"payment","kind":"fail"} []: none
        {"command":"refund-card","phase":"any","kind":"fail"} []: refund-card compensation
        {"saga_id":"0190163d-8694-739b-aea5-966c26f8ad91","kind":"fail"} []: charge-card action, book-room action
        {"saga_id":"0190163d-8694-739b-aea5-966c26f8ad92","kind":"fail"} []: none
        {"tag":"region:north","step":"charge","kind":"fail"} [("region", "north")]: charge-card action
        {"tag":"region:north","step":"charge","kind":"fail"} [("region", "south")]: none
        {"tag":"region:north","step":"charge","kind":"fail"} []: none
        "#);
    }

    /// The draw depends on seed, key and attempt alone, so that the same seed strikes the same.
    #[test]
    fn draw_is_repeatable_and_about_as_likely_as_said() {
        let key = |n: u32| -> IdempotencyKey {
            format!("0190163d-8694-739b-aea5-{n:012}/charge/action/1").parse().unwrap()
        };
        let strikes = |seed: u64, attempt| (0..1000).filter(move |n| draw(seed, &key(*n), attempt) < 0.25);
        assert_eq!(strikes(7, 1).collect::<Vec<_>>(), strikes(7, 1).collect::<Vec<_>>());
        assert_ne!(strikes(7, 1).collect::<Vec<_>>(), strikes(8, 1).collect::<Vec<_>>());
        assert_ne!(strikes(7, 1).collect::<Vec<_>>(), strikes(7, 2).collect::<Vec<_>>());
        assert!((200..300).contains(&strikes(7, 1).count()), "{}", strikes(7, 1).count());
    }

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
            r#"{"everything":true,"kind":"fail","probability":0.5}"#,
            r#"{"service":"payment","phase":"any","kind":"call-lost","times":1}"#,
            r#"{"phase":"compensation","kind":"call-late","times":1}"#,
            r#"{"saga_id":"0190163d-8694-739b-aea5-966c26f8ad91","tag":"region:north:west","phase":"action","kind":"call-twice","times":1}"#,
            r#"{"step":"charge-payment","phase":"action","kind":"call-failed","times":1}"#,
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
            r#"{"phase":"any","kind":"fail"}"#,
            r#"{"everything":false,"kind":"fail"}"#,
            r#"{"everything":true,"step":"a","kind":"fail"}"#,
            r#"{"everything":true,"phase":"action","kind":"fail"}"#,
            r#"{"step":"a","phase":"undo","kind":"fail"}"#,
            r#"{"step":"a","phase":"settlement","kind":"call-lost"}"#,
            r#"{"tag":"region","kind":"fail"}"#,
            r#"{"tag":":north","kind":"fail"}"#,
            r#"{"step":"a","kind":"call-late","ms":5}"#,
        ]
        .iter()
        .map(|json| read(json).unwrap_err().to_string())
        .collect();
        insta::assert_snapshot!(reasons.join("\n"), @r#"
        a fault of kind `reject` needs a `code` such as `out-of-stock`
        a compensation cannot be rejected: no such answer exists; use `fail` instead
        the fault does not say where it strikes: name a saga, saga_id, tag, service, step, command or phase, or say `"everything": true`
        `explode` is no kind of fault: use reject (with a code), fail, delay (with ms), drop-command, drop-reply, delay-reply (with ms), duplicate, crash-before-commit, crash-after-commit, crash-after-reply, call-lost, call-late, call-twice or call-failed
        `times` is out of range: at least 1
        `probability` is out of range: above 0 and at most 1
        a fault of kind `delay` needs `ms`, at most 600000
        unknown field `colour`, expected one of `everything`, `saga`, `saga_id`, `tag`, `service`, `step`, `command`, `phase`, `kind`, `code`, `times`, `ms`, `probability`, `seed` at line 1 column 34
        the fault does not say where it strikes: name a saga, saga_id, tag, service, step, command or phase, or say `"everything": true`
        the fault does not say where it strikes: name a saga, saga_id, tag, service, step, command or phase, or say `"everything": true`
        the fault is to strike everything, and is bound to a condition as well: leave one of the two out
        the fault is to strike everything, and is bound to a condition as well: leave one of the two out
        `undo` is no phase: use action, compensation, settlement or any
        a settlement calls no third party, it asks what became of the call: use another phase or kind
        `region` is no tag: use `name:value`
        `:north` is no tag: use `name:value`
        a fault of kind `this` takes no such `code` or `ms`
        "#);
    }
}
