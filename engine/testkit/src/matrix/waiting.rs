//! The disruptions of steps that wait, and the evidence that they happened.
//!
//! Nothing is sent for such a step, so no fault strikes it. What can go wrong is that the saga is cancelled meanwhile, and
//! that an event comes at another time than it should, or not at all.

use std::fmt;
use std::time::Duration;

use redress_core::decide::{EventRefusal, EventVerdict, Verb};
use redress_core::definition::{SagaDefinition, Step, StepKind};
use redress_core::history::HistoryEvent;
use redress_core::waiting::{AwaitedEvent, OnTimeout};

use crate::run_result::RunResult;
use crate::story::Story;

/// What goes wrong with a step that waits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WaitDisruption {
    /// An operator cancels the saga.
    Cancelled,
    /// Its event never comes.
    NeverComes,
    /// Its event comes when the saga has just begun, and again when the step waits.
    ComesEarly,
    /// Its event comes twice.
    ComesTwice,
    /// Its event comes when nobody waits for it any more.
    ComesLate,
}

use WaitDisruption::{Cancelled, ComesEarly, ComesLate, ComesTwice, NeverComes};

impl fmt::Display for WaitDisruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Cancelled => "cancelled",
            NeverComes => "never-comes",
            ComesEarly => "comes-early",
            ComesTwice => "comes-twice",
            ComesLate => "comes-late",
        })
    }
}

/// The disruptions of a step that waits.
pub(super) fn disruptions(step: &Step) -> Vec<WaitDisruption> {
    match step.awaited_event() {
        Some(_) => vec![Cancelled, NeverComes, ComesEarly, ComesTwice, ComesLate],
        None => vec![Cancelled],
    }
}

/// The story with this disruption in it.
pub(super) fn disturbed<'m>(story: Story<'m>, step: &Step, disruption: WaitDisruption) -> Story<'m> {
    let (name, begun) = (step.name.as_str(), format!("waiting action {}", step.name));
    let too_late = step
        .awaited_event()
        .map_or(Duration::ZERO, |event| Duration::from_millis(event.timeout_ms.saturating_add(1)));
    match disruption {
        Cancelled => {
            let story = if step.awaited_event().is_some() { story.no_event(name) } else { story };
            story.operator_after(&begun, Verb::Cancel)
        }
        NeverComes => story.no_event(name),
        ComesEarly => story.event_after("started", name, "early").event_after(&begun, name, "early"),
        ComesTwice => story.event_after(&begun, name, "once").event_after(&begun, name, "once"),
        ComesLate => story.event_later(&begun, too_late, name, "late"),
    }
}

/// How a saga must end in which this goes wrong.
pub(super) fn expected(definition: &SagaDefinition, step: &Step, disruption: WaitDisruption) -> &'static str {
    let pivot = definition.steps.iter().find(|step| matches!(step.kind, StepKind::Pivot));
    let is_decided = pivot.is_some_and(|pivot| pivot.stage < step.stage);
    let turns_back = match disruption {
        Cancelled => !is_decided,
        ComesEarly | ComesTwice => false,
        NeverComes | ComesLate => {
            matches!(step.awaited_event(), Some(AwaitedEvent { on_timeout: OnTimeout::TurnBack, .. }))
        }
    };
    if turns_back { "compensated" } else { "completed" }
}

/// Checks that the disruption happened at this step.
///
/// # Errors
/// The evidence that is missing.
pub(super) fn evidence(run: &RunResult, step: &Step, disruption: WaitDisruption) -> Result<(), String> {
    let has =
        |event| run.history.iter().any(|row| row.event == event && row.step.as_ref() == Some(&step.name));
    let verdicts: Vec<&EventVerdict> =
        run.events.iter().filter(|(name, _)| *name == step.name).map(|(_, verdict)| verdict).collect();
    let is_so = match disruption {
        Cancelled => has(HistoryEvent::GivenUp) || run.refused.iter().any(|why| why == "pivot-sent"),
        NeverComes => has(HistoryEvent::TimedOut) && verdicts.is_empty(),
        ComesEarly => {
            let is_first =
                matches!(verdicts[..], [EventVerdict::Kept | EventVerdict::Taken, EventVerdict::Repeated]);
            is_first && has(HistoryEvent::EventTaken)
        }
        ComesTwice => matches!(verdicts[..], [EventVerdict::Taken, EventVerdict::Repeated]),
        ComesLate => {
            let is_late = matches!(
                verdicts[..],
                [EventVerdict::Refused(
                    EventRefusal::TimedOut | EventRefusal::TurnedBack | EventRefusal::Ended
                )]
            );
            is_late && has(HistoryEvent::TimedOut)
        }
    };
    match is_so {
        true => Ok(()),
        false => Err(format!("`{disruption}` was ordered and not played: {verdicts:?}")),
    }
}
