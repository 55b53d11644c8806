//! Carries out operator commands, and refuses those that come too late.
//!
//! An operator command either moves the saga and leaves a row with actor and reason, or it is refused and nothing
//! changes.

use serde_json::{Value, json};

use crate::decide::machine::Machine;
use crate::decide::operator::{OperatorCommand, Refusal, Verb};
use crate::decide::resolve::Doubt;
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::state::{
    AttemptState, Cause, CauseKind, Direction, End, Hold, ParkCode, ParkReason, PendingCommand, Progress,
    ResolutionKind,
};

impl Machine<'_, '_> {
    pub(super) fn on_operator(&mut self, command: &OperatorCommand) -> Result<(), Refusal> {
        if self.state.is_ended() {
            return Err(Refusal::Ended);
        }
        let who = json!({ "actor": command.actor, "reason": command.reason });
        match &command.verb {
            Verb::Cancel => self.on_cancel(command, &who),
            Verb::Retry { step } => self.on_retry(step.as_ref(), &who),
            Verb::Answer { step, answer } => self.on_answer(step, answer, who),
            Verb::Resolve { step, resolution } => self.on_resolve(step, resolution, command, who),
            Verb::Close => self.on_close(command, &who),
            Verb::Pause => match self.state.hold {
                Hold::Parked { .. } => Err(Refusal::Parked),
                Hold::Paused => Err(Refusal::Paused),
                Hold::None => {
                    self.record(HistoryEvent::Paused, &who);
                    self.state.hold = Hold::Paused;
                    Ok(())
                }
            },
            Verb::Resume => self.on_resume(&who),
        }
    }

    /// Goes on with everything that was held up; a saga that is parked as well stays parked, and is no longer paused.
    fn on_resume(&mut self, who: &Value) -> Result<(), Refusal> {
        let is_pause = |reason: &ParkReason| reason.code == ParkCode::Paused;
        match &self.state.hold {
            Hold::Parked { .. } if self.state.hold.reasons().any(is_pause) => {
                self.record(HistoryEvent::Resumed, who);
                self.forget_reasons(is_pause);
            }
            Hold::Parked { .. } | Hold::None => return Err(Refusal::NotPaused),
            Hold::Paused => {
                self.record(HistoryEvent::Resumed, who);
                self.state.hold = Hold::None;
                self.advance();
                self.ask_due();
            }
        }
        Ok(())
    }

    fn on_cancel(&mut self, command: &OperatorCommand, who: &Value) -> Result<(), Refusal> {
        if matches!(self.state.direction, Direction::Back { .. }) {
            return Err(Refusal::AlreadyCompensating);
        }
        if self.pivot().is_some_and(|(_, progress)| *progress != Progress::Pending) {
            return Err(Refusal::PivotSent);
        }
        self.record(HistoryEvent::CancelRequested, who);
        self.turn_back(Cause {
            step: None,
            kind: CauseKind::Cancelled,
            code: "cancelled".to_owned(),
            message: format!("{}: {}", command.actor, command.reason),
        });
        Ok(())
    }

    fn on_retry(&mut self, step: Option<&Name>, who: &Value) -> Result<(), Refusal> {
        if let Some(name) = step
            && self.ctx.definition.step(name).is_none()
        {
            return Err(Refusal::UnknownStep);
        }
        let is_parked = match &self.state.hold {
            Hold::Paused => return Err(Refusal::Paused),
            Hold::Parked { .. } => true,
            Hold::None => false,
        };
        let wanted = |name: &Name| step.is_none_or(|step| step == name);
        let is_wanted = |reason: &ParkReason| reason.step.as_ref().is_none_or(wanted);
        // Ignoring a contradiction would report a compensation, or an effect, that may not be.
        let is_contradiction = |reason: &ParkReason| reason.code == ParkCode::Contradiction;
        if self.state.hold.reasons().any(|reason| is_contradiction(reason) && is_wanted(reason)) {
            return Err(Refusal::Contradicted);
        }
        let cleared_by_retry = |reason: &ParkReason| reason.code.cleared_by_retry() && is_wanted(reason);
        let asked_away: Vec<ParkReason> =
            self.state.hold.reasons().filter(|reason| cleared_by_retry(reason)).cloned().collect();
        let steps = self.state.steps.iter().enumerate();
        let due = steps.filter(|(_, step_state)| {
            wanted(&step_state.name)
                && match is_parked {
                    true => step_state.parked().is_some(),
                    false => {
                        step_state.open().is_some_and(|pending| pending.attempt_state != AttemptState::Sent)
                    }
                }
        });
        let indices: Vec<usize> = due.map(|(step_index, _)| step_index).collect();
        if indices.is_empty() && asked_away.is_empty() {
            return Err(Refusal::NothingToRetry);
        }
        self.record(HistoryEvent::RetryRequested, who);
        self.forget_reasons(cleared_by_retry);
        for step_index in indices {
            self.reopen(step_index);
        }
        for reason in &asked_away {
            self.fold_again(reason);
        }
        self.advance();
        if self.state.hold.is_none() {
            self.ask_due();
        }
        Ok(())
    }

