//! How a run comes to a phase of a step, and how it must end from there.

use redress_core::Phase;
use redress_core::decide::Verb;
use redress_core::definition::{LateSuccess, SagaDefinition, Step, StepKind};
use redress_core::fault::{Fault, FaultKind};

use super::disruption::{Disruption, reject};
use super::model::{Ground, UnwindMatrix};
use crate::story::Story;

/// A way to a phase of a step.
pub(super) struct Way<'m> {
    pub(super) story: Story<'m>,
    /// True if the saga has turned back on it, whatever goes wrong then.
    turned_back: bool,
}

/// A story that comes to this phase of this step; `None` if the step has no such phase.
pub(super) fn way<'m>(
    matrix: &'m UnwindMatrix,
    ground: &Ground,
    step: &Step,
    phase: Phase,
) -> Option<Way<'m>> {
    let story = || matrix.story(ground);
    match phase {
        Phase::Action => Some(Way { story: story(), turned_back: false }),
        Phase::Settlement => match step.kind {
            _ if !step.is_remembered() => None,
            StepKind::Retriable | StepKind::Notification | StepKind::Wait(_) | StepKind::Event(_) => None,
            StepKind::Compensatable { .. } | StepKind::Pivot => {
                // Nothing is heard of the action until it is given up, or the deadline passes.
                let silent = story().fault(fault(step, Phase::Action, FaultKind::DropReply, None));
                let is_pivot = matches!(step.kind, StepKind::Pivot);
                match (step.retry.is_bounded(), is_pivot, matrix.definition.deadline_ms) {
                    (true, _, _) | (false, true, Some(_)) => Some(Way { story: silent, turned_back: false }),
                    (false, true, None) => None,
                    (false, false, _) => Some(cancelled(&matrix.definition, story(), step)),
                }
            }
        },
        Phase::Compensation => {
            step.compensation()?;
            match last_to_say_no(&matrix.definition, ground, step) {
                Some(later) => {
                    let story = story().fault(fault(later, Phase::Action, reject(), Some(1)));
                    Some(Way { story, turned_back: true })
                }
                None => Some(cancelled(&matrix.definition, story(), step)),
            }
        }
    }
}

/// The last step behind this one that is played and whose rejection turns the saga back.
fn last_to_say_no<'d>(definition: &'d SagaDefinition, ground: &Ground, step: &Step) -> Option<&'d Step> {
    let (place, _) = definition.step(&step.name)?;
    let may_say_no = |later: &&Step| {
        matches!(later.kind, StepKind::Compensatable { .. } | StepKind::Pivot) && ground.plays(later)
    };
    definition.steps[place + 1..].iter().rev().find(may_say_no)
}

/// An operator cancels while the step is done, and only the settlement tells that it was: a command that is answered
/// twice is sent twice, and the second time without the fault.
fn cancelled<'m>(definition: &'m SagaDefinition, story: Story<'m>, step: &Step) -> Way<'m> {
    let same_stage = definition.steps.iter().filter(|other| other.stage == step.stage);
    let story = same_stage
        .fold(story, |story, other| story.fault(fault(other, Phase::Action, FaultKind::DropReply, None)));
    let story = story.operator_after(&format!("sent action {} 1", step.name), Verb::Cancel);
    Way { story, turned_back: true }
}

/// How a saga must end in which this goes wrong on this way.
pub(super) fn expected(way: &Way<'_>, step: &Step, phase: Phase, disruption: &Disruption) -> &'static str {
    if way.turned_back {
        return "compensated";
    }
    let is_retriable = matches!(step.kind, StepKind::Retriable);
    let late = step.compensation().map_or(LateSuccess::Accept, |compensation| compensation.late_success);
    let when_late = match late {
        // Nobody is asked what became of it.
        _ if !step.is_remembered() => "compensated",
        LateSuccess::Compensate => "compensated",
        LateSuccess::Accept => "completed",
    };
    match (phase, disruption) {
        (Phase::Action, Disruption::Once(FaultKind::Reject { .. })) if !is_retriable => "compensated",
        (Phase::Action, Disruption::Always(kind)) => given_up(kind, when_late),
        (Phase::Action, Disruption::Once(kind)) if is_given_up_at_once(step, kind) => {
            given_up(kind, when_late)
        }
        (Phase::Action, Disruption::Overdue | Disruption::InDoubt(_)) => "compensated",
        (Phase::Settlement, _) => when_late,
        (Phase::Action | Phase::Compensation, Disruption::Once(_) | Disruption::Lost | Disruption::Later)
        | (Phase::Compensation, Disruption::Always(_) | Disruption::Overdue | Disruption::InDoubt(_)) => {
            "completed"
        }
    }
}

/// Returns true if no second attempt follows a first one that met with this.
fn is_given_up_at_once(step: &Step, kind: &FaultKind) -> bool {
    let lasted_ms = match kind {
        FaultKind::Reject { .. }
        | FaultKind::Fail
        | FaultKind::CallLost
        | FaultKind::CallLate
        | FaultKind::CallTwice
        | FaultKind::CallFailed => 0,
        FaultKind::DropCommand
        | FaultKind::DropReply
        | FaultKind::Delay { .. }
        | FaultKind::DelayReply { .. }
        | FaultKind::Duplicate
        | FaultKind::CrashBeforeCommit
        | FaultKind::CrashAfterCommit
        | FaultKind::CrashAfterReply => step.timeout_ms,
    };
    step.retry.is_used_up(1, lasted_ms) && !matches!(step.kind, StepKind::Retriable)
}

/// How it ends when no further attempt follows this one.
fn given_up(kind: &FaultKind, when_late: &'static str) -> &'static str {
    match kind {
        // Never done, so the settlement fences it.
        FaultKind::Reject { .. } | FaultKind::Fail | FaultKind::DropCommand | FaultKind::Delay { .. } => {
            "compensated"
        }
        // Called, and the third party tells nothing: undone as if it had happened, if the step says so.
        FaultKind::CallLost | FaultKind::CallLate | FaultKind::CallFailed => "compensated",
        // Done, and heard of by the settlement only.
        FaultKind::DropReply | FaultKind::DelayReply { .. } => when_late,
        // Answered in time all the same.
        FaultKind::Duplicate
        | FaultKind::CrashBeforeCommit
        | FaultKind::CrashAfterCommit
        | FaultKind::CrashAfterReply
        | FaultKind::CallTwice => "completed",
    }
}

pub(super) fn fault(step: &Step, phase: Phase, kind: FaultKind, times: Option<u32>) -> Fault {
    Fault {
        saga: None,
        saga_id: None,
        tag: None,
        service: None,
        step: Some(step.name.clone()),
        command: None,
        phase: Some(phase),
        kind,
        times,
        probability: 1.0,
        seed: 0,
    }
}
