//! Tests of the unwind matrix: the definitions that it proves, and those that it refuses to call proven.

use std::collections::BTreeMap;
use std::time::Duration;

use redress_core::definition::InDoubt;
use redress_core::{RetryPolicy, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use super::*;
use crate::fixtures::{
    Cancel, Confirm, Create, Release, Reserve, branching, five_steps, nested, on_approval, paying,
    unremembered,
};
use crate::participants::DisabledRule;

#[test]
fn matrix_of_sequential_steps() {
    insta::assert_snapshot!(UnwindMatrix::of(five_steps(2, 8)).run().unwrap(), @"
    fixture v1: 137 cells
    create action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    create settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    create compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    charge action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    charge settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    charge compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    reserve action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    reserve settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    reserve compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    ship action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    ship settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    confirm action
      completed    reject:injected, fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    ");
}

#[test]
fn matrix_of_a_saga_with_a_child() {
    insta::assert_snapshot!(UnwindMatrix::of(nested(2, 8)).run().unwrap().cells.len(), @"126");
}

#[test]
fn side_by_side() {
    insta::assert_snapshot!(UnwindMatrix::of(branching(2, 8)).input(serde_json::json!({ "gift": true })).run().unwrap(), @"
    branching v1: 162 cells
    create action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    create settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    create compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    charge action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
      compensated  reject:injected, always fail, always drop-command, always drop-reply, answers-too-late
    charge settlement
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    charge compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    reserve action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    reserve settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    reserve compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    gift action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    gift settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    tell action
      completed    lost
    ship action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    ship settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    confirm action
      completed    reject:injected, fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    ");
}

#[test]
fn matrix_of_a_step_that_is_answered_later_or_in_doubt() {
    let quick = Duration::from_secs(20);
    let table = UnwindMatrix::of(on_approval(2, 8, quick)).run().unwrap();
    insta::assert_snapshot!(about(&table, "approve"), @"
    on-approval v1: 34 cells
    approve action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    approve settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    approve compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    ");
    let table = UnwindMatrix::of(paying(2, 8, InDoubt::Undo)).run().unwrap();
    insta::assert_snapshot!(about(&table, "pay"), @"
    pay-or-undo v1: 36 cells
    pay action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late, in-doubt:took-effect, in-doubt:never-arrived
    pay settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    pay compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    ");
}

#[test]
fn matrix_of_a_step_that_nobody_remembers() {
    let table = UnwindMatrix::of(unremembered(2, 8)).run().unwrap();
    insta::assert_snapshot!([about(&table, "quote"), about(&table, "announce")].join(""), @"
    unremembered v1: 13 cells
    quote action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
      compensated  reject:injected, always fail, always drop-command, always drop-reply
    unremembered v1: 10 cells
    announce action
      completed    reject:injected, fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    ");
}

/// The rows of one step.
fn about(table: &Table, step: &str) -> String {
    let mut table = table.clone();
    table.cells.retain(|cell| cell.step == step);
    table.to_string()
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Parcel {
    grams: u32,
    #[serde(default)]
    gift: bool,
}

/// A notification is sent only if there is a gift, and the last step can be undone: no step behind it can say no.
fn wrap(heavy_grams: u32) -> SagaDefinition {
    saga::<Parcel>("wrap", 1)
        .step("create", |_| Create {})
        .compensate(|_| Cancel {})
        .notify("tell", |_| Confirm {})
        .when(|parcel| parcel.gift)
        .step("reserve", |_| Reserve {})
        .compensate(|_| Release {})
        .when(move |parcel| parcel.grams > heavy_grams)
        .build()
}

#[test]
fn matrix_of_condition_notification_and_compensatable_last_step() {
    let table = UnwindMatrix::of(wrap(0)).run().unwrap();
    insta::assert_snapshot!(table, @"
    wrap v1: 69 cells
    create action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    create settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    create compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    tell action
      completed    lost
    reserve action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    reserve settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    reserve compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    ");
}

/// The last steps of a stage are undone though no step behind them can say no.
#[test]
fn matrix_of_a_last_stage_whose_steps_are_compensatable() {
    let ask_for_ever = RetryPolicy::FOR_EVER;
    let definition = saga::<Parcel>("both", 1)
        .parallel(|stage| {
            stage
                .step("create", |_| Create {})
                .compensate(|_| Cancel {})
                .retry(ask_for_ever)
                .step("reserve", |_| Reserve {})
                .compensate(|_| Release {})
                .retry(RetryPolicy::ACTION.attempts(1))
        })
        .build();
    let table = UnwindMatrix::of(definition).run().unwrap();
    insta::assert_snapshot!(table, @"
    both v1: 65 cells
    create action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
      compensated  reject:injected, answers-too-late
    create settlement
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    create compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    reserve action
      completed    drop-reply, delay-reply:22000, duplicate, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, fail, drop-command, delay:22000, always fail, always drop-command, answers-too-late
    reserve settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    reserve compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    ");
}

/// A step that is given up at its first silence, since its timeout is all the time that it has, and not at its first
/// failure; and one that is tried for a whole day.
#[test]
fn matrix_of_steps_that_are_tried_for_a_time() {
    let seconds = |s| RetryPolicy::for_at_most(Duration::from_secs(s));
    let definition = saga::<Parcel>("timed", 1)
        .step("create", |_| Create {})
        .no_compensation()
        .timeout(Duration::from_secs(30))
        .retry(seconds(20))
        .step("reserve", |_| Reserve {})
        .no_compensation()
        .retry(seconds(86_400))
        .build();
    let table = UnwindMatrix::of(definition).run().unwrap();
    insta::assert_snapshot!(table, @"
    timed v1: 48 cells
    create action
      completed    fail, drop-reply, delay-reply:42000, duplicate, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, drop-command, delay:42000, always fail, always drop-command, answers-too-late
    create settlement
      completed    fail, drop-command, drop-reply, delay-reply:42000, duplicate, delay:42000, crash-before-commit, crash-after-commit, crash-after-reply
    reserve action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    reserve settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    ");
}

#[test]
fn matrix_fails_for_a_step_that_no_input_reaches() {
    let failure = UnwindMatrix::of(wrap(1_000)).run().unwrap_err();
    insta::assert_snapshot!(failure, @"
    whatever goes wrong at the action of reserve: not reached: its condition holds with none of 2 inputs, so nothing is proven of it; give one for which it is played with `UnwindMatrix::input(..)`, or a reply with `reply(..)`
    wrap v1: 35 cells
    create action
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later, always drop-reply
      compensated  reject:injected, always fail, always drop-command, answers-too-late
    create settlement
      completed    fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply
    create compensation
      compensated  fail, drop-command, drop-reply, delay-reply:22000, duplicate, delay:22000, crash-before-commit, crash-after-commit, crash-after-reply, answers-later
    tell action
      completed    lost
    reserve
      not reached: its condition holds with none of 2 inputs
    ");
    // With an input for which the step is played it is proven; a step that this input leaves out, another input plays.
    let heavy = json!({ "grams": 1_001 });
    let failure = UnwindMatrix::of(wrap(1_000)).input(heavy.clone()).run().unwrap_err();
    assert_eq!(failure.step, "tell");
    let gift = json!({ "grams": 1, "gift": true });
    let table = UnwindMatrix::of(wrap(1_000)).input(heavy).input(gift).run().unwrap();
    assert_eq!(table.unreached, []);
}

#[test]
fn matrix_without_cells_fails() {
    let mut nothing = five_steps(2, 8);
    nothing.steps.clear();
    let failure = UnwindMatrix::of(nothing).run().unwrap_err();
    assert!(failure.wrong.contains("the definition has no step"), "{failure}");
}

/// A matrix that took an ordered fault for a played one would prove nothing once participants ignore it.
#[test]
fn matrix_detects_in_every_cell_a_fault_that_is_not_played() {
    let mut found: BTreeMap<&str, usize> = BTreeMap::new();
    let definitions =
        [five_steps(2, 8), branching(2, 8), wrap(0), paying(2, 8, InDoubt::Undo), unremembered(2, 8)];
    for definition in definitions {
        let steps = definition.steps.clone();
        let mut matrix = UnwindMatrix::of(definition);
        for (step, phase) in steps.iter().flat_map(|step| PHASES.map(|phase| (step, phase))) {
            for disruption in disruptions(step, phase) {
                matrix.without = DisabledRule::Obedience(disruption.word());
                let grounds = matrix.grounds().unwrap();
                let ground = grounds.iter().find(|ground| ground.plays(step)).unwrap();
                let Some(way) = way(&matrix, ground, step, phase) else { continue };
                let failure = matrix.cell(ground, way, step, phase, &disruption).unwrap_err();
                let is_seen = failure.wrong.contains("was ordered and not played");
                // The way there needs it too.
                let is_not_there = failure.wrong.contains("did not strike there");
                assert!(is_seen || is_not_there, "{failure}");
                *found.entry(disruption.word()).or_default() += usize::from(is_seen);
            }
        }
    }
    insta::assert_debug_snapshot!(found, @r#"
    {
        "answers-later": 50,
        "crash-after-commit": 52,
        "crash-after-reply": 52,
        "crash-before-commit": 52,
        "delay": 52,
        "delay-reply": 52,
        "drop-command": 70,
        "drop-reply": 53,
        "duplicate": 52,
        "fail": 70,
        "in-doubt": 2,
        "lost": 2,
        "reject": 23,
    }
    "#);
}
