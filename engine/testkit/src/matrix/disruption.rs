//! The disruption of a cell, and the evidence that it happened.
//!
//! A fault on a command shows only that it was ordered. The run shows that it was played: in the rows that only such a
//! disruption leaves, and in what the participant saw of the attempt.

use std::fmt;
use std::time::Duration;

use redress_core::definition::{InDoubt, Step, StepKind};
use redress_core::fault::FaultKind;
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::{Phase, Timestamp};
use serde_json::Value;

use crate::delivery::Delivery;
use crate::manners::UnansweredCall;
use crate::run_result::RunResult;

/// How much longer than a step's timeout something takes that comes late, in milliseconds: longer than the pause after
/// the first attempt, so that the second one overtakes it.
const LATE_MS: u64 = 12_000;

/// The disruption of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Disruption {
    /// A fault, at the first attempt.
    Once(FaultKind),
    /// A fault, as often as there are attempts.
    Always(FaultKind),
    /// A notification never arrives.
    Lost,
    /// The answer comes later, and in time.
    Later,
    /// The answer is to come later, and does not come in time.
    Overdue,
    /// The step calls a third party that does not answer, and does not tell what became of the call.
    InDoubt(UnansweredCall),
}

impl Disruption {
    /// Its kind as one word.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Once(kind) | Self::Always(kind) => kind.word(),
            Self::Lost => "lost",
            Self::Later | Self::Overdue => "answers-later",
            Self::InDoubt(_) => "in-doubt",
        }
    }
}

impl fmt::Display for Disruption {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(kind) => write!(f, "{kind}"),
            Self::Always(kind) => write!(f, "always {kind}"),
            Self::Lost | Self::Later => f.write_str(self.word()),
            Self::Overdue => f.write_str("answers-too-late"),
            Self::InDoubt(UnansweredCall::TookEffect) => f.write_str("in-doubt:took-effect"),
            Self::InDoubt(UnansweredCall::NeverArrived) => f.write_str("in-doubt:never-arrived"),
        }
    }
}

/// The disruptions that are possible in a phase of a step.
pub(super) fn disruptions(step: &Step, phase: Phase) -> Vec<Disruption> {
    if !step.kind.is_sent() {
        return Vec::new();
    }
    if matches!(step.kind, StepKind::Notification) {
        return if phase == Phase::Action { vec![Disruption::Lost] } else { Vec::new() };
    }
    let late_ms = step.timeout_ms_of(phase).saturating_add(LATE_MS);
    let mut disruptions: Vec<Disruption> = [
        FaultKind::Fail,
        FaultKind::DropCommand,
        FaultKind::DropReply,
        FaultKind::DelayReply { ms: late_ms },
        FaultKind::Duplicate,
        // Overtaken by the next attempt.
        FaultKind::Delay { ms: late_ms },
        FaultKind::CrashBeforeCommit,
        FaultKind::CrashAfterCommit,
        FaultKind::CrashAfterReply,
    ]
    .map(Disruption::Once)
    .into();
    // No participant keeps the question of a step that it does not remember.
    if phase != Phase::Settlement && step.is_remembered() {
        disruptions.push(Disruption::Later);
    }
    if phase == Phase::Action {
        disruptions.insert(0, Disruption::Once(reject()));
        let is_bounded = step.retry.is_bounded() && !matches!(step.kind, StepKind::Retriable);
        if is_bounded {
            let silent = [FaultKind::Fail, FaultKind::DropCommand, FaultKind::DropReply];
            disruptions.extend(silent.map(Disruption::Always));
        }
        if step.is_remembered() && !matches!(step.kind, StepKind::Retriable) {
            disruptions.push(Disruption::Overdue);
        }
        let undoes = |step: &Step| step.compensation().is_some_and(|undo| undo.in_doubt == InDoubt::Undo);
        if is_bounded && undoes(step) {
            let calls = [UnansweredCall::TookEffect, UnansweredCall::NeverArrived];
            disruptions.extend(calls.map(Disruption::InDoubt));
        }
    }
    disruptions
}

pub(super) fn reject() -> FaultKind {
    FaultKind::Reject { code: "injected".to_owned() }
}

