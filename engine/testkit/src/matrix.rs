//! The unwind matrix: every step × phase × fault of a definition, each played to its end.
//!
//! Each cell says where something goes wrong, and it must have gone wrong *there*: the life of the saga shows the fault
//! at that step and phase, the end is the one that the fault must lead to, and everything that must hold of any saga
//! holds ([`check`](crate::check)). One line in a test of yours proves a definition:
//!
//! ```no_run
//! # fn my_saga() -> redress_core::SagaDefinition { unimplemented!() }
//! redress_testkit::unwind_matrix(my_saga());
//! ```

use std::fmt;

use redress_core::decide::Verb;
use redress_core::definition::{LateSuccess, Step, StepKind};
use redress_core::fault::{Fault, FaultKind};
use redress_core::state::CauseKind;
use redress_core::{Phase, SagaDefinition};
use serde_json::Value;

use crate::check;
use crate::story::{Life, Story};

/// How much longer than a step's timeout something takes that comes late, in milliseconds: longer than the pause after
/// the first attempt, so that the second one overtakes it.
const LATE_MS: u64 = 12_000;

/// What goes wrong in a cell: a fault, once or as often as there are attempts.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Mishap {
    Once(FaultKind),
    Always(FaultKind),
}

/// Proves a definition with an example for its input and its replies; prints the table.
///
/// # Panics
/// If anything does not hold, with the life in which it did not. If the example makes no sense for your closures, give
/// your own with [`UnwindMatrix`].
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

/// The matrix of a definition, with an input and replies of your own.
#[must_use = "a matrix is played by `.run()`"]
pub struct UnwindMatrix {
    definition: SagaDefinition,
    input: Option<Value>,
    replies: Vec<(String, Value)>,
}

/// What came of each cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table {
    /// Step, phase, what went wrong, and how it ended.
    pub cells: Vec<Cell>,
    title: String,
}

/// One cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cell {
    /// The step.
    pub step: String,
    /// The phase.
    pub phase: Phase,
    /// What went wrong.
    pub fault: String,
    /// How it ended.
    pub end: &'static str,
}

/// A cell in which something did not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{fault} at the {phase} of {step}: {wrong}\n{life}")]
pub struct Failure {
    /// The step.
    pub step: String,
    /// The phase.
    pub phase: Phase,
    /// What went wrong by order.
    pub fault: String,
    /// What did not hold.
    pub wrong: String,
    /// The saga's life.
    pub life: String,
}

impl UnwindMatrix {
    /// The matrix of this definition.
    pub fn of(definition: SagaDefinition) -> Self {
        Self { definition, input: None, replies: Vec::new() }
    }

    /// The input with which each saga is started.
    pub fn input(mut self, input: Value) -> Self {
        self.input = Some(input);
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
    /// [`Failure`] of the first cell in which something does not hold.
    pub fn run(&self) -> Result<Table, Failure> {
        let undisturbed = self.story().play();
        self.must_hold(&undisturbed, "completed")
            .map_err(|wrong| failure("-", Phase::Action, "nothing", wrong, &undisturbed))?;
        let mut cells = Vec::new();
        for step in &self.definition.steps {
            let is_played = undisturbed.has(&format!("sent action {}", step.name));
            if !is_played {
                continue;
            }
            for phase in [Phase::Action, Phase::Settlement, Phase::Compensation] {
                for mishap in mishaps(step, phase) {
                    cells.extend(self.cell(step, phase, &mishap)?);
                }
            }
        }
        Ok(Table { cells, title: format!("{} v{}", self.definition.name, self.definition.version) })
    }

    fn story(&self) -> Story<'_> {
        let mut story = Story::of(&self.definition);
        if let Some(input) = &self.input {
            story = story.input(input.clone());
        }
        self.replies.iter().fold(story, |story, (step, reply)| story.reply(step, reply.clone()))
    }

    /// Plays a cell; `None` if the phase cannot be reached.
    fn cell(&self, step: &Step, phase: Phase, mishap: &Mishap) -> Result<Option<Cell>, Failure> {
        let Some(story) = self.reach(step, phase) else { return Ok(None) };
        let (kind, times) = match mishap {
            Mishap::Once(kind) => (kind, Some(1)),
            Mishap::Always(kind) => (kind, None),
        };
        // An operator tries again what has been given up.
        let life = story
            .fault(fault(step, phase, kind.clone(), times))
            .order_after("parked", Verb::Retry { step: None })
            .play();
        let what = match mishap {
            Mishap::Once(kind) => kind.to_string(),
            Mishap::Always(kind) => format!("always {kind}"),
        };
        let expected = self.expected(step, phase, mishap);
        let struck = format!("sent {phase} {}", step.name);
        let is_there = life.history.iter().map(crate::story::line);
        let is_there =
            is_there.filter(|line| line.starts_with(&struck)).any(|line| line.contains(&kind.to_string()));
        let verdict = match is_there {
            true => self.must_hold(&life, expected).and_then(|()| caused(&life, step, kind)),
            false => Err("the fault did not strike there".to_owned()),
        };
        match verdict {
            Ok(()) => Ok(Some(Cell { step: step.name.to_string(), phase, fault: what, end: life.status() })),
            Err(wrong) => Err(failure(&step.name, phase, &what, wrong, &life)),
        }
    }

