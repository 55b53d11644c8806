//! Applies an operator's resolution to a step whose outcome is in doubt, or whose participant has said two things.
//!
//! The resolution is believed, but never against a fact that cannot be taken back: once the pivot was sent it alone
//! decides; once steps after it were sent there is no way back; once something was undone there is none forward.

use serde_json::{Value, json};

use crate::decide::machine::Machine;
use crate::decide::operator::{OperatorCommand, Refusal, Resolution};
use crate::definition::StepKind;
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::json::JsonText;
use crate::state::{
    Cause, CauseKind, Direction, ParkCode, ParkReason, PendingCommand, Progress, ResolutionKind, StepState,
    UnverifiedResolution, Unwinding,
};

impl Machine<'_, '_> {
    pub(super) fn on_resolve(
        &mut self,
        step: &Name,
        resolution: &Resolution,
        command: &OperatorCommand,
        who: Value,
    ) -> Result<(), Refusal> {
        let (step_index, _) = self.ctx.definition.step(step).ok_or(Refusal::UnknownStep)?;
        let doubt = self.doubt(step_index).ok_or(Refusal::NotInDoubt)?;
        match resolution {
            Resolution::Happened { reply } => self.it_happened(step_index, doubt, reply, who)?,
            Resolution::NeverHappened => self.it_never_happened(step_index, doubt, command, who)?,
            Resolution::Compensated => self.it_was_compensated(step_index, doubt, who)?,
        }
        if self.state.hold.is_none() {
            self.ask_due();
        }
        Ok(())
    }

    fn record_resolution(
        &mut self,
        step_index: usize,
        phase: Phase,
        resolution: ResolutionKind,
        mut who: Value,
    ) {
        who["resolution"] = json!(resolution);
        let name = self.step(step_index).name.clone();
        self.record_unsent(HistoryEvent::Resolved, &name, phase, &who);
    }

    fn it_happened(
        &mut self,
        step_index: usize,
        doubt: Doubt,
        reply: &JsonText,
        mut who: Value,
    ) -> Result<(), Refusal> {
        let is_pivot = matches!(self.step(step_index).kind, StepKind::Pivot);
        let data = match doubt {
            Doubt::Undoing if self.is_contradicted(step_index) => {
                self.clear_up(step_index, ResolutionKind::Happened, who);
                return Ok(());
            }
            Doubt::Undoing | Doubt::Undone => return Err(Refusal::NotInDoubt),
            // Its reply was folded when its participant gave it.
            Doubt::Contradicted { happened: true } => None,
            Doubt::Unknown | Doubt::Contradicted { happened: false } => {
                reply.check_storable().map_err(|_| Refusal::ReplyDoesNotFit)?;
                let folded = self.step(step_index).fold_reply(&self.state.data, reply);
                Some(folded.map_err(|_| Refusal::ReplyDoesNotFit)?)
            }
        };
        if is_pivot
            && matches!(self.state.direction, Direction::Back { .. })
            && !self.may_turn_forward(step_index)
        {
            return Err(Refusal::UndoneAlready);
        }
        who["reply"] = json!(reply);
        self.record_resolution(step_index, Phase::Action, ResolutionKind::Happened, who);
        if let Some(data) = data {
            self.state.data = data;
            self.settle_doubt(step_index, doubt, Progress::Succeeded, ResolutionKind::Happened);
            self.pass(step_index);
            self.plan_anew(is_pivot);
        } else {
            self.forget_contradictions(step_index);
        }
        self.advance();
        Ok(())
    }

