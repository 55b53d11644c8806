//! Going back: settle what is in doubt, freeze the plan, undo in reverse.

use serde_json::json;

use crate::decide::machine::Machine;
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::plan::compensations;
use crate::state::{Cause, Direction, End, ParkCode, PendingCommand, PlannedUndo, Progress, Unwinding};

impl Machine<'_, '_> {
    /// Stops going forward. A step that was sent and has no final answer is settled, also while it waits for its retry:
    /// its command may still lie in the stream. One that no participant remembers is in doubt, and stays so.
    pub(super) fn turn_back(&mut self, cause: Cause) {
        self.state.direction = Direction::Back { cause, unwinding: Unwinding::Settling };
        // A closure that could not lead the saga on does not stop its way back.
        self.forget_reasons(|reason| reason.code == ParkCode::Definition);
        self.give_up_waits();
        let in_doubt: Vec<usize> = self
            .state
            .open()
            .filter(|(_, pending)| pending.phase == Phase::Action)
            .map(|(step_index, _)| step_index)
            .collect();
        for step_index in in_doubt {
            if self.step(step_index).is_remembered() {
                self.settle(step_index);
            } else {
                self.leave_in_doubt(step_index);
            }
        }
        self.unwind();
    }

    /// The next move back, once nothing is in doubt.
    pub(super) fn unwind(&mut self) {
        if !self.state.hold.is_none() || self.state.open().next().is_some() {
            return;
        }
        if let Direction::Back { unwinding: Unwinding::Settling, .. } = &self.state.direction {
            self.freeze_plan();
        }
        self.undo_next();
    }

    /// Freezes the plan, as it would have been shown to a reader just now.
    fn freeze_plan(&mut self) {
        let plan = match compensations(self.ctx.definition, &self.state) {
            Ok(plan) => plan,
            Err(error) => return self.park_closure(&error),
        };
        let names: Vec<&Name> = plan.iter().map(|undo| &undo.step).collect();
        self.record(HistoryEvent::PlanFrozen, &json!({ "steps": names }));
        if let Direction::Back { unwinding, .. } = &mut self.state.direction {
            *unwinding = Unwinding::Frozen { plan };
        }
    }

    /// Undoes the first of the plan that still stands; without one the saga is compensated.
    fn undo_next(&mut self) {
        let Direction::Back { cause, unwinding: Unwinding::Frozen { .. } } = &self.state.direction else {
            return;
        };
        let left = match compensations(self.ctx.definition, &self.state) {
            Ok(left) => left,
            Err(error) => return self.park_closure(&error),
        };
        let Some(PlannedUndo { step, payload }) = left.into_iter().next() else {
            self.end(End::Compensated { cause: cause.clone() });
            return self.record(HistoryEvent::Compensated, &json!({}));
        };
        let (step_index, _) = self.ctx.definition.step(&step).expect("a plan names steps of its definition");
        self.ask(step_index, PendingCommand::new(Phase::Compensation, payload, self.ctx.now));
    }

    /// A compensation was done: the next one.
    pub(super) fn undone(&mut self, step_index: usize) {
        self.close(step_index, Phase::Compensation, Progress::Compensated);
        self.unwind();
    }

    /// Goes on in the saga's direction.
    pub(super) fn advance(&mut self) {
        match &self.state.direction {
            Direction::Forward => self.go_on(),
            Direction::Back { .. } => self.unwind(),
            Direction::Ended(_) => {}
        }
    }

    /// The first failure is the cause; one that comes while the saga goes back already only ends a doubt.
    pub(super) fn fail_forward_or_continue_unwind(&mut self, cause: Cause) {
        match &self.state.direction {
            Direction::Forward => self.turn_back(cause),
            Direction::Back { .. } => self.unwind(),
            Direction::Ended(_) => {}
        }
    }
}