    /// A story that comes to this phase of this step; `None` if there is none.
    fn reach(&self, step: &Step, phase: Phase) -> Option<Story<'_>> {
        match phase {
            Phase::Action => Some(self.story()),
            // Nothing is heard of the action, so that it must be settled.
            Phase::Settlement => {
                let settles = !matches!(step.kind, StepKind::Retriable | StepKind::Notification);
                settles.then(|| self.story().fault(fault(step, Phase::Action, FaultKind::DropReply, None)))
            }
            Phase::Compensation => {
                step.compensation()?;
                let later = self.definition.steps.iter().rev().find(|later| self.turns_back(step, later));
                let reject = |at: &Step| fault(at, Phase::Action, reject(), Some(1));
                later.map(|later| self.story().fault(reject(later)))
            }
        }
    }

    /// Whether a rejection of `later` undoes `step`.
    fn turns_back(&self, step: &Step, later: &Step) -> bool {
        let may_say_no = matches!(later.kind, StepKind::Compensatable { .. } | StepKind::Pivot);
        may_say_no && later.stage >= step.stage && later.name != step.name && !later.is_conditional()
    }

    /// How a saga must end in which this goes wrong.
    fn expected(&self, step: &Step, phase: Phase, mishap: &Mishap) -> &'static str {
        let is_retriable = matches!(step.kind, StepKind::Retriable);
        let late = step.compensation().map_or(LateSuccess::Accept, |compensation| compensation.late_success);
        match (phase, mishap) {
            (Phase::Compensation, _) => "compensated",
            (Phase::Action, Mishap::Once(FaultKind::Reject { .. })) if !is_retriable => "compensated",
            // Never done, so the settlement fences it.
            (Phase::Action, Mishap::Always(FaultKind::DropCommand | FaultKind::Fail)) => "compensated",
            // Done, and heard of by the settlement only.
            (Phase::Settlement, _) | (Phase::Action, Mishap::Always(_))
                if late == LateSuccess::Compensate =>
            {
                "compensated"
            }
            (Phase::Settlement | Phase::Action, Mishap::Once(_) | Mishap::Always(_)) => "completed",
        }
    }

    fn must_hold(&self, life: &Life, expected: &str) -> Result<(), String> {
        if let Some(wrong) = &life.wrong {
            return Err(wrong.clone());
        }
        if life.status() != expected {
            return Err(format!("it ends {}, and must end {expected}", life.status()));
        }
        let effect = |step: &redress_core::Name| life.effects.get(step).copied().unwrap_or_default();
        check::effects(&self.definition, &life.state, effect)?;
        check::history(&self.definition, &life.history)
    }
}

/// What can go wrong in a phase of a step.
fn mishaps(step: &Step, phase: Phase) -> Vec<Mishap> {
    let late_ms = step.timeout_ms + LATE_MS;
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

fn reject() -> FaultKind {
    FaultKind::Reject { code: "injected".to_owned() }
}

fn fault(step: &Step, phase: Phase, kind: FaultKind, times: Option<u32>) -> Fault {
    Fault {
        saga: None,
        service: None,
        step: Some(step.name.clone()),
        command: None,
        phase,
        kind,
        times,
        probability: 1.0,
        seed: 0,
    }
}

/// A rejection is the cause of what follows, and nothing else is.
fn caused(life: &Life, step: &Step, kind: &FaultKind) -> Result<(), String> {
    let cause = life.state.cause();
    let is_rejection = matches!(kind, FaultKind::Reject { .. }) && life.status() == "compensated";
    match cause {
        Some(cause) if is_rejection => {
            let is_it = cause.kind == CauseKind::Rejected && cause.step.as_ref() == Some(&step.name);
            if is_it { Ok(()) } else { Err(format!("it turned back for another reason: {cause}")) }
        }
        Some(_) | None => Ok(()),
    }
}

fn failure(step: &str, phase: Phase, fault: &str, wrong: String, life: &Life) -> Failure {
    let (step, fault) = (step.to_owned(), fault.to_owned());
    Failure { step, phase, fault, wrong, life: life.to_string() }
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
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::specimen::{branching, five_steps, nested};

    #[test]
    fn one_after_the_other() {
        insta::assert_snapshot!(UnwindMatrix::of(five_steps(2, 8)).run().unwrap(), @"
        specimen v1: 125 cells
        create action
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, always drop-reply
          compensated  reject:injected, always fail, always drop-command
        create settlement
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        create compensation
          compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        charge action
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, always drop-reply
          compensated  reject:injected, always fail, always drop-command
        charge settlement
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        charge compensation
          compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        reserve action
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, always drop-reply
          compensated  reject:injected, always fail, always drop-command
        reserve settlement
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        reserve compensation
          compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        ship action
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, always drop-reply
          compensated  reject:injected, always fail, always drop-command
        ship settlement
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        confirm action
          completed    reject:injected, fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        ");
    }

    #[test]
    fn a_saga_inside_a_saga() {
        insta::assert_snapshot!(UnwindMatrix::of(nested(2, 8)).run().unwrap().cells.len(), @"115");
    }

    #[test]
    fn side_by_side() {
        insta::assert_snapshot!(UnwindMatrix::of(branching(2, 8)).input(serde_json::json!({ "gift": true })).run().unwrap(), @"
        branching v1: 147 cells
        create action
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, always drop-reply
          compensated  reject:injected, always fail, always drop-command
        create settlement
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        create compensation
          compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        charge action
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
          compensated  reject:injected, always fail, always drop-command, always drop-reply
        charge settlement
          compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        charge compensation
          compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        reserve action
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, always drop-reply
          compensated  reject:injected, always fail, always drop-command
        reserve settlement
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        reserve compensation
          compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        gift action
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, always drop-reply
          compensated  reject:injected, always fail, always drop-command
        gift settlement
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        ship action
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, always drop-reply
          compensated  reject:injected, always fail, always drop-command
        ship settlement
          completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        confirm action
          completed    reject:injected, fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
        ");
    }
}
