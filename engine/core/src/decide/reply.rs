//! What a reply means: an answer, a failed attempt, a late message or a contradiction.

use serde::Serialize;
use serde_json::json;

use crate::decide::Effect;
use crate::decide::machine::{Course, Machine};
use crate::definition::{ClosureError, LateSuccess, StepKind};
use crate::history::HistoryEvent;
use crate::ids::Phase;
use crate::json::JsonText;
use crate::message::{Outcome, Rejection, ReplyMessage};
use crate::state::{Cause, CauseKind, Finding, ParkCode, ParkReason, Progress, Question, StepError, Turn};

/// What the history keeps of an answer, byte for byte.
#[derive(Serialize)]
struct Answer<'a> {
    reply: &'a JsonText,
}

impl Machine<'_, '_> {
    pub(super) fn on_reply(&mut self, reply: ReplyMessage) -> Effect {
        let Some((place, _)) = self.ctx.definition.step(&reply.key.step) else {
            return self.late(&reply, "the definition has no such step");
        };
        let definition = self.ctx.definition;
        if (&reply.saga, reply.version) != (&definition.name, definition.version) {
            return self.late(&reply, "it speaks of another definition than the saga's");
        }
        if reply.service != self.step(place).service {
            return self.late(&reply, "it comes from a service that was not asked");
        }
        let stepped = &self.state.steps[place];
        if reply.key.generation != stepped.generation {
            // A generation is followed by another one only when its answer was a final no.
            let is_older = reply.key.generation < stepped.generation;
            return match &reply.outcome {
                Outcome::Done { .. } if is_older && reply.key.phase != Phase::Compensation => {
                    self.contradiction(&reply, "it had refused or fenced that generation of the step")
                }
                Outcome::Done { .. }
                | Outcome::Rejected(_)
                | Outcome::Failed { .. }
                | Outcome::Fenced
                | Outcome::Expired
                | Outcome::Refused { .. } => self.late(&reply, "it answers another generation of the step"),
            };
        }
        let told = stepped.told.as_ref().and_then(|told| Some((told.finding, told.verification.clone()?)));
        match (reply.key.phase, told) {
            (Phase::Action | Phase::Settlement, Some((finding, question))) => {
                self.on_verification(place, finding, question, &reply)
            }
            (Phase::Action | Phase::Settlement | Phase::Compensation, _)
                if matches!(self.course, Course::Over(_)) =>
            {
                self.on_closed(place, &reply)
            }
            (Phase::Action | Phase::Settlement, None) => self.on_outcome(place, &reply),
            (Phase::Compensation, _) => self.on_undo(place, &reply),
        }
    }

    /// An answer to "do it" or to "did you do it?": both are about the action.
    fn on_outcome(&mut self, place: usize, reply: &ReplyMessage) -> Effect {
        let Some(question) = self.asked(place, reply).filter(|q| q.phase != Phase::Compensation) else {
            return self.on_closed(place, reply);
        };
        match &reply.outcome {
            Outcome::Failed { message } => return self.on_failed(place, question, reply, message),
            Outcome::Refused { reason } => return self.on_refused(place, question, reply, reason),
            Outcome::Done { reply: answer } => {
                self.record_reply(reply, HistoryEvent::Done, &Answer { reply: answer });
                self.succeeded(place, &question, answer);
            }
            Outcome::Rejected(rejection) => {
                self.record_reply(reply, HistoryEvent::Rejected, &json!(rejection));
                self.rejected(place, question, rejection);
            }
            Outcome::Fenced => {
                self.record_reply(reply, HistoryEvent::Fenced, &json!({}));
                self.fenced(place, question);
            }
            Outcome::Expired => {
                self.record_reply(reply, HistoryEvent::Expired, &json!({}));
                self.expired(place, question);
            }
        }
        Effect::Moved
    }

    /// The question that a reply answers: the open one, or the one at which the step is parked if the reply is what
    /// was waited for in vain.
    fn asked(&self, place: usize, reply: &ReplyMessage) -> Option<Question> {
        let stepped = &self.state.steps[place];
        let answers = match &reply.outcome {
            Outcome::Done { .. } => true,
            Outcome::Rejected(_) | Outcome::Fenced => reply.key.phase != Phase::Compensation,
            Outcome::Failed { .. } | Outcome::Expired | Outcome::Refused { .. } => false,
        };
        let waited_in_vain = |(question, code): (&Question, ParkCode)| {
            let is_open = match code {
                ParkCode::CompensationFailed | ParkCode::Expired | ParkCode::Refused => true,
                ParkCode::RetriableRejected
                | ParkCode::Definition
                | ParkCode::Contradiction
                | ParkCode::Paused => false,
            };
            (is_open && answers).then(|| question.clone())
        };
        stepped.open().cloned().or_else(|| stepped.parked().and_then(waited_in_vain))
    }

    fn succeeded(&mut self, place: usize, question: &Question, answer: &JsonText) {
        self.close(place, Phase::Action, Progress::Succeeded);
        self.pass(place, Progress::Succeeded);
        self.state.steps[place].error = None;
        let is_unwanted = question.phase == Phase::Settlement
            && matches!(self.course, Course::Forward)
            && self.step(place).compensation().is_some_and(|c| c.late_success == LateSuccess::Compensate);
        // A reply that cannot be folded is in nobody's way on the way back: no compensation needs it.
        let is_going_back = is_unwanted || matches!(self.course, Course::Back { .. });
        match self.fold(place, answer) {
            Err(error) if !is_going_back => return self.park_closure(&error),
            Ok(()) | Err(_) => {}
        }
        if is_unwanted {
            return self.turn_back(Cause {
                step: Some(self.step(place).name.clone()),
                kind: CauseKind::LateSuccess,
                code: "late-success".to_owned(),
                message: "the step succeeded after it had been given up, and is undone then".to_owned(),
            });
        }
        self.advance();
    }

