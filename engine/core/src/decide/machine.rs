//! The tools with which a decision is put together: asking, recording, parking.

use serde::Serialize;
use serde_json::json;

use crate::decide::{Context, Decision, Effect, after_ms};
use crate::definition::{ClosureError, Step};
use crate::fault::Target;
use crate::history::{HistoryEntry, HistoryEvent};
use crate::ids::{IdempotencyKey, Name, Phase};
use crate::json::JsonText;
use crate::message::{CommandMessage, NotificationMessage};
use crate::state::{
    Cause, Closed, ParkCode, ParkReason, Place, Progress, Question, SagaState, Status, StepError, Turn,
    Unwinding,
};

/// Which way the saga goes, whatever holds it up.
pub(super) enum Course {
    Forward,
    Back { cause: Cause, unwinding: Unwinding },
    Over(Status),
}

/// What holds a saga up: answers are heard and questions kept, but nothing is sent.
pub(super) enum Hold {
    /// Every reason that still stands, in the order in which they came; never none. The saga goes on when the last
    /// of them is gone.
    Parked(Vec<ParkReason>),
    Paused,
}

/// What the history keeps of a message that was sent.
#[derive(Serialize)]
pub(super) struct Dispatched<'a> {
    pub(super) service: &'a Name,
    pub(super) command: &'a Name,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) payload: Option<&'a JsonText>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) fault: Option<String>,
}

/// A decision in the making. The status is taken apart into course and hold, and put together again at the end.
pub(super) struct Machine<'c, 'd> {
    pub(super) ctx: &'c mut Context<'d>,
    pub(super) state: SagaState,
    pub(super) course: Course,
    pub(super) hold: Option<Hold>,
    commands: Vec<CommandMessage>,
    pub(super) notifications: Vec<NotificationMessage>,
    history: Vec<HistoryEntry>,
}

impl<'c, 'd> Machine<'c, 'd> {
    pub(super) fn new(ctx: &'c mut Context<'d>, mut state: SagaState) -> Self {
        let (course, hold) = match std::mem::replace(&mut state.status, Status::Running) {
            Status::Parked { reason, others, place } => {
                (place.into(), Some(Hold::Parked([vec![reason], others].concat())))
            }
            Status::Paused { place } => (place.into(), Some(Hold::Paused)),
            Status::Running => (Course::Forward, None),
            Status::Compensating { cause, unwinding } => (Course::Back { cause, unwinding }, None),
            end @ (Status::Completed | Status::Compensated { .. } | Status::Closed { .. }) => {
                (Course::Over(end), None)
            }
        };
        Self {
            ctx,
            state,
            course,
            hold,
            commands: Vec::new(),
            notifications: Vec::new(),
            history: Vec::new(),
        }
    }

