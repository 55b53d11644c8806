//! Verifies the resolutions of operators.
//!
//! An operator may end a doubt by resolving a step. The engine believes the resolution at once, but not for ever: it
//! goes on asking the participant, whatever becomes of the saga, until the participant has an outcome or leaves a
//! fence. So no late command takes effect behind the operator's back, and if the participant says the opposite, that is
//! raised as a contradiction.

use serde_json::json;

use crate::decide::event::Effect;
use crate::decide::machine::Machine;
use crate::history::HistoryEvent;
use crate::ids::after_ms;
use crate::message::{Outcome, ReplyMessage};
use crate::retry::RetryPolicy;
use crate::state::{AttemptState, PendingCommand, ResolutionKind, UnverifiedResolution};

impl Machine<'_, '_> {
    /// Keeps a resolution and begins to verify it. One about a step that no participant remembers is believed for good.
    pub(super) fn verify(&mut self, step_index: usize, resolution: ResolutionKind) {
        if !self.step(step_index).is_remembered() {
            return;
        }
        let pending = self.settlement(step_index);
        let pending = self.send(step_index, pending);
        self.state.steps[step_index].unverified =
            Some(UnverifiedResolution { resolution, verification: Some(pending) });
    }

    /// Sends verifications again where time has run out.
    pub(super) fn verify_due(&mut self) {
        let due: Vec<(usize, PendingCommand)> = self
            .state
            .verifications()
            .filter(|(_, pending)| pending.until <= self.ctx.now)
            .map(|(step_index, pending)| (step_index, pending.clone()))
            .collect();
        for (step_index, pending) in due {
            let next = match pending.attempt_state {
                AttemptState::Backoff | AttemptState::Awaiting => self.send(step_index, pending),
                AttemptState::Sent => {
                    self.record_timeout(step_index, &pending);
                    self.later(pending)
                }
            };
            self.keep_verifying(step_index, next);
        }
    }

    fn later(&self, pending: PendingCommand) -> PendingCommand {
        let pause_ms = RetryPolicy::FOR_EVER.pause_ms(pending.counted(), self.ctx.jitter);
        PendingCommand {
            attempt_state: AttemptState::Backoff,
            until: after_ms(self.ctx.now, pause_ms),
            unsent: 0,
            ..pending
        }
    }

    pub(super) fn keep_verifying(&mut self, step_index: usize, pending: PendingCommand) {
        if let Some(unverified) = &mut self.state.steps[step_index].unverified {
            unverified.verification = Some(pending);
        }
    }

    /// A participant's answer to the verification of a resolution.
    pub(super) fn on_verification(
        &mut self,
        step_index: usize,
        resolution: ResolutionKind,
        pending: PendingCommand,
        reply: &ReplyMessage,
    ) -> Effect {
        let outcome = reply.outcome.as_str();
        let said = match &reply.outcome {
            // Asked again by and by, until the answer is there.
            Outcome::Accepted => return Effect::Ignored,
            Outcome::Failed { message: problem }
            | Outcome::Refused { reason: problem }
            | Outcome::InDoubt { reason: problem } => {
                let asked = (pending.phase, pending.attempt, pending.attempt_state);
                if asked != (reply.key.phase, reply.attempt, AttemptState::Sent) {
                    return self.late(reply, "it speaks of an older attempt");
                }
                self.record_failed(step_index, &pending, problem);
                let next = self.later(pending);
                self.keep_verifying(step_index, next);
                return Effect::Moved;
            }
            Outcome::Expired => {
                // The participant will never know the outcome; and it refuses a late command as expired, too.
                self.record_reply(reply, HistoryEvent::Expired, &json!({}));
                self.state.steps[step_index].unverified = None;
                return Effect::Moved;
            }
            Outcome::Done { .. } => ResolutionKind::Happened,
            Outcome::Rejected(_) | Outcome::Fenced => ResolutionKind::NeverHappened,
        };
        // A step that was undone elsewhere had happened; its resolution as compensated stays.
        let expected =
            if resolution == ResolutionKind::Compensated { ResolutionKind::Happened } else { resolution };
        self.state.steps[step_index].unverified = (resolution == ResolutionKind::Compensated)
            .then_some(UnverifiedResolution { resolution, verification: None });
        if said == expected || resolution == ResolutionKind::Unknown {
            self.record_reply(reply, HistoryEvent::Verified, &json!({ "outcome": outcome }));
            return Effect::Moved;
        }
        self.contradiction(reply, &format!("an operator told `{}`", resolution.as_str()))
    }
}
