//! Checks the rules that hold of a saga's run, whatever happened to it.
//!
//! Its account (state and history) is held against the hidden truth (the effects at the participants) and against the
//! definition. Explorer, simulator and unwind matrix all end with this.

use std::collections::BTreeSet;
use std::time::Duration;

use redress_core::definition::{SagaDefinition, Step, StepKind};
use redress_core::history::{ATTEMPT_ROWS_MAX, HistoryEntry, HistoryEvent};
use redress_core::plan;
use redress_core::state::{Direction, End, Hold, ParkCode, Progress, SagaState, Unwinding};
use redress_core::{Name, Phase, Timestamp};

/// Completed means all effects, compensated none that has a compensation; nothing else is an end.
///
/// # Errors
/// The rule that does not hold.
pub fn effects(
    definition: &SagaDefinition,
    state: &SagaState,
    effect: impl Fn(&Name) -> i32,
) -> Result<(), String> {
    for (step, step_state) in definition.steps.iter().zip(&state.steps) {
        let stands = effect(&step.name);
        let must = match &state.direction {
            Direction::Ended(End::Completed) if *step_state.progress() == Progress::Skipped => 0,
            Direction::Ended(End::Completed) => 1,
            Direction::Ended(End::Compensated { .. }) => 0,
            Direction::Ended(End::Closed { .. }) => return Err("closed by nobody".to_owned()),
            Direction::Forward | Direction::Back { .. } => {
                return Err(match &state.hold {
                    Hold::Parked { reason, .. } => format!("parked: {}", reason.message),
                    Hold::None | Hold::Paused => "it does not rest".to_owned(),
                });
            }
        };
        let is_repeated = !step.is_remembered() && !matches!(step.kind, StepKind::Notification);
        if is_repeated && must == 1 && stands >= 1 {
            continue;
        }
        let is_kept = match &step.kind {
            StepKind::Notification | StepKind::Wait(_) | StepKind::Event(_) => true,
            StepKind::Compensatable { compensation: None } => state.status_word() == "compensated",
            StepKind::Compensatable { .. } | StepKind::Pivot | StepKind::Retriable => false,
        };
        if !is_kept && stands != must {
            let status = state.status_word();
            return Err(format!("{status}, and the effect of {} stands {stands} times", step.name));
        }
    }
    Ok(())
}

/// A plan that is frozen keeps what a reader was shown: it has the lines that are left of it, and a plan that was made now
/// would be the same.
///
/// Returns true if the plan is frozen.
///
/// # Errors
/// The rule that does not hold.
pub fn plan(definition: &SagaDefinition, state: &SagaState) -> Result<bool, String> {
    let Direction::Back { cause, unwinding: Unwinding::Frozen { plan: frozen } } = &state.direction else {
        return Ok(false);
    };
    let lines = |state: &SagaState| {
        let plan = plan::plan(definition, state).map_err(|error| error.to_string())?;
        Ok::<_, String>(plan.undo.into_iter().map(|undo| (undo.step, undo.payload)).collect::<Vec<_>>())
    };
    let direction = Direction::Back { cause: cause.clone(), unwinding: Unwinding::Settling };
    let (left, anew) = (lines(state)?, lines(&SagaState { direction, ..state.clone() })?);
    if left != anew {
        return Err(format!("the frozen plan is {left:?}, and a plan that was made now {anew:?}"));
    }
    let frozen = frozen.iter().map(|undo| (undo.step.clone(), undo.payload.clone()));
    let of_frozen: Vec<_> = frozen.filter(|line| left.contains(line)).collect();
    if of_frozen != left {
        return Err(format!("the frozen plan has {of_frozen:?}, and a reader is shown {left:?}"));
    }
    Ok(true)
}

