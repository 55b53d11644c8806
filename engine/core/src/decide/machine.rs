//! The tools with which a decision is put together: asking, recording, parking.

use serde_json::{Value, json};

use crate::decide::{Context, Decision, Effect, after_ms};
use crate::definition::{ClosureError, Step};
use crate::fault::Target;
use crate::history::{HistoryEntry, HistoryEvent};
use crate::ids::{IdempotencyKey, Name, Phase};
use crate::json::JsonText;
use crate::message::CommandMessage;
use crate::state::{
    Closed, ParkCode, ParkReason, Place, Progress, Question, SagaState, Status, StepError, Turn,
};

/// A decision in the making.
pub(super) struct Machine<'c, 'd> {
    pub(super) ctx: &'c mut Context<'d>,
    pub(super) state: SagaState,
    commands: Vec<CommandMessage>,
    history: Vec<HistoryEntry>,
}

impl<'c, 'd> Machine<'c, 'd> {
    pub(super) fn new(ctx: &'c mut Context<'d>, state: SagaState) -> Self {
        Self { ctx, state, commands: Vec::new(), history: Vec::new() }
    }

    pub(super) fn finish(self, effect: Effect) -> Decision {
        Decision { state: self.state, commands: self.commands, history: self.history, effect }
    }

    /// Every move leaves a row in the history; without one nothing has moved.
    pub(super) fn moved(self) -> Decision {
        let effect = if self.history.is_empty() { Effect::Ignored } else { Effect::Moved };
        self.finish(effect)
    }

