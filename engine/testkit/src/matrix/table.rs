//! The table of a matrix: the result of each cell.

use std::fmt;

use redress_core::Phase;
use redress_core::definition::{SagaDefinition, Step};

/// The results of all cells.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Step, phase, disruption and end.
    pub cells: Vec<Cell>,
    /// Steps of which nothing was proven; none in a table that [`run`](super::UnwindMatrix::run) gives.
    pub unreached: Vec<Unreached>,
    title: String,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The step.
    pub step: String,
    /// The phase.
    pub phase: Phase,
    /// The disruption.
    pub fault: String,
    /// How it ended.
    pub end: &'static str,
}

/// A step that no run came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unreached {
    /// The step.
    pub step: String,
    /// Why.
    pub why: String,
}

/// A cell in which something did not hold, or a step of which nothing was proven.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at the {phase} of {step}: {wrong}\n{run}")]
pub struct Failure {
    /// The step.
    pub step: String,
    /// The phase.
    pub phase: Phase,
    /// The disruption that was ordered.
    pub fault: String,
    /// The problem, and what to do about it.
    pub wrong: String,
    /// The saga's run; the table if it is about no single run.
    pub run: String,
}

impl Failure {
    pub(super) fn of(step: &str, phase: Phase, fault: &str, wrong: String, run: &dyn fmt::Display) -> Self {
        let (step, fault) = (step.to_owned(), fault.to_owned());
        Self { step, phase, fault, wrong, run: run.to_string() }
    }
}

impl Table {
    pub(super) fn of(definition: &SagaDefinition) -> Self {
        let title = format!("{} v{}", definition.name, definition.version);
        Self { cells: Vec::new(), unreached: Vec::new(), title }
    }

    /// Notes that a step was played with none of the inputs.
    pub(super) fn leave_out(&mut self, step: &Step, inputs: usize) {
        let what = if step.is_conditional() { "its condition holds" } else { "it is played" };
        let why = format!("{what} with none of {inputs} inputs");
        self.unreached.push(Unreached { step: step.name.to_string(), why });
    }

    /// Itself, if it proves every step and proves anything.
    pub(super) fn proven(self) -> Result<Self, Failure> {
        let (step, why) = match self.unreached.first() {
            Some(Unreached { step, why }) => (step.clone(), why.clone()),
            None if self.cells.is_empty() => ("-".to_owned(), "the definition has no step".to_owned()),
            None => return Ok(self),
        };
        let wrong = format!(
            "not reached: {why}, so nothing is proven of it; give one for which it is played with \
             `UnwindMatrix::input(..)`, or a reply with `reply(..)`"
        );
        Err(Failure::of(&step, Phase::Action, "whatever goes wrong", wrong, &self))
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {} cells", self.title, self.cells.len())?;
        for group in self.cells.chunk_by(|a, b| a.step == b.step && a.phase == b.phase) {
            if let Some(first) = group.first() {
                writeln!(f, "{} {}", first.step, first.phase)?;
            }
            for end in ["completed", "compensated", "parked"] {
                let faults: Vec<&str> =
                    group.iter().filter(|cell| cell.end == end).map(|cell| cell.fault.as_str()).collect();
                if !faults.is_empty() {
                    writeln!(f, "  {end:<12} {}", faults.join(", "))?;
                }
            }
        }
        for Unreached { step, why } in &self.unreached {
            writeln!(f, "{step}\n  not reached: {why}")?;
        }
        Ok(())
    }
}
