//! Compares the plan of a saga with what the saga then does.

use redress_core::Phase;
use redress_core::decide::Verb;
use redress_core::history::HistoryEvent;
use redress_core::plan::Plan;
use redress_testkit::Story;

use crate::shop::{played, sell, sell_bundle, sell_faster};

/// Cancels after each line of a run: the steps undone then are those of the plan, with the same payloads, and those
/// that were in doubt and turned out to stand.
#[test]
fn plan_matches_the_later_cancel_at_every_line() {
    let mut seen = 0;
    for definition in [sell(), sell_faster(), sell_bundle()] {
        let lines: Vec<String> =
            Story::of(&definition).play().to_string().lines().map(ToOwned::to_owned).collect();
        for line in lines {
            let run = played(&definition, Story::of(&definition).operator_after(&line, Verb::Cancel));
            if !run.refused.is_empty() {
                continue;
            }
            let plan = &run.plans[0];
            let undone: Vec<(String, String)> = run
                .history
                .iter()
                .filter(|row| row.event == HistoryEvent::Sent && row.phase == Some(Phase::Compensation))
                .map(|row| {
                    let detail: serde_json::Value = row.detail.read().unwrap();
                    (row.step.clone().unwrap().to_string(), detail["payload"].to_string())
                })
                .filter(|(step, _)| !plan.in_doubt.iter().any(|doubt| *doubt == **step))
                .collect();
            let said: Vec<(String, String)> = plan
                .undo
                .iter()
                .map(|undo| (undo.step.to_string(), undo.payload.as_str().to_owned()))
                .collect();
            assert_eq!(undone, said, "cancelled after `{line}`:\n{run}");
            seen += 1;
        }
    }
    assert!(seen >= 12, "{seen} moments");
}

fn words(plan: &Plan) -> String {
    let remaining: Vec<&str> = plan.remaining.iter().map(|remaining| remaining.step.as_str()).collect();
    let in_doubt: Vec<&str> = plan.in_doubt.iter().map(|step| step.as_str()).collect();
    let undo: Vec<&str> = plan.undo.iter().map(|undo| undo.step.as_str()).collect();
    format!("still {remaining:?}, in doubt {in_doubt:?}, undone {undo:?}")
}

/// A step behind the pivot is sent until it is done, and never settled: nothing waits for a doubt about it.
#[test]
fn plan_after_the_pivot_has_nothing_in_doubt() {
    let definition = sell();
    let moments = [
        ("sent action ship 1", Verb::Pause),
        ("sent action confirm 1", Verb::Pause),
        ("failed action confirm 1", Verb::Pause),
        ("parked (retriable-rejected)", Verb::Retry { step: None }),
    ];
    let plans = moments.map(|(line, verb)| {
        let story = Story::of(&definition)
            .given(r#"{"step": "confirm", "kind": "fail"}"#)
            .given(r#"{"step": "confirm", "kind": "reject", "code": "closed", "times": 2}"#);
        let run = played(&definition, story.operator_after(line, verb));
        format!("{line}: {}", words(&run.plans[0]))
    });
    insta::assert_snapshot!(plans.join("\n"), @r#"
    sent action ship 1: still ["ship", "confirm"], in doubt ["ship"], undone ["reserve", "charge"]
    sent action confirm 1: still ["confirm"], in doubt [], undone []
    failed action confirm 1: still ["confirm"], in doubt [], undone []
    parked (retriable-rejected): still ["confirm"], in doubt [], undone []
    "#);
}
