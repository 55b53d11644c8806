//! Answers that come later: the service gives them in a transaction of its own, and the first one counts.

use redress_core::inbox::{GivenAnswer, Record, Recorded};
use redress_core::{CommandMessage, IdempotencyKey, Outcome, Timestamp};

use super::{Business, DisabledRule, Participants};

impl Participants {
    /// The service gives the answer to a command that it left open; `None` if there is nothing to answer any more.
    pub fn answer(&mut self, key: &IdempotencyKey, answer: GivenAnswer, now: Timestamp) -> Option<Outcome> {
        let counts = |record: &&Record| match record.recorded {
            Recorded::Open => true,
            Recorded::Done { .. } | Recorded::Rejected(_) => self.without == DisabledRule::FirstAnswer,
            Recorded::Fenced | Recorded::Prepared { .. } | Recorded::GivenUp { .. } => false,
        };
        let fingerprint = self.inbox.get(key).filter(counts)?.fingerprint;
        let (outcome, recorded) = match answer {
            GivenAnswer::Done { reply } => (Outcome::Done { reply: reply.clone() }, Recorded::Done { reply }),
            GivenAnswer::Rejected(rejection) => {
                (Outcome::Rejected(rejection.clone()), Recorded::Rejected(rejection))
            }
        };
        if matches!(recorded, Recorded::Done { .. }) {
            self.take_effect(key);
        }
        self.remember(key.clone(), Record { fingerprint, recorded }, now);
        Some(outcome)
    }

    /// Returns true if anything is remembered of a command.
    pub fn remembers(&self, key: &IdempotencyKey) -> bool {
        self.inbox.contains_key(key)
    }

    /// The service is asked to give up an action whose answer was to come later.
    pub(super) fn give_up(
        &mut self,
        settlement: &CommandMessage,
        now: Timestamp,
        business: &Business,
    ) -> Outcome {
        match business {
            Business::Later => Outcome::Accepted,
            Business::Failed => Outcome::Failed { message: "injected".to_owned() },
            Business::Done | Business::Rejected(_) | Business::Called { .. } => {
                if self.without != DisabledRule::GivingUp {
                    self.remember(settlement.key.of_action(), Record::fence(), now);
                }
                Outcome::Fenced
            }
        }
    }
}