    pub(super) fn finish(mut self, effect: Effect) -> Decision {
        let place = match self.course {
            Course::Forward => Ok(Place::Running),
            Course::Back { cause, unwinding } => Ok(Place::Compensating { cause, unwinding }),
            Course::Over(end) => Err(end),
        };
        self.state.status = match (place, self.hold) {
            (Ok(place), Some(Hold::Parked(mut reasons))) => {
                let reason = reasons.remove(0);
                Status::Parked { reason, others: reasons, place }
            }
            (Ok(place), Some(Hold::Paused)) => Status::Paused { place },
            (Ok(place), None) => place.into(),
            (Err(end), _) => end,
        };
        Decision {
            state: self.state,
            commands: self.commands,
            notifications: self.notifications,
            history: self.history,
            effect,
        }
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

    /// Sends the next attempt of a question; while the saga is held up, keeps it until it goes on.
    pub(super) fn ask(&mut self, place: usize, question: Question) {
        let now = self.ctx.now;
        if self.hold.is_some() {
            let kept = Question { turn: Turn::Backoff, until: now, ..question };
            self.state.steps[place].progress = Progress::Open(kept);
            return;
        }
        let question = self.send(place, question);
        self.state.steps[place].progress = Progress::Open(question);
    }

    /// Sends the next attempt of a question, counts and records it.
    pub(super) fn send(&mut self, place: usize, question: Question) -> Question {
        let step = self.step(place);
        let now = self.ctx.now;
        let (phase, attempt) = (question.phase, question.attempt + 1);
        let stepped = &mut self.state.steps[place];
        match phase {
            Phase::Action => stepped.attempts = attempt,
            Phase::Compensation => stepped.compensation_attempts = attempt,
            Phase::Settlement => stepped.settlement_attempts = attempt,
        }
        stepped.started_at.get_or_insert(now);
        let until = after_ms(now, step.timeout_ms_of(phase));
        let question = Question { attempt, turn: Turn::Asked, until, ..question };
        let command = self.command(place, &question, true);
        let detail = Dispatched {
            service: &command.service,
            command: &command.command,
            payload: (attempt == 1 && phase != Phase::Settlement).then_some(&command.payload),
            fault: command.fault.as_ref().map(ToString::to_string),
        };
        self.record_step(HistoryEvent::Sent, &step.name, phase, attempt, &detail);
        self.commands.push(command);
        question
    }

    /// The question what became of a step's action, not sent yet. Its attempts go on counting, as their numbers are
    /// part of the message ids.
    pub(super) fn settlement(&self, place: usize) -> Question {
        let attempt = self.state.steps[place].settlement_attempts;
        Question {
            attempt,
            forgiven: attempt,
            ..Question::new(Phase::Settlement, JsonText::null(), self.ctx.now)
        }
    }

    /// Publishes the open commands once more, same attempt and message id: a crash may have lost them.
    pub(super) fn ask_again_as_before(&mut self) {
        if self.hold.is_some() || matches!(self.course, Course::Over(_)) {
            return;
        }
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

    /// Closes the question of a step with its final answer. If the saga was parked for want of it, it goes on.
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
        self.release(place);
    }

    /// Takes what a step itself was parked for out of the reasons.
    pub(super) fn release(&mut self, place: usize) {
        let name = self.state.steps[place].name.clone();
        self.forget_reasons(|reason| reason.step.as_ref() == Some(&name) && reason.code.is_of_its_step());
    }

    /// Takes reasons to be parked away; the saga is held up as long as one is left.
    pub(super) fn forget_reasons(&mut self, is_gone: impl Fn(&ParkReason) -> bool) {
        if let Some(Hold::Parked(reasons)) = &mut self.hold {
            reasons.retain(|reason| !is_gone(reason));
            if reasons.is_empty() {
                self.hold = None;
            } else if reasons.iter().all(|reason| reason.code == ParkCode::Paused) {
                self.hold = Some(Hold::Paused);
            }
        }
    }

    /// Why the saga is parked; nothing if it is not.
    pub(super) fn reasons(&self) -> &[ParkReason] {
        match &self.hold {
            Some(Hold::Parked(reasons)) => reasons,
            Some(Hold::Paused) | None => &[],
        }
    }

    pub(super) fn set_error(&mut self, place: usize, code: &str, message: &str) {
        self.state.steps[place].error =
            Some(StepError { code: code.to_owned(), message: message.to_owned() });
    }

    /// Stops at a step until an operator acts.
    pub(super) fn park_step(&mut self, place: usize, question: Question, code: ParkCode, message: String) {
        let step = self.state.steps[place].name.clone();
        let phase = Some(question.phase);
        self.state.steps[place].progress = Progress::Parked { question, code };
        self.park(ParkReason { step: Some(step), phase, code, message });
    }

    /// Stops because a closure of the definition failed; the step's own progress is what it was.
    pub(super) fn park_closure(&mut self, error: &ClosureError) {
        let step = match error {
            ClosureError::Data { step, .. }
            | ClosureError::Unfit { step, .. }
            | ClosureError::Panicked { step, .. } => Some(step.clone()),
        };
        self.park(ParkReason { step, phase: None, code: ParkCode::Definition, message: error.to_string() });
    }

    /// Stops until an operator acts. A second reason does not replace the first: each must be gone.
    pub(super) fn park(&mut self, reason: ParkReason) {
        self.record(HistoryEvent::Parked, &json!(reason));
        match &mut self.hold {
            Some(Hold::Parked(reasons)) => {
                reasons.retain(|other| (&other.step, other.code) != (&reason.step, reason.code));
                reasons.push(reason);
            }
            // Whoever paused it has still to resume it.
            Some(Hold::Paused) => {
                let paused = ParkReason {
                    step: None,
                    phase: None,
                    code: ParkCode::Paused,
                    message: "an operator has paused it, too: `resume` it".to_owned(),
                };
                self.hold = Some(Hold::Parked(vec![reason, paused]));
            }
            None => self.hold = Some(Hold::Parked(vec![reason])),
        }
    }
}

impl From<Place> for Course {
    fn from(place: Place) -> Self {
        match place {
            Place::Running => Self::Forward,
            Place::Compensating { cause, unwinding } => Self::Back { cause, unwinding },
        }
    }
}
