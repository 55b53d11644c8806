//! The unwind matrix: every step × phase × fault of a definition, each played to its end.
//!
//! Each cell says where something goes wrong, and it must have gone wrong *there*: the run of the saga and what its
//! participants saw show it at that step and phase, the end is the one that it must lead to, and everything that must
//! hold of any saga holds ([`check`]). A step that no input comes to is not passed over: it fails the
//! proof. One line in a test of yours proves a definition:
//!
//! ```no_run
//! # fn my_saga() -> redress_core::SagaDefinition { unimplemented!() }
//! redress_testkit::unwind_matrix(my_saga());
//! ```

mod disruption;
mod model;
mod reach;
mod table;
mod waiting;

use redress_core::decide::Verb;
use redress_core::definition::{Step, StepKind};
use redress_core::fault::FaultKind;
use redress_core::state::CauseKind;
use redress_core::{Name, Phase, SagaDefinition};
use serde_json::Value;

use crate::check;
use crate::example::Extent;
use crate::run_result::RunResult;
use disruption::{Disruption, delay, disruptions, evidence};
use model::Ground;
use reach::{Way, expected, fault, way};
use waiting::WaitDisruption;

pub use model::UnwindMatrix;
pub use table::{Cell, Failure, Table, Unreached};

/// The columns, in the order in which a step may come to them.
const PHASES: [Phase; 3] = [Phase::Action, Phase::Settlement, Phase::Compensation];

/// Proves a definition with an example for its input and its replies; prints the table.
///
/// # Panics
/// If anything does not hold, with the run in which it did not, or a step is never played. If the examples make no
/// sense for your closures, give your own with [`UnwindMatrix`].
pub fn unwind_matrix(definition: SagaDefinition) {
    match UnwindMatrix::of(definition).run() {
        Ok(table) => print(&table),
        Err(failure) => panic!("{failure}"),
    }
}

#[expect(clippy::print_stdout, reason = "the table is for whoever runs the test with --nocapture")]
fn print(table: &Table) {
    println!("{table}");
}

impl UnwindMatrix {
    /// Plays every cell.
    ///
    /// # Errors
    /// [`Failure`] of the first cell in which something does not hold; and if all hold, of the first step that is
    /// played with none of the inputs, since nothing was proven of it.
    pub fn run(&self) -> Result<Table, Failure> {
        let grounds = self.grounds()?;
        let mut table = Table::of(&self.definition);
        for step in &self.definition.steps {
            let Some(ground) = grounds.iter().find(|ground| ground.plays(step)) else {
                table.leave_out(step, grounds.len());
                continue;
            };
            for disruption in waiting::disruptions(step).into_iter().filter(|_| !step.kind.is_sent()) {
                table.cells.push(self.waiting_cell(ground, step, disruption)?);
            }
            for phase in PHASES {
                for disruption in disruptions(step, phase) {
                    if let Some(way) = way(self, ground, step, phase) {
                        table.cells.push(self.cell(ground, way, step, phase, &disruption)?);
                    }
                }
            }
        }
        table.proven()
    }

    /// The inputs that were given, or else an example that says as little as it may and one that says all it can.
    fn grounds(&self) -> Result<Vec<Ground>, Failure> {
        let mut grounds = Vec::new();
        for input in &self.inputs {
            grounds.push(self.ground(Some(input), Extent::Least)?);
        }
        if grounds.is_empty() {
            grounds.push(self.ground(None, Extent::Least)?);
            let all_said = crate::example::of(&self.definition.input_schema, Extent::Most);
            // A guess at what may go together, and worth nothing where it was guessed wrong.
            if self.definition.read_input(&all_said).is_ok() {
                grounds.extend(self.ground(None, Extent::Most).ok());
            }
        }
        Ok(grounds)
    }

