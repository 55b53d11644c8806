//! Checks a run against the rules, and reports on it.

use redress_core::SagaId;
use redress_core::definition::{SagaDefinition, Step, StepKind};
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::state::{CauseKind, Progress, Status};
use redress_testkit::check;
use redress_testkit::run_result::line;
use sha2::{Digest, Sha256};

use super::Run;
use super::world::{World, Wrong};
use crate::memory::Row;

impl World {
    /// Checks the rules that hold of a saga at any time.
    pub(super) fn check(&self, id: SagaId) -> Result<(), Wrong> {
        let wrong = |wrong: String| (Some(id), wrong);
        if let Some(wrong) = self.participants.wrong() {
            return Err((Some(id), wrong.to_owned()));
        }
        self.journal.look(id, |row| match row {
            Some(row) => self.check_row(id, row),
            None if self.pruned.contains_key(&id) => Ok(()),
            None => Err(wrong("it is lost".to_owned())),
        })
    }

    fn check_row(&self, id: SagaId, row: &Row) -> Result<(), Wrong> {
        let wrong = |wrong: String| (Some(id), wrong);
        let rows = row.history.as_slice();
        let known = self.definition(&row.definition);
        let definition = known.ok_or_else(|| wrong("its definition is lost".to_owned()))?;
        check::history(definition, rows).map_err(wrong)?;
        check::unremembered(definition, &row.state, rows).map_err(wrong)?;
        for entry in rows {
            let is_about_it = |before: &&HistoryEntry| before.seq < entry.seq && before.step == entry.step;
            let is_told = |before: &HistoryEntry| before.event == HistoryEvent::Resolved;
            if entry.event == HistoryEvent::Contradiction && !rows.iter().filter(is_about_it).any(is_told) {
                return Err((Some(id), "an honest participant was found to contradict itself".to_owned()));
            }
            if let (HistoryEvent::Refused, Some(step), Some(phase), Some(attempt)) =
                (entry.event, &entry.step, entry.phase, entry.attempt)
                && !self.refused.contains(&(id, step.clone(), phase, attempt))
            {
                return Err((
                    Some(id),
                    format!("attempt {attempt} at the {phase} of {step} was never refused"),
                ));
            }
            if let (HistoryEvent::Failed, Some(step), Some(phase), Some(attempt)) =
                (entry.event, &entry.step, entry.phase, entry.attempt)
                && !self.failed.contains(&(id, step.clone(), phase, attempt))
            {
                return Err((Some(id), format!("attempt {attempt} at the {phase} of {step} never failed")));
            }
        }
        self.check_places(row).map_err(wrong)?;
        let pivot = row.state.steps.iter().find(|step| step.name == *"ship");
        let cancelled = row.state.cause().is_some_and(|cause| cause.kind == CauseKind::Cancelled);
        if cancelled && pivot.is_some_and(|pivot| *pivot.progress() != Progress::Pending) {
            return Err((Some(id), "cancelled though its pivot was sent".to_owned()));
        }
        Ok(())
    }

    pub(super) fn check_all(&self) -> Result<(), Wrong> {
        for id in &self.sagas {
            self.check(*id)?;
            let Some(row) = self.row(*id) else { continue };
            // The rest of a saga that was closed is the operator's to clear up.
            if row.state.status() == Status::Closed {
                continue;
            }
            let Some(definition) = self.definition(&row.definition) else { continue };
            let mut account = definition.clone();
            let mut state = row.state.clone();
            // Steps and their states side by side, without those whose account is known to be wrong.
            account.steps.retain(|step| !self.is_known_to_be_wrong(*id, &row.history, definition, step));
            state.steps.retain(|step_state| account.step(&step_state.name).is_some());
            check::effects(&account, &state, |step| self.participants.effect(*id, step))
                .map_err(|wrong| (Some(*id), wrong))?;
        }
        Ok(())
    }

    pub(super) fn report(&self) -> Run {
        let mut hash = Sha256::new();
        let mut happened = self.happened.clone();
        for id in &self.sagas {
            for row in self.row(*id).into_iter().flat_map(|row| row.history) {
                hash.update(line(&row));
                hash.update(row.at.timestamp_millis().to_be_bytes());
                *happened.entry(row.event.as_str()).or_default() += 1;
            }
        }
        Run { hash: hex::encode(hash.finalize()), happened }
    }
}

impl World {
    /// Returns true if an operator's resolution of the step was found to be wrong once the saga had ended (before that
    /// the contradiction parks it, and only the truth leads on), or can never be found to be: its participant has
    /// forgotten. A wrong resolution of the pivot leads past it, or back from it, and nothing undoes what is behind it.
    /// Of a step that was rejected for good the operator's resolution is the last: it was done by hand.
    fn is_known_to_be_wrong(
        &self,
        id: SagaId,
        rows: &[HistoryEntry],
        definition: &SagaDefinition,
        step: &Step,
    ) -> bool {
        let last = |step: &Step, event| rows.iter().rfind(|row| is_of(row, step, event)).map(|row| row.seq);
        let is_end =
            |row: &&HistoryEntry| matches!(row.event, HistoryEvent::Completed | HistoryEvent::Compensated);
        let end = rows.iter().find(is_end).map(|row| row.seq);
        let wrong = |step: &Step| {
            let hasty = self.told_in_a_storm.contains(&(id, step.name.clone()));
            let unverifiable = last(step, HistoryEvent::Expired).filter(|_| hasty);
            let contradicted =
                last(step, HistoryEvent::Contradiction).filter(|at| Some(*at) > end && end.is_some());
            contradicted.max(unverifiable)
        };
        let told = last(step, HistoryEvent::Resolved);
        // Nobody can say that it is wrong.
        if told.is_some() && !step.is_remembered() {
            return true;
        }
        match step.kind {
            StepKind::Pivot => wrong(step).is_some(),
            StepKind::Retriable => {
                let mut pivots = definition.steps.iter().filter(|step| matches!(step.kind, StepKind::Pivot));
                let past = pivots.any(|pivot| wrong(pivot).is_some());
                let by_hand = last(step, HistoryEvent::Rejected).is_some_and(|no| told > Some(no));
                past || by_hand || wrong(step).is_some()
            }
            StepKind::Compensatable { .. }
            | StepKind::Notification
            | StepKind::Wait(_)
            | StepKind::Event(_) => wrong(step) > told,
        }
    }
}

fn is_of(row: &HistoryEntry, step: &Step, event: HistoryEvent) -> bool {
    row.event == event && row.step.as_ref() == Some(&step.name)
}