    /// Folds a reply into the data; keeps it for a retry if the closure fails.
    pub(super) fn fold(&mut self, place: usize, answer: &JsonText) -> Result<(), ClosureError> {
        match self.step(place).fold_reply(&self.state.data, answer) {
            Ok(data) => {
                self.state.data = data;
                self.state.steps[place].unfolded = None;
                Ok(())
            }
            Err(error) => {
                self.state.steps[place].unfolded = Some(answer.clone());
                Err(error)
            }
        }
    }

    fn rejected(&mut self, place: usize, question: Question, rejection: &Rejection) {
        self.set_error(place, &rejection.code, &rejection.message);
        if matches!(self.step(place).kind, StepKind::Retriable) {
            let message =
                format!("a retriable step was rejected: {} ({})", rejection.code, rejection.message);
            return self.park_step(place, question, ParkCode::RetriableRejected, message);
        }
        self.close(place, Phase::Action, Progress::Rejected);
        self.turn_or_go_on_back(Cause {
            step: Some(self.step(place).name.clone()),
            kind: CauseKind::Rejected,
            code: rejection.code.clone(),
            message: rejection.message.clone(),
        });
    }

    fn fenced(&mut self, place: usize, question: Question) {
        if matches!(self.step(place).kind, StepKind::Retriable) {
            let message = "a retriable step was fenced: it will never happen under this key".to_owned();
            return self.park_step(place, question, ParkCode::RetriableRejected, message);
        }
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

    fn expired(&mut self, place: usize, question: Question) {
        let message = "the participant no longer remembers this step: it may have happened or not; \
                       look there before you say which"
            .to_owned();
        self.set_error(place, "expired", &message);
        self.park_step(place, question, ParkCode::Expired, message);
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
    fn on_refused(&mut self, place: usize, question: Question, reply: &ReplyMessage, reason: &str) -> Effect {
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
            self.park_step(place, question, ParkCode::Refused, message);
        }
        Effect::Moved
    }

    fn on_undo(&mut self, place: usize, reply: &ReplyMessage) -> Effect {
        let Some(question) = self.asked(place, reply).filter(|q| q.phase == Phase::Compensation) else {
            return self.on_closed(place, reply);
        };
        match &reply.outcome {
            Outcome::Failed { message } => self.on_failed(place, question, reply, message),
            Outcome::Refused { reason } => self.on_refused(place, question, reply, reason),
            Outcome::Done { reply: answer } => {
                self.record_reply(reply, HistoryEvent::Done, &Answer { reply: answer });
                self.undone(place);
                Effect::Moved
            }
            Outcome::Expired => {
                self.record_reply(reply, HistoryEvent::Expired, &json!({}));
                self.expired(place, question);
                Effect::Moved
            }
            // No participant that keeps the protocol says so; believing it would report amends that never were.
            Outcome::Rejected(_) | Outcome::Fenced => {
                let reason = format!("a compensation cannot be answered `{}`", reply.outcome.as_str());
                self.on_refused(place, question, reply, &reason)
            }
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

    /// What was said before, if this reply says the opposite.
    fn broken_promise(&self, place: usize, reply: &ReplyMessage) -> Option<&'static str> {
        let stepped = &self.state.steps[place];
        if reply.key.phase == Phase::Compensation {
            let elsewhere = stepped.told.as_ref().is_some_and(|told| told.finding == Finding::Compensated);
            return match &reply.outcome {
                Outcome::Done { .. } if elsewhere => Some("an operator told that it was undone elsewhere"),
                Outcome::Done { .. }
                | Outcome::Rejected(_)
                | Outcome::Failed { .. }
                | Outcome::Fenced
                | Outcome::Expired
                | Outcome::Refused { .. } => None,
            };
        }
        let happened = match &reply.outcome {
            Outcome::Done { .. } => true,
            Outcome::Rejected(_) | Outcome::Fenced => false,
            Outcome::Failed { .. } | Outcome::Expired | Outcome::Refused { .. } => return None,
        };
        match &stepped.progress {
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
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Parked { .. } => None,
        }
    }

    /// An open saga parks; an ended one keeps its status, and the fact is kept apart.
    pub(super) fn contradiction(&mut self, reply: &ReplyMessage, promised: &str) -> Effect {
        let said = reply.outcome.as_str();
        self.record_reply(reply, HistoryEvent::Contradiction, &json!({ "promised": promised, "said": said }));
        match &self.course {
            Course::Forward | Course::Back { .. } => self.park(ParkReason {
                step: Some(reply.key.step.clone()),
                phase: Some(reply.key.phase),
                code: ParkCode::Contradiction,
                message: format!(
                    "{} says `{said}` now, and before that: {promised}; look there for the truth",
                    reply.service
                ),
            }),
            Course::Over(_) => {}
        }
        Effect::Contradiction
    }

    pub(super) fn late(&mut self, reply: &ReplyMessage, why: &str) -> Effect {
        let detail = json!({ "outcome": reply.outcome.as_str(), "why": why });
        self.record_reply(reply, HistoryEvent::Late, &detail);
        Effect::Noted
    }

    pub(super) fn record_reply(
        &mut self,
        reply: &ReplyMessage,
        event: HistoryEvent,
        detail: &impl Serialize,
    ) {
        self.record_step(event, &reply.key.step, reply.key.phase, reply.attempt, detail);
    }
}

/// Whether a `failed` speaks of the attempt that is waited for.
fn is_current(question: &Question, reply: &ReplyMessage) -> bool {
    question.phase == reply.key.phase && question.attempt == reply.attempt && question.turn == Turn::Asked
}
