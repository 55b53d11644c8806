//! Takes a reply as an answer, a failed attempt, a late message or a contradiction.

use serde::Serialize;
use serde_json::json;

use crate::decide::event::Effect;
use crate::decide::machine::{Failure, Machine};
use crate::definition::{ClosureError, InDoubt, LateSuccess, StepKind};
use crate::history::HistoryEvent;
use crate::ids::{Phase, Timestamp};
use crate::json::JsonText;
use crate::message::{Outcome, Rejection, ReplyMessage};
use crate::state::{
    AttemptState, Cause, CauseKind, Direction, ParkCode, PendingCommand, Progress, StepError,
};

/// The detail of the history row of an answer, byte for byte.
#[derive(Serialize)]
struct Answer<'a> {
    reply: &'a JsonText,
}

/// The detail of the history row of an attempt that failed.
#[derive(Serialize)]
struct FailedAttempt<'a> {
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

impl Machine<'_, '_> {
    pub(super) fn on_reply(&mut self, reply: ReplyMessage) -> Effect {
        let Some((step_index, _)) = self.ctx.definition.step(&reply.key.step) else {
            return self.late(&reply, "the definition has no such step");
        };
        let definition = self.ctx.definition;
        if (&reply.saga, reply.version) != (&definition.name, definition.version) {
            return self.late(&reply, "it speaks of another definition than the saga's");
        }
        if !self.step(step_index).kind.is_sent() {
            return self.late(&reply, "nothing is sent for this step");
        }
        if reply.service != self.step(step_index).service {
            return self.late(&reply, "it comes from a service that was not asked");
        }
        let step_state = &self.state.steps[step_index];
        if reply.key.generation != step_state.generation {
            // A generation is followed by another one only when its answer was a final no.
            let is_older = reply.key.generation < step_state.generation;
            return match &reply.outcome {
                Outcome::Done { .. }
                    if is_older
                        && reply.key.phase != Phase::Compensation
                        && self.step(step_index).is_remembered() =>
                {
                    let promise =
                        "it had refused or fenced that generation of the step, or an operator told so";
                    self.contradiction(&reply, promise)
                }
                Outcome::Done { .. }
                | Outcome::Rejected(_)
                | Outcome::Failed { .. }
                | Outcome::Fenced
                | Outcome::Expired
                | Outcome::Refused { .. }
                | Outcome::Accepted
                | Outcome::InDoubt { .. } => self.late(&reply, "it answers another generation of the step"),
            };
        }
        let unverified = step_state
            .unverified
            .as_ref()
            .and_then(|unverified| Some((unverified.resolution, unverified.verification.clone()?)));
        match (reply.key.phase, unverified) {
            (Phase::Action | Phase::Settlement, Some((resolution, pending))) => {
                self.on_verification(step_index, resolution, pending, &reply)
            }
            (Phase::Action | Phase::Settlement | Phase::Compensation, _) if self.state.is_ended() => {
                self.on_closed(step_index, &reply)
            }
            (Phase::Action | Phase::Settlement, None) => self.on_outcome(step_index, &reply),
            (Phase::Compensation, _) => self.on_undo(step_index, &reply),
        }
    }

    /// An answer to an action or to its settlement: both are about the action.
    fn on_outcome(&mut self, step_index: usize, reply: &ReplyMessage) -> Effect {
        let Some(pending) = self.asked(step_index, reply).filter(|q| q.phase != Phase::Compensation) else {
            return self.on_closed(step_index, reply);
        };
        match &reply.outcome {
            Outcome::Failed { message } => return self.on_failed(step_index, pending, reply, message),
            Outcome::Refused { reason } => return self.on_refused(step_index, pending, reply, reason),
            Outcome::Accepted => return self.on_accepted(step_index, pending, reply),
            Outcome::InDoubt { reason } => return self.on_in_doubt(step_index, pending, reply, reason),
            Outcome::Done { reply: answer } => {
                self.record_reply(reply, HistoryEvent::Done, &Answer { reply: answer });
                self.succeeded(step_index, &pending, answer);
            }
            Outcome::Rejected(rejection) => {
                self.record_reply(reply, HistoryEvent::Rejected, &json!(rejection));
                self.rejected(step_index, pending, rejection);
            }
            Outcome::Fenced => {
                self.record_reply(reply, HistoryEvent::Fenced, &json!({}));
                self.fenced(step_index, pending);
            }
            Outcome::Expired => {
                self.record_reply(reply, HistoryEvent::Expired, &json!({}));
                self.expired(step_index, pending);
            }
        }
        Effect::Moved
    }

