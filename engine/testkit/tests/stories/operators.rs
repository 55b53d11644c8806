//! Stories of operator commands and of their effects.

use std::time::Duration;

use redress_core::JsonText;
use redress_core::decide::{Resolution, Verb};
use redress_testkit::Story;
use serde_json::json;

use crate::shop::{name, played, sell, sell_faster};

const RETRY: Verb = Verb::Retry { step: None };

#[test]
fn retry_of_a_parked_step_keeps_its_key_or_opens_a_new_generation() {
    let definition = sell();
    let story = Story::of(&definition)
        .given(r#"{"step": "reserve", "kind": "reject", "code": "none-left"}"#)
        .given(r#"{"step": "charge", "phase": "compensation", "kind": "fail", "times": 4}"#)
        .operator_after("parked", RETRY);
    insta::assert_snapshot!(played(&definition, story), @"
    started
    sent action charge 1
    done action charge 1
    sent action reserve 1 (reject:none-left)
    rejected action reserve 1
    plan-frozen
    sent compensation charge 1 (fail)
    failed compensation charge 1
    sent compensation charge 2 (fail)
    failed compensation charge 2
    sent compensation charge 3 (fail)
    failed compensation charge 3
    parked (compensation-failed)
    retry-requested
    sent compensation charge 4 (fail)
    failed compensation charge 4
    sent compensation charge 5
    done compensation charge 5
    compensated because reserve rejected: none-left (injected)
    ");

    let story = Story::of(&definition)
        .given(r#"{"step": "confirm", "kind": "reject", "code": "closed"}"#)
        .operator_after("parked", RETRY);
    let run = played(&definition, story);
    insta::assert_snapshot!(run, @"
    started
    sent action charge 1
    done action charge 1
    sent action reserve 1
    done action reserve 1
    sent action ship 1
    done action ship 1
    sent action confirm 1 (reject:closed)
    rejected action confirm 1
    parked (retriable-rejected)
    retry-requested
    sent action confirm 1
    done action confirm 1
    completed
    ");
    assert_eq!(run.state.steps[3].generation, 2, "its answer was final, so the command is a new one");
}

#[test]
fn paused_saga_accepts_replies_and_sends_nothing() {
    let definition = sell();
    let story = Story::of(&definition).operator_after("sent action charge 1", Verb::Pause);
    let run = played(&definition, story);
    assert_eq!(run.status(), "paused");
    insta::assert_snapshot!(run, @"
    started
    sent action charge 1
    paused
    done action charge 1
    ");

    let story = Story::of(&definition)
        .operator_after("sent action charge 1", Verb::Pause)
        .operator_after("done action charge", Verb::Resume);
    insta::assert_snapshot!(played(&definition, story), @"
    started
    sent action charge 1
    paused
    done action charge 1
    resumed
    sent action reserve 1
    done action reserve 1
    sent action ship 1
    done action ship 1
    sent action confirm 1
    done action confirm 1
    completed
    ");
}

#[test]
fn deadline_passes_while_the_saga_is_paused() {
    let definition = sell_faster();
    let story = Story::of(&definition)
        .operator_after("sent action charge 1", Verb::Pause)
        .operator_after("deadline-passed", Verb::Resume);
    insta::assert_snapshot!(played(&definition, story), @"
    started
    sent action charge 1
    sent action reserve 1
    paused
    done action charge 1
    done action reserve 1
    deadline-passed
    resumed
    plan-frozen
    sent compensation reserve 1
    done compensation reserve 1
    sent compensation charge 1
    done compensation charge 1
    compensated because deadline: the saga took longer than its deadline allows
    ");
}

#[test]
fn resolution_is_believed_and_verified() {
    let definition = sell();
    let story = |resolution| {
        // The broker is silent about the settlement too, until the operator has spoken.
        Story::of(&definition)
            .given(r#"{"step": "reserve", "kind": "drop-reply", "times": 2}"#)
            .given(r#"{"step": "reserve", "phase": "settlement", "kind": "drop-reply", "times": 1}"#)
            .operator_after(
                "timed-out settlement reserve",
                Verb::Resolve { step: name("reserve"), resolution },
            )
    };
    let reply = JsonText::null();
    insta::assert_snapshot!(played(&definition, story(Resolution::Happened { reply })), @"
    started
    sent action charge 1
    done action charge 1
    sent action reserve 1 (drop-reply)
    timed-out action reserve 1
    sent action reserve 2 (drop-reply)
    timed-out action reserve 2
    sent settlement reserve 1 (drop-reply)
    timed-out settlement reserve 1
    resolved action reserve
    sent settlement reserve 2
    sent action ship 1
    verified settlement reserve 2
    done action ship 1
    sent action confirm 1
    done action confirm 1
    completed
    ");
    let wrong = story(Resolution::NeverHappened).play();
    assert_eq!(wrong.state.parked().unwrap().code.as_str(), "contradiction");
    insta::assert_snapshot!(wrong, @"
    started
    sent action charge 1
    done action charge 1
    sent action reserve 1 (drop-reply)
    timed-out action reserve 1
    sent action reserve 2 (drop-reply)
    timed-out action reserve 2
    sent settlement reserve 1 (drop-reply)
    timed-out settlement reserve 1
    resolved action reserve
    sent settlement reserve 2
    plan-frozen
    sent compensation charge 1
    contradiction settlement reserve 2
    parked (contradiction)
    done compensation charge 1
    ");
}

#[test]
fn contradiction_is_cleared_up_by_a_second_resolve() {
    let definition = sell();
    let reply = JsonText::null();
    let story = Story::of(&definition)
        .given(r#"{"step": "reserve", "kind": "drop-reply", "times": 2}"#)
        .given(r#"{"step": "reserve", "phase": "settlement", "kind": "drop-reply", "times": 1}"#)
        .operator_after(
            "timed-out settlement reserve",
            Verb::Resolve { step: name("reserve"), resolution: Resolution::NeverHappened },
        )
        .operator_after(
            "parked",
            Verb::Resolve { step: name("reserve"), resolution: Resolution::Happened { reply } },
        );
    insta::assert_snapshot!(played(&definition, story), @"
    started
    sent action charge 1
    done action charge 1
    sent action reserve 1 (drop-reply)
    timed-out action reserve 1
    sent action reserve 2 (drop-reply)
    timed-out action reserve 2
    sent settlement reserve 1 (drop-reply)
    timed-out settlement reserve 1
    resolved action reserve
    sent settlement reserve 2
    plan-frozen
    sent compensation charge 1
    contradiction settlement reserve 2
    parked (contradiction)
    resolved action reserve
    done compensation charge 1
    plan-frozen
    sent compensation reserve 1
    done compensation reserve 1
    compensated because reserve fenced: resolved (ann told that the step never happened: why not)
    ");
}

/// Resolved as happened, the saga went on to its pivot; then the participant says that it never did. As long as the
/// pivot may still succeed there may be no way back.
#[test]
fn resolve_never_happened_while_the_pivot_is_pending_is_refused() {
    let definition = sell();
    let reserve = |resolution| Verb::Resolve { step: name("reserve"), resolution };
    let story = Story::of(&definition)
        .given(r#"{"step": "reserve", "kind": "drop-command", "times": 2}"#)
        .given(r#"{"step": "reserve", "phase": "settlement", "kind": "drop-command"}"#)
        .operator_after(
            "timed-out settlement reserve",
            reserve(Resolution::Happened { reply: JsonText::null() }),
        )
        .operator_after("parked (contradiction)", reserve(Resolution::NeverHappened));
    let run = played(&definition, story);
    assert_eq!(run.refused, ["pivot-sent"]);
    insta::assert_snapshot!(run, @"
    started
    sent action charge 1
    done action charge 1
    sent action reserve 1 (drop-command)
    timed-out action reserve 1
    sent action reserve 2 (drop-command)
    timed-out action reserve 2
    sent settlement reserve 1 (drop-command)
    timed-out settlement reserve 1
    resolved action reserve
    sent settlement reserve 2
    sent action ship 1
    contradiction settlement reserve 2
    parked (contradiction)
    done action ship 1
    refused: pivot-sent
    ");
    assert_eq!(run.effects[&name("charge")], 1, "what the pivot rests on is not undone");
}

#[test]
fn resolve_compensated_ends_a_parked_compensation() {
    let definition = sell();
    let compensated = Verb::Resolve { step: name("charge"), resolution: Resolution::Compensated };
    let story = Story::of(&definition)
        .given(r#"{"step": "reserve", "kind": "reject", "code": "none-left"}"#)
        .given(r#"{"step": "charge", "phase": "compensation", "kind": "fail", "times": 9}"#)
        .operator_after("parked", compensated);
    insta::assert_snapshot!(story.play(), @"
    started
    sent action charge 1
    done action charge 1
    sent action reserve 1 (reject:none-left)
    rejected action reserve 1
    plan-frozen
    sent compensation charge 1 (fail)
    failed compensation charge 1
    sent compensation charge 2 (fail)
    failed compensation charge 2
    sent compensation charge 3 (fail)
    failed compensation charge 3
    parked (compensation-failed)
    resolved compensation charge
    compensated because reserve rejected: none-left (injected)
    ");
}

#[test]
fn closed_saga_settles_its_pending_commands() {
    let definition = sell();
    let story = Story::of(&definition)
        .given(r#"{"step": "charge", "kind": "delay", "ms": 5000}"#)
        .operator_after("sent action charge 1", Verb::Pause)
        .operator_after("paused", Verb::Close);
    let run = story.play();
    assert_eq!(run.effects[&name("charge")], 0);
    insta::assert_snapshot!(run, @"
    started
    sent action charge 1 (delay:5000)
    paused
    closed
    sent settlement charge 1
    verified settlement charge 1
    late action charge 1
    ");
}

#[test]
fn invalid_operator_commands_are_refused() {
    let refused = |line: &str, verb: Verb| {
        let definition = sell();
        let before = Story::of(&definition).play().history.len();
        let run = Story::of(&definition).operator_after(line, verb).play();
        assert_eq!(run.history.len(), before, "nothing changed");
        run.refused.join(", ")
    };
    let resolve = |step: &str, resolution| Verb::Resolve { step: name(step), resolution };
    let happened = |reply: serde_json::Value| Resolution::Happened { reply: JsonText::of(&reply).unwrap() };
    insta::assert_snapshot!([
        refused("sent action ship", Verb::Cancel),
        refused("completed", Verb::Cancel),
        refused("completed", Verb::Close),
        refused("sent action charge", Verb::Close),
        refused("sent action charge", Verb::Resume),
        refused("sent action charge", RETRY),
        refused("sent action charge", Verb::Retry { step: Some(name("fly")) }),
        refused("sent action reserve", resolve("charge", Resolution::NeverHappened)),
        refused("sent action charge", resolve("charge", Resolution::Compensated)),
        refused("sent action charge", resolve("charge", happened(json!({ "colour": "red" })))),
        refused("sent action confirm", resolve("confirm", Resolution::NeverHappened)),
    ].join("\n"), @"
    pivot-sent
    ended
    ended
    moving
    not-paused
    nothing-to-retry
    unknown-step
    not-in-doubt
    not-in-doubt
    reply-does-not-fit
    must-succeed
    ");
}

#[test]
fn unfoldable_reply_parks_and_is_kept_and_cancel_undoes_the_step() {
    let definition = sell();
    let run = Story::of(&definition).reply("charge", json!({ "colour": "red" })).play();
    assert_eq!(run.state.parked().unwrap().code.as_str(), "definition");
    assert!(run.state.steps[0].unfolded.is_some());
    // A step that stands can still be undone.
    let story = Story::of(&definition)
        .reply("charge", json!({ "colour": "red" }))
        .operator_after("parked", Verb::Cancel);
    insta::assert_snapshot!(played(&definition, story), @"
    started
    sent action charge 1
    done action charge 1
    parked (definition)
    cancel-requested
    plan-frozen
    sent compensation charge 1
    done compensation charge 1
    compensated because cancelled: ann: why not
    ");
}

/// Day 0: charged, and the refund fails until it is given up. An operator tries again after the participant has
/// forgotten: no second charge, and no amends that never was.
#[test]
fn compensation_of_a_forgotten_action_parks_as_expired() {
    let definition = sell();
    let day = Duration::from_secs(86_400);
    let compensated = Verb::Resolve { step: name("charge"), resolution: Resolution::Compensated };
    let story = Story::of(&definition)
        .given(r#"{"step": "reserve", "kind": "reject", "code": "none-left"}"#)
        .given(r#"{"step": "charge", "phase": "compensation", "kind": "fail", "times": 3}"#)
        .operator_later("parked (compensation-failed)", 40 * day, RETRY)
        .operator_later("parked (expired)", day, compensated);
    let run = story.play();
    assert_eq!(run.effects[&name("charge")], 1, "what was charged stands until somebody has made it good");
    insta::assert_snapshot!(run, @"
    started
    sent action charge 1
    done action charge 1
    sent action reserve 1 (reject:none-left)
    rejected action reserve 1
    plan-frozen
    sent compensation charge 1 (fail)
    failed compensation charge 1
    sent compensation charge 2 (fail)
    failed compensation charge 2
    sent compensation charge 3 (fail)
    failed compensation charge 3
    parked (compensation-failed)
    retry-requested
    sent compensation charge 4
    expired compensation charge 4
    parked (expired)
    resolved compensation charge
    compensated because reserve rejected: none-left (injected)
    ");
}
