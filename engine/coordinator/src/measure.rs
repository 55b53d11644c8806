//! What a decision is measured by: plain data, which the metrics count once it is committed.
//!
//! Everything is read from the state before, the state after and the rows of history between them, so that measuring
//! needs no field in a saga and no memory in a coordinator: whichever coordinator takes the answer knows how long the
//! command took. Of a compensation that is answered later the time is not known.

use std::time::Duration;

use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::state::{AttemptState, CauseKind, PendingCommand, SagaState, StepState};
use redress_core::{CommandMessage, Name, Phase, SagaDefinition, Timestamp};

/// The code of a step's last error if its attempt was not answered.
const TIMED_OUT: &str = "timed-out";

/// What is measured of one saga.
#[derive(Debug)]
pub(crate) struct Measures {
    pub(crate) saga: Name,
    pub(crate) all: Vec<Measure>,
}

/// One thing to be counted or timed.
#[derive(Debug, PartialEq)]
pub(crate) enum Measure {
    /// A row of history.
    Event(HistoryEvent),
    /// A settlement was answered so.
    Settled(HistoryEvent),
    /// The attempts at the action were silent, and its service knew nothing of it.
    Lost { step: Name },
    /// The step is undone.
    Compensated { step: Name, reason: CauseKind },
    /// An attempt failed, or was not answered in time.
    AttemptFailed { step: Name, phase: Phase, event: HistoryEvent },
    /// A command has its final answer.
    StepEnded { step: Name, phase: Phase, took: Duration },
    /// The saga has ended.
    SagaEnded { status: &'static str, took: Duration },
    /// A command goes out that went out before.
    Resent { service: Name },
}

/// Measures one decision.
pub(crate) fn measure(
    definition: &SagaDefinition,
    before: &SagaState,
    after: &SagaState,
    history: &[HistoryEntry],
    commands: &[CommandMessage],
) -> Measures {
    let mut all = Vec::with_capacity(2 * history.len() + 1);
    for entry in history {
        all.push(Measure::Event(entry.event));
        of_entry(definition, before, after, entry, &mut all);
    }
    if let (None, Some(ended_at)) = (before.ended_at, after.ended_at) {
        all.push(Measure::SagaEnded {
            status: after.status_word(),
            took: between(after.started_at, ended_at),
        });
    }
    let resent = commands.iter().filter(|command| was_sent(before, command));
    all.extend(resent.map(|command| Measure::Resent { service: command.service.clone() }));
    Measures { saga: definition.name.clone(), all }
}

fn of_entry(
    definition: &SagaDefinition,
    before: &SagaState,
    after: &SagaState,
    entry: &HistoryEntry,
    all: &mut Vec<Measure>,
) {
    use HistoryEvent::{Accepted, Done, Expired, Failed, Fenced, InDoubt, Refused, Rejected, TimedOut};
    let (Some(step), Some(phase)) = (&entry.step, entry.phase) else { return };
    let was = step_of(before, step);
    if let (Done | Rejected | Fenced, Some(was)) = (entry.event, was)
        && let Some(took) = took(definition, was, phase, entry.at)
    {
        all.push(Measure::StepEnded { step: step.clone(), phase, took });
    }
    match (entry.event, phase) {
        (Done, Phase::Compensation) => {
            let cause = after.cause().or_else(|| before.cause());
            let reason = cause.map_or(CauseKind::Cancelled, |cause| cause.kind);
            all.push(Measure::Compensated { step: step.clone(), reason });
        }
        // A step that sends nothing makes no attempt.
        (Failed | TimedOut, _) if entry.attempt.is_some() => {
            all.push(Measure::AttemptFailed { step: step.clone(), phase, event: entry.event });
        }
        (Done | Rejected | Fenced | Expired | Refused | Accepted | InDoubt, Phase::Settlement) => {
            all.push(Measure::Settled(entry.event));
            let was_silent =
                was.and_then(|was| was.error.as_ref()).is_some_and(|error| error.code == TIMED_OUT);
            if entry.event == Fenced && was_silent {
                all.push(Measure::Lost { step: step.clone() });
            }
        }
        (_, Phase::Action | Phase::Settlement | Phase::Compensation) => {}
    }
}

fn step_of<'s>(state: &'s SagaState, name: &Name) -> Option<&'s StepState> {
    state.steps.iter().find(|step| step.name == *name)
}

/// How long a command took that is answered now: an action since it was first sent. The others have no such time; what
/// was waited for their failed attempts is kept with them, and the last attempt began a timeout before its end.
fn took(definition: &SagaDefinition, was: &StepState, phase: Phase, now: Timestamp) -> Option<Duration> {
    if phase == Phase::Action {
        return was.started_at.map(|started_at| between(started_at, now));
    }
    let pending = was.open().filter(|pending| pending.phase == phase)?;
    let tried = Duration::from_millis(pending.tried_ms);
    match pending.attempt_state {
        AttemptState::Sent => Some(tried + between(sent_at(definition, was, pending)?, now)),
        AttemptState::Backoff => Some(tried),
        AttemptState::Awaiting => None,
    }
}

fn sent_at(definition: &SagaDefinition, was: &StepState, pending: &PendingCommand) -> Option<Timestamp> {
    let (_, step) = definition.step(&was.name)?;
    let timeout_ms = i64::try_from(step.timeout_ms_of(pending.phase)).ok()?;
    pending.until.checked_sub_signed(chrono::TimeDelta::try_milliseconds(timeout_ms)?)
}

/// Nothing if the clock has stepped back.
fn between(from: Timestamp, to: Timestamp) -> Duration {
    (to - from).to_std().unwrap_or_default()
}

/// Returns true if the command had been sent before this decision.
fn was_sent(before: &SagaState, command: &CommandMessage) -> bool {
    let Some(was) = step_of(before, &command.key.step) else { return false };
    let same = |pending: &&PendingCommand| pending.phase == command.key.phase && pending.attempt > 0;
    was.generation == command.key.generation
        && (was.open().filter(same).is_some() || was.verification().filter(same).is_some())
}

#[cfg(test)]
mod tests;
