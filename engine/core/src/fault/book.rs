//! The standing faults of an installation, and how often each may still strike.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fault::kind::FaultKind;
use crate::fault::model::{Fault, Target};
use crate::ids::{IdempotencyKey, SagaId};

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

/// A command that carries a standing fault.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Strike {
    /// The number of the fault.
    pub fault: i64,
    /// The command.
    pub key: IdempotencyKey,
    /// Its attempt.
    pub attempt: u32,
}

/// The standing faults of one batch, and what each struck.
#[derive(Clone, Debug, Default)]
pub struct FaultBook {
    standing: Vec<StandingFault>,
    /// Of the sagas of the batch, if a fault asks for a tag.
    tags: BTreeMap<SagaId, BTreeMap<String, String>>,
    struck: Vec<Strike>,
}

impl FaultBook {
    /// A book of these faults, in this order: the first that strikes wins.
    pub fn new(standing: Vec<StandingFault>) -> Self {
        Self { standing, ..Self::default() }
    }

    /// Returns true if a fault asks for a tag: then [`FaultBook::know_tags`] must be told those of each saga.
    pub fn asks_for_tags(&self) -> bool {
        self.standing.iter().any(|standing| standing.fault.tag.is_some())
    }

    /// Tells the tags of a saga, an object of texts.
    pub fn know_tags(&mut self, saga_id: SagaId, tags: &Value) {
        let text = |(name, value): (&String, &Value)| Some((name.clone(), value.as_str()?.to_owned()));
        let tags = tags.as_object().into_iter().flatten().filter_map(text);
        self.tags.insert(saga_id, tags.collect());
    }

    /// The fault that this command must carry: one of its saga's own, else a standing one.
    ///
    /// `times` of a saga's own fault counts attempts; it is used up when an operator re-opens the step.
    pub fn strike(&mut self, own: &[Fault], target: &Target<'_>) -> Option<FaultKind> {
        let untagged = BTreeMap::new();
        let tags = self.tags.get(&target.key.saga_id).unwrap_or(&untagged);
        let is_left = |times: u32| target.key.generation == 1 && target.attempt <= times;
        let of_saga = own.iter().find(|f| f.times.is_none_or(is_left) && f.strikes(target, tags));
        if let Some(fault) = of_saga {
            return Some(fault.kind.clone());
        }
        let standing = self
            .standing
            .iter_mut()
            .find(|s| s.remaining.is_none_or(|left| left > 0) && s.fault.strikes(target, tags))?;
        standing.remaining = standing.remaining.map(|left| left - 1);
        let (key, attempt) = (target.key.clone(), target.attempt);
        self.struck.push(Strike { fault: standing.id, key, attempt });
        Some(standing.fault.kind.clone())
    }

    /// Takes back what struck a saga whose decision is not kept: its commands are not sent.
    pub fn take_back(&mut self, saga_id: SagaId) {
        let (of_saga, others): (Vec<Strike>, Vec<Strike>) =
            self.struck.drain(..).partition(|strike| strike.key.saga_id == saga_id);
        self.struck = others;
        for standing in &mut self.standing {
            let again = of_saga.iter().filter(|strike| strike.fault == standing.id).count();
            let again = u32::try_from(again).unwrap_or(u32::MAX);
            standing.remaining = standing.remaining.map(|left| left.saturating_add(again));
        }
    }

    /// What the standing faults struck, in this order.
    pub fn struck(&self) -> &[Strike] {
        &self.struck
    }

    /// Returns true if there is nothing that could strike.
    pub fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;

    #[test]
    fn standing_fault_strikes_as_often_as_its_times_say() {
        let fault: Fault = serde_json::from_str(r#"{"step":"charge","kind":"fail","times":2}"#).unwrap();
        let mut book = FaultBook::new(vec![StandingFault { id: 9, remaining: fault.times, fault }]);
        let key: IdempotencyKey = "0190163d-8694-739b-aea5-966c26f8ad91/charge/action/1".parse().unwrap();
        let (saga, service, command) =
            (Name::new("s").unwrap(), Name::new("p").unwrap(), Name::new("c").unwrap());
        let target = Target { key: &key, attempt: 1, saga: &saga, service: &service, command: &command };
        let struck: Vec<bool> = (0..3).map(|_| book.strike(&[], &target).is_some()).collect();
        assert_eq!(struck, [true, true, false]);
        let strike = Strike { fault: 9, key: key.clone(), attempt: 1 };
        assert_eq!(book.struck(), [strike.clone(), strike.clone()]);
        // The decision is not kept: nothing was sent, and nothing struck.
        book.take_back(key.saga_id);
        assert!(book.struck().is_empty());
        assert!(book.strike(&[], &target).is_some());
        assert_eq!(book.struck(), [strike]);
    }

    #[test]
    fn tag_condition_looks_at_the_sagas_own_tags() {
        let fault: Fault = serde_json::from_str(r#"{"tag":"region:north","kind":"fail"}"#).unwrap();
        let mut book = FaultBook::new(vec![StandingFault { id: 9, remaining: fault.times, fault }]);
        assert!(book.asks_for_tags());
        let key: IdempotencyKey = "0190163d-8694-739b-aea5-966c26f8ad91/charge/action/1".parse().unwrap();
        let name = Name::new("s").unwrap();
        let target = Target { key: &key, attempt: 1, saga: &name, service: &name, command: &name };
        assert_eq!(book.strike(&[], &target), None);
        book.know_tags(key.saga_id, &serde_json::json!({ "region": "north" }));
        assert_eq!(book.strike(&[], &target), Some(FaultKind::Fail));
    }
}