/// A step that no participant remembers is never settled, and never said to be fenced unless an operator has said so or it
/// was never sent; it is in doubt only with a row that says so.
///
/// # Errors
/// The rule that does not hold.
pub fn unremembered(
    definition: &SagaDefinition,
    state: &SagaState,
    rows: &[HistoryEntry],
) -> Result<(), String> {
    for (step, step_state) in definition.steps.iter().zip(&state.steps) {
        if step.is_remembered() || matches!(step.kind, StepKind::Notification) {
            continue;
        }
        let about_it = || rows.iter().filter(|row| row.step.as_ref() == Some(&step.name));
        let has = |event| about_it().any(|row| row.event == event);
        if about_it().any(|row| row.phase == Some(Phase::Settlement)) {
            return Err(format!("{} was settled, and nobody remembers it", step.name));
        }
        let must_be_said = match step_state.progress() {
            Progress::Fenced => !has(HistoryEvent::Resolved) && !has(HistoryEvent::NotSent),
            Progress::InDoubt => !has(HistoryEvent::InDoubt),
            Progress::Pending
            | Progress::Open(_)
            | Progress::Succeeded
            | Progress::Rejected
            | Progress::Skipped
            | Progress::Compensated
            | Progress::Waiting { .. }
            | Progress::TimedOut
            | Progress::GivenUp
            | Progress::Parked { .. } => false,
        };
        if must_be_said {
            let status = step_state.progress().as_str();
            return Err(format!("{} is said to be {status}, and nobody knows", step.name));
        }
    }
    Ok(())
}

/// A history without gaps, in which every step came in its turn, forward and back.
///
/// # Errors
/// The rule that does not hold.
pub fn history(definition: &SagaDefinition, rows: &[HistoryEntry]) -> Result<(), String> {
    if rows.iter().enumerate().any(|(place, row)| row.seq as usize != place + 1) {
        return Err("the history has a gap".to_owned());
    }
    turns_forward(definition, rows)?;
    turns_back(definition, rows)?;
    ends(rows)?;
    budgets(definition, rows)?;
    awaiting(definition, rows)?;
    waits(definition, rows)
}

/// A wait is begun once and ended once: by its time, by the first event of its name, or because the saga goes forward no
/// more. An event that was kept is the one that is taken.
fn waits(definition: &SagaDefinition, rows: &[HistoryEntry]) -> Result<(), String> {
    for step in definition.steps.iter().filter(|step| !step.kind.is_sent()) {
        let of_step: Vec<&HistoryEntry> =
            rows.iter().filter(|row| row.step.as_ref() == Some(&step.name)).collect();
        let named = |event| of_step.iter().filter(move |row| row.event == event);
        let count = |event| named(event).count();
        let begun = count(HistoryEvent::Waiting);
        let timed_out = count(HistoryEvent::TimedOut);
        let over = count(HistoryEvent::Waited) + count(HistoryEvent::EventTaken) + timed_out;
        if begun > 1 || over + count(HistoryEvent::GivenUp) > begun || count(HistoryEvent::EventKept) > 1 {
            return Err(format!("{} was waited for {begun} times, and that ended {over} times", step.name));
        }
        let key = |event| named(event).find_map(|row| row.detail.read::<Key>().ok()).map(|it| it.key);
        let kept = key(HistoryEvent::EventKept);
        if kept.is_some() && (timed_out > 0 || begun > 0 && key(HistoryEvent::EventTaken) != kept) {
            return Err(format!("the event {} was kept, and lost before its step", step.name));
        }
    }
    Ok(())
}

/// No wait ended before its time. For histories whose clock was never set back: there a wait is made shorter, so that it does
/// not last longer by as much.
///
/// # Errors
/// The wait that ended too early.
pub fn waits_in_time(definition: &SagaDefinition, rows: &[HistoryEntry]) -> Result<(), String> {
    for step in definition.steps.iter().filter(|step| !step.kind.is_sent()) {
        let of_step = || rows.iter().filter(|row| row.step.as_ref() == Some(&step.name));
        let begun = of_step().find(|row| row.event == HistoryEvent::Waiting);
        let until = begun.and_then(|row| row.detail.read::<Until>().ok());
        let ended = of_step().find(|row| matches!(row.event, HistoryEvent::Waited | HistoryEvent::TimedOut));
        if let (Some(Until { until }), Some(ended)) = (until, ended)
            && ended.at < until
        {
            return Err(format!("the wait of {} ended before its time", step.name));
        }
    }
    Ok(())
}