    fn it_never_happened(
        &mut self,
        step_index: usize,
        doubt: Doubt,
        command: &OperatorCommand,
        who: Value,
    ) -> Result<(), Refusal> {
        match (doubt, &self.step(step_index).kind) {
            (Doubt::Undoing, _) if !self.is_contradicted(step_index) => return Err(Refusal::NotInDoubt),
            (Doubt::Undoing | Doubt::Undone, _) => {
                self.clear_up(step_index, ResolutionKind::NeverHappened, who);
                return Ok(());
            }
            // The participant will say no more, and refuses a late command in the same way.
            (Doubt::Unknown, StepKind::Retriable) if self.is_forgotten(step_index) => {
                self.record_resolution(step_index, Phase::Action, ResolutionKind::NeverHappened, who);
                self.must_be_asked_anew(step_index);
                return Ok(());
            }
            // The success that an older generation reported did not happen; the command of this generation stays
            // pending.
            (Doubt::Unknown, StepKind::Retriable) if self.is_contradicted(step_index) => {
                self.clear_up(step_index, ResolutionKind::NeverHappened, who);
                return Ok(());
            }
            (Doubt::Unknown, StepKind::Retriable) => return Err(Refusal::MustSucceed),
            (Doubt::Contradicted { happened: false }, StepKind::Retriable)
                if !self.is_contradicted(step_index) =>
            {
                return Err(Refusal::MustSucceed);
            }
            (Doubt::Contradicted { .. }, StepKind::Retriable) => {
                self.record_resolution(step_index, Phase::Action, ResolutionKind::NeverHappened, who);
                self.must_be_asked_anew(step_index);
                return Ok(());
            }
            (Doubt::Unknown | Doubt::Contradicted { .. }, _) => {}
        }
        self.check_way_back(step_index)?;
        self.record_resolution(step_index, Phase::Action, ResolutionKind::NeverHappened, who);
        if doubt == (Doubt::Contradicted { happened: false }) {
            self.forget_contradictions(step_index);
            self.advance();
            return Ok(());
        }
        self.settle_doubt(step_index, doubt, Progress::Fenced, ResolutionKind::NeverHappened);
        self.fail_forward_or_continue_unwind(Cause {
            step: Some(self.step(step_index).name.clone()),
            kind: CauseKind::Fenced,
            code: "resolved".to_owned(),
            message: format!("{} told that the step never happened: {}", command.actor, command.reason),
        });
        Ok(())
    }

    fn it_was_compensated(&mut self, step_index: usize, doubt: Doubt, who: Value) -> Result<(), Refusal> {
        match doubt {
            Doubt::Undoing => {}
            Doubt::Undone => {
                self.record_resolution(step_index, Phase::Compensation, ResolutionKind::Compensated, who);
                self.forget_contradictions(step_index);
                self.advance();
                return Ok(());
            }
            Doubt::Unknown | Doubt::Contradicted { .. } => return Err(Refusal::NotInDoubt),
        }
        self.record_resolution(step_index, Phase::Compensation, ResolutionKind::Compensated, who);
        self.forget_contradictions(step_index);
        let step_state = &mut self.state.steps[step_index];
        // A verification that is under way goes on: a late command must meet a fence.
        let verification = step_state.unverified.take().and_then(|unverified| unverified.verification);
        step_state.unverified =
            Some(UnverifiedResolution { resolution: ResolutionKind::Compensated, verification });
        self.undone(step_index);
        Ok(())
    }

    /// Clears up a contradiction, and goes on with the command that is pending meanwhile: the compensation, which does
    /// nothing if there is no effect, or the action under a new key.
    fn clear_up(&mut self, step_index: usize, resolution: ResolutionKind, who: Value) {
        self.record_resolution(step_index, Phase::Action, resolution, who);
        self.forget_contradictions(step_index);
        self.advance();
    }

    /// Returns true if a step's participant has told that it remembers nothing of it.
    fn is_forgotten(&self, step_index: usize) -> bool {
        matches!(self.state.steps[step_index].parked(), Some((_, ParkCode::Expired)))
    }

    /// Checks that a step may still be resolved as never happened, so that the saga turns back.
    fn check_way_back(&self, step_index: usize) -> Result<(), Refusal> {
        if !matches!(self.state.direction, Direction::Forward) {
            return Ok(());
        }
        let Some((pivot, progress)) = self.pivot() else { return Ok(()) };
        let is_sent = *progress != Progress::Pending;
        if pivot != step_index && is_sent {
            return Err(Refusal::PivotSent);
        }
        let is_beyond =
            |step_state: &StepState| !matches!(step_state.progress(), Progress::Pending | Progress::Skipped);
        if self.state.steps[pivot + 1..].iter().any(is_beyond) {
            return Err(Refusal::BeyondPivot);
        }
        Ok(())
    }

