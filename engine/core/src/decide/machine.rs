//! The tools with which a decision is put together: sending, recording, parking.

use serde::Serialize;

use crate::decide::event::{Context, Decision, Effect};
use crate::definition::Step;
use crate::fault::Target;
use crate::history::{ATTEMPT_ROWS_MAX, HistoryEntry, HistoryEvent, is_written};
use crate::ids::{IdempotencyKey, Name, Phase, Timestamp, after_ms};
use crate::json::JsonText;
use crate::message::{CommandMessage, NotificationMessage};
use crate::state::{
    AnsweredCommand, AttemptState, Direction, End, Hold, IllegalTransition, PendingCommand, Progress,
    SagaState, Transition,
};

/// The detail of the history row of a message that was sent.
#[derive(Serialize)]
pub(super) struct Dispatched<'a> {
    pub(super) service: &'a Name,
    pub(super) command: &'a Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<&'a JsonText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) since: Option<Timestamp>,
}

/// A decision in the making.
pub(super) struct Machine<'c, 'd> {
    pub(super) ctx: &'c mut Context<'d>,
    pub(super) state: SagaState,
    commands: Vec<CommandMessage>,
    pub(super) notifications: Vec<NotificationMessage>,
    history: Vec<HistoryEntry>,
    /// Rows that were not written, because the attempts that they are about are too many.
    left_out: u32,
    /// The moves of steps, in their order.
    transitions: Vec<Transition>,
    /// The first move that no step can make: nothing comes of the decision.
    illegal: Option<IllegalTransition>,
}

/// The way in which an attempt failed.
#[derive(Clone, Copy)]
pub(super) enum Failure {
    /// No answer came in time.
    Silence,
    /// The participant answered that it failed.
    Answer,
}

impl<'c, 'd> Machine<'c, 'd> {
    pub(super) const fn new(ctx: &'c mut Context<'d>, state: SagaState) -> Self {
        Self {
            ctx,
            state,
            commands: Vec::new(),
            notifications: Vec::new(),
            history: Vec::new(),
            left_out: 0,
            transitions: Vec::new(),
            illegal: None,
        }
    }

    pub(super) fn finish(mut self, effect: Effect) -> Decision {
        match effect {
            Effect::Moved | Effect::Noted | Effect::Contradiction | Effect::Given(_) => self.let_places_go(),
            Effect::Ignored | Effect::Refused(_) | Effect::Illegal(_) => {}
        }
        let (state, transitions) = (self.state, self.transitions);
        if let Some(illegal) = self.illegal {
            let (commands, notifications, history) = (Vec::new(), Vec::new(), Vec::new());
            let effect = Effect::Illegal(illegal);
            return Decision { state, commands, notifications, history, transitions, effect };
        }
        Decision {
            state,
            commands: self.commands,
            notifications: self.notifications,
            history: self.history,
            transitions,
            effect,
        }
    }

    /// Every move leaves a row in the history, or is one of many that leave a row now and then.
    pub(super) fn moved(self) -> Decision {
        let is_still = self.history.is_empty() && self.left_out == 0;
        let effect = if is_still { Effect::Ignored } else { Effect::Moved };
        self.finish(effect)
    }

