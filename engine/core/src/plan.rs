//! What a saga would still do, and what it would undo now.
//!
//! Exact, because both come from the same data as the decisions: the steps that are pending, and the steps that
//! stand and have a compensation, in reverse, with the payloads that would be sent.

use serde::Serialize;

use crate::definition::{ClosureError, SagaDefinition, StepKind};
use crate::ids::{Name, Phase};
use crate::json::JsonText;
use crate::state::{Place, PlannedUndo, Progress, Question, SagaState, Status, StepState, Unwinding};

/// What lies before a saga, in both directions.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Plan {
    /// Steps that are not done yet, in the order in which they will be; empty once the saga goes back.
    pub remaining: Vec<RemainingStep>,
    /// Steps whose outcome must be settled before anything is undone; none once the pivot is passed, as nothing is then.
    pub in_doubt: Vec<Name>,
    /// What would be undone now, in this order.
    pub undo: Vec<Undo>,
}

/// A step that is not done yet.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RemainingStep {
    /// The step.
    pub step: Name,
    /// Its stage: the steps of one stage run side by side.
    pub stage: u32,
    /// `compensatable`, `pivot`, `retriable` or `notification`.
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
    /// What would be sent.
    pub payload: JsonText,
}

/// The plan of a saga as it stands.
///
/// # Errors
/// [`ClosureError`] if a closure of the definition fails on the saga's data.
pub fn plan(definition: &SagaDefinition, state: &SagaState) -> Result<Plan, ClosureError> {
    let forward = match &state.status {
        Status::Running
        | Status::Parked { place: Place::Running, .. }
        | Status::Paused { place: Place::Running } => true,
        Status::Compensating { .. }
        | Status::Parked { place: Place::Compensating { .. }, .. }
        | Status::Paused { place: Place::Compensating { .. } }
        | Status::Completed
        | Status::Compensated { .. }
        | Status::Closed { .. } => false,
    };
    let steps = || definition.steps.iter().zip(&state.steps);
    let remaining = steps()
        .filter(|(_, stepped)| {
            forward
                && matches!(stepped.progress, Progress::Pending | Progress::Open(_) | Progress::Parked { .. })
        })
        .map(|(step, stepped)| RemainingStep {
            step: step.name.clone(),
            stage: step.stage,
            kind: step.kind.as_str(),
            status: stepped.progress.as_str(),
        });
    let may_undo = !state.is_ended() && !pivot_passed(definition, state);
    let in_doubt = steps()
        .filter(|(_, stepped)| {
            let asked = stepped.open().or_else(|| stepped.parked().map(|(question, _)| question));
            may_undo && asked.is_some_and(|question| question.phase != Phase::Compensation)
        })
        .map(|(step, _)| step.name.clone());
    Ok(Plan { remaining: remaining.collect(), in_doubt: in_doubt.collect(), undo: undo(definition, state)? })
}

fn undo(definition: &SagaDefinition, state: &SagaState) -> Result<Vec<Undo>, ClosureError> {
    let frozen = match &state.status {
        Status::Compensating { unwinding: Unwinding::Frozen { plan }, .. }
        | Status::Parked {
            place: Place::Compensating { unwinding: Unwinding::Frozen { plan }, .. }, ..
        }
        | Status::Paused { place: Place::Compensating { unwinding: Unwinding::Frozen { plan }, .. } } => {
            Some(plan)
        }
        Status::Compensating { unwinding: Unwinding::Settling, .. }
        | Status::Parked { place: Place::Compensating { unwinding: Unwinding::Settling, .. }, .. }
        | Status::Paused { place: Place::Compensating { unwinding: Unwinding::Settling, .. } }
        | Status::Parked { place: Place::Running, .. }
        | Status::Paused { place: Place::Running }
        | Status::Running => None,
        Status::Completed | Status::Compensated { .. } | Status::Closed { .. } => return Ok(Vec::new()),
    };
    if pivot_passed(definition, state) {
        return Ok(Vec::new());
    }
    let mut undo = Vec::new();
    // What is being undone goes first, with the bytes that were sent, also if the plan behind it is made anew.
    let is_asked = |stepped: &StepState| being_undone(stepped).is_some();
    let steps = || definition.steps.iter().zip(&state.steps).rev();
    let in_order = steps().filter(|(_, s)| is_asked(s)).chain(steps().filter(|(_, s)| !is_asked(s)));
    for (step, stepped) in in_order {
        let Some(compensation) = step.compensation().filter(|_| still_stands(&stepped.progress)) else {
            continue;
        };
        let stored = frozen.and_then(|plan| plan.iter().find(|undo| undo.step == step.name));
        let payload = match (being_undone(stepped), stored) {
            (Some(payload), _) | (None, Some(PlannedUndo { payload, .. })) => Some(payload.clone()),
            (None, None) => step.compensation_payload(&state.data)?,
        };
        undo.extend(payload.map(|payload| Undo {
            step: step.name.clone(),
            service: step.service.clone(),
            command: compensation.command.clone(),
            payload,
        }));
    }
    Ok(undo)
}

fn pivot_passed(definition: &SagaDefinition, state: &SagaState) -> bool {
    definition
        .steps
        .iter()
        .zip(&state.steps)
        .any(|(step, stepped)| matches!(step.kind, StepKind::Pivot) && stepped.progress.is_passed())
}

/// What was sent to undo a step, if its undo is asked for.
fn being_undone(stepped: &StepState) -> Option<&JsonText> {
    let asked = stepped.open().or_else(|| stepped.parked().map(|(question, _)| question));
    asked.filter(|question| question.phase == Phase::Compensation).map(|question| &question.payload)
}

const fn still_stands(progress: &Progress) -> bool {
    match progress {
        Progress::Succeeded
        | Progress::Open(Question { phase: Phase::Compensation, .. })
        | Progress::Parked { question: Question { phase: Phase::Compensation, .. }, .. } => true,
        Progress::Pending
        | Progress::Open(Question { phase: Phase::Action | Phase::Settlement, .. })
        | Progress::Rejected
        | Progress::Fenced
        | Progress::Compensated
        | Progress::Skipped
        | Progress::Parked { question: Question { phase: Phase::Action | Phase::Settlement, .. }, .. } => {
            false
        }
    }
}
