//! Going back: settle what is in doubt, freeze the plan, undo in reverse.

use serde_json::json;

use crate::decide::machine::{Course, Machine};
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::state::{Cause, ParkCode, PlannedUndo, Progress, Question, Status, Unwinding};

impl Machine<'_, '_> {
    /// Stops going forward. What was sent and has no final answer is settled, also while it waits for its retry:
    /// its command may still lie in the stream.
    pub(super) fn turn_back(&mut self, cause: Cause) {
        self.course = Course::Back { cause, unwinding: Unwinding::Settling };
        // A closure that could not lead it on is in nobody's way on the way back.
        self.forget_reasons(|reason| reason.code == ParkCode::Definition);
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

    /// The next move back, once nothing is in doubt.
    pub(super) fn unwind(&mut self) {
        if self.hold.is_some() || self.state.open().next().is_some() {
            return;
        }
        if let Course::Back { unwinding: Unwinding::Settling, .. } = &self.course {
            self.freeze_plan();
        }
        self.undo_next();
    }

    /// Fixes what will be undone: what succeeded and has a compensation, in reverse.
    ///
    /// The definition's order is one of the dependencies, so its reverse undoes nothing before what depends on it.
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
        if let Course::Back { unwinding, .. } = &mut self.course {
            *unwinding = Unwinding::Frozen { plan };
        }
    }

    /// Undoes the first of the plan that still stands; without one the saga is compensated.
    fn undo_next(&mut self) {
        let Course::Back { cause, unwinding: Unwinding::Frozen { plan } } = &self.course else { return };
        let stands = |undo: &&PlannedUndo| {
            self.state.steps.iter().any(|s| s.name == undo.step && s.progress == Progress::Succeeded)
        };
        let next = plan.iter().find(stands).cloned();
        let Some(PlannedUndo { step, payload }) = next else {
            self.course = Course::Over(Status::Compensated { cause: cause.clone() });
            self.state.ended_at = Some(self.ctx.now);
            return self.record(HistoryEvent::Compensated, &json!({}));
        };
        let (place, _) = self.ctx.definition.step(&step).expect("a plan names steps of its definition");
        self.ask(place, Question::new(Phase::Compensation, payload, self.ctx.now));
    }

    /// A compensation was done: the next one.
    pub(super) fn undone(&mut self, place: usize) {
        self.close(place, Phase::Compensation, Progress::Compensated);
        self.unwind();
    }

    /// On in whichever direction the saga goes.
    pub(super) fn advance(&mut self) {
        match &self.course {
            Course::Forward => self.go_on(),
            Course::Back { .. } => self.unwind(),
            Course::Over(_) => {}
        }
    }

    /// The first failure is the cause; one that comes while the saga goes back already only ends a doubt.
    pub(super) fn turn_or_go_on_back(&mut self, cause: Cause) {
        match &self.course {
            Course::Forward => self.turn_back(cause),
            Course::Back { .. } => self.unwind(),
            Course::Over(_) => {}
        }
    }
}