    pub(super) fn step(&self, step_index: usize) -> &'d Step {
        &self.ctx.definition.steps[step_index]
    }

    /// Where a step stands.
    pub(super) fn progress(&self, step_index: usize) -> &Progress {
        self.state.steps[step_index].progress()
    }

    /// Moves a step.
    pub(super) fn move_step(&mut self, step_index: usize, to: Progress) {
        match self.state.steps[step_index].move_to(to) {
            Ok(transition) => self.transitions.push(transition),
            Err(illegal) => drop(self.illegal.get_or_insert(illegal)),
        }
    }

    /// Returns true once a step was to make a move that no step can make.
    pub(super) const fn has_failed(&self) -> bool {
        self.illegal.is_some()
    }

    /// Ends the saga; nothing holds it up any more.
    pub(super) fn end(&mut self, end: End) {
        self.state.direction = Direction::Ended(end);
        self.state.hold = Hold::None;
        self.state.ended_at = Some(self.ctx.now);
    }

    /// Appends a row about the saga as a whole.
    pub(super) fn record(&mut self, event: HistoryEvent, detail: &impl Serialize) {
        self.append(event, None, None, None, detail);
    }

    /// Appends a row about a step.
    pub(super) fn record_step(
        &mut self,
        event: HistoryEvent,
        step: &Name,
        phase: Phase,
        attempt: u32,
        detail: &impl Serialize,
    ) {
        self.append(event, Some(step.clone()), Some(phase), Some(attempt), detail);
    }

    /// Appends a row about an attempt at a pending command, unless it is one of so many that most leave none.
    pub(super) fn record_attempt(
        &mut self,
        event: HistoryEvent,
        step_index: usize,
        pending: &PendingCommand,
        detail: &impl Serialize,
    ) {
        let is_repeated = pending.unsent > 0 && !pending.unsent.is_power_of_two();
        if is_repeated || !is_written(pending.counted()) {
            self.left_out += 1;
            return;
        }
        let name = &self.step(step_index).name;
        self.record_step(event, name, pending.phase, pending.attempt, detail);
    }

    /// The time of the step's first attempt, if by now most attempts leave no row.
    pub(super) fn asked_since(&self, step_index: usize, pending: &PendingCommand) -> Option<Timestamp> {
        self.state.steps[step_index].started_at.filter(|_| pending.counted() > ATTEMPT_ROWS_MAX)
    }

    /// Appends a row about a step that was not sent.
    pub(super) fn record_unsent(
        &mut self,
        event: HistoryEvent,
        step: &Name,
        phase: Phase,
        detail: &impl Serialize,
    ) {
        self.append(event, Some(step.clone()), Some(phase), None, detail);
    }

    /// Notes a move that leaves no row.
    pub(super) const fn note_without_row(&mut self) {
        self.left_out += 1;
    }

    fn append(
        &mut self,
        event: HistoryEvent,
        step: Option<Name>,
        phase: Option<Phase>,
        attempt: Option<u32>,
        detail: &impl Serialize,
    ) {
        self.state.history_length += 1;
        let detail =
            JsonText::of(detail).expect("details are texts, numbers and JSON, under keys that are texts");
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

    /// Sends the next attempt of a pending command; while the saga is held up, keeps it until the saga goes on.
    pub(super) fn ask(&mut self, step_index: usize, pending: PendingCommand) {
        let now = self.ctx.now;
        if !self.state.hold.is_none() {
            let kept = PendingCommand { attempt_state: AttemptState::Backoff, until: now, ..pending };
            return self.move_step(step_index, Progress::Open(kept));
        }
        let pending = self.send(step_index, pending);
        self.move_step(step_index, Progress::Open(pending));
    }

    /// Sends the next attempt of a pending command, counts and records it.
    pub(super) fn send(&mut self, step_index: usize, pending: PendingCommand) -> PendingCommand {
        let step = self.step(step_index);
        let now = self.ctx.now;
        let (phase, attempt) = (pending.phase, pending.attempt + 1);
        let step_state = &mut self.state.steps[step_index];
        match phase {
            Phase::Action => step_state.attempts = attempt,
            Phase::Compensation => step_state.compensation_attempts = attempt,
            Phase::Settlement => step_state.settlement_attempts = attempt,
        }
        step_state.started_at.get_or_insert(now);
        let until = after_ms(now, step.timeout_ms_of(phase));
        let pending = PendingCommand { attempt, attempt_state: AttemptState::Sent, until, ..pending };
        let command = self.command(step_index, &pending, true);
        let is_first = attempt == 1 && pending.unsent == 0 && phase != Phase::Settlement;
        let detail = Dispatched {
            service: &command.service,
            command: &command.command,
            payload: is_first.then_some(&command.payload),
            fault: command.fault.as_ref().map(ToString::to_string),
            since: self.asked_since(step_index, &pending),
        };
        self.record_attempt(HistoryEvent::Sent, step_index, &pending, &detail);
        self.commands.push(command);
        pending
    }

    /// The settlement of a step's action, not sent yet. Its attempts go on counting, as their numbers are part of the
    /// message ids.
    pub(super) fn settlement(&self, step_index: usize) -> PendingCommand {
        let attempt = self.state.steps[step_index].settlement_attempts;
        let pending = PendingCommand::new(Phase::Settlement, JsonText::null(), self.ctx.now);
        PendingCommand { attempt, ..pending }.forgiven()
    }

    /// Publishes the pending commands once more, same attempt and message id: a crash may have lost them.
    pub(super) fn republish_open(&mut self) {
        if !self.state.hold.is_none() || self.state.is_ended() {
            return;
        }
        let asked: Vec<(usize, PendingCommand)> = self
            .state
            .open()
            .filter(|(_, pending)| pending.attempt_state == AttemptState::Sent)
            .map(|(step_index, pending)| (step_index, pending.clone()))
            .collect();
        for (step_index, pending) in asked {
            let command = self.command(step_index, &pending, false);
            self.commands.push(command);
        }
    }

    /// Publishes a pending command once more, same attempt and message id.
    pub(super) fn send_again(&mut self, step_index: usize, pending: &PendingCommand) {
        let command = self.command(step_index, pending, false);
        self.commands.push(command);
        self.left_out += 1;
    }

    fn command(&mut self, step_index: usize, pending: &PendingCommand, may_fail: bool) -> CommandMessage {
        let step = self.step(step_index);
        let step_state = &self.state.steps[step_index];
        let command = match (pending.phase, step.compensation()) {
            (Phase::Compensation, Some(compensation)) => &compensation.command,
            (Phase::Compensation, None) | (Phase::Action | Phase::Settlement, _) => &step.command,
        };
        let key = IdempotencyKey {
            saga_id: self.ctx.saga_id,
            step: step.name.clone(),
            phase: pending.phase,
            generation: step_state.generation,
        };
        let target = Target {
            key: &key,
            attempt: pending.attempt,
            saga: &self.ctx.definition.name,
            service: &step.service,
            command,
        };
        let fault = if may_fail { self.ctx.faults.strike(&self.state.faults, &target) } else { None };
        CommandMessage {
            attempt: pending.attempt,
            saga: self.ctx.definition.name.clone(),
            version: self.ctx.definition.version,
            service: step.service.clone(),
            command: command.clone(),
            action_sent_at: step_state.started_at.unwrap_or(self.ctx.now),
            fault,
            traceparent: self.state.traceparent.clone(),
            payload: pending.payload.clone(),
            key,
        }
    }

    /// Lets the next attempt of a pending command wait for its time.
    pub(super) fn back_off(&mut self, step_index: usize, pending: PendingCommand, pause_ms: u64) {
        let until = after_ms(self.ctx.now, pause_ms);
        let waiting = PendingCommand { attempt_state: AttemptState::Backoff, until, ..pending };
        self.move_step(step_index, Progress::Open(waiting));
    }

    /// Closes the pending command of a step with its final answer. If the saga was parked for want of it, it goes on.
    pub(super) fn close(&mut self, step_index: usize, phase: Phase, progress: Progress) {
        let step_state = &mut self.state.steps[step_index];
        let phase = match phase {
            Phase::Compensation => Phase::Compensation,
            Phase::Action | Phase::Settlement => Phase::Action,
        };
        self.state.closed_last =
            Some(AnsweredCommand { step: step_state.name.clone(), phase, generation: step_state.generation });
        step_state.ended_at = Some(self.ctx.now);
        self.move_step(step_index, progress);
        self.release(step_index);
    }
}
