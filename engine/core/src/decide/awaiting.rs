//! Waits for answers that come later.
//!
//! A participant that answers `accepted` has the command, and will answer by itself: after an approval, a call back, a
//! week. Until then nothing is retried. The participant is authoritative for the answer; one that is lost on its way is
//! asked for now and then, with the same attempt, which costs neither an attempt nor a row of the history. When the
//! time is over in which the answer must come, the step is settled: the participant gives it up, answers, or says that
//! it cannot be given up, and then it is awaited on, without an end. A retriable step and a compensation are awaited
//! without an end from the first.
//!
//! A person may give the answer, where the definition allows it. It travels to the participant as the payload of a
//! settlement, since an answer that the service has given before counts.

use serde_json::{Value, json};

use crate::decide::event::Effect;
use crate::decide::machine::Machine;
use crate::decide::operator::Refusal;
use crate::definition::{AnswersFrom, StepKind};
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase, after_ms};
use crate::inbox::GivenAnswer;
use crate::json::JsonText;
use crate::message::ReplyMessage;
use crate::retry::RetryPolicy;
use crate::state::{AttemptState, PendingCommand, Progress};

impl Machine<'_, '_> {
    /// The participant says that the answer comes later.
    pub(super) fn on_accepted(
        &mut self,
        step_index: usize,
        pending: PendingCommand,
        reply: &ReplyMessage,
    ) -> Effect {
        if pending.phase != reply.key.phase {
            return self.late(reply, "the command is being settled");
        }
        if pending.attempt_state == AttemptState::Awaiting {
            return Effect::Ignored;
        }
        self.record_reply(reply, HistoryEvent::Accepted, &json!({}));
        let step = self.step(step_index);
        let waits_for_ever = pending.phase != Phase::Action || matches!(step.kind, StepKind::Retriable);
        let answer_by = pending.answer_by.unwrap_or_else(|| after_ms(self.ctx.now, step.answer_within_ms));
        let answer_by = (!waits_for_ever).then_some(answer_by);
        // It was sent, if the broker did not say so either.
        let pending = PendingCommand { attempt: pending.attempt.max(reply.attempt), ..pending };
        // The participant has the command: no attempt before it was in vain.
        let pending = PendingCommand { asked_again: 0, answer_by, ..pending.forgiven() };
        self.await_answer(step_index, pending);
        Effect::Moved
    }

    /// The time to ask again for an answer that comes later, or the end of the time in which it must come.
    pub(super) fn answer_is_due(&mut self, step_index: usize, pending: PendingCommand) {
        if pending.answer_by.is_some_and(|by| by <= self.ctx.now) {
            let limit_ms = self.step(step_index).answer_within_ms;
            self.set_error(
                step_index,
                "answer-overdue",
                &format!("the answer did not come within {limit_ms} ms"),
            );
            let detail = json!({ "answer_within_ms": limit_ms });
            self.record_attempt(HistoryEvent::TimedOut, step_index, &pending, &detail);
            return self.settle(step_index);
        }
        self.send_again(step_index, &pending);
        let asked_again = pending.asked_again.saturating_add(1);
        self.await_answer(step_index, PendingCommand { asked_again, ..pending });
    }

    fn await_answer(&mut self, step_index: usize, pending: PendingCommand) {
        let pause_ms = RetryPolicy::AWAITING.pause_ms(pending.asked_again + 1, self.ctx.jitter);
        let ask_again_at = after_ms(self.ctx.now, pause_ms);
        let until = pending.answer_by.map_or(ask_again_at, |by| by.min(ask_again_at));
        let awaiting = PendingCommand { attempt_state: AttemptState::Awaiting, until, ..pending };
        self.move_step(step_index, Progress::Open(awaiting));
    }

    /// A person gives the answer that is awaited.
    pub(super) fn on_answer(
        &mut self,
        step: &Name,
        answer: &GivenAnswer,
        mut who: Value,
    ) -> Result<(), Refusal> {
        let (step_index, defined) = self.ctx.definition.step(step).ok_or(Refusal::UnknownStep)?;
        if defined.answers_from != AnswersFrom::ServiceAndPeople {
            return Err(Refusal::NotForPeople);
        }
        let is_awaited = self.state.steps[step_index].open().is_some_and(|pending| {
            pending.attempt_state == AttemptState::Awaiting && pending.phase != Phase::Compensation
        });
        if !is_awaited {
            return Err(Refusal::NotAwaiting);
        }
        if let GivenAnswer::Done { reply } = answer {
            reply.check_sendable().map_err(|_| Refusal::ReplyDoesNotFit)?;
            defined.fold_reply(&self.state.data, reply).map_err(|_| Refusal::ReplyDoesNotFit)?;
        }
        who["answer"] = json!(answer);
        self.record_unsent(HistoryEvent::AnswerGiven, step, Phase::Action, &who);
        let payload = JsonText::of(answer).expect("an answer is JSON and texts");
        let settlement = PendingCommand { payload, ..self.settlement(step_index) };
        self.ask(step_index, settlement);
        Ok(())
    }
}
