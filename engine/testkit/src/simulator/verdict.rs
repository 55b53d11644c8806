//! What a run is held against, and what is reported of it.

use redress_core::SagaId;
use redress_core::history::HistoryEvent;
use redress_core::state::{CauseKind, Progress};
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
            if entry.event == HistoryEvent::Contradiction {
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
            let known = self.definitions.iter().find(|definition| definition.name == row.definition.0);
            if let Some(definition) = known {
                check::effects(definition, &row.state, |step| self.participants.effect(*id, step))
                    .map_err(|wrong| (Some(*id), wrong))?;
            }
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
