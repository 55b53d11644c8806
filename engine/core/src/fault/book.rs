//! The standing faults of an installation, and how often each may still strike.

use crate::fault::kind::FaultKind;
use crate::fault::model::{Fault, Target};

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

    /// Returns true if there is nothing that could strike.
    pub fn is_empty(&self) -> bool {
        self.standing.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{IdempotencyKey, Name};

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
        assert_eq!(book.struck().collect::<Vec<_>>(), [(9, 2)]);
    }
}
