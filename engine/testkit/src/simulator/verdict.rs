//! What a run is held against, and what is reported of it.

use redress_core::SagaId;
use redress_core::definition::{SagaDefinition, Step, StepKind};
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::state::{CauseKind, Progress, Status};
use sha2::{Digest, Sha256};

use super::{Run, World, Wrong};
use crate::check;
use crate::story::line;

impl World<'_> {
    /// What must hold of a saga at any time.
    pub(super) fn check(&self, id: SagaId) -> Result<(), Wrong> {
        let wrong = |wrong: String| (Some(id), wrong);
        if let Some(wrong) = self.participants.wrong() {
            return Err((Some(id), wrong.to_owned()));
        }
        let Some(row) = self.journal.read(id) else { return Err(wrong("it is lost".to_owned())) };
        let rows = self.journal.history(id);
        let known = self.definitions.iter().find(|definition| definition.name == row.definition.0);
        let definition = known.ok_or_else(|| wrong("its definition is lost".to_owned()))?;
        check::history(definition, rows).map_err(wrong)?;
        for entry in rows {
            let is_about_it = |before: &&HistoryEntry| before.seq < entry.seq && before.step == entry.step;
            let is_told = |before: &HistoryEntry| before.event == HistoryEvent::Resolved;
            if entry.event == HistoryEvent::Contradiction && !rows.iter().filter(is_about_it).any(is_told) {
                return Err((Some(id), "an honest participant was found to contradict itself".to_owned()));
            }
            if entry.event == HistoryEvent::Refused {
                return Err((Some(id), "a question was refused".to_owned()));
            }
            if let (HistoryEvent::Failed, Some(step), Some(phase), Some(attempt)) =
                (entry.event, &entry.step, entry.phase, entry.attempt)
                && !self.failed.contains(&(id, step.clone(), phase, attempt))
            {
                return Err((Some(id), format!("attempt {attempt} at the {phase} of {step} never failed")));
            }
        }
        let pivot = row.state.steps.iter().find(|step| step.name == *"ship");
        let cancelled = row.state.cause().is_some_and(|cause| cause.kind == CauseKind::Cancelled);
        if cancelled && pivot.is_some_and(|pivot| pivot.progress != Progress::Pending) {
            return Err((Some(id), "cancelled though its pivot was sent".to_owned()));
        }
        Ok(())
    }

    pub(super) fn check_all(&self) -> Result<(), Wrong> {
        for id in &self.sagas {
            self.check(*id)?;
            let Some(row) = self.journal.read(*id) else { continue };
            // What is left of a saga that was closed is the operator's to clear up.
            if matches!(row.state.status, Status::Closed { .. }) {
                continue;
            }
            let known = self.definitions.iter().find(|definition| definition.name == row.definition.0);
            let Some(definition) = known else { continue };
            let rows = self.journal.history(*id);
            let mut account = definition.clone();
            let mut state = row.state.clone();
            // Steps and their states side by side, without those of which somebody knows that the account is wrong.
            account.steps.retain(|step| !is_known_to_be_wrong(definition, step, rows));
            state.steps.retain(|stepped| account.step(&stepped.name).is_some());
            check::effects(&account, &state, |step| self.participants.effect(*id, step))
                .map_err(|wrong| (Some(*id), wrong))?;
        }
        Ok(())
    }

    pub(super) fn report(&self) -> Run {
        let mut hash = Sha256::new();
        let mut happened = self.happened.clone();
        for id in &self.sagas {
            for row in self.journal.history(*id) {
                hash.update(line(row));
                hash.update(row.at.timestamp_millis().to_be_bytes());
                *happened.entry(row.event.as_str()).or_default() += 1;
            }
        }
        Run { hash: hex::encode(hash.finalize()), happened }
    }
}

/// Whether an operator's word on it was found to be wrong, and not put right. A wrong word on the pivot leads past it, or
/// back from it, and nothing undoes what is behind it. Of a step that was rejected for good the operator's word is the
/// last: it was done by hand.
fn is_known_to_be_wrong(definition: &SagaDefinition, step: &Step, rows: &[HistoryEntry]) -> bool {
    let last = |step: &Step, event| rows.iter().rfind(|row| is_of(row, step, event)).map(|row| row.seq);
    let contradicted = last(step, HistoryEvent::Contradiction);
    let told = last(step, HistoryEvent::Resolved);
    match step.kind {
        StepKind::Pivot => contradicted.is_some(),
        StepKind::Retriable => {
            let mut pivots = definition.steps.iter().filter(|step| matches!(step.kind, StepKind::Pivot));
            let past = pivots.any(|pivot| last(pivot, HistoryEvent::Contradiction).is_some());
            let by_hand = last(step, HistoryEvent::Rejected).is_some_and(|no| told > Some(no));
            past || by_hand || contradicted.is_some()
        }
        StepKind::Compensatable { .. } | StepKind::Notification => contradicted > told,
    }
}

fn is_of(row: &HistoryEntry, step: &Step, event: HistoryEvent) -> bool {
    row.event == event && row.step.as_ref() == Some(&step.name)
}