    /// Folds the reply whose closure failed; if it fails once more the saga is parked once more.
    fn fold_again(&mut self, reason: &ParkReason) {
        let step_index =
            self.state.steps.iter().position(|step_state| Some(&step_state.name) == reason.step.as_ref());
        if let Some(step_index) = step_index
            && let Some(answer) = self.state.steps[step_index].unfolded.clone()
            && let Err(error) = self.fold(step_index, &answer)
            && matches!(self.state.direction, Direction::Forward)
        {
            self.park_closure(&error);
        }
    }

    /// Sends a step again. If its answer was final the command is a new one, under a key of its own.
    fn reopen(&mut self, step_index: usize) {
        let step_state = &mut self.state.steps[step_index];
        let pending = match step_state.progress().clone() {
            Progress::Open(pending) => pending.sent_early(self.ctx.now),
            Progress::Parked { code: ParkCode::RetriableRejected, .. } => {
                step_state.generation += 1;
                step_state.attempts = 0;
                step_state.settlement_attempts = 0;
                step_state.started_at = None;
                step_state.error = None;
                match self.step(step_index).action_payload(&self.state.data) {
                    Ok(payload) => PendingCommand::new(Phase::Action, payload, self.ctx.now),
                    Err(error) => return self.park_closure(&error),
                }
            }
            // On the way back no action is sent any more: its outcome is settled.
            Progress::Parked { pending: PendingCommand { phase: Phase::Action, .. }, .. }
                if matches!(self.state.direction, Direction::Back { .. }) =>
            {
                self.release(step_index);
                return self.settle(step_index);
            }
            // The same command with the same bytes; the attempts made so far are forgiven.
            Progress::Parked { pending, .. } => pending.forgiven(),
            Progress::Pending
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::InDoubt
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Waiting { .. }
            | Progress::TimedOut
            | Progress::GivenUp => return,
        };
        let waiting = PendingCommand { attempt_state: AttemptState::Backoff, until: self.ctx.now, ..pending };
        self.move_step(step_index, Progress::Open(waiting.clone()));
        self.release(step_index);
        self.ask(step_index, waiting);
    }

    fn on_close(&mut self, command: &OperatorCommand, who: &Value) -> Result<(), Refusal> {
        if self.state.hold.is_none() {
            return Err(Refusal::Moving);
        }
        self.record(HistoryEvent::Closed, who);
        self.give_up_waits();
        let in_doubt: Vec<usize> = (0..self.state.steps.len())
            .filter(|step_index| matches!(self.doubt(*step_index), Some(Doubt::Unknown)))
            .filter(|step_index| self.state.steps[*step_index].attempts > 0)
            .collect();
        for step_index in in_doubt {
            if self.step(step_index).is_remembered() {
                self.verify(step_index, ResolutionKind::Unknown);
            } else if self.state.steps[step_index].open().is_some() {
                self.leave_in_doubt(step_index);
            }
        }
        let cause = self.state.cause().cloned();
        let (actor, reason) = (command.actor.clone(), command.reason.clone());
        self.end(End::Closed { actor, reason, cause });
        Ok(())
    }
}