    pub(super) fn step(&self, place: usize) -> &'d Step {
        &self.ctx.definition.steps[place]
    }

    /// Appends a row about the saga as a whole.
    pub(super) fn record(&mut self, event: HistoryEvent, detail: &Value) {
        self.append(event, None, None, None, detail);
    }

    /// Appends a row about a step.
    pub(super) fn record_step(
        &mut self,
        event: HistoryEvent,
        step: &Name,
        phase: Phase,
        attempt: u32,
        detail: &Value,
    ) {
        self.append(event, Some(step.clone()), Some(phase), Some(attempt), detail);
    }

    fn append(
        &mut self,
        event: HistoryEvent,
        step: Option<Name>,
        phase: Option<Phase>,
        attempt: Option<u32>,
        detail: &Value,
    ) {
        self.state.history_length += 1;
        let detail = JsonText::of(detail).expect("a JSON value has string keys only");
        self.history.push(HistoryEntry {
            seq: self.state.history_length,
            at: self.ctx.now,
            event,
            step,
            phase,
            attempt,
            detail,
        });
    }

    /// Sends a question for the first or the next time.
    pub(super) fn ask(&mut self, place: usize, phase: Phase, attempt: u32, payload: JsonText) {
        let step = self.step(place);
        let now = self.ctx.now;
        let stepped = &mut self.state.steps[place];
        match phase {
            Phase::Action => stepped.attempts = attempt,
            Phase::Compensation => stepped.compensation_attempts = attempt,
            Phase::Settlement => stepped.settlement_attempts = attempt,
        }
        stepped.started_at.get_or_insert(now);
        let until = after_ms(now, step.timeout_ms);
        let question = Question { phase, attempt, turn: Turn::Asked, until, payload };
        let command = self.command(place, &question, true);
        let mut detail = json!({ "service": command.service, "command": command.command });
        if attempt == 1 && phase != Phase::Settlement {
            detail["payload"] = json!(command.payload);
        }
        if let Some(fault) = &command.fault {
            detail["fault"] = json!(fault.to_string());
        }
        self.state.steps[place].progress = Progress::Open(question);
        self.record_step(HistoryEvent::Sent, &step.name, phase, attempt, &detail);
        self.commands.push(command);
    }

    /// Publishes the open commands once more, same attempt and message id: a crash may have lost them.
    pub(super) fn ask_again_as_before(&mut self) {
        let asked: Vec<(usize, Question)> = self
            .state
            .open()
            .filter(|(_, question)| question.turn == Turn::Asked)
            .map(|(place, question)| (place, question.clone()))
            .collect();
        for (place, question) in asked {
            let command = self.command(place, &question, false);
            self.commands.push(command);
        }
    }

    fn command(&mut self, place: usize, question: &Question, may_fail: bool) -> CommandMessage {
        let step = self.step(place);
        let stepped = &self.state.steps[place];
        let command = match (question.phase, step.compensation()) {
            (Phase::Compensation, Some(compensation)) => &compensation.command,
            (Phase::Compensation, None) | (Phase::Action | Phase::Settlement, _) => &step.command,
        };
        let key = IdempotencyKey {
            saga_id: self.ctx.saga_id,
            step: step.name.clone(),
            phase: question.phase,
            generation: stepped.generation,
        };
        let target = Target {
            key: &key,
            attempt: question.attempt,
            saga: &self.ctx.definition.name,
            service: &step.service,
            command,
        };
        let fault = if may_fail { self.ctx.faults.strike(&self.state.faults, &target) } else { None };
        CommandMessage {
            attempt: question.attempt,
            saga: self.ctx.definition.name.clone(),
            version: self.ctx.definition.version,
            service: step.service.clone(),
            command: command.clone(),
            action_sent_at: stepped.started_at.unwrap_or(self.ctx.now),
            fault,
            traceparent: self.state.traceparent.clone(),
            payload: question.payload.clone(),
            key,
        }
    }

    /// Lets the next attempt of an open question wait for its time.
    pub(super) fn back_off(&mut self, place: usize, question: Question, pause_ms: u64) {
        let until = after_ms(self.ctx.now, pause_ms);
        self.state.steps[place].progress =
            Progress::Open(Question { turn: Turn::Backoff, until, ..question });
    }

    /// Closes the question of a step with its final answer.
    pub(super) fn close(&mut self, place: usize, phase: Phase, progress: Progress) {
        let stepped = &mut self.state.steps[place];
        let phase = match phase {
            Phase::Compensation => Phase::Compensation,
            Phase::Action | Phase::Settlement => Phase::Action,
        };
        self.state.closed_last =
            Some(Closed { step: stepped.name.clone(), phase, generation: stepped.generation });
        stepped.progress = progress;
        stepped.ended_at = Some(self.ctx.now);
    }

    pub(super) fn set_error(&mut self, place: usize, code: &str, message: &str) {
        self.state.steps[place].error =
            Some(StepError { code: code.to_owned(), message: message.to_owned() });
    }

    /// Stops at a step until an operator acts.
    pub(super) fn park_step(&mut self, place: usize, phase: Phase, code: ParkCode, message: String) {
        let step = self.state.steps[place].name.clone();
        self.state.steps[place].progress = Progress::Parked { phase };
        self.park(ParkReason { step: Some(step), phase: Some(phase), code, message });
    }

    /// Stops because a closure of the definition failed; the step's own progress is what it was.
    pub(super) fn park_closure(&mut self, error: &ClosureError) {
        let step = match error {
            ClosureError::Data { step, .. } | ClosureError::Panicked { step, .. } => Some(step.clone()),
        };
        self.park(ParkReason { step, phase: None, code: ParkCode::Definition, message: error.to_string() });
    }

    pub(super) fn park(&mut self, reason: ParkReason) {
        self.record(HistoryEvent::Parked, &json!(reason));
        let place = match std::mem::replace(&mut self.state.status, Status::Running) {
            Status::Running | Status::Completed => Place::Running,
            Status::Compensating { cause, unwinding } => Place::Compensating { cause, unwinding },
            Status::Parked { place, .. } => place,
            Status::Compensated { cause } => {
                unreachable!("an ended saga never parks; it was compensated because of {cause}")
            }
        };
        self.state.status = Status::Parked { reason, place };
    }
}
