//! Going forward: stages, conditions, notifications, retries, settlement, timers.

use serde::Serialize;
use serde_json::json;

use crate::decide::machine::{Dispatched, Failure, Machine};
use crate::definition::{ClosureError, StepKind};
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase, Timestamp, ms_between};
use crate::json::JsonText;
use crate::message::NotificationMessage;
use crate::state::{
    AttemptState, Cause, CauseKind, Direction, End, Hold, ParkCode, PendingCommand, Progress,
};

/// The detail of the history row of a start.
#[derive(Serialize)]
struct Begun<'a> {
    saga: &'a Name,
    version: u32,
    data: &'a JsonText,
}

/// The detail of the history row of an attempt that was not answered.
#[derive(Serialize)]
struct TimedOut {
    timeout_ms: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    since: Option<Timestamp>,
}

impl Machine<'_, '_> {
    /// Begins a saga: its first row, and its places in the orders of its keys.
    pub(super) fn begin(&mut self) {
        self.record_start();
        if let Err(error) = self.take_places() {
            self.park_closure(&error);
        }
    }

    /// The first row of a saga.
    fn record_start(&mut self) {
        let definition = self.ctx.definition;
        let data = self.state.data.clone();
        let detail = Begun { saga: &definition.name, version: definition.version, data: &data };
        self.record(HistoryEvent::Started, &detail);
    }

    /// Starts the next stage once every step before it is passed; a saga that has passed all is completed.
    pub(super) fn go_on(&mut self) {
        while self.state.hold.is_none() && matches!(self.state.direction, Direction::Forward) {
            if self.has_failed() {
                return;
            }
            let Some(first) = self.state.steps.iter().position(|step| !step.progress().is_passed()) else {
                self.end(End::Completed);
                return self.record(HistoryEvent::Completed, &json!({}));
            };
            let stage = self.step(first).stage;
            let is_next = |step_index: &usize| {
                self.step(*step_index).stage == stage && *self.progress(*step_index) == Progress::Pending
            };
            let next: Vec<usize> = (first..self.state.steps.len()).filter(is_next).collect();
            if next.is_empty() {
                return;
            }
            // Nothing new is sent after the deadline, whatever led here and however long it took.
            if self.check_deadline() {
                return;
            }
            for step_index in &next {
                if let Err(error) = self.start_step(*step_index) {
                    return self.park_closure(&error);
                }
            }
            // All that is left waits for its place in an order.
            if next.iter().all(|step_index| *self.progress(*step_index) == Progress::Pending) {
                return;
            }
        }
    }

    fn start_step(&mut self, step_index: usize) -> Result<(), ClosureError> {
        let step = self.step(step_index);
        if !step.applies(&self.state.data)? {
            self.record_unsent(HistoryEvent::Skipped, &step.name, Phase::Action, &json!({}));
            self.move_step(step_index, Progress::Skipped);
            self.pass(step_index);
            return Ok(());
        }
        if self.must_wait_for_place(step_index) {
            return Ok(());
        }
        match step.kind {
            StepKind::Wait(_) | StepKind::Event(_) => self.begin_wait(step_index)?,
            StepKind::Notification => {
                let payload = step.action_payload(&self.state.data)?;
                self.notify(step_index, payload);
            }
            StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable => {
                let payload = step.action_payload(&self.state.data)?;
                self.ask(step_index, PendingCommand::new(Phase::Action, payload, self.ctx.now));
            }
        }
        Ok(())
    }

    /// The saga goes on past a step; past the pivot no deadline counts any more.
    pub(super) fn pass(&mut self, step_index: usize) {
        if matches!(self.step(step_index).kind, StepKind::Pivot) {
            self.state.deadline_at = None;
        }
    }

    /// Sends a notification once and goes on: the engine neither knows nor asks whether it arrives.
    fn notify(&mut self, step_index: usize, payload: JsonText) {
        let (step, now) = (self.step(step_index), self.ctx.now);
        let detail = Dispatched {
            service: &step.service,
            command: &step.command,
            payload: Some(&payload),
            fault: None,
            since: None,
        };
        let step_state = &mut self.state.steps[step_index];
        step_state.attempts = 1;
        step_state.started_at = Some(now);
        step_state.ended_at = Some(now);
        self.record_step(HistoryEvent::Notified, &step.name, Phase::Action, 1, &detail);
        self.notifications.push(NotificationMessage {
            saga_id: self.ctx.saga_id,
            saga: self.ctx.definition.name.clone(),
            version: self.ctx.definition.version,
            step: step.name.clone(),
            service: step.service.clone(),
            command: step.command.clone(),
            traceparent: self.state.traceparent.clone(),
            payload,
        });
        self.move_step(step_index, Progress::Succeeded);
        self.pass(step_index);
    }

