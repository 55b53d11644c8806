//! What a reply means: an answer, a failed attempt, a late message or a contradiction.

use serde_json::{Value, json};

use crate::decide::Effect;
use crate::decide::machine::Machine;
use crate::definition::StepKind;
use crate::history::HistoryEvent;
use crate::ids::Phase;
use crate::json::JsonText;
use crate::message::{Outcome, Rejection, ReplyMessage};
use crate::state::{
    Cause, CauseKind, ParkCode, ParkReason, Place, Progress, Question, Status, StepError, Turn,
};

impl Machine<'_, '_> {
    pub(super) fn on_reply(&mut self, reply: ReplyMessage) -> Effect {
        let Some((place, _)) = self.ctx.definition.step(&reply.key.step) else {
            return self.late(&reply, "the definition has no such step");
        };
        if reply.key.generation != self.state.steps[place].generation {
            return self.late(&reply, "it answers an older generation of the step");
        }
        match reply.key.phase {
            Phase::Action | Phase::Settlement => self.on_outcome(place, reply),
            Phase::Compensation => self.on_undo(place, reply),
        }
    }

    /// An answer to "do it" or to "did you do it?": both are about the action.
    fn on_outcome(&mut self, place: usize, reply: ReplyMessage) -> Effect {
        let Some(question) = self.open_at(place).filter(|q| q.phase != Phase::Compensation) else {
            return self.on_closed(place, &reply);
        };
        match &reply.outcome {
            Outcome::Failed { message } => return self.on_failed(place, question, &reply, message),
            Outcome::Refused { reason } => return self.on_refused(place, &question, &reply, reason),
            Outcome::Done { reply: answer } => {
                self.record_reply(&reply, HistoryEvent::Done, &json!({ "reply": answer }));
                self.succeeded(place, answer);
            }
            Outcome::Rejected(rejection) => {
                self.record_reply(&reply, HistoryEvent::Rejected, &json!(rejection));
                self.rejected(place, rejection);
            }
            Outcome::Fenced => {
                self.record_reply(&reply, HistoryEvent::Fenced, &json!({}));
                self.fenced(place);
            }
            Outcome::Expired => {
                self.record_reply(&reply, HistoryEvent::Expired, &json!({}));
                self.expired(place, reply.key.phase);
            }
        }
        Effect::Moved
    }

    fn succeeded(&mut self, place: usize, answer: &JsonText) {
        self.close(place, Phase::Action, Progress::Succeeded);
        self.state.steps[place].error = None;
        match self.step(place).fold_reply(&self.state.data, answer) {
            Ok(data) => self.state.data = data,
            Err(error) => return self.park_closure(&error),
        }
        if matches!(self.step(place).kind, StepKind::Pivot) {
            self.state.deadline_at = None;
        }
        match &self.state.status {
            Status::Running => self.go_on(),
            Status::Compensating { .. } => self.unwind(),
            Status::Parked { .. } | Status::Completed | Status::Compensated { .. } => {}
        }
    }

    fn rejected(&mut self, place: usize, rejection: &Rejection) {
        self.set_error(place, &rejection.code, &rejection.message);
        if matches!(self.step(place).kind, StepKind::Retriable) {
            let message =
                format!("a retriable step was rejected: {} ({})", rejection.code, rejection.message);
            return self.park_step(place, Phase::Action, ParkCode::RetriableRejected, message);
        }
        self.close(place, Phase::Action, Progress::Rejected);
        self.turn_or_go_on_back(Cause {
            step: Some(self.step(place).name.clone()),
            kind: CauseKind::Rejected,
            code: rejection.code.clone(),
            message: rejection.message.clone(),
        });
    }

    fn fenced(&mut self, place: usize) {
        self.close(place, Phase::Action, Progress::Fenced);
        let error = self.state.steps[place].error.clone().unwrap_or(StepError {
            code: "fenced".to_owned(),
            message: "it never happened and never will".to_owned(),
        });
        self.turn_or_go_on_back(Cause {
            step: Some(self.step(place).name.clone()),
            kind: CauseKind::Fenced,
            message: format!("the step never happened; before it was settled: {}", error.message),
            code: error.code,
        });
    }

    /// The first failure is the cause; one that comes while the saga goes back already only ends a doubt.
    fn turn_or_go_on_back(&mut self, cause: Cause) {
        match &self.state.status {
            Status::Running => self.turn_back(cause),
            Status::Compensating { .. } => self.unwind(),
            Status::Parked { .. } | Status::Completed | Status::Compensated { .. } => {}
        }
    }

    fn expired(&mut self, place: usize, phase: Phase) {
        let message = "the participant no longer remembers this step: it may have happened or not; \
                       look there before you say which"
            .to_owned();
        self.set_error(place, "expired", &message);
        self.park_step(place, phase, ParkCode::Expired, message);
    }

    fn on_failed(&mut self, place: usize, question: Question, reply: &ReplyMessage, message: &str) -> Effect {
        if !is_current(&question, reply) {
            return self.late(reply, "it speaks of an older attempt");
        }
        self.record_reply(reply, HistoryEvent::Failed, &json!({ "message": message }));
        self.set_error(place, "failed", message);
        self.attempt_failed(place, question);
        Effect::Moved
    }

