//! Going forward: begin, next step, retries, settlement, timers, cancel.

use serde_json::json;

use crate::decide::CancelRefusal;
use crate::decide::machine::Machine;
use crate::definition::StepKind;
use crate::history::HistoryEvent;
use crate::ids::Phase;
use crate::json::JsonText;
use crate::retry::RetryPolicy;
use crate::state::{Cause, CauseKind, ParkCode, Progress, Question, Status, Turn};

impl Machine<'_, '_> {
    /// The first move of a saga.
    pub(super) fn begin(&mut self) {
        self.record_start();
        self.go_on();
    }

    /// The first move of a saga whose first command the timer will send.
    pub(super) fn begin_unsent(&mut self) {
        self.record_start();
        match self.step(0).action_payload(&self.state.data) {
            Ok(payload) => {
                let until = self.ctx.now;
                let unsent =
                    Question { phase: Phase::Action, attempt: 0, turn: Turn::Backoff, until, payload };
                self.state.steps[0].progress = Progress::Open(unsent);
            }
            Err(error) => self.park_closure(&error),
        }
    }

    fn record_start(&mut self) {
        let detail = json!({
            "saga": self.ctx.definition.name,
            "version": self.ctx.definition.version,
            "data": self.state.data,
        });
        self.record(HistoryEvent::Started, &detail);
    }

    /// Sends the first step that is pending; a saga without one is completed.
    pub(super) fn go_on(&mut self) {
        let pending = self.state.steps.iter().position(|step| step.progress == Progress::Pending);
        let Some(place) = pending else {
            self.state.ended_at = Some(self.ctx.now);
            self.state.status = Status::Completed;
            self.record(HistoryEvent::Completed, &json!({}));
            return;
        };
        match self.step(place).action_payload(&self.state.data) {
            Ok(payload) => self.ask(place, Phase::Action, 1, payload),
            Err(error) => self.park_closure(&error),
        }
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
        if must_succeed || !policy.is_used_up(question.attempt) {
            let pause_ms = policy.pause_ms(question.attempt, self.ctx.jitter);
            return self.back_off(place, question, pause_ms);
        }
        match question.phase {
            Phase::Action | Phase::Settlement => self.settle(place),
            Phase::Compensation => {
                let message = format!(
                    "the compensation failed {} times, as often as its policy allows; \
                     the ones behind it wait",
                    question.attempt
                );
                self.park_step(place, Phase::Compensation, ParkCode::CompensationFailed, message);
            }
        }
    }

    /// Asks what became of an action, and fences it if nothing did.
    pub(super) fn settle(&mut self, place: usize) {
        self.ask(place, Phase::Settlement, 1, JsonText::null());
    }

    /// Turns what time has run out for: unanswered attempts, pauses, the deadline.
    pub(super) fn on_timer(&mut self) {
        self.check_deadline();
        let due: Vec<(usize, Question)> = self
            .state
            .open()
            .filter(|(_, question)| question.until <= self.ctx.now)
            .map(|(place, question)| (place, question.clone()))
            .collect();
        for (place, question) in due {
            match question.turn {
                Turn::Backoff => self.ask(place, question.phase, question.attempt + 1, question.payload),
                Turn::Asked => {
                    let step = self.step(place);
                    let message = format!("no answer within {} ms", step.timeout_ms);
                    self.set_error(place, "timed-out", &message);
                    let detail = json!({ "timeout_ms": step.timeout_ms });
                    let (phase, attempt) = (question.phase, question.attempt);
                    self.record_step(HistoryEvent::TimedOut, &step.name, phase, attempt, &detail);
                    self.attempt_failed(place, question);
                }
            }
        }
    }

    /// A saga that is late turns back before its pivot; at its pivot it asks what became of it; after it goes on.
    fn check_deadline(&mut self) {
        let passed = self.state.deadline_at.is_some_and(|deadline| deadline <= self.ctx.now);
        if !passed || self.state.status != Status::Running {
            return;
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
                | Progress::Compensated
                | Progress::Parked { .. },
            )) => {}
        }
    }

    /// The pivot's place and progress, if the definition has one.
    fn pivot(&self) -> Option<(usize, &Progress)> {
        let place = self.ctx.definition.steps.iter().position(|step| matches!(step.kind, StepKind::Pivot))?;
        Some((place, &self.state.steps[place].progress))
    }

    /// Turns back because somebody asked for it, if it is not too late.
    pub(super) fn on_cancel(&mut self, reason: &str, actor: &str) -> Result<(), CancelRefusal> {
        match &self.state.status {
            Status::Completed | Status::Compensated { .. } => return Err(CancelRefusal::Ended),
            Status::Compensating { .. } => return Err(CancelRefusal::AlreadyCompensating),
            Status::Parked { .. } => return Err(CancelRefusal::Parked),
            Status::Running => {}
        }
        if self.pivot().is_some_and(|(_, progress)| *progress != Progress::Pending) {
            return Err(CancelRefusal::PivotSent);
        }
        self.record(HistoryEvent::CancelRequested, &json!({ "actor": actor, "reason": reason }));
        self.turn_back(Cause {
            step: None,
            kind: CauseKind::Cancelled,
            code: "cancelled".to_owned(),
            message: format!("{actor}: {reason}"),
        });
        Ok(())
    }
}