    /// The command that a reply answers: the pending one, or the one at which the step is parked if the reply is the
    /// answer that was waited for in vain.
    fn asked(&self, step_index: usize, reply: &ReplyMessage) -> Option<PendingCommand> {
        let step_state = &self.state.steps[step_index];
        let answers = match &reply.outcome {
            Outcome::Done { .. } => true,
            Outcome::Rejected(_) | Outcome::Fenced => reply.key.phase != Phase::Compensation,
            Outcome::Failed { .. }
            | Outcome::Expired
            | Outcome::Refused { .. }
            | Outcome::Accepted
            | Outcome::InDoubt { .. } => false,
        };
        let waited_in_vain = |(pending, code): (&PendingCommand, ParkCode)| {
            let is_open = match code {
                ParkCode::CompensationFailed | ParkCode::Expired | ParkCode::Refused | ParkCode::InDoubt => {
                    true
                }
                ParkCode::RetriableRejected
                | ParkCode::Definition
                | ParkCode::Contradiction
                | ParkCode::Paused => false,
            };
            (is_open && answers).then(|| pending.clone())
        };
        step_state.open().cloned().or_else(|| step_state.parked().and_then(waited_in_vain))
    }

    fn succeeded(&mut self, step_index: usize, pending: &PendingCommand, answer: &JsonText) {
        self.close(step_index, Phase::Action, Progress::Succeeded);
        self.pass(step_index);
        self.state.steps[step_index].error = None;
        let is_unwanted = pending.phase == Phase::Settlement
            && matches!(self.state.direction, Direction::Forward)
            && self
                .step(step_index)
                .compensation()
                .is_some_and(|c| c.late_success == LateSuccess::Compensate);
        // A reply that cannot be folded does not stop the way back: no compensation needs it.
        let is_going_back = is_unwanted || matches!(self.state.direction, Direction::Back { .. });
        match self.fold(step_index, answer) {
            Err(error) if !is_going_back => return self.park_closure(&error),
            Ok(()) | Err(_) => {}
        }
        if is_unwanted {
            return self.turn_back(Cause {
                step: Some(self.step(step_index).name.clone()),
                kind: CauseKind::LateSuccess,
                code: "late-success".to_owned(),
                message: "the step succeeded after it had been given up, and is undone then".to_owned(),
            });
        }
        self.advance();
    }

    /// Folds a reply into the data; keeps it for a retry if the closure fails.
    pub(super) fn fold(&mut self, step_index: usize, answer: &JsonText) -> Result<(), ClosureError> {
        match self.step(step_index).fold_reply(&self.state.data, answer) {
            Ok(data) => {
                self.state.data = data;
                self.state.steps[step_index].unfolded = None;
                Ok(())
            }
            Err(error) => {
                self.state.steps[step_index].unfolded = Some(answer.clone());
                Err(error)
            }
        }
    }

    fn rejected(&mut self, step_index: usize, pending: PendingCommand, rejection: &Rejection) {
        self.set_error(step_index, &rejection.code, &rejection.message);
        if matches!(self.step(step_index).kind, StepKind::Retriable) {
            let message =
                format!("a retriable step was rejected: {} ({})", rejection.code, rejection.message);
            return self.park_step(step_index, pending, ParkCode::RetriableRejected, message);
        }
        self.close(step_index, Phase::Action, Progress::Rejected);
        self.fail_forward_or_continue_unwind(Cause {
            step: Some(self.step(step_index).name.clone()),
            kind: CauseKind::Rejected,
            code: rejection.code.clone(),
            message: rejection.message.clone(),
        });
    }

    fn fenced(&mut self, step_index: usize, pending: PendingCommand) {
        if matches!(self.step(step_index).kind, StepKind::Retriable) {
            let message = "a retriable step was fenced: it will never happen under this key".to_owned();
            return self.park_step(step_index, pending, ParkCode::RetriableRejected, message);
        }
        self.close(step_index, Phase::Action, Progress::Fenced);
        let error = self.state.steps[step_index].error.clone().unwrap_or(StepError {
            code: "fenced".to_owned(),
            message: "it never happened and never will".to_owned(),
        });
        self.fail_forward_or_continue_unwind(Cause {
            step: Some(self.step(step_index).name.clone()),
            kind: CauseKind::Fenced,
            message: format!("the step never happened; before it was settled: {}", error.message),
            code: error.code,
        });
    }

    fn expired(&mut self, step_index: usize, pending: PendingCommand) {
        let step = self.step(step_index);
        if !step.is_remembered() && !matches!(step.kind, StepKind::Retriable) {
            self.set_error(step_index, "expired", "its participant answered that the command is too old");
            return self.give_up_unremembered(step_index);
        }
        let message = "the participant no longer remembers this step: it may have happened or not; \
                       look there before you say which"
            .to_owned();
        self.set_error(step_index, "expired", &message);
        self.park_step(step_index, pending, ParkCode::Expired, message);
    }

