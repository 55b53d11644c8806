//! Calls to a third party, and what it tells of them.

use std::time::Duration;

use redress_core::inbox::{Fingerprint, Record, Recorded};
use redress_core::{CommandMessage, IdempotencyKey, Outcome, Phase, Rejection, Timestamp};

use super::{Business, DisabledRule, Participants, ThirdParty};

impl Participants {
    /// Participants whose calls to a third party take so long at most; none at all without this.
    pub fn calls_taking(self, longest: Duration) -> Self {
        Self { calls_take: longest, ..self }
    }

    /// From now on the third party tells so much.
    pub fn set_third_party(&mut self, third_party: ThirdParty) {
        self.third_party = third_party;
    }

    /// How many calls are under way that have yet to take effect.
    pub fn calls_under_way(&self) -> usize {
        self.under_way.len()
    }

    /// Calls the third party, which does nothing twice under one key.
    pub(super) fn call(&mut self, command: &CommandMessage, now: Timestamp, business: &Business) -> Outcome {
        let (done, answered) = match business {
            Business::Called { done, answered } => (*done, *answered),
            Business::Done | Business::Later => (true, true),
            Business::Rejected(_) => (false, true),
            Business::Failed => (false, false),
        };
        if self.without == DisabledRule::Preparing {
            return self.call_unprepared(command, now, (done, answered));
        }
        let called_until = now + self.calls_take;
        let recorded = Recorded::Prepared { request: command.payload.clone(), called_until };
        let fingerprint = Some(Fingerprint::of(&command.command, &command.payload));
        self.remember(command.key.clone(), Record { fingerprint, recorded }, now);
        if !answered {
            if done {
                self.under_way.push((called_until, command.key.clone()));
                self.land_calls(now);
            }
            return no_answer();
        }
        if done {
            self.carry_out_call(&command.key);
        }
        match done || self.is_as_wanted(&command.key) {
            true => self.conclude(command, now, &Business::Done),
            false => self.conclude(command, now, &Business::Rejected(Rejection::new("declined", "no"))),
        }
    }

    /// Calls without a record: if the answer is lost, the next call is another one for the third party.
    fn call_unprepared(
        &mut self,
        command: &CommandMessage,
        now: Timestamp,
        (done, answered): (bool, bool),
    ) -> Outcome {
        if done {
            self.take_effect(&command.key);
        }
        match (answered, done) {
            (false, _) => no_answer(),
            (true, true) => self.conclude(command, now, &Business::Done),
            (true, false) => {
                self.conclude(command, now, &Business::Rejected(Rejection::new("declined", "no")))
            }
        }
    }

    /// Calls take effect that have come to the end of their time.
    pub(super) fn land_calls(&mut self, now: Timestamp) {
        let landed: Vec<_> = self.under_way.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, key) in landed {
            self.carry_out_call(&key);
        }
    }

    fn carry_out_call(&mut self, key: &IdempotencyKey) {
        if !self.is_as_wanted(key) {
            self.take_effect(key);
        }
    }

    /// Returns true if there is nothing left to do for a call under this key.
    fn is_as_wanted(&self, key: &IdempotencyKey) -> bool {
        self.effect(key.saga_id, &key.step) == i32::from(key.phase == Phase::Action)
    }

    /// Asks the third party what became of the call for an action.
    pub(super) fn inquire(&mut self, settlement: &CommandMessage, now: Timestamp) -> Outcome {
        let key = settlement.key.of_action();
        if self.without == DisabledRule::Inquiring {
            return self.never_happened(key, now);
        }
        let stands = self.effect(key.saga_id, &key.step) > 0;
        match self.third_party {
            ThirdParty::Silent => Outcome::InDoubt { reason: "the third party does not tell".to_owned() },
            ThirdParty::Tells if stands => {
                self.conclude(&CommandMessage { key, ..settlement.clone() }, now, &Business::Done)
            }
            ThirdParty::Tells => self.never_happened(key, now),
        }
    }

    fn never_happened(&mut self, action: IdempotencyKey, now: Timestamp) -> Outcome {
        self.remember(action, Record::fence(), now);
        Outcome::Fenced
    }
}

fn no_answer() -> Outcome {
    Outcome::Failed { message: "the third party did not answer".to_owned() }
}