    fn ground(&self, input: Option<&Value>, extent: Extent) -> Result<Ground, Failure> {
        let input = input.cloned();
        let undisturbed = self.story_with(input.as_ref(), extent).play();
        match self.must_hold(&undisturbed, "completed") {
            Ok(()) => Ok(Ground { input, extent, undisturbed }),
            Err(wrong) => Err(Failure::of("-", Phase::Action, "nothing", wrong, &undisturbed)),
        }
    }

    fn cell(
        &self,
        ground: &Ground,
        way: Way<'_>,
        step: &Step,
        phase: Phase,
        disruption: &Disruption,
    ) -> Result<Cell, Failure> {
        let must_end = expected(&way, step, phase, disruption);
        let story = match disruption {
            Disruption::Once(kind) => way.story.fault(fault(step, phase, kind.clone(), Some(1))),
            Disruption::Always(kind) => way.story.fault(fault(step, phase, kind.clone(), None)),
            Disruption::Lost => way.story.lost(&step.name),
            Disruption::Later | Disruption::Overdue => {
                way.story.phase_answers_later(&step.name, phase, delay(step, phase, disruption))
            }
            Disruption::InDoubt(call) => way.story.in_doubt(&step.name, *call),
        };
        // An operator tries again what has been given up.
        let run = story.operator_after("parked", Verb::Retry { step: None }).play();
        let verdict = evidence(&run, step, phase, disruption)
            .and_then(|()| self.must_hold(&run, must_end))
            .and_then(|()| caused(&run, step, disruption))
            .and_then(|()| unchanged(&run, ground, step));
        let fault = disruption.to_string();
        match verdict {
            Ok(()) => Ok(Cell { step: step.name.to_string(), phase, fault, end: run.status() }),
            Err(wrong) => Err(Failure::of(&step.name, phase, &fault, wrong, &run)),
        }
    }

    /// The cell of a step that waits.
    fn waiting_cell(
        &self,
        ground: &Ground,
        step: &Step,
        disruption: WaitDisruption,
    ) -> Result<Cell, Failure> {
        let must_end = waiting::expected(&self.definition, step, disruption);
        let run = waiting::disturbed(self.story(ground), step, disruption).play();
        let verdict = waiting::evidence(&run, step, disruption).and_then(|()| self.must_hold(&run, must_end));
        let (phase, fault) = (Phase::Action, disruption.to_string());
        match verdict {
            Ok(()) => Ok(Cell { step: step.name.to_string(), phase, fault, end: run.status() }),
            Err(wrong) => Err(Failure::of(&step.name, phase, &fault, wrong, &run)),
        }
    }

    fn must_hold(&self, run: &RunResult, expected: &str) -> Result<(), String> {
        if let Some(wrong) = &run.wrong {
            return Err(wrong.clone());
        }
        if run.status() != expected {
            return Err(format!("it ends {}, and must end {expected}", run.status()));
        }
        let effect = |step: &Name| run.effects.get(step).copied().unwrap_or_default();
        check::effects(&self.definition, &run.state, effect)?;
        check::unremembered(&self.definition, &run.state, &run.history)?;
        check::history(&self.definition, &run.history)?;
        check::waits_in_time(&self.definition, &run.history)
    }
}

/// A rejection is the cause of what follows, and nothing else is.
fn caused(run: &RunResult, step: &Step, disruption: &Disruption) -> Result<(), String> {
    let is_rejection = matches!(disruption, Disruption::Once(FaultKind::Reject { .. }));
    match run.state.cause() {
        Some(cause) if is_rejection && run.status() == "compensated" => {
            let is_it = cause.kind == CauseKind::Rejected && cause.step.as_ref() == Some(&step.name);
            if is_it { Ok(()) } else { Err(format!("it turned back for another reason: {cause}")) }
        }
        Some(_) | None => Ok(()),
    }
}

/// Nothing follows from a notification, whatever became of it.
fn unchanged(run: &RunResult, ground: &Ground, step: &Step) -> Result<(), String> {
    let is_told = matches!(step.kind, StepKind::Notification);
    match is_told && run.to_string() != ground.undisturbed.to_string() {
        true => Err("something follows from a notification".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