/// How long after its command an answer comes that comes later.
pub(super) fn delay(step: &Step, phase: Phase, disruption: &Disruption) -> Duration {
    let limit_ms = step.answer_within_ms;
    // Longer than the timeout: what is accepted is not sent again.
    let later_ms = step.timeout_ms_of(phase).saturating_add(LATE_MS).min(limit_ms / 2);
    let is_overdue = *disruption == Disruption::Overdue;
    Duration::from_millis(if is_overdue { limit_ms.saturating_mul(2) } else { later_ms })
}

/// Checks that the disruption happened at this phase of this step, and in this way.
///
/// # Errors
/// The evidence that is missing.
pub(super) fn evidence(
    run: &RunResult,
    step: &Step,
    phase: Phase,
    disruption: &Disruption,
) -> Result<(), String> {
    let place = Scene { run, step, phase };
    let kind = match disruption {
        Disruption::Lost => return place.nothing_follows(),
        Disruption::Later => return place.answered_later(delay(step, phase, disruption)),
        Disruption::Overdue => return place.overdue(),
        Disruption::InDoubt(_) => return place.in_doubt(),
        Disruption::Once(kind) | Disruption::Always(kind) => kind,
    };
    let word = kind.to_string();
    let carries_it = |row: &&HistoryEntry| {
        row.detail.read::<Value>().is_ok_and(|detail| detail["fault"].as_str() == Some(word.as_str()))
    };
    let struck: Vec<&HistoryEntry> = place.rows(HistoryEvent::Sent).filter(carries_it).collect();
    if struck.is_empty() {
        return Err("the fault did not strike there".to_owned());
    }
    struck.into_iter().try_for_each(|row| place.played(kind, row))
}

/// A run, and the place in it at which something went wrong.
#[derive(Clone, Copy)]
struct Scene<'l> {
    run: &'l RunResult,
    step: &'l Step,
    phase: Phase,
}

