//! What an operator has told, and how it is verified.
//!
//! An operator may end a doubt by telling what became of a step. The engine believes it at once, but not for ever:
//! it goes on asking the participant, whatever becomes of the saga, until the participant has an outcome or leaves a
//! fence. So no late command takes effect behind the operator's back, and if the participant says the opposite, that
//! is raised as a contradiction.

use serde_json::json;

use crate::decide::Effect;
use crate::decide::machine::Machine;
use crate::history::HistoryEvent;
use crate::message::{Outcome, ReplyMessage};
use crate::retry::RetryPolicy;
use crate::state::{Finding, Question, Told, Turn};

use super::after_ms;

impl Machine<'_, '_> {
    /// Keeps what was told and begins to ask for it.
    pub(super) fn verify(&mut self, place: usize, finding: Finding) {
        let question = self.settlement(place);
        let question = self.send(place, question);
        self.state.steps[place].told = Some(Told { finding, verification: Some(question) });
    }

    /// Asks again what is verified, where time has run out.
    pub(super) fn verify_due(&mut self) {
        let due: Vec<(usize, Question)> = self
            .state
            .verifications()
            .filter(|(_, question)| question.until <= self.ctx.now)
            .map(|(place, question)| (place, question.clone()))
            .collect();
        for (place, question) in due {
            let next = match question.turn {
                Turn::Backoff => self.send(place, question),
                Turn::Asked => {
                    self.record_timeout(place, &question);
                    self.later(question)
                }
            };
            self.keep_verifying(place, next);
        }
    }

    fn later(&self, question: Question) -> Question {
        let pause_ms = RetryPolicy::FOR_EVER.pause_ms(question.counted(), self.ctx.jitter);
        Question { turn: Turn::Backoff, until: after_ms(self.ctx.now, pause_ms), ..question }
    }

    fn keep_verifying(&mut self, place: usize, question: Question) {
        if let Some(told) = &mut self.state.steps[place].told {
            told.verification = Some(question);
        }
    }

    /// A participant's word on what an operator has told.
    pub(super) fn on_verification(
        &mut self,
        place: usize,
        finding: Finding,
        question: Question,
        reply: &ReplyMessage,
    ) -> Effect {
        let outcome = reply.outcome.as_str();
        let said = match &reply.outcome {
            Outcome::Failed { message: problem } | Outcome::Refused { reason: problem } => {
                if question.attempt != reply.attempt || question.turn != Turn::Asked {
                    return self.late(reply, "it speaks of an older attempt");
                }
                self.record_reply(reply, HistoryEvent::Failed, &json!({ "message": problem }));
                let next = self.later(question);
                self.keep_verifying(place, next);
                return Effect::Moved;
            }
            Outcome::Expired => {
                // Nothing will ever be known there; and a late command is refused as expired, too.
                self.record_reply(reply, HistoryEvent::Expired, &json!({}));
                self.state.steps[place].told = None;
                return Effect::Moved;
            }
            Outcome::Done { .. } => Finding::Happened,
            Outcome::Rejected(_) | Outcome::Fenced => Finding::NeverHappened,
        };
        // What was undone elsewhere had happened; that it was undone stays told.
        let expected = if finding == Finding::Compensated { Finding::Happened } else { finding };
        self.state.steps[place].told =
            (finding == Finding::Compensated).then_some(Told { finding, verification: None });
        if said == expected || finding == Finding::Unknown {
            self.record_reply(reply, HistoryEvent::Verified, &json!({ "outcome": outcome }));
            return Effect::Moved;
        }
        self.contradiction(reply, &format!("an operator told `{}`", finding.as_str()))
    }
}