    /// Trying again is no use. An action in doubt can still be settled; anything else needs a person.
    fn on_refused(
        &mut self,
        place: usize,
        question: &Question,
        reply: &ReplyMessage,
        reason: &str,
    ) -> Effect {
        if question.phase != reply.key.phase {
            return self.late(reply, "the question is being settled");
        }
        self.record_reply(reply, HistoryEvent::Refused, &json!({ "reason": reason }));
        self.set_error(place, "refused", reason);
        let may_settle = !matches!(self.step(place).kind, StepKind::Retriable);
        if question.phase == Phase::Action && may_settle {
            self.settle(place);
        } else {
            let message = format!("the participant refused the command: {reason}");
            self.park_step(place, question.phase, ParkCode::Refused, message);
        }
        Effect::Moved
    }

    fn on_undo(&mut self, place: usize, reply: ReplyMessage) -> Effect {
        self.resume_parked_undo(place, &reply);
        let Some(question) = self.open_at(place).filter(|q| q.phase == Phase::Compensation) else {
            return self.on_closed(place, &reply);
        };
        match &reply.outcome {
            Outcome::Failed { message } => self.on_failed(place, question, &reply, message),
            Outcome::Refused { reason } => self.on_refused(place, &question, &reply, reason),
            Outcome::Done { reply: answer } => {
                self.record_reply(&reply, HistoryEvent::Done, &json!({ "reply": answer }));
                self.undone(place);
                Effect::Moved
            }
            Outcome::Expired => {
                self.record_reply(&reply, HistoryEvent::Expired, &json!({}));
                self.expired(place, Phase::Compensation);
                Effect::Moved
            }
            // No participant that keeps the protocol says so; believing it would report amends that never were.
            Outcome::Rejected(_) | Outcome::Fenced => {
                let reason = format!("a compensation cannot be answered `{}`", reply.outcome.as_str());
                self.on_refused(place, &question, &reply, &reason)
            }
        }
    }

    /// A compensation that was given up and got done after all: its reason to park is gone.
    fn resume_parked_undo(&mut self, place: usize, reply: &ReplyMessage) {
        let given_up = self.state.steps[place].progress == Progress::Parked { phase: Phase::Compensation };
        let Status::Parked { reason, place: Place::Compensating { cause, unwinding } } = &self.state.status
        else {
            return;
        };
        let by_budget = reason.code == ParkCode::CompensationFailed;
        if given_up && by_budget && matches!(reply.outcome, Outcome::Done { .. }) {
            self.state.status = Status::Compensating { cause: cause.clone(), unwinding: unwinding.clone() };
            let attempt = self.state.steps[place].compensation_attempts;
            self.state.steps[place].progress = Progress::Open(Question {
                phase: Phase::Compensation,
                attempt,
                turn: Turn::Asked,
                until: self.ctx.now,
                payload: JsonText::null(),
            });
        }
    }

    /// A reply to a question that is closed: a redelivery that may mean a lost command, a contradiction, or late.
    fn on_closed(&mut self, place: usize, reply: &ReplyMessage) -> Effect {
        if let Some(promise) = self.broken_promise(place, reply) {
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
        if closed_last && !matches!(reply.outcome, Outcome::Failed { .. }) {
            self.ask_again_as_before();
            return Effect::Ignored;
        }
        self.late(reply, "the question was answered before")
    }

    /// What the participant had said, if this reply says the opposite.
    fn broken_promise(&self, place: usize, reply: &ReplyMessage) -> Option<&'static str> {
        if reply.key.phase == Phase::Compensation {
            return None;
        }
        match (&self.state.steps[place].progress, &reply.outcome) {
            (Progress::Fenced, Outcome::Done { .. }) => Some("fenced"),
            (Progress::Rejected, Outcome::Done { .. }) => Some("rejected"),
            (Progress::Succeeded, Outcome::Rejected(_) | Outcome::Fenced) => Some("done"),
            (
                Progress::Pending
                | Progress::Open(_)
                | Progress::Succeeded
                | Progress::Rejected
                | Progress::Fenced
                | Progress::Compensated
                | Progress::Parked { .. },
                Outcome::Done { .. }
                | Outcome::Rejected(_)
                | Outcome::Failed { .. }
                | Outcome::Fenced
                | Outcome::Expired
                | Outcome::Refused { .. },
            ) => None,
        }
    }

    /// An open saga parks; an ended one keeps its status, and the fact is kept apart.
    fn contradiction(&mut self, reply: &ReplyMessage, promised: &str) -> Effect {
        let said = reply.outcome.as_str();
        self.record_reply(reply, HistoryEvent::Contradiction, &json!({ "promised": promised, "said": said }));
        match &self.state.status {
            Status::Running | Status::Compensating { .. } => self.park(ParkReason {
                step: Some(reply.key.step.clone()),
                phase: Some(reply.key.phase),
                code: ParkCode::Contradiction,
                message: format!(
                    "{} answered `{promised}` before and `{said}` now: look there for the truth",
                    reply.service
                ),
            }),
            Status::Parked { .. } | Status::Completed | Status::Compensated { .. } => {}
        }
        Effect::Contradiction
    }

    fn late(&mut self, reply: &ReplyMessage, why: &str) -> Effect {
        let detail = json!({ "outcome": reply.outcome.as_str(), "why": why });
        self.record_reply(reply, HistoryEvent::Late, &detail);
        Effect::Noted
    }

    fn record_reply(&mut self, reply: &ReplyMessage, event: HistoryEvent, detail: &Value) {
        self.record_step(event, &reply.key.step, reply.key.phase, reply.attempt, detail);
    }
}

/// Whether a `failed` speaks of the attempt that is waited for.
fn is_current(question: &Question, reply: &ReplyMessage) -> bool {
    question.phase == reply.key.phase && question.attempt == reply.attempt && question.turn == Turn::Asked
}
