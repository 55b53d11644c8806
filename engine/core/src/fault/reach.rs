//! Checks that a fault can strike at all.
//!
//! A slip in a name, or the phase left out, would make a test that injects nothing, and passes. So a program that takes
//! a fault checks first that some command of the definitions could carry it.

use serde::Deserialize;
use thiserror::Error;

use crate::definition::{SagaDefinition, Step, StepKind};
use crate::fault::model::Fault;
use crate::ids::{Name, Phase, SagaId};

/// A fault that no command could carry.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum UnmatchedFault {
    /// It names a saga that is not there.
    #[error("the fault would strike nothing: there is no saga `{saga}` here, only {known}")]
    NoSuchSaga {
        /// The name.
        saga: Name,
        /// Those that are there.
        known: String,
    },
    /// It names a step that is not there.
    #[error("the fault would strike nothing: no step is named `{step}`, only {known}")]
    NoSuchStep {
        /// The name.
        step: Name,
        /// Those that are there.
        known: String,
    },
    /// No command of its phase is the one that it names.
    #[error(
        "the fault would strike nothing: it fits no {}; there are {there}",
        .phase.map_or("command of any phase", Phase::as_str)
    )]
    NoSuchCommand {
        /// The phase, which is `action` unless it says otherwise; `None` for all that its kind can strike.
        phase: Option<Phase>,
        /// The commands of that phase: step, service and command.
        there: String,
    },
    /// It names a saga that is not in the journal.
    #[error("the fault would strike nothing: there is no saga {0}")]
    NoSuchSagaId(SagaId),
    /// It was given with a start, and asks which saga it is.
    #[error("a fault that is given with a start strikes that saga alone: leave `{0}` out")]
    OfAStart(&'static str),
}

/// The faults of a start that cannot be used.
#[derive(Debug, Error)]
pub enum InvalidFaults {
    /// They cannot be read as faults.
    #[error(transparent)]
    Unreadable(#[from] serde_json::Error),
    /// One of them would do nothing.
    #[error(transparent)]
    UnmatchedFault(#[from] UnmatchedFault),
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
        if let Some(fields) = fault.as_object_mut()
            && fields.get("everything") != Some(&true.into())
        {
            fields.entry("saga").or_insert_with(|| definition.name.as_str().into());
        }
    }
    let faults: Vec<serde_json::Value> = serde_json::from_value(given)?;
    let read = |given| {
        let fault = read(given, &[definition])?;
        match (&fault.saga_id, &fault.tag) {
            (Some(_), _) => Err(UnmatchedFault::OfAStart("saga_id").into()),
            (None, Some(_)) => Err(UnmatchedFault::OfAStart("tag").into()),
            (None, None) => Ok(fault),
        }
    };
    faults.into_iter().map(read).collect()
}

/// A fault as given, for these definitions. A name that is not there is told before anything else that is wrong with
/// it: a client that mistyped a step should not have to put the rest right first.
///
/// # Errors
/// [`InvalidFaults`] if it makes no sense, or reaches nothing in the definitions.
pub fn read(given: serde_json::Value, definitions: &[&SagaDefinition]) -> Result<Fault, InvalidFaults> {
    if let Ok(reach) = Reach::deserialize(&given) {
        reach.check(definitions)?;
    }
    let fault: Fault = serde_json::from_value(given)?;
    fault.check_reach(definitions)?;
    Ok(fault)
}

/// Where a fault says that it strikes, whatever else it says.
#[derive(Deserialize)]
struct Reach {
    saga: Option<Name>,
    step: Option<Name>,
}

impl Reach {
    fn check(&self, definitions: &[&SagaDefinition]) -> Result<(), UnmatchedFault> {
        let sagas = sagas_named(self.saga.as_ref(), definitions)?;
        let mut steps = sagas.iter().flat_map(|saga| &saga.steps).map(|step| &step.name);
        match &self.step {
            Some(step) if !steps.clone().any(|name| name == step) => {
                let known = listed(steps.by_ref().map(ToString::to_string));
                Err(UnmatchedFault::NoSuchStep { step: step.clone(), known })
            }
            Some(_) | None => Ok(()),
        }
    }
}

/// The definitions of that name, or all of them.
fn sagas_named<'a>(
    saga: Option<&Name>,
    definitions: &[&'a SagaDefinition],
) -> Result<Vec<&'a SagaDefinition>, UnmatchedFault> {
    let is_meant = |definition: &&SagaDefinition| saga.is_none_or(|saga| *saga == definition.name);
    let sagas: Vec<&SagaDefinition> = definitions.iter().copied().filter(is_meant).collect();
    match saga {
        Some(saga) if sagas.is_empty() => {
            let known = listed(definitions.iter().map(|definition| definition.name.to_string()));
            Err(UnmatchedFault::NoSuchSaga { saga: saga.clone(), known })
        }
        Some(_) | None => Ok(sagas),
    }
}

impl Fault {
    /// Checks that some command of these definitions could carry it, its `times` and `probability` aside.
    ///
    /// # Errors
    /// [`UnmatchedFault`] if not, with what there is to strike.
    pub fn check_reach(&self, definitions: &[&SagaDefinition]) -> Result<(), UnmatchedFault> {
        let fits = |want: &Option<Name>, is: &Name| want.as_ref().is_none_or(|want| want == is);
        let sagas = sagas_named(self.saga.as_ref(), definitions)?;
        let steps = sagas.iter().flat_map(|saga| &saga.steps);
        let phases = PHASES.into_iter().filter(|phase| self.fits_phase(*phase));
        let phases: Vec<Phase> = phases.collect();
        let asked: Vec<(&Step, &Name)> = steps
            .flat_map(|step| phases.iter().filter_map(move |phase| Some((step, command_of(step, *phase)?))))
            .collect();
        let is_struck = asked.iter().any(|(step, command)| {
            fits(&self.step, &step.name) && fits(&self.service, &step.service) && fits(&self.command, command)
        });
        if is_struck {
            return Ok(());
        }
        let told = |(step, command): (&Step, &Name)| format!("{} ({} {command})", step.name, step.service);
        Err(UnmatchedFault::NoSuchCommand { phase: self.phase, there: listed(asked.into_iter().map(told)) })
    }
}

const PHASES: [Phase; 3] = [Phase::Action, Phase::Compensation, Phase::Settlement];

/// The command of this phase of the step, if it is one that can be answered.
fn command_of(step: &Step, phase: Phase) -> Option<&Name> {
    match (phase, &step.kind) {
        (Phase::Compensation, StepKind::Compensatable { compensation }) => {
            compensation.as_ref().map(|compensation| &compensation.command)
        }
        (Phase::Compensation, StepKind::Pivot | StepKind::Retriable)
        | (
            Phase::Action | Phase::Compensation | Phase::Settlement,
            StepKind::Notification | StepKind::Wait(_) | StepKind::Event(_),
        ) => None,
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