impl<'l> Scene<'l> {
    fn rows(self, event: HistoryEvent) -> impl Iterator<Item = &'l HistoryEntry> {
        self.run.history.iter().filter(move |row| {
            row.event == event && row.phase == Some(self.phase) && row.step.as_ref() == Some(&self.step.name)
        })
    }

    /// The deliveries of an attempt that the participant saw. A saga's own faults strike the first generation only.
    fn seen(self, attempt: u32) -> Vec<&'l Delivery> {
        let is_it = |delivery: &&Delivery| {
            let key = &delivery.key;
            (&key.step, key.phase, key.generation) == (&self.step.name, self.phase, 1)
                && delivery.attempt == attempt
        };
        self.run.deliveries.iter().filter(is_it).collect()
    }

    /// Checks that the attempt that left with this row met with the fault that it carried.
    fn played(self, kind: &FaultKind, sent: &HistoryEntry) -> Result<(), String> {
        let attempt = sent.attempt.unwrap_or_default();
        let has = |event| match self.rows(event).any(|row| row.attempt == Some(attempt)) {
            true => Ok(()),
            false => {
                Err(format!("`{kind}` was ordered and not played: attempt {attempt} has no row `{event}`"))
            }
        };
        let seen = self.seen(attempt);
        let must = |is_so: bool, what: &str| match is_so {
            true => Ok(()),
            false => Err(format!("`{kind}` was ordered and not played: attempt {attempt} {what}: {seen:?}")),
        };
        match kind {
            FaultKind::Reject { .. } => has(HistoryEvent::Rejected),
            FaultKind::Fail => has(HistoryEvent::Failed),
            FaultKind::DropCommand => {
                must(seen.is_empty(), "arrived")?;
                has(HistoryEvent::TimedOut)
            }
            FaultKind::DropReply => {
                let is_silent = |delivery: &&Delivery| delivery.handled && delivery.answered_at.is_none();
                must(!seen.is_empty() && seen.iter().all(is_silent), "was not carried out in silence")?;
                has(HistoryEvent::TimedOut)
            }
            FaultKind::DelayReply { ms } => {
                let late_at = late(sent.at, *ms);
                let is_late = |delivery: &&Delivery| {
                    delivery.at < late_at && delivery.answered_at.is_some_and(|at| at >= late_at)
                };
                must(!seen.is_empty() && seen.iter().all(is_late), "was not answered late")?;
                has(HistoryEvent::TimedOut)
            }
            FaultKind::Delay { ms } => {
                let late_at = late(sent.at, *ms);
                let is_late = |delivery: &&Delivery| delivery.at >= late_at;
                must(!seen.is_empty() && seen.iter().all(is_late), "did not come late")?;
                has(HistoryEvent::TimedOut)
            }
            FaultKind::Duplicate => {
                let at = |delivery: &&Delivery| delivery.answered_at == Some(sent.at);
                must(seen.iter().filter(|seen| at(seen)).count() == 2, "was not answered twice at once")
            }
            FaultKind::CallLost | FaultKind::CallLate | FaultKind::CallFailed => has(HistoryEvent::Failed),
            FaultKind::CallTwice => has(HistoryEvent::Done),
            FaultKind::CrashBeforeCommit => must(came_again(&seen, false, false), "did not come again"),
            FaultKind::CrashAfterCommit => must(came_again(&seen, true, false), "did not come again"),
            FaultKind::CrashAfterReply => must(came_again(&seen, true, true), "did not come again"),
        }
    }

    /// Checks that the command was accepted and answered so long after, and sent once.
    fn answered_later(self, delay: Duration) -> Result<(), String> {
        let accepted = self.rows(HistoryEvent::Accepted).map(|row| row.at).next();
        let done = self.rows(HistoryEvent::Done).map(|row| row.at).last();
        let is_later = accepted.zip(done).is_some_and(|(accepted, done)| done >= accepted + delay);
        let sent = self.rows(HistoryEvent::Sent).count();
        match (is_later, sent) {
            (true, 1) => Ok(()),
            (true, _) => Err(format!("it was accepted, and sent {sent} times all the same")),
            (false, _) => Err("`answers-later` was ordered and not played".to_owned()),
        }
    }

    /// Checks that the command was accepted, and given up when its time was over.
    fn overdue(self) -> Result<(), String> {
        let accepted = self.rows(HistoryEvent::Accepted).next();
        let settling = Scene { phase: Phase::Settlement, ..self };
        match accepted.zip(settling.rows(HistoryEvent::Fenced).next()) {
            Some(_) => Ok(()),
            None => Err("`answers-too-late` was ordered and not played".to_owned()),
        }
    }

    /// Checks that the settlement found that nobody can say whether the step happened.
    fn in_doubt(self) -> Result<(), String> {
        let settling = Scene { phase: Phase::Settlement, ..self };
        match settling.rows(HistoryEvent::InDoubt).next() {
            Some(_) => Ok(()),
            None => Err("`in-doubt` was ordered and not played".to_owned()),
        }
    }

    /// Checks that a notification left and arrived nowhere. That nothing follows is seen in the end of the saga.
    fn nothing_follows(self) -> Result<(), String> {
        let told = self.run.notifications.iter().filter(|told| told.step == self.step.name).count();
        let about_it = self.run.history.iter().filter(|row| row.step.as_ref() == Some(&self.step.name));
        let events: Vec<HistoryEvent> = about_it.map(|row| row.event).collect();
        if told != 1 || events != [HistoryEvent::Notified] {
            return Err(format!("it was sent {told} times, and its rows are {events:?}"));
        }
        match self.seen(1).is_empty() {
            true => Ok(()),
            false => Err("`lost` was ordered and not played: it arrived".to_owned()),
        }
    }
}

/// Returns true if a delivery was cut short after so much of it, and the same attempt came again later and was
/// answered.
fn came_again(seen: &[&Delivery], handled: bool, answered: bool) -> bool {
    let [cut_short, again] = seen else { return false };
    (cut_short.handled, cut_short.answered_at.is_some()) == (handled, answered)
        && again.at > cut_short.at
        && again.answered_at.is_some()
}

fn late(at: Timestamp, ms: u64) -> Timestamp {
    at + chrono::TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX))
}
