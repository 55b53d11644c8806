//! Takes a reply to a command that is closed: a redelivery, a contradiction, or a late word without effect.
//!
//! The answers before it are authoritative. A redelivery of the last of them may mean that the command after it was
//! lost, which is published once more then. A reply that says the opposite of an answer is never believed, nor is it
//! passed over: the saga parks, or, once it has ended, the fact is kept apart.

use serde_json::json;

use crate::decide::event::Effect;
use crate::decide::machine::Machine;
use crate::history::HistoryEvent;
use crate::ids::Phase;
use crate::message::{Outcome, ReplyMessage};
use crate::state::{Direction, ParkCode, ParkReason, Progress, ResolutionKind};

impl Machine<'_, '_> {
    /// A reply to a command that is closed: a redelivery that may mean a lost command, a contradiction, or late.
    pub(super) fn on_closed(&mut self, step_index: usize, reply: &ReplyMessage) -> Effect {
        if let Some(promise) = self.broken_promise(step_index, reply) {
            return self.contradiction(reply, promise);
        }
        let phase = match reply.key.phase {
            Phase::Compensation => Phase::Compensation,
            Phase::Action | Phase::Settlement => Phase::Action,
        };
        let closed_last = self.state.closed_last.as_ref().is_some_and(|closed| {
            closed.step == reply.key.step
                && closed.phase == phase
                && closed.generation == reply.key.generation
        });
        if closed_last && !matches!(reply.outcome, Outcome::Failed { .. } | Outcome::Accepted) {
            self.republish_open();
            return Effect::Ignored;
        }
        match self.progress(step_index) {
            Progress::InDoubt => {
                self.late(reply, "the step is in doubt, and its answer no longer waited for")
            }
            Progress::Pending
            | Progress::Open(_)
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Waiting { .. }
            | Progress::TimedOut
            | Progress::GivenUp
            | Progress::Parked { .. } => self.late(reply, "the command was answered before"),
        }
    }

    /// The earlier answer, if this reply says the opposite. A participant that does not remember a step promises nothing.
    fn broken_promise(&self, step_index: usize, reply: &ReplyMessage) -> Option<&'static str> {
        if !self.step(step_index).is_remembered() {
            return None;
        }
        let step_state = &self.state.steps[step_index];
        if reply.key.phase == Phase::Compensation {
            let elsewhere = step_state
                .unverified
                .as_ref()
                .is_some_and(|unverified| unverified.resolution == ResolutionKind::Compensated);
            return match &reply.outcome {
                Outcome::Done { .. } if elsewhere => Some("an operator told that it was undone elsewhere"),
                Outcome::Done { .. }
                | Outcome::Rejected(_)
                | Outcome::Failed { .. }
                | Outcome::Fenced
                | Outcome::Expired
                | Outcome::Refused { .. }
                | Outcome::Accepted
                | Outcome::InDoubt { .. } => None,
            };
        }
        let happened = match &reply.outcome {
            Outcome::Done { .. } => true,
            Outcome::Rejected(_) | Outcome::Fenced => false,
            Outcome::Failed { .. }
            | Outcome::Expired
            | Outcome::Refused { .. }
            | Outcome::Accepted
            | Outcome::InDoubt { .. } => {
                return None;
            }
        };
        match step_state.progress() {
            Progress::Fenced if happened => Some("fenced"),
            Progress::Rejected | Progress::Parked { code: ParkCode::RetriableRejected, .. } if happened => {
                Some("rejected")
            }
            Progress::Succeeded if !happened => Some("done"),
            Progress::Pending
            | Progress::Open(_)
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::InDoubt
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Waiting { .. }
            | Progress::TimedOut
            | Progress::GivenUp
            | Progress::Parked { .. } => None,
        }
    }

    /// An open saga parks; an ended one keeps its status, and the fact is kept apart.
    pub(super) fn contradiction(&mut self, reply: &ReplyMessage, promised: &str) -> Effect {
        let said = reply.outcome.as_str();
        self.record_reply(reply, HistoryEvent::Contradiction, &json!({ "promised": promised, "said": said }));
        match &self.state.direction {
            Direction::Forward | Direction::Back { .. } => self.park(ParkReason {
                step: Some(reply.key.step.clone()),
                phase: Some(reply.key.phase),
                code: ParkCode::Contradiction,
                message: format!(
                    "{} says `{said}` now, and before that: {promised}; look there for the truth",
                    reply.service
                ),
            }),
            Direction::Ended(_) => {}
        }
        Effect::Contradiction
    }
}
