//! Parks a saga, and takes the reasons away that are gone.

use serde_json::json;

use crate::decide::machine::Machine;
use crate::definition::ClosureError;
use crate::history::HistoryEvent;
use crate::state::{ParkCode, ParkReason, PendingCommand, Progress, StepError};

impl Machine<'_, '_> {
    /// Removes the reasons for which the step itself was parked.
    pub(super) fn release(&mut self, step_index: usize) {
        let name = self.state.steps[step_index].name.clone();
        self.forget_reasons(|reason| reason.step.as_ref() == Some(&name) && reason.code.is_of_its_step());
    }

    /// Removes reasons to be parked; the saga is held up as long as one is left.
    pub(super) fn forget_reasons(&mut self, is_gone: impl Fn(&ParkReason) -> bool) {
        self.state.hold.forget(is_gone);
    }

    pub(super) fn set_error(&mut self, step_index: usize, code: &str, message: &str) {
        self.state.steps[step_index].error =
            Some(StepError { code: code.to_owned(), message: message.to_owned() });
    }

    /// Stops at a step until an operator acts.
    pub(super) fn park_step(
        &mut self,
        step_index: usize,
        pending: PendingCommand,
        code: ParkCode,
        message: String,
    ) {
        let step = self.state.steps[step_index].name.clone();
        let phase = Some(pending.phase);
        self.move_step(step_index, Progress::Parked { pending, code });
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
        self.state.hold.park(reason);
    }
}
