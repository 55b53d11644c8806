//! An operator's word on a step whose outcome is in doubt, or whose participant has said two things.
//!
//! The word is believed, but never against what cannot be taken back: once the pivot was sent it alone decides; once
//! steps after it were sent there is no way back; once something was undone there is none forward.

use serde_json::{Value, json};

use crate::decide::machine::{Course, Machine};
use crate::decide::verbs::{Order, Refusal, Resolution};
use crate::definition::StepKind;
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::json::JsonText;
use crate::state::{
    Cause, CauseKind, Finding, ParkCode, ParkReason, Progress, Question, StepState, Told, Unwinding,
};

impl Machine<'_, '_> {
    pub(super) fn on_resolve(
        &mut self,
        step: &Name,
        resolution: &Resolution,
        order: &Order,
        who: Value,
    ) -> Result<(), Refusal> {
        let (place, _) = self.ctx.definition.step(step).ok_or(Refusal::UnknownStep)?;
        let doubt = self.doubt(place).ok_or(Refusal::NotInDoubt)?;
        match resolution {
            Resolution::Happened { reply } => self.it_happened(place, doubt, reply, who)?,
            Resolution::NeverHappened => self.it_never_happened(place, doubt, order, who)?,
            Resolution::Compensated => self.it_was_compensated(place, doubt, who)?,
        }
        if self.hold.is_none() {
            self.ask_due();
        }
        Ok(())
    }

    fn record_finding(&mut self, place: usize, phase: Phase, finding: Finding, mut who: Value) {
        who["finding"] = json!(finding);
        let name = self.step(place).name.clone();
        self.record_unsent(HistoryEvent::Resolved, &name, phase, &who);
    }

    fn it_happened(
        &mut self,
        place: usize,
        doubt: Doubt,
        reply: &JsonText,
        mut who: Value,
    ) -> Result<(), Refusal> {
        let is_pivot = matches!(self.step(place).kind, StepKind::Pivot);
        let data = match doubt {
            Doubt::Undoing => return Err(Refusal::NotInDoubt),
            // Its reply was folded when its participant gave it.
            Doubt::Contradicted { happened: true } => None,
            Doubt::Unknown | Doubt::Contradicted { happened: false } => {
                reply.check_storable().map_err(|_| Refusal::ReplyDoesNotFit)?;
                let folded = self.step(place).fold_reply(&self.state.data, reply);
                Some(folded.map_err(|_| Refusal::ReplyDoesNotFit)?)
            }
        };
        if is_pivot && matches!(self.course, Course::Back { .. }) && !self.may_turn_forward(place) {
            return Err(Refusal::UndoneAlready);
        }
        who["reply"] = json!(reply);
        self.record_finding(place, Phase::Action, Finding::Happened, who);
        if let Some(data) = data {
            self.state.data = data;
            self.settle_doubt(place, doubt, Progress::Succeeded, Finding::Happened);
            self.pass(place, Progress::Succeeded);
            self.plan_anew(is_pivot);
        } else {
            self.forget_contradictions(place);
        }
        self.advance();
        Ok(())
    }

    fn it_never_happened(
        &mut self,
        place: usize,
        doubt: Doubt,
        order: &Order,
        who: Value,
    ) -> Result<(), Refusal> {
        match (doubt, &self.step(place).kind) {
            (Doubt::Undoing, _) => return Err(Refusal::NotInDoubt),
            (Doubt::Unknown, StepKind::Retriable) => return Err(Refusal::MustSucceed),
            (Doubt::Contradicted { happened: false }, StepKind::Retriable)
                if !self.is_contradicted(place) =>
            {
                return Err(Refusal::MustSucceed);
            }
            (Doubt::Contradicted { .. }, StepKind::Retriable) => {
                self.record_finding(place, Phase::Action, Finding::NeverHappened, who);
                self.must_be_asked_anew(place);
                return Ok(());
            }
            (Doubt::Unknown | Doubt::Contradicted { .. }, _) => {}
        }
        self.check_way_back(place)?;
        self.record_finding(place, Phase::Action, Finding::NeverHappened, who);
        if doubt == (Doubt::Contradicted { happened: false }) {
            self.forget_contradictions(place);
            self.advance();
            return Ok(());
        }
        self.settle_doubt(place, doubt, Progress::Fenced, Finding::NeverHappened);
        self.turn_or_go_on_back(Cause {
            step: Some(self.step(place).name.clone()),
            kind: CauseKind::Fenced,
            code: "resolved".to_owned(),
            message: format!("{} told that the step never happened: {}", order.actor, order.reason),
        });
        Ok(())
    }