    fn on_failed(
        &mut self,
        step_index: usize,
        pending: PendingCommand,
        reply: &ReplyMessage,
        message: &str,
    ) -> Effect {
        if !is_current(&pending, reply) {
            return self.late(reply, "it speaks of an older attempt");
        }
        self.record_failed(step_index, &pending, message);
        self.set_error(step_index, "failed", message);
        self.attempt_failed(step_index, pending, Failure::Answer);
        Effect::Moved
    }

    pub(super) fn record_failed(&mut self, step_index: usize, pending: &PendingCommand, message: &str) {
        let detail = FailedAttempt { message, since: self.asked_since(step_index, pending) };
        let pending = PendingCommand { unsent: 0, ..pending.clone() };
        self.record_attempt(HistoryEvent::Failed, step_index, &pending, &detail);
    }

    /// Trying again is no use. An action in doubt can still be settled; anything else needs an operator.
    fn on_refused(
        &mut self,
        step_index: usize,
        pending: PendingCommand,
        reply: &ReplyMessage,
        reason: &str,
    ) -> Effect {
        if pending.phase != reply.key.phase {
            return self.late(reply, "the command is being settled");
        }
        self.record_reply(reply, HistoryEvent::Refused, &json!({ "reason": reason }));
        self.set_error(step_index, "refused", reason);
        let may_settle = !matches!(self.step(step_index).kind, StepKind::Retriable);
        if pending.phase == Phase::Action && may_settle {
            self.settle(step_index);
        } else {
            let message = format!("the participant refused the command: {reason}");
            self.park_step(step_index, pending, ParkCode::Refused, message);
        }
        Effect::Moved
    }

    /// Nobody can say whether the step happened: it is undone as if it had, or an operator looks.
    fn on_in_doubt(
        &mut self,
        step_index: usize,
        pending: PendingCommand,
        reply: &ReplyMessage,
        reason: &str,
    ) -> Effect {
        if (pending.phase, reply.key.phase) != (Phase::Settlement, Phase::Settlement) {
            return self.late(reply, "the step is not being settled");
        }
        self.record_reply(reply, HistoryEvent::InDoubt, &json!({ "reason": reason }));
        self.set_error(step_index, "in-doubt", reason);
        let step = self.step(step_index);
        match step.compensation().map_or(InDoubt::Park, |compensation| compensation.in_doubt) {
            InDoubt::Park => {
                let message = format!(
                    "nobody can say whether the step happened: {reason}; look there before you say which"
                );
                self.park_step(step_index, pending, ParkCode::InDoubt, message);
            }
            InDoubt::Undo => {
                self.close(step_index, Phase::Action, Progress::InDoubt);
                self.fail_forward_or_continue_unwind(Cause {
                    step: Some(step.name.clone()),
                    kind: CauseKind::InDoubt,
                    code: "in-doubt".to_owned(),
                    message: format!("nobody can say whether the step happened, and it is undone: {reason}"),
                });
            }
        }
        Effect::Moved
    }

    fn on_undo(&mut self, step_index: usize, reply: &ReplyMessage) -> Effect {
        let Some(pending) = self.asked(step_index, reply).filter(|q| q.phase == Phase::Compensation) else {
            return self.on_closed(step_index, reply);
        };
        match &reply.outcome {
            Outcome::Failed { message } => self.on_failed(step_index, pending, reply, message),
            Outcome::Refused { reason } => self.on_refused(step_index, pending, reply, reason),
            Outcome::Accepted => self.on_accepted(step_index, pending, reply),
            Outcome::Done { reply: answer } => {
                self.record_reply(reply, HistoryEvent::Done, &Answer { reply: answer });
                self.undone(step_index);
                Effect::Moved
            }
            Outcome::Expired => {
                self.record_reply(reply, HistoryEvent::Expired, &json!({}));
                self.expired(step_index, pending);
                Effect::Moved
            }
            // No participant that keeps the protocol answers so; believing it would report a compensation that never
            // was.
            Outcome::Rejected(_) | Outcome::Fenced | Outcome::InDoubt { .. } => {
                let reason = format!("a compensation cannot be answered `{}`", reply.outcome.as_str());
                self.on_refused(step_index, pending, reply, &reason)
            }
        }
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

/// Returns true if a `failed` speaks of the attempt whose answer is awaited.
fn is_current(pending: &PendingCommand, reply: &ReplyMessage) -> bool {
    pending.phase == reply.key.phase
        && pending.attempt == reply.attempt
        && pending.attempt_state == AttemptState::Sent
}