    /// Returns true if a saga on its way back may go forward after all, past a pivot that was done: only if everything
    /// that the pivot rests on still stands.
    fn may_turn_forward(&self, pivot: usize) -> bool {
        let steps = &self.state.steps;
        let is_untouched = steps.iter().all(|step| step.compensation_attempts == 0);
        is_untouched && steps[..pivot].iter().all(|step| step.progress().is_passed())
    }

    /// Parks a step that must succeed and did not, or of which its participant remembers nothing, as if it had been
    /// refused, so that `retry` sends it under a new key.
    fn must_be_asked_anew(&mut self, step_index: usize) {
        self.forget_contradictions(step_index);
        self.release(step_index);
        let pending = PendingCommand::new(Phase::Action, JsonText::null(), self.ctx.now);
        let message =
            "an operator told that a retriable step never happened: `retry` asks it anew".to_owned();
        self.park_step(step_index, pending, ParkCode::RetriableRejected, message);
    }

    /// The doubt about a step, if there is any.
    pub(super) fn doubt(&self, step_index: usize) -> Option<Doubt> {
        let step_state = &self.state.steps[step_index];
        let asked = step_state.open().or_else(|| step_state.parked().map(|(pending, _)| pending));
        if let Some(pending) = asked {
            let is_answered = matches!(step_state.parked(), Some((_, ParkCode::RetriableRejected)));
            return Some(match pending.phase {
                Phase::Compensation => Doubt::Undoing,
                Phase::Action | Phase::Settlement if is_answered => Doubt::Contradicted { happened: false },
                Phase::Action | Phase::Settlement => Doubt::Unknown,
            });
        }
        if !self.is_contradicted(step_index) {
            return None;
        }
        match step_state.progress() {
            Progress::Succeeded => Some(Doubt::Contradicted { happened: true }),
            Progress::Rejected | Progress::Fenced => Some(Doubt::Contradicted { happened: false }),
            Progress::Compensated => Some(Doubt::Undone),
            Progress::Pending
            | Progress::Open(_)
            | Progress::InDoubt
            | Progress::Skipped
            | Progress::Waiting { .. }
            | Progress::TimedOut
            | Progress::GivenUp
            | Progress::Parked { .. } => None,
        }
    }

    fn settle_doubt(
        &mut self,
        step_index: usize,
        doubt: Doubt,
        progress: Progress,
        resolution: ResolutionKind,
    ) {
        self.close(step_index, Phase::Action, progress);
        match doubt {
            Doubt::Unknown => self.verify(step_index, resolution),
            // The participant has answered already.
            Doubt::Contradicted { .. } | Doubt::Undoing | Doubt::Undone => {}
        }
        self.forget_contradictions(step_index);
    }

    fn forget_contradictions(&mut self, step_index: usize) {
        let name = self.state.steps[step_index].name.clone();
        self.forget_reasons(|reason| is_contradiction_of(reason, &name));
    }

    fn is_contradicted(&self, step_index: usize) -> bool {
        let name = &self.state.steps[step_index].name;
        self.state.hold.reasons().any(|reason| is_contradiction_of(reason, name))
    }

    /// A step that turns out to stand after the plan was frozen belongs into it; if it is the pivot, there is no plan.
    fn plan_anew(&mut self, is_pivot: bool) {
        match &mut self.state.direction {
            Direction::Back { .. } if is_pivot => self.state.direction = Direction::Forward,
            Direction::Back { unwinding, .. } => *unwinding = Unwinding::Settling,
            Direction::Forward | Direction::Ended(_) => {}
        }
    }
}

fn is_contradiction_of(reason: &ParkReason, step: &Name) -> bool {
    reason.code == ParkCode::Contradiction && reason.step.as_ref() == Some(step)
}

/// A doubt about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Its action may have happened or not.
    Unknown,
    /// Its participant has answered, and then said the opposite, or something that must not be.
    Contradicted { happened: bool },
    /// Its compensation may have been done or not.
    Undoing,
    /// Its effect is undone, and its participant has said something that does not fit to that.
    Undone,
}
