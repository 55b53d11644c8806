//! Whether a fault can strike at all.
//!
//! A slip in a name, or the phase left out, would make a test that injects nothing, and passes. So whoever takes a
//! fault asks first whether any command of the definitions could carry it.

use thiserror::Error;

use super::Fault;
use crate::definition::{SagaDefinition, Step, StepKind};
use crate::ids::{Name, Phase};

/// A fault that no command could carry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum StrikesNothing {
    /// It names a saga that is not there.
    #[error("the fault would strike nothing: there is no saga `{saga}` here, only {known}")]
    NoSuchSaga {
        /// The name.
        saga: Name,
        /// Those that are there.
        known: String,
    },
    /// No question of its phase is what it names.
    #[error("the fault would strike nothing: it fits no {phase}; there are {there}")]
    NoSuchCommand {
        /// The phase, which is `action` unless it says otherwise.
        phase: Phase,
        /// The questions of that phase: step, service and command.
        there: String,
    },
}

/// The faults of a start that cannot be used.
#[derive(Debug, Error)]
pub enum InvalidFaults {
    /// They are not what they should be.
    #[error(transparent)]
    Unreadable(#[from] serde_json::Error),
    /// One of them would do nothing.
    #[error(transparent)]
    StrikesNothing(#[from] StrikesNothing),
}

/// A saga's own faults as given in a start: the saga may be left out.
///
/// # Errors
/// [`InvalidFaults`] if one makes no sense, or reaches nothing in the definition.
pub fn of_saga(
    definition: &SagaDefinition,
    mut given: serde_json::Value,
) -> Result<Vec<Fault>, InvalidFaults> {
    for fault in given.as_array_mut().into_iter().flatten() {
        if let Some(fields) = fault.as_object_mut() {
            fields.entry("saga").or_insert_with(|| definition.name.as_str().into());
        }
    }
    let faults: Vec<Fault> = serde_json::from_value(given)?;
    faults.iter().try_for_each(|fault| fault.check_reach(&[definition]))?;
    Ok(faults)
}

impl Fault {
    /// Whether any command of these definitions could carry it, its `times` and `probability` aside.
    ///
    /// # Errors
    /// [`StrikesNothing`] if not, with what there is to strike.
    pub fn check_reach(&self, definitions: &[&SagaDefinition]) -> Result<(), StrikesNothing> {
        let fits = |want: &Option<Name>, is: &Name| want.as_ref().is_none_or(|want| want == is);
        let sagas: Vec<&SagaDefinition> =
            definitions.iter().copied().filter(|saga| fits(&self.saga, &saga.name)).collect();
        if let (Some(saga), true) = (&self.saga, sagas.is_empty()) {
            let known = listed(definitions.iter().map(|definition| definition.name.to_string()));
            return Err(StrikesNothing::NoSuchSaga { saga: saga.clone(), known });
        }
        let steps = sagas.iter().flat_map(|saga| &saga.steps);
        let asked: Vec<(&Step, &Name)> =
            steps.filter_map(|step| command_of(step, self.phase).map(|command| (step, command))).collect();
        let is_struck = asked.iter().any(|(step, command)| {
            fits(&self.step, &step.name) && fits(&self.service, &step.service) && fits(&self.command, command)
        });
        if is_struck {
            return Ok(());
        }
        let told = |(step, command): (&Step, &Name)| format!("{} ({} {command})", step.name, step.service);
        Err(StrikesNothing::NoSuchCommand { phase: self.phase, there: listed(asked.into_iter().map(told)) })
    }
}

/// What is asked for in this phase of the step, if anything that can be answered.
fn command_of(step: &Step, phase: Phase) -> Option<&Name> {
    match (phase, &step.kind) {
        (Phase::Compensation, StepKind::Compensatable { compensation }) => {
            compensation.as_ref().map(|compensation| &compensation.command)
        }
        (Phase::Compensation, StepKind::Pivot | StepKind::Retriable)
        | (Phase::Action | Phase::Compensation | Phase::Settlement, StepKind::Notification) => None,
        (
            Phase::Action | Phase::Settlement,
            StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable,
        ) => Some(&step.command),
    }
}

/// Each once, in their order.
fn listed(names: impl Iterator<Item = String>) -> String {
    let mut once: Vec<String> = Vec::new();
    for name in names {
        if !once.contains(&name) {
            once.push(name);
        }
    }
    if once.is_empty() { "none".to_owned() } else { once.join(", ") }
}