fn is(row: &HistoryEntry, event: HistoryEvent, phase: Phase) -> bool {
    row.event == event && row.phase == Some(phase)
}

/// No step is sent before all of the stages before it are passed, and none once the plan is frozen.
fn turns_forward(definition: &SagaDefinition, rows: &[HistoryEntry]) -> Result<(), String> {
    let mut passed: BTreeSet<&Name> = BTreeSet::new();
    let mut frozen = false;
    for row in rows {
        let Some(step) = row.step.as_ref().and_then(|name| definition.step(name)).map(|(_, step)| step)
        else {
            frozen |= row.event == HistoryEvent::PlanFrozen;
            continue;
        };
        let begins = is(row, HistoryEvent::Sent, Phase::Action)
            || matches!(row.event, HistoryEvent::Notified | HistoryEvent::Skipped | HistoryEvent::Waiting);
        let waits = |before: &&Step| before.stage < step.stage && !passed.contains(&before.name);
        if begins && let Some(before) = definition.steps.iter().find(waits) {
            return Err(format!("{} was sent before {} was done", step.name, before.name));
        }
        if begins && frozen {
            return Err(format!("the action of {} was sent after the plan was frozen", step.name));
        }
        let done = row.event == HistoryEvent::Done && row.phase != Some(Phase::Compensation);
        let waited = match row.event {
            HistoryEvent::Waited | HistoryEvent::EventTaken => true,
            HistoryEvent::TimedOut => !step.kind.is_sent(),
            _ => false,
        };
        if done
            || waited
            || matches!(row.event, HistoryEvent::Notified | HistoryEvent::Skipped | HistoryEvent::Resolved)
        {
            passed.insert(&step.name);
        }
    }
    Ok(())
}

/// Compensations run strictly in the reverse of the definition's order, one after the other, and never without a plan.
fn turns_back(definition: &SagaDefinition, rows: &[HistoryEntry]) -> Result<(), String> {
    let place =
        |row: &HistoryEntry| row.step.as_ref().and_then(|name| definition.step(name)).map(|found| found.0);
    let mut current: Option<usize> = None;
    let mut undone = false;
    let mut frozen = false;
    for row in rows {
        if row.event == HistoryEvent::PlanFrozen {
            if current.is_some() && !undone {
                return Err("a plan was frozen before the compensation under way was done".to_owned());
            }
            // A step that an operator has found to stand is undone in the order of a new plan.
            (frozen, current, undone) = (true, None, false);
        }
        if is(row, HistoryEvent::Sent, Phase::Compensation) {
            let next = place(row);
            if !frozen {
                return Err("something was undone before the plan was frozen".to_owned());
            }
            let is_another = next != current;
            if is_another && current.is_some() && !undone {
                return Err("a compensation was sent before the one before it was done".to_owned());
            }
            if is_another && current.is_some() && next > current {
                return Err("undone in another order than in reverse".to_owned());
            }
            undone &= !is_another;
            current = next;
        }
        let done = is(row, HistoryEvent::Done, Phase::Compensation)
            || is(row, HistoryEvent::Resolved, Phase::Compensation);
        undone |= done && place(row) == current;
    }
    Ok(())
}

