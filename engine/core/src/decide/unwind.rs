//! Going back: settle what is in doubt, freeze the plan, undo in reverse.

use serde_json::json;

use crate::decide::machine::Machine;
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::state::{Cause, PlannedUndo, Progress, Question, Status, Unwinding};

impl Machine<'_, '_> {
    /// Stops going forward. What was sent and has no final answer is settled, also while it waits for its retry:
    /// its command may still lie in the stream.
    pub(super) fn turn_back(&mut self, cause: Cause) {
        self.state.status = Status::Compensating { cause, unwinding: Unwinding::Settling };
        let in_doubt: Vec<usize> = self
            .state
            .open()
            .filter(|(_, question)| question.phase == Phase::Action)
            .map(|(place, _)| place)
            .collect();
        for place in in_doubt {
            self.settle(place);
        }
        self.unwind();
    }

    /// The next move back.
    pub(super) fn unwind(&mut self) {
        if self.state.open().next().is_some() {
            return;
        }
        if let Status::Compensating { unwinding: Unwinding::Settling, .. } = &self.state.status {
            self.freeze_plan();
        }
        self.undo_next();
    }

    /// Fixes what will be undone: what succeeded and has a compensation, in reverse.
    fn freeze_plan(&mut self) {
        let mut plan = Vec::new();
        for (stepped, step) in self.state.steps.iter().zip(&self.ctx.definition.steps).rev() {
            if stepped.progress != Progress::Succeeded {
                continue;
            }
            match step.compensation_payload(&self.state.data) {
                Ok(Some(payload)) => plan.push(PlannedUndo { step: step.name.clone(), payload }),
                Ok(None) => {}
                Err(error) => return self.park_closure(&error),
            }
        }
        let names: Vec<&Name> = plan.iter().map(|undo| &undo.step).collect();
        self.record(HistoryEvent::PlanFrozen, &json!({ "steps": names }));
        if let Status::Compensating { unwinding, .. } = &mut self.state.status {
            *unwinding = Unwinding::Frozen { plan };
        }
    }

    /// Undoes the first of the plan that still stands; without one the saga is compensated.
    fn undo_next(&mut self) {
        let Status::Compensating { cause, unwinding: Unwinding::Frozen { plan } } = &self.state.status else {
            return;
        };
        let stands = |undo: &&PlannedUndo| {
            self.state.steps.iter().any(|s| s.name == undo.step && s.progress == Progress::Succeeded)
        };
        let next = plan.iter().find(stands).cloned();
        let Some(PlannedUndo { step, payload }) = next else {
            self.state.status = Status::Compensated { cause: cause.clone() };
            self.state.ended_at = Some(self.ctx.now);
            return self.record(HistoryEvent::Compensated, &json!({}));
        };
        let (place, _) = self.ctx.definition.step(&step).expect("a plan names steps of its definition");
        self.ask(place, Phase::Compensation, 1, payload);
    }

    /// A compensation was done: the next one.
    pub(super) fn undone(&mut self, place: usize) {
        self.close(place, Phase::Compensation, Progress::Compensated);
        self.unwind();
    }

    /// The question that is open at a step, taken out of it.
    pub(super) fn open_at(&self, place: usize) -> Option<Question> {
        match &self.state.steps[place].progress {
            Progress::Open(question) => Some(question.clone()),
            Progress::Pending
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Fenced
            | Progress::Compensated
            | Progress::Parked { .. } => None,
        }
    }
}
