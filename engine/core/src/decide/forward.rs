//! Going forward: stages, conditions, notifications, retries, settlement, timers.

use serde::Serialize;
use serde_json::json;

use crate::decide::machine::{Course, Dispatched, Hold, Machine};
use crate::definition::{ClosureError, StepKind};
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::json::JsonText;
use crate::message::NotificationMessage;
use crate::retry::RetryPolicy;
use crate::state::{Cause, CauseKind, ParkCode, Progress, Question, Status, Turn};

/// What the history keeps of a start.
#[derive(Serialize)]
struct Begun<'a> {
    saga: &'a Name,
    version: u32,
    data: &'a JsonText,
}

impl Machine<'_, '_> {
    /// The first row of a saga.
    pub(super) fn record_start(&mut self) {
        let definition = self.ctx.definition;
        let data = self.state.data.clone();
        let detail = Begun { saga: &definition.name, version: definition.version, data: &data };
        self.record(HistoryEvent::Started, &detail);
    }

    /// Starts the next stage once every step before it is passed; a saga that has passed all is completed.
    pub(super) fn go_on(&mut self) {
        while self.hold.is_none() && matches!(self.course, Course::Forward) {
            let Some(first) = self.state.steps.iter().position(|step| !step.progress.is_passed()) else {
                self.course = Course::Over(Status::Completed);
                self.state.ended_at = Some(self.ctx.now);
                return self.record(HistoryEvent::Completed, &json!({}));
            };
            let stage = self.step(first).stage;
            let is_next = |place: &usize| {
                self.step(*place).stage == stage && self.state.steps[*place].progress == Progress::Pending
            };
            let next: Vec<usize> = (first..self.state.steps.len()).filter(is_next).collect();
            if next.is_empty() {
                return;
            }
            // Whatever led here, and however long it took: nothing new is sent after the deadline.
            if self.check_deadline() {
                return;
            }
            for place in next {
                if let Err(error) = self.start_step(place) {
                    return self.park_closure(&error);
                }
            }
        }
    }

    fn start_step(&mut self, place: usize) -> Result<(), ClosureError> {
        let step = self.step(place);
        if !step.applies(&self.state.data)? {
            self.record_unsent(HistoryEvent::Skipped, &step.name, Phase::Action, &json!({}));
            self.pass(place, Progress::Skipped);
            return Ok(());
        }
        let payload = step.action_payload(&self.state.data)?;
        match step.kind {
            StepKind::Notification => self.notify(place, payload),
            StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable => {
                self.ask(place, Question::new(Phase::Action, payload, self.ctx.now));
            }
        }
        Ok(())
    }

    /// The saga goes on past a step; past the pivot no deadline counts any more.
    pub(super) fn pass(&mut self, place: usize, progress: Progress) {
        self.state.steps[place].progress = progress;
        if matches!(self.step(place).kind, StepKind::Pivot) {
            self.state.deadline_at = None;
        }
    }

    /// Tells somebody once and goes on: whether it arrives is not known and not asked.
    fn notify(&mut self, place: usize, payload: JsonText) {
        let (step, now) = (self.step(place), self.ctx.now);
        let detail = Dispatched {
            service: &step.service,
            command: &step.command,
            payload: Some(&payload),
            fault: None,
        };
        let stepped = &mut self.state.steps[place];
        stepped.attempts = 1;
        stepped.started_at = Some(now);
        stepped.ended_at = Some(now);
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
        self.pass(place, Progress::Succeeded);
    }

    /// An attempt failed or stayed unanswered: again, or on to the next means.
    pub(super) fn attempt_failed(&mut self, place: usize, question: Question) {
        let step = self.step(place);
        let policy = match question.phase {
            Phase::Action => step.retry,
            Phase::Settlement => RetryPolicy::FOR_EVER,
            Phase::Compensation => step.compensation().map_or(RetryPolicy::COMPENSATION, |c| c.retry),
        };
        let must_succeed = matches!(step.kind, StepKind::Retriable);
        let attempts = question.counted();
        if must_succeed || !policy.is_used_up(attempts) {
            let pause_ms = policy.pause_ms(attempts, self.ctx.jitter);
            return self.back_off(place, question, pause_ms);
        }
        match question.phase {
            Phase::Action | Phase::Settlement => self.settle(place),
            Phase::Compensation => {
                let message = format!(
                    "the compensation failed {attempts} times, as often as its policy allows; the ones behind it wait"
                );
                self.park_step(place, question, ParkCode::CompensationFailed, message);
            }
        }
    }

    /// Asks what became of an action, and fences it if nothing did.
    pub(super) fn settle(&mut self, place: usize) {
        self.ask(place, self.settlement(place));
    }

    /// Turns what time has run out for: unanswered attempts, pauses, the deadline.
    ///
    /// The time of a parked saga stands still; that of a paused one only for its questions. What an operator has
    /// told is verified in any case.
    pub(super) fn on_timer(&mut self) {
        self.verify_due();
        match self.hold {
            Some(Hold::Parked(_)) => {}
            Some(Hold::Paused) => {
                self.check_deadline();
            }
            None => {
                self.check_deadline();
                self.ask_due();
                // One that was started inside a transaction of its caller's has sent nothing yet.
                self.go_on();
            }
        }
    }

    /// Asks again, or gives an attempt up, where time has run out.
    pub(super) fn ask_due(&mut self) {
        if matches!(self.course, Course::Over(_)) {
            return;
        }
        let due: Vec<(usize, Question)> = self
            .state
            .open()
            .filter(|(_, question)| question.until <= self.ctx.now)
            .map(|(place, question)| (place, question.clone()))
            .collect();
        for (place, question) in due {
            match question.turn {
                Turn::Backoff => self.ask(place, question),
                Turn::Asked => {
                    self.record_timeout(place, &question);
                    self.attempt_failed(place, question);
                }
            }
        }
    }

    pub(super) fn record_timeout(&mut self, place: usize, question: &Question) {
        let step = self.step(place);
        let timeout_ms = step.timeout_ms_of(question.phase);
        self.set_error(place, "timed-out", &format!("no answer within {timeout_ms} ms"));
        let detail = json!({ "timeout_ms": timeout_ms });
        self.record_step(HistoryEvent::TimedOut, &step.name, question.phase, question.attempt, &detail);
    }

    /// A saga that is late turns back before its pivot; at its pivot it asks what became of it; after it goes on.
    ///
    /// Says whether it had passed just now.
    fn check_deadline(&mut self) -> bool {
        let passed = self.state.deadline_at.is_some_and(|deadline| deadline <= self.ctx.now);
        if !passed || !matches!(self.course, Course::Forward) {
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
            Some((place, Progress::Open(Question { phase: Phase::Action, .. }))) => self.settle(place),
            // It is being settled already, or it has decided.
            Some((
                _,
                Progress::Open(_)
                | Progress::Succeeded
                | Progress::Rejected
                | Progress::Fenced
                | Progress::Skipped
                | Progress::Compensated
                | Progress::Parked { .. },
            )) => {}
        }
        true
    }

    /// The pivot's place and progress, if the definition has one.
    pub(super) fn pivot(&self) -> Option<(usize, &Progress)> {
        let place = self.ctx.definition.steps.iter().position(|step| matches!(step.kind, StepKind::Pivot))?;
        Some((place, &self.state.steps[place].progress))
    }
}