/// An end is an end: what comes after it is only noted.
fn ends(rows: &[HistoryEntry]) -> Result<(), String> {
    let is_end = |row: &HistoryEntry| {
        matches!(row.event, HistoryEvent::Completed | HistoryEvent::Compensated | HistoryEvent::Closed)
    };
    let Some(end) = rows.iter().position(is_end) else { return Ok(()) };
    let is_move = |row: &&HistoryEntry| {
        is_end(row)
            || matches!(row.event, HistoryEvent::Parked | HistoryEvent::PlanFrozen | HistoryEvent::Notified)
            || (row.event == HistoryEvent::Sent && row.phase != Some(Phase::Settlement))
    };
    match rows[end + 1..].iter().find(is_move) {
        Some(row) => Err(format!("`{}` after its end", row.event)),
        None => Ok(()),
    }
}

/// A compensation is given up only after as many failures as its own policy allows: an attempt that was not answered,
/// or that the broker never stored, is none.
fn budgets(definition: &SagaDefinition, rows: &[HistoryEntry]) -> Result<(), String> {
    let mut spent = 0;
    for row in rows {
        let begins = is(row, HistoryEvent::Sent, Phase::Compensation) && row.attempt == Some(1)
            || is(row, HistoryEvent::Accepted, Phase::Compensation);
        spent =
            if begins { 0 } else { spent + u32::from(is(row, HistoryEvent::Failed, Phase::Compensation)) };
        let parked = row.detail.read::<Reason>().ok().filter(|_| row.event == HistoryEvent::Parked);
        let Some(Reason { step, code }) = parked else { continue };
        // A retry forgives what was spent, whatever the saga was parked for.
        let spent = match code {
            ParkCode::CompensationFailed | ParkCode::Expired | ParkCode::Refused => {
                std::mem::take(&mut spent)
            }
            ParkCode::RetriableRejected
            | ParkCode::InDoubt
            | ParkCode::Definition
            | ParkCode::Contradiction
            | ParkCode::Paused => spent,
        };
        if code != ParkCode::CompensationFailed {
            continue;
        }
        let compensation = step.as_ref().and_then(|step| definition.step(step)?.1.compensation());
        let allowed = compensation.and_then(|compensation| compensation.retry.attempts_max);
        if let Some(allowed) = allowed.filter(|allowed| spent != *allowed && *allowed <= ATTEMPT_ROWS_MAX) {
            return Err(format!("a compensation was given up after {spent} of {allowed} failures"));
        }
    }
    Ok(())
}

/// A command whose answer comes later is neither sent again, unless an operator asks for it, nor settled before its time.
fn awaiting(definition: &SagaDefinition, rows: &[HistoryEntry]) -> Result<(), String> {
    for (place, row) in rows.iter().enumerate() {
        let Some((_, step)) = row.step.as_ref().and_then(|name| definition.step(name)) else { continue };
        let before = &rows[..place];
        // A saga that is closed is verified.
        let is_asked = |before: &&HistoryEntry| {
            matches!(before.event, HistoryEvent::RetryRequested | HistoryEvent::Closed)
        };
        let last = before.iter().rfind(|before| is_asked(before) || before.step == row.step);
        let is_accepted = |before: &&HistoryEntry| {
            (before.event, &before.step, before.phase) == (HistoryEvent::Accepted, &row.step, row.phase)
        };
        let (Some(_), Some(first)) = (last.filter(is_accepted), before.iter().find(is_accepted)) else {
            continue;
        };
        let answer_within = Duration::from_millis(step.answer_within_ms);
        match (row.event, row.phase) {
            (HistoryEvent::Sent, Some(_)) => {
                return Err(format!("{} was sent again while its answer was awaited", step.name));
            }
            (HistoryEvent::TimedOut, Some(Phase::Action)) if row.at >= first.at + answer_within => {}
            (HistoryEvent::TimedOut, Some(_)) => {
                return Err(format!("{} was not waited for as long as its answer may take", step.name));
            }
            (_, _) => {}
        }
    }
    Ok(())
}

#[derive(serde::Deserialize)]
struct Reason {
    step: Option<Name>,
    code: ParkCode,
}

#[derive(serde::Deserialize)]
struct Until {
    until: Timestamp,
}

#[derive(serde::Deserialize)]
struct Key {
    key: String,
}