    /// An attempt failed or stayed unanswered: the command is sent again, or the step goes on to the next means.
    ///
    /// A compensation is given up only for answers: to a silent participant it is sent again, at the ceiling of the
    /// pauses.
    pub(super) fn attempt_failed(&mut self, step_index: usize, pending: PendingCommand, failure: Failure) {
        let step = self.step(step_index);
        let policy = step.retry_of(pending.phase);
        let pause_ms = policy.pause_ms(pending.counted(), self.ctx.jitter);
        let lasted_ms = self.lasted_ms(step_index, &pending);
        let silent = match failure {
            Failure::Silence => pending.silent + 1,
            Failure::Answer => pending.silent,
        };
        let pending = PendingCommand { silent, unsent: 0, ..pending };
        let counts = match (failure, pending.phase) {
            (Failure::Silence, Phase::Compensation) => false,
            (Failure::Silence, Phase::Action | Phase::Settlement) | (Failure::Answer, _) => true,
        };
        if !counts || matches!(step.kind, StepKind::Retriable) {
            return self.back_off(step_index, pending, pause_ms);
        }
        let (spent, tried_ms) = (pending.spent(), pending.tried_ms.saturating_add(lasted_ms));
        if !policy.is_used_up(spent, tried_ms) {
            let pause_ms = pause_ms.min(policy.left_ms(tried_ms));
            let tried_ms = policy.tried_ms_max.map_or(0, |_| tried_ms.saturating_add(pause_ms));
            return self.back_off(step_index, PendingCommand { tried_ms, ..pending }, pause_ms);
        }
        match pending.phase {
            Phase::Action | Phase::Settlement => self.settle(step_index),
            Phase::Compensation => {
                let is_often = policy.attempts_max.is_some_and(|max| spent >= max);
                let limit = if is_often { "as often" } else { "for as long" };
                let message = format!(
                    "the compensation failed {spent} times, {limit} as its policy allows; the ones behind it wait"
                );
                self.park_step(step_index, pending, ParkCode::CompensationFailed, message);
            }
        }
    }

    /// How long an attempt was out that has failed now, in milliseconds: never longer than its timeout, however late
    /// that is heard of and whatever the clock says.
    fn lasted_ms(&self, step_index: usize, pending: &PendingCommand) -> u64 {
        let timeout_ms = self.step(step_index).timeout_ms_of(pending.phase);
        timeout_ms.saturating_sub(ms_between(self.ctx.now, pending.until))
    }

    /// Sends the settlement of an action, which fences the action if it never happened.
    pub(super) fn settle(&mut self, step_index: usize) {
        if !self.step(step_index).is_remembered() {
            return self.give_up_unremembered(step_index);
        }
        self.ask(step_index, self.settlement(step_index));
    }

    /// Acts on everything whose time has run out: unanswered attempts, pauses, the deadline.
    ///
    /// The time of a parked saga stands still; that of a paused one only for its pending commands. A resolution is
    /// verified in any case.
    pub(super) fn on_timer(&mut self) {
        self.verify_due();
        match self.state.hold {
            Hold::Parked { .. } => {}
            Hold::Paused => {
                self.check_deadline();
            }
            Hold::None => {
                self.check_deadline();
                self.ask_due();
                // A saga that was started inside a transaction of its caller's has sent nothing yet.
                self.go_on();
            }
        }
    }

    /// Sends again, gives an attempt up or ends a wait where time has run out.
    pub(super) fn ask_due(&mut self) {
        if self.state.is_ended() {
            return;
        }
        self.wake_due();
        let due: Vec<(usize, PendingCommand)> = self
            .state
            .open()
            .filter(|(_, pending)| pending.until <= self.ctx.now)
            .map(|(step_index, pending)| (step_index, pending.clone()))
            .collect();
        for (step_index, pending) in due {
            // A step before it may have turned the saga back: then this one is settled already.
            if self.state.steps[step_index].open() != Some(&pending) {
                continue;
            }
            match pending.attempt_state {
                AttemptState::Backoff => self.ask(step_index, pending),
                AttemptState::Awaiting => self.answer_is_due(step_index, pending),
                AttemptState::Sent => {
                    self.record_timeout(step_index, &pending);
                    self.attempt_failed(step_index, pending, Failure::Silence);
                }
            }
        }
    }

    pub(super) fn record_timeout(&mut self, step_index: usize, pending: &PendingCommand) {
        let step = self.step(step_index);
        let timeout_ms = step.timeout_ms_of(pending.phase);
        self.set_error(step_index, "timed-out", &format!("no answer within {timeout_ms} ms"));
        let detail = TimedOut { timeout_ms, since: self.asked_since(step_index, pending) };
        // That it was stored is known by now.
        let pending = PendingCommand { unsent: 0, ..pending.clone() };
        self.record_attempt(HistoryEvent::TimedOut, step_index, &pending, &detail);
    }

    /// A saga that is late turns back before its pivot; at its pivot it settles the pivot; after its pivot it goes on.
    ///
    /// Returns true if the deadline has passed just now.
    fn check_deadline(&mut self) -> bool {
        let passed = self.state.deadline_at.is_some_and(|deadline| deadline <= self.ctx.now);
        if !passed || !matches!(self.state.direction, Direction::Forward) {
            return false;
        }
        self.state.deadline_at = None;
        self.record(HistoryEvent::DeadlinePassed, &json!({}));
        match self.pivot() {
            Some((_, Progress::Pending)) | None => self.turn_back(Cause {
                step: None,
                kind: CauseKind::Deadline,
                code: "deadline-passed".to_owned(),
                message: "the saga took longer than its deadline allows".to_owned(),
            }),
            Some((step_index, Progress::Open(PendingCommand { phase: Phase::Action, .. }))) => {
                self.settle(step_index)
            }
            // It is being settled already, or it has decided.
            Some((
                _,
                Progress::Open(_)
                | Progress::Succeeded
                | Progress::Rejected
                | Progress::Fenced
                | Progress::InDoubt
                | Progress::Skipped
                | Progress::Compensated
                | Progress::Waiting { .. }
                | Progress::TimedOut
                | Progress::GivenUp
                | Progress::Parked { .. },
            )) => {}
        }
        true
    }

    /// The pivot's index and progress, if the definition has one.
    pub(super) fn pivot(&self) -> Option<(usize, &Progress)> {
        let step_index =
            self.ctx.definition.steps.iter().position(|step| matches!(step.kind, StepKind::Pivot))?;
        Some((step_index, self.progress(step_index)))
    }
}
