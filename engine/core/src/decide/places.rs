//! Keeps the places of steps in the orders of their keys: takes, waits, lets go.
//!
//! - **Taken** at the start, by the data of the start, for each step that is ordered by a key.
//! - **Waited for** when the saga comes to the step and others may stand before it. Nothing was sent, so cancel, deadline
//!   and close work at once.
//! - **First** when the journal says so. That never ceases to hold. While the saga is held up it only takes note.
//! - **Let go** when the step is decided for good: it stands and will not be undone on this way back, or it has no effect
//!   and never will. A step that is open, in doubt, parked, resolved but not verified, or yet to be undone keeps its place,
//!   so that the next of the key never runs beside an outcome that is not known. A parked saga holds its keys.
//!
//! A step that is delivered at least once and not answered when its saga turns back is in doubt for good: its place is kept
//! until the saga has ended, and no longer, since no participant will ever tell.
//!
//! A place that was let go is never taken again. So what comes after an answer runs outside of the order: the undo of a
//! step that had succeeded before its saga turned back, and a step that an operator opens again after its answer.

use serde_json::json;

use crate::decide::machine::Machine;
use crate::definition::{ClosureError, StepKind};
use crate::history::HistoryEvent;
use crate::ids::{Name, Phase};
use crate::state::{Direction, OrderPlace, Progress};

impl Machine<'_, '_> {
    /// Takes the places of all steps that are ordered by a key.
    pub(super) fn take_places(&mut self) -> Result<(), ClosureError> {
        for (step, step_state) in self.ctx.definition.steps.iter().zip(&mut self.state.steps) {
            step_state.place = step.order_key(&self.state.data)?.map(|key| OrderPlace::Taken { key });
        }
        Ok(())
    }

    /// Returns true if a step that the saga has come to waits for those before it, and records that it begins to.
    pub(super) fn must_wait_for_place(&mut self, step_index: usize) -> bool {
        let key = match &self.state.steps[step_index].place {
            None | Some(OrderPlace::First { .. } | OrderPlace::LetGo) => return false,
            Some(OrderPlace::Waiting { .. }) => return true,
            Some(OrderPlace::Taken { key }) => key.clone(),
        };
        let name = &self.step(step_index).name;
        self.record_unsent(HistoryEvent::Queued, name, Phase::Action, &json!({ "key": key }));
        self.state.steps[step_index].place = Some(OrderPlace::Waiting { key, since: self.ctx.now });
        true
    }

    /// No place stands before that of a step any more.
    pub(super) fn on_place_is_first(&mut self, step: &Name) {
        let Some((step_index, _)) = self.ctx.definition.step(step) else { return };
        let place = &mut self.state.steps[step_index].place;
        let (Some(OrderPlace::Taken { key }) | Some(OrderPlace::Waiting { key, .. })) = place else { return };
        *place = Some(OrderPlace::First { key: std::mem::take(key) });
        self.note_without_row();
        if matches!(self.state.direction, Direction::Forward) {
            self.go_on();
        }
    }

    /// Lets go of every place that is not needed any more.
    pub(super) fn let_places_go(&mut self) {
        for step_index in 0..self.state.steps.len() {
            let is_held = match &self.state.steps[step_index].place {
                None | Some(OrderPlace::LetGo) => false,
                Some(OrderPlace::Taken { .. } | OrderPlace::Waiting { .. } | OrderPlace::First { .. }) => {
                    true
                }
            };
            if is_held && !self.needs_place(step_index) {
                self.state.steps[step_index].place = Some(OrderPlace::LetGo);
            }
        }
    }

    /// Returns true as long as it is not decided for good what becomes of the step.
    fn needs_place(&self, step_index: usize) -> bool {
        if self.state.steps[step_index].verification().is_some() {
            return true;
        }
        let progress = self.progress(step_index);
        match &self.state.direction {
            Direction::Ended(_) => false,
            Direction::Forward => match progress {
                Progress::Pending
                | Progress::Open(_)
                | Progress::Rejected
                | Progress::Fenced
                | Progress::InDoubt
                | Progress::Waiting { .. }
                | Progress::Parked { .. } => true,
                Progress::Succeeded
                | Progress::Skipped
                | Progress::Compensated
                | Progress::TimedOut
                | Progress::GivenUp => false,
            },
            Direction::Back { .. } => match progress {
                // A pivot that was sent may turn out to have happened: then the saga goes forward to it after all.
                Progress::Pending => self.is_behind_a_sent_pivot(step_index),
                Progress::Open(_)
                | Progress::InDoubt
                | Progress::Waiting { .. }
                | Progress::Parked { .. } => true,
                Progress::Succeeded => self.step(step_index).compensation().is_some(),
                Progress::Rejected
                | Progress::Fenced
                | Progress::Skipped
                | Progress::Compensated
                | Progress::TimedOut
                | Progress::GivenUp => false,
            },
        }
    }

    fn is_behind_a_sent_pivot(&self, step_index: usize) -> bool {
        let before = self.ctx.definition.steps[..step_index].iter().zip(&self.state.steps);
        before.into_iter().any(|(step, step_state)| {
            matches!(step.kind, StepKind::Pivot) && *step_state.progress() != Progress::Pending
        })
    }
}
