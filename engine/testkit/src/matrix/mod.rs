//! The unwind matrix: every step × phase × fault of a definition, each played to its end.
//!
//! Each cell says where something goes wrong, and it must have gone wrong *there*: the life of the saga and what its
//! participants saw show it at that step and phase, the end is the one that it must lead to, and everything that must
//! hold of any saga holds ([`check`](crate::check)). A step that no input comes to is not passed over: it fails the
//! proof. One line in a test of yours proves a definition:
//!
//! ```no_run
//! # fn my_saga() -> redress_core::SagaDefinition { unimplemented!() }
//! redress_testkit::unwind_matrix(my_saga());
//! ```

mod mishap;
mod reach;
mod table;

use redress_core::decide::Verb;
use redress_core::definition::{Step, StepKind};
use redress_core::fault::FaultKind;
use redress_core::state::CauseKind;
use redress_core::{Name, Phase, SagaDefinition};
use serde_json::Value;

use crate::check;
use crate::example::Extent;
use crate::participants::Without;
use crate::story::{Life, Story};
use mishap::{Mishap, evidence, mishaps};
use reach::{Way, expected, fault, way};

pub use table::{Cell, Failure, Table, Unreached};

/// The columns, in the order in which a step may come to them.
const PHASES: [Phase; 3] = [Phase::Action, Phase::Settlement, Phase::Compensation];

/// Proves a definition with an example for its input and its replies; prints the table.
///
/// # Panics
/// If anything does not hold, with the life in which it did not, or a step is never played. If the examples make no
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

/// The matrix of a definition, with inputs and replies of your own.
#[must_use = "a matrix is played by `.run()`"]
pub struct UnwindMatrix {
    definition: SagaDefinition,
    inputs: Vec<Value>,
    replies: Vec<(String, Value)>,
    without: Without,
}

/// What is given of a life before anything goes wrong, and how it is then.
struct Ground {
    input: Option<Value>,
    extent: Extent,
    undisturbed: Life,
}

impl Ground {
    /// Whether the step's condition holds here.
    fn plays(&self, step: &Step) -> bool {
        let deliveries = &self.undisturbed.deliveries;
        deliveries.iter().any(|seen| seen.key.phase == Phase::Action && seen.key.step == step.name)
    }
}

impl UnwindMatrix {
    /// The matrix of this definition.
    pub fn of(definition: SagaDefinition) -> Self {
        Self { definition, inputs: Vec::new(), replies: Vec::new(), without: Without::Nothing }
    }

    /// An input with which sagas are started. With several, each step is proven with the first for which it is played:
    /// that is how steps are reached whose conditions exclude each other.
    pub fn input(mut self, input: Value) -> Self {
        self.inputs.push(input);
        self
    }

    /// What a step's action replies.
    pub fn reply(mut self, step: &str, reply: Value) -> Self {
        self.replies.push((step.to_owned(), reply));
        self
    }

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
            for phase in PHASES {
                for mishap in mishaps(step, phase) {
                    if let Some(way) = way(self, ground, step, phase) {
                        table.cells.push(self.cell(ground, way, step, phase, &mishap)?);
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
        let undisturbed = self.told(input.as_ref(), extent).play();
        match self.must_hold(&undisturbed, "completed") {
            Ok(()) => Ok(Ground { input, extent, undisturbed }),
            Err(wrong) => Err(Failure::of("-", Phase::Action, "nothing", wrong, &undisturbed)),
        }
    }

    fn story(&self, ground: &Ground) -> Story<'_> {
        self.told(ground.input.as_ref(), ground.extent)
    }

    fn told(&self, input: Option<&Value>, extent: Extent) -> Story<'_> {
        let mut story = Story::with_examples(&self.definition, extent).without(self.without);
        if let Some(input) = input {
            story = story.input(input.clone());
        }
        self.replies.iter().fold(story, |story, (step, reply)| story.reply(step, reply.clone()))
    }

    fn cell(
        &self,
        ground: &Ground,
        way: Way<'_>,
        step: &Step,
        phase: Phase,
        mishap: &Mishap,
    ) -> Result<Cell, Failure> {
        let must_end = expected(&way, step, phase, mishap);
        let story = match mishap {
            Mishap::Once(kind) => way.story.fault(fault(step, phase, kind.clone(), Some(1))),
            Mishap::Always(kind) => way.story.fault(fault(step, phase, kind.clone(), None)),
            Mishap::Lost => way.story.lost(&step.name),
        };
        // An operator tries again what has been given up.
        let life = story.order_after("parked", Verb::Retry { step: None }).play();
        let verdict = evidence(&life, step, phase, mishap)
            .and_then(|()| self.must_hold(&life, must_end))
            .and_then(|()| caused(&life, step, mishap))
            .and_then(|()| unchanged(&life, ground, step));
        let fault = mishap.to_string();
        match verdict {
            Ok(()) => Ok(Cell { step: step.name.to_string(), phase, fault, end: life.status() }),
            Err(wrong) => Err(Failure::of(&step.name, phase, &fault, wrong, &life)),
        }
    }

    fn must_hold(&self, life: &Life, expected: &str) -> Result<(), String> {
        if let Some(wrong) = &life.wrong {
            return Err(wrong.clone());
        }
        if life.status() != expected {
            return Err(format!("it ends {}, and must end {expected}", life.status()));
        }
        let effect = |step: &Name| life.effects.get(step).copied().unwrap_or_default();
        check::effects(&self.definition, &life.state, effect)?;
        check::history(&self.definition, &life.history)
    }
}

/// A rejection is the cause of what follows, and nothing else is.
fn caused(life: &Life, step: &Step, mishap: &Mishap) -> Result<(), String> {
    let is_rejection = matches!(mishap, Mishap::Once(FaultKind::Reject { .. }));
    match life.state.cause() {
        Some(cause) if is_rejection && life.status() == "compensated" => {
            let is_it = cause.kind == CauseKind::Rejected && cause.step.as_ref() == Some(&step.name);
            if is_it { Ok(()) } else { Err(format!("it turned back for another reason: {cause}")) }
        }
        Some(_) | None => Ok(()),
    }
}

/// Nothing follows from a notification, whatever became of it.
fn unchanged(life: &Life, ground: &Ground, step: &Step) -> Result<(), String> {
    let is_told = matches!(step.kind, StepKind::Notification);
    match is_told && life.to_string() != ground.undisturbed.to_string() {
        true => Err("something follows from a notification".to_owned()),
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests;
