//! Steps that are delivered at least once: no participant remembers them, so none is asked what became of them.
//!
//! Such a step is sent until it is answered, like any other. When the saga stops waiting for the answer, because the
//! patience of the step has ended, or because the saga turns back or is closed, the step is in doubt, and stays so. It is
//! never said to be fenced, since its command may still lie in the stream and take effect; the author of the definition has
//! said that this does no harm. An answer that comes then is late, whatever it says.

use serde_json::json;

use crate::decide::machine::Machine;
use crate::history::HistoryEvent;
use crate::ids::Phase;
use crate::state::{Cause, CauseKind, Progress, StepError};

impl Machine<'_, '_> {
    /// Stops waiting for the answer to a step that no participant remembers, and turns back if the saga does not yet.
    pub(super) fn give_up_unremembered(&mut self, step_index: usize) {
        let reason = self.leave_in_doubt(step_index);
        self.fail_forward_or_continue_unwind(Cause {
            step: Some(self.step(step_index).name.clone()),
            kind: CauseKind::InDoubt,
            code: "in-doubt".to_owned(),
            message: format!("nobody can say whether the step happened: {reason}"),
        });
    }

    /// Stops waiting for the answer to a step that no participant remembers. Returns what is known of it, for people.
    pub(super) fn leave_in_doubt(&mut self, step_index: usize) -> String {
        let step_state = &self.state.steps[step_index];
        let attempt = step_state.attempts;
        let reason = match &step_state.error {
            Some(StepError { message, .. }) => message.clone(),
            None => "it was sent and not answered".to_owned(),
        };
        let reason = format!("{reason}; it is delivered at least once, so no participant remembers it");
        let name = self.step(step_index).name.clone();
        self.record_step(HistoryEvent::InDoubt, &name, Phase::Action, attempt, &json!({ "reason": reason }));
        self.state.steps[step_index].ended_at = Some(self.ctx.now);
        self.move_step(step_index, Progress::InDoubt);
        self.release(step_index);
        reason
    }
}
