//! What goes wrong in a cell, and the evidence that it did.
//!
//! That a command carried a fault says only what was ordered. Whether it was played is seen in the life: in the rows
//! that only such a mishap leaves, and in what the participant saw of the attempt.

use std::fmt;

use redress_core::definition::{Step, StepKind};
use redress_core::fault::FaultKind;
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::{Phase, Timestamp};
use serde_json::Value;

use crate::delivery::Delivery;
use crate::story::Life;

/// How much longer than a step's timeout something takes that comes late, in milliseconds: longer than the pause after
/// the first attempt, so that the second one overtakes it.
const LATE_MS: u64 = 12_000;

/// What goes wrong in a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Mishap {
    /// A fault, at the first attempt.
    Once(FaultKind),
    /// A fault, as often as there are attempts.
    Always(FaultKind),
    /// A notification never arrives.
    Lost,
}

impl Mishap {
    /// Its kind as one word.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Once(kind) | Self::Always(kind) => kind.word(),
            Self::Lost => "lost",
        }
    }
}

impl fmt::Display for Mishap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Once(kind) => write!(f, "{kind}"),
            Self::Always(kind) => write!(f, "always {kind}"),
            Self::Lost => f.write_str(self.word()),
        }
    }
}

/// What can go wrong in a phase of a step.
pub(super) fn mishaps(step: &Step, phase: Phase) -> Vec<Mishap> {
    if matches!(step.kind, StepKind::Notification) {
        return if phase == Phase::Action { vec![Mishap::Lost] } else { Vec::new() };
    }
    let late_ms = step.timeout_ms_of(phase).saturating_add(LATE_MS);
    let mut mishaps: Vec<Mishap> = [
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
    .map(Mishap::Once)
    .into();
    if phase == Phase::Action {
        mishaps.insert(0, Mishap::Once(reject()));
        let is_bounded = step.retry.attempts_max.is_some() && !matches!(step.kind, StepKind::Retriable);
        if is_bounded {
            let silent = [FaultKind::Fail, FaultKind::DropCommand, FaultKind::DropReply];
            mishaps.extend(silent.map(Mishap::Always));
        }
    }
    mishaps
}

pub(super) fn reject() -> FaultKind {
    FaultKind::Reject { code: "injected".to_owned() }
}

/// Whether it went wrong at this phase of this step, and in this way.
///
/// # Errors
/// What is missing of it.
pub(super) fn evidence(life: &Life, step: &Step, phase: Phase, mishap: &Mishap) -> Result<(), String> {
    let place = Scene { life, step, phase };
    let kind = match mishap {
        Mishap::Lost => return place.nothing_follows(),
        Mishap::Once(kind) | Mishap::Always(kind) => kind,
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

/// A life, and the place in it at which something went wrong.
#[derive(Clone, Copy)]
struct Scene<'l> {
    life: &'l Life,
    step: &'l Step,
    phase: Phase,
}

impl<'l> Scene<'l> {
    fn rows(self, event: HistoryEvent) -> impl Iterator<Item = &'l HistoryEntry> {
        self.life.history.iter().filter(move |row| {
            row.event == event && row.phase == Some(self.phase) && row.step.as_ref() == Some(&self.step.name)
        })
    }

    /// What the participant saw of an attempt. A saga's own faults strike the first generation only.
    fn seen(self, attempt: u32) -> Vec<&'l Delivery> {
        let is_it = |delivery: &&Delivery| {
            let key = &delivery.key;
            (&key.step, key.phase, key.generation) == (&self.step.name, self.phase, 1)
                && delivery.attempt == attempt
        };
        self.life.deliveries.iter().filter(is_it).collect()
    }

    /// Whether the attempt that left with this row met with what it carried.
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
            FaultKind::CrashBeforeCommit => must(came_again(&seen, false, false), "did not come again"),
            FaultKind::CrashAfterCommit => must(came_again(&seen, true, false), "did not come again"),
            FaultKind::CrashAfterReply => must(came_again(&seen, true, true), "did not come again"),
        }
    }

    /// Whether a notification left and arrived nowhere. That nothing follows is seen in the end of the saga.
    fn nothing_follows(self) -> Result<(), String> {
        let told = self.life.notifications.iter().filter(|told| told.step == self.step.name).count();
        let about_it = self.life.history.iter().filter(|row| row.step.as_ref() == Some(&self.step.name));
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

/// Whether a delivery was cut short after so much of it, and the same attempt came again later and was answered.
fn came_again(seen: &[&Delivery], handled: bool, answered: bool) -> bool {
    let [cut_short, again] = seen else { return false };
    (cut_short.handled, cut_short.answered_at.is_some()) == (handled, answered)
        && again.at > cut_short.at
        && again.answered_at.is_some()
}

fn late(at: Timestamp, ms: u64) -> Timestamp {
    at + chrono::TimeDelta::milliseconds(i64::try_from(ms).unwrap_or(i64::MAX))
}
