//! The result of a virtual run, and how it reads.

use std::collections::BTreeMap;
use std::fmt;

use redress_core::Name;
use redress_core::decide::{EventVerdict, OperatorCommand};
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::message::NotificationMessage;
use redress_core::plan::Plan;
use redress_core::state::SagaState;
use serde_json::Value;

use crate::delivery::Delivery;

/// An operator command that waits for its moment.
#[derive(Debug)]
pub(crate) struct ScheduledCommand {
    /// The line of the run after which it is given.
    pub(crate) after: String,
    /// How long after it, in milliseconds.
    pub(crate) delay_ms: i64,
    pub(crate) command: OperatorCommand,
}

/// A saga's run as it was played.
#[derive(Debug)]
pub struct RunResult {
    /// The state in the end.
    pub state: SagaState,
    /// The history.
    pub history: Vec<HistoryEntry>,
    /// The notifications that were sent.
    pub notifications: Vec<NotificationMessage>,
    /// The deliveries to the participants, in the order in which they came.
    pub deliveries: Vec<Delivery>,
    /// The events from outside, by step, and what became of each.
    pub events: Vec<(Name, EventVerdict)>,
    /// How often the effect of each step stands at its participant.
    pub effects: BTreeMap<Name, i32>,
    /// The plan of the saga at the time of each operator command.
    pub plans: Vec<Plan>,
    /// Operator commands and events that were refused, and why.
    pub refused: Vec<String>,
    /// The first error that a participant found.
    pub wrong: Option<String>,
}

impl RunResult {
    /// The status as one word.
    pub fn status(&self) -> &'static str {
        self.state.status_word()
    }

    /// Returns true if a row of this kind about this step is in it.
    pub fn has(&self, line: &str) -> bool {
        self.history.iter().any(|row| self::line(row).starts_with(line))
    }
}

/// A row of history as a line: event, phase, step, attempt, injected failure.
pub fn line(row: &HistoryEntry) -> String {
    let mut words = vec![row.event.to_string()];
    words.extend(row.phase.map(|phase| phase.to_string()));
    words.extend(row.step.as_ref().map(ToString::to_string));
    words.extend(row.attempt.map(|attempt| attempt.to_string()));
    let detail = row.detail.read::<Value>().unwrap_or_default();
    if let Some(fault) = detail["fault"].as_str() {
        words.push(format!("({fault})"));
    }
    if row.event == HistoryEvent::Parked
        && let Some(code) = detail["code"].as_str()
    {
        words.push(format!("({code})"));
    }
    words.join(" ")
}

impl fmt::Display for RunResult {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in &self.history {
            write!(f, "{}", line(row))?;
            match (row.event, self.state.cause()) {
                (HistoryEvent::Compensated, Some(cause)) => writeln!(f, " because {cause}")?,
                (_, _) => writeln!(f)?,
            }
        }
        for refused in &self.refused {
            writeln!(f, "refused: {refused}")?;
        }
        Ok(())
    }
}
