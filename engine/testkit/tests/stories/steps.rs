//! Stages, conditions, children, late answers.

use redress_core::history::HistoryEvent;
use redress_core::{Command, saga};
use redress_testkit::Story;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::shop::{check_story, played, sell, sell_bundle, sell_faster};

#[test]
fn stage_steps_run_in_parallel_and_a_false_condition_skips() {
    let definition = sell_faster();
    let run = played(&definition, Story::of(&definition));
    insta::assert_snapshot!(run, @"
    started
    sent action charge 1
    sent action reserve 1
    done action charge 1
    done action reserve 1
    skipped action wrap
    notified action tell 1
    sent action ship 1
    done action ship 1
    completed
    ");
    let told = &run.notifications[0];
    assert_eq!((told.command.as_str(), told.payload.as_str()), ("tell", r#"{"number":1}"#));
}

#[test]
fn child_saga_is_done_and_undone_with_its_parent() {
    let definition = sell_bundle();
    let story = Story::of(&definition)
        .reply("payment-charge", json!({ "number": 7 }))
        .given(r#"{"step": "ship", "kind": "reject", "code": "no-truck"}"#);
    let run = played(&definition, story);
    insta::assert_snapshot!(run, @"
    started
    sent action reserve 1
    done action reserve 1
    sent action payment-charge 1
    done action payment-charge 1
    notified action payment-tell 1
    sent action ship 1 (reject:no-truck)
    rejected action ship 1
    plan-frozen
    sent compensation payment-charge 1
    done compensation payment-charge 1
    sent compensation reserve 1
    done compensation reserve 1
    compensated because ship rejected: no-truck (injected)
    ");
    insta::assert_snapshot!(run.state.data.as_str(), @r#"{"number":1,"sale":{"number":1,"receipt":7}}"#);
    let sent = |step: &str| {
        let row = run.history.iter().find(|row| row.step.as_ref().is_some_and(|s| *s == *step)).unwrap();
        row.detail.as_str().to_owned()
    };
    assert!(sent("ship").contains(r#""payload":{"number":7}"#), "the parent reads what the child has learnt");
}

#[test]
fn failed_stage_settles_its_other_steps_before_any_undo() {
    insta::assert_snapshot!(check_story(sell_faster(), &[
        r#"{"step": "reserve", "kind": "delay-reply", "ms": 3000}"#,
        r#"{"step": "charge", "kind": "reject", "code": "no-money"}"#,
    ]), @"
    started
    sent action charge 1 (reject:no-money)
    sent action reserve 1 (delay-reply:3000)
    rejected action charge 1
    sent settlement reserve 1
    done settlement reserve 1
    plan-frozen
    sent compensation reserve 1
    done compensation reserve 1
    compensated because charge rejected: no-money (injected)
    late action reserve 1
    ");
}

#[test]
fn late_success_is_accepted_or_undone_by_the_step_policy() {
    insta::assert_snapshot!(check_story(sell(), &[r#"{"step": "charge", "kind": "drop-reply", "times": 9}"#]), @"
    started
    sent action charge 1 (drop-reply)
    timed-out action charge 1
    sent action charge 2 (drop-reply)
    timed-out action charge 2
    sent settlement charge 1
    done settlement charge 1
    sent action reserve 1
    done action reserve 1
    sent action ship 1
    done action ship 1
    sent action confirm 1
    done action confirm 1
    completed
    ");
    insta::assert_snapshot!(check_story(sell_faster(), &[r#"{"step": "charge", "kind": "drop-reply"}"#]), @"
    started
    sent action charge 1 (drop-reply)
    sent action reserve 1
    done action reserve 1
    timed-out action charge 1
    sent settlement charge 1
    done settlement charge 1
    plan-frozen
    sent compensation reserve 1
    done compensation reserve 1
    sent compensation charge 1
    done compensation charge 1
    compensated because charge late-success: late-success (the step succeeded after it had been given up, and is undone then)
    ");
}

#[test]
fn compensation_timeout_is_its_own() {
    let definition = sell();
    let silent = r#"{"step": "charge", "phase": "compensation", "kind": "drop-reply", "times": 2}"#;
    let story =
        Story::of(&definition).given(silent).given(r#"{"step": "ship", "kind": "reject", "code": "no"}"#);
    let waited: Vec<String> = played(&definition, story)
        .history
        .iter()
        .filter(|row| row.event == HistoryEvent::TimedOut)
        .map(|row| format!("{}: {}", row.step.as_ref().unwrap(), row.detail))
        .collect();
    insta::assert_snapshot!(waited.join("\n"), @r#"
    charge: {"timeout_ms":60000}
    charge: {"timeout_ms":60000}
    "#);
}

#[derive(Default, Serialize, Deserialize, JsonSchema)]
struct Letter {
    text: String,
}

impl Command for Letter {
    const SERVICE: &'static str = "press";
    const NAME: &'static str = "print";
    type Reply = String;
}

/// A payload is frozen once it is made: the broker would refuse one that is too large for ever, unnoticed.
#[test]
fn oversized_payload_parks_its_saga_with_the_reason() {
    let definition = saga::<Letter>("write", 1)
        .pivot("draft", |_| Letter::default())
        .on_reply(|letter, text| letter.text = text)
        .retriable("print", |letter| Letter { text: letter.text.clone() })
        .build();
    let run = played(&definition, Story::of(&definition).reply("draft", json!("x".repeat(300_000))));
    insta::assert_snapshot!(run, @"
    started
    sent action draft 1
    done action draft 1
    parked (definition)
    ");
    insta::assert_snapshot!(run.state.parked().unwrap().message, @"what the `action` of step `print` makes is unusable: it has 300011 bytes, more than 262144");
}
