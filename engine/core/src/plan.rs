//! The plan of a saga: the steps that it would still do, and those that it would undo now.
//!
//! The plan that a reader is shown and the plan that a decision freezes are made by one function, `compensations`: the
//! steps that stand and have a compensation, in reverse, with the payloads that would be sent. So a plan keeps what was
//! promised; once it is frozen it only grows shorter, as step after step is undone.

use serde::Serialize;

use crate::definition::{ClosureError, SagaDefinition, StepKind};
use crate::ids::{Name, Phase};
use crate::json::JsonText;
use crate::state::{Direction, PendingCommand, PlannedUndo, Progress, SagaState, StepState, Unwinding};

/// The plan of a saga, in both directions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Steps that are not done yet, in the order in which they will be; empty once the saga goes back.
    pub remaining: Vec<RemainingStep>,
    /// Steps whose outcome must be settled before anything is undone; none once the pivot is passed, as nothing is
    /// then.
    pub in_doubt: Vec<Name>,
    /// The compensations that would be sent now, in this order.
    pub undo: Vec<Undo>,
}

/// A step that is not done yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RemainingStep {
    /// The step.
    pub step: Name,
    /// Its stage: the steps of one stage run side by side.
    pub stage: u32,
    /// `compensatable`, `pivot`, `retriable`, `notification`, `wait` or `event`.
    pub kind: &'static str,
    /// Its status as one word.
    pub status: &'static str,
}

/// A compensation that would be sent.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Undo {
    /// The step to undo.
    pub step: Name,
    /// The participant.
    pub service: Name,
    /// The compensation's command.
    pub command: Name,
    /// The payload that would be sent.
    pub payload: JsonText,
}

/// The plan of a saga as it stands.
///
/// # Errors
/// [`ClosureError`] if a closure of the definition fails on the saga's data.
pub fn plan(definition: &SagaDefinition, state: &SagaState) -> Result<Plan, ClosureError> {
    let forward = match &state.direction {
        Direction::Forward => true,
        Direction::Back { .. } | Direction::Ended(_) => false,
    };
    let steps = || definition.steps.iter().zip(&state.steps);
    let remaining = steps()
        .filter(|(_, step_state)| {
            forward
                && matches!(
                    step_state.progress(),
                    Progress::Pending
                        | Progress::Open(_)
                        | Progress::Waiting { .. }
                        | Progress::Parked { .. }
                )
        })
        .map(|(step, step_state)| RemainingStep {
            step: step.name.clone(),
            stage: step.stage,
            kind: step.kind.as_str(),
            status: step_state.status_word(),
        });
    let may_undo = !state.is_ended() && !pivot_passed(definition, state);
    let in_doubt = steps()
        .filter(|(step, step_state)| {
            may_undo
                && step.is_remembered()
                && asked(step_state).is_some_and(|pending| pending.phase != Phase::Compensation)
        })
        .map(|(step, _)| step.name.clone());
    let undo = if may_undo { compensations(definition, state)? } else { Vec::new() };
    let undo = undo.into_iter().filter_map(|PlannedUndo { step, payload }| {
        let (_, defined) = definition.step(&step)?;
        let command = defined.compensation()?.command.clone();
        Some(Undo { step, service: defined.service.clone(), command, payload })
    });
    Ok(Plan { remaining: remaining.collect(), in_doubt: in_doubt.collect(), undo: undo.collect() })
}

/// The compensations that undo the saga as it stands, in their order: of a frozen plan those that are left, or else what
/// a plan would hold that was frozen now.
///
/// The definition's order is one of the dependencies, so its reverse undoes nothing before what depends on it. Only a
/// compensation that is under way goes first, with the bytes that were sent: the plan behind it is made anew when a step
/// turns out to stand after all.
///
/// # Errors
/// [`ClosureError`] if a compensation's closure fails on the saga's data.
pub(crate) fn compensations(
    definition: &SagaDefinition,
    state: &SagaState,
) -> Result<Vec<PlannedUndo>, ClosureError> {
    let stands = |step_state: &&StepState| still_stands(step_state.progress());
    match &state.direction {
        Direction::Ended(_) => Ok(Vec::new()),
        Direction::Back { unwinding: Unwinding::Frozen { plan }, .. } => {
            let is_left =
                |undo: &&PlannedUndo| state.steps.iter().filter(stands).any(|s| s.name == undo.step);
            Ok(plan.iter().filter(is_left).cloned().collect())
        }
        Direction::Forward | Direction::Back { unwinding: Unwinding::Settling, .. } => {
            let steps = || definition.steps.iter().zip(&state.steps).rev();
            let under_way = steps().filter_map(|(step, s)| Some((step, being_undone(s)?.clone())));
            let mut plan: Vec<PlannedUndo> =
                under_way.map(|(step, payload)| PlannedUndo { step: step.name.clone(), payload }).collect();
            for (step, _) in steps().filter(|(_, s)| stands(s) && being_undone(s).is_none()) {
                let payload = step.compensation_payload(&state.data)?;
                plan.extend(payload.map(|payload| PlannedUndo { step: step.name.clone(), payload }));
            }
            Ok(plan)
        }
    }
}

fn pivot_passed(definition: &SagaDefinition, state: &SagaState) -> bool {
    definition
        .steps
        .iter()
        .zip(&state.steps)
        .any(|(step, step_state)| matches!(step.kind, StepKind::Pivot) && step_state.progress().is_passed())
}

/// The pending command of a step, also if it is parked at it.
fn asked(step_state: &StepState) -> Option<&PendingCommand> {
    step_state.open().or_else(|| step_state.parked().map(|(pending, _)| pending))
}

/// The payload that was sent to undo a step, if its compensation is pending.
fn being_undone(step_state: &StepState) -> Option<&JsonText> {
    asked(step_state).filter(|pending| pending.phase == Phase::Compensation).map(|pending| &pending.payload)
}

const fn still_stands(progress: &Progress) -> bool {
    match progress {
        Progress::Succeeded
        | Progress::InDoubt
        | Progress::Open(PendingCommand { phase: Phase::Compensation, .. })
        | Progress::Parked { pending: PendingCommand { phase: Phase::Compensation, .. }, .. } => true,
        Progress::Pending
        | Progress::Open(PendingCommand { phase: Phase::Action | Phase::Settlement, .. })
        | Progress::Rejected
        | Progress::Fenced
        | Progress::Compensated
        | Progress::Skipped
        | Progress::Waiting { .. }
        | Progress::TimedOut
        | Progress::GivenUp
        | Progress::Parked {
            pending: PendingCommand { phase: Phase::Action | Phase::Settlement, .. }, ..
        } => false,
    }
}