    fn it_was_compensated(&mut self, place: usize, doubt: Doubt, who: Value) -> Result<(), Refusal> {
        if doubt != Doubt::Undoing {
            return Err(Refusal::NotInDoubt);
        }
        self.record_finding(place, Phase::Compensation, Finding::Compensated, who);
        let stepped = &mut self.state.steps[place];
        // Whether the action happened is asked on, if it was asked: a late command must meet a fence.
        let verification = stepped.told.take().and_then(|told| told.verification);
        stepped.told = Some(Told { finding: Finding::Compensated, verification });
        self.undone(place);
        Ok(())
    }

    /// Whether a step may still be told not to have happened, so that the saga turns back.
    fn check_way_back(&self, place: usize) -> Result<(), Refusal> {
        if !matches!(self.course, Course::Forward) {
            return Ok(());
        }
        let Some((pivot, progress)) = self.pivot() else { return Ok(()) };
        let is_sent = *progress != Progress::Pending;
        if pivot != place && is_sent {
            return Err(Refusal::PivotSent);
        }
        let is_beyond =
            |stepped: &StepState| !matches!(stepped.progress, Progress::Pending | Progress::Skipped);
        if self.state.steps[pivot + 1..].iter().any(is_beyond) {
            return Err(Refusal::BeyondPivot);
        }
        Ok(())
    }

    /// Whether a saga on its way back may go forward after all, past a pivot that was done: only if all that the pivot
    /// rests on still stands.
    fn may_turn_forward(&self, pivot: usize) -> bool {
        let steps = &self.state.steps;
        let is_untouched = steps.iter().all(|step| step.compensation_attempts == 0);
        is_untouched && steps[..pivot].iter().all(|step| step.progress.is_passed())
    }

    /// A step that must succeed and did not: parked as if its participant had said no, so that `retry` asks it under a
    /// new key.
    fn must_be_asked_anew(&mut self, place: usize) {
        self.forget_contradictions(place);
        let question = Question::new(Phase::Action, JsonText::null(), self.ctx.now);
        let message =
            "an operator told that a retriable step never happened: `retry` asks it anew".to_owned();
        self.park_step(place, question, ParkCode::RetriableRejected, message);
    }

    /// What is in doubt about a step, if anything is.
    pub(super) fn doubt(&self, place: usize) -> Option<Doubt> {
        let stepped = &self.state.steps[place];
        let asked = stepped.open().or_else(|| stepped.parked().map(|(question, _)| question));
        if let Some(question) = asked {
            let is_answered = matches!(stepped.parked(), Some((_, ParkCode::RetriableRejected)));
            return Some(match question.phase {
                Phase::Compensation => Doubt::Undoing,
                Phase::Action | Phase::Settlement if is_answered => Doubt::Contradicted { happened: false },
                Phase::Action | Phase::Settlement => Doubt::Unknown,
            });
        }
        if !self.is_contradicted(place) {
            return None;
        }
        match &stepped.progress {
            Progress::Succeeded => Some(Doubt::Contradicted { happened: true }),
            Progress::Rejected | Progress::Fenced => Some(Doubt::Contradicted { happened: false }),
            Progress::Pending
            | Progress::Open(_)
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Parked { .. } => None,
        }
    }

    fn settle_doubt(&mut self, place: usize, doubt: Doubt, progress: Progress, finding: Finding) {
        self.close(place, Phase::Action, progress);
        match doubt {
            Doubt::Unknown => self.verify(place, finding),
            // The participant has had its say.
            Doubt::Contradicted { .. } | Doubt::Undoing => {}
        }
        self.forget_contradictions(place);
    }

    fn forget_contradictions(&mut self, place: usize) {
        let name = self.state.steps[place].name.clone();
        self.forget_reasons(|reason| is_contradiction_of(reason, &name));
    }

    fn is_contradicted(&self, place: usize) -> bool {
        let name = &self.state.steps[place].name;
        self.reasons().iter().any(|reason| is_contradiction_of(reason, name))
    }

    /// A step that turns out to stand after the plan was frozen belongs into it; if it is the pivot, there is none.
    fn plan_anew(&mut self, is_pivot: bool) {
        match &mut self.course {
            Course::Back { .. } if is_pivot => self.course = Course::Forward,
            Course::Back { unwinding, .. } => *unwinding = Unwinding::Settling,
            Course::Forward | Course::Over(_) => {}
        }
    }
}

fn is_contradiction_of(reason: &ParkReason, step: &Name) -> bool {
    reason.code == ParkCode::Contradiction && reason.step.as_ref() == Some(step)
}

/// What is in doubt about a step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Doubt {
    /// Whether its action happened.
    Unknown,
    /// Its participant has answered, and then said the opposite, or what must not be.
    Contradicted { happened: bool },
    /// Whether its compensation was done.
    Undoing,
}
