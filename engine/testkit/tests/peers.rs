//! The worst documented faults of other engines, one test each.

#![expect(clippy::unwrap_used, reason = "in a test, a broken expectation is the finding")]

use redress_core::decide::Verb;
use redress_core::{Command, Compensates, RetryPolicy, SagaDefinition, saga};
use redress_testkit::{RunResult, Story, check};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! commands {
    ($($name:ident = $command:literal;)*) => { $(
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $name {}
        impl Command for $name {
            const SERVICE: &'static str = "shop";
            const NAME: &'static str = $command;
            type Reply = ();
        }
    )* };
}

commands! {
    Charge = "charge";
    Refund = "refund";
    Reserve = "reserve";
    Release = "release";
    Ship = "ship";
}

impl Compensates<Charge> for Refund {}
impl Compensates<Reserve> for Release {}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Sale {}

fn sell() -> SagaDefinition {
    saga::<Sale>("sell", 1)
        .step("charge", |_| Charge {})
        .compensate(|_| Refund {})
        .retry(RetryPolicy::ACTION.attempts(3))
        .compensation_retry(RetryPolicy::COMPENSATION.attempts(4))
        .step("reserve", |_| Reserve {})
        .compensate(|_| Release {})
        .retry(RetryPolicy::ACTION.attempts(3))
        .pivot("ship", |_| Ship {})
        .build()
}

fn played(story: Story<'_>) -> RunResult {
    let run = story.play();
    let definition = sell();
    check::history(&definition, &run.history).unwrap();
    check::effects(&definition, &run.state, |step| run.effects[step]).unwrap();
    assert_eq!(run.wrong, None);
    run
}

#[test]
fn timed_out_step_that_took_effect_is_undone() {
    // It was carried out and the reply was lost; the next step fails.
    let definition = sell();
    let run = played(
        Story::of(&definition)
            .given(r#"{"step": "reserve", "kind": "drop-reply", "times": 9}"#)
            .given(r#"{"step": "ship", "kind": "reject", "code": "no"}"#),
    );
    assert_eq!(run.status(), "compensated");
    assert!(run.has("done settlement reserve") && run.has("done compensation reserve"), "{run}");
}

#[test]
fn cancel_undoes_every_step_that_stands() {
    // Also not that of the step whose answer is still under way when the cancel comes.
    let definition = sell();
    let run = played(
        Story::of(&definition)
            .given(r#"{"step": "reserve", "kind": "delay-reply", "ms": 2000}"#)
            .operator_after("sent action reserve 1", Verb::Cancel),
    );
    assert_eq!(run.status(), "compensated");
    assert!(run.has("done compensation charge"), "{run}");
}

#[test]
fn late_success_is_not_dropped() {
    let definition = sell();
    let run = played(
        Story::of(&definition)
            .given(r#"{"step": "reserve", "kind": "delay-reply", "ms": 31000, "times": 3}"#)
            .given(r#"{"step": "reserve", "phase": "settlement", "kind": "drop-reply", "times": 3}"#),
    );
    assert_eq!(run.status(), "completed", "{run}");
    assert!(run.has("timed-out action reserve 3"), "all attempts had been given up: {run}");
    assert!(run.has("done action reserve"), "the action's own late answer was heard: {run}");
}

#[test]
fn duplicate_action_reply_does_not_answer_the_compensation() {
    // The first attempt is overtaken by the second; it is answered from memory while the compensation is pending.
    let definition = sell();
    let run = played(
        Story::of(&definition)
            .given(r#"{"step": "charge", "kind": "delay", "ms": 10500}"#)
            .given(r#"{"step": "reserve", "kind": "reject", "code": "no"}"#)
            .given(r#"{"step": "charge", "phase": "compensation", "kind": "drop-command", "times": 2}"#),
    );
    assert_eq!(run.status(), "compensated");
    assert!(run.has("late action charge 1"), "{run}");
    assert!(run.has("done compensation charge 3"), "{run}");
}

#[test]
fn action_attempts_do_not_count_for_the_compensation() {
    // Two of three attempts are used up forward; the compensation still has its own four.
    let definition = sell();
    let run = played(
        Story::of(&definition)
            .given(r#"{"step": "charge", "kind": "fail", "times": 2}"#)
            .given(r#"{"step": "reserve", "kind": "reject", "code": "no"}"#)
            .given(r#"{"step": "charge", "phase": "compensation", "kind": "fail", "times": 3}"#),
    );
    assert_eq!(run.status(), "compensated");
    assert!(run.has("sent compensation charge 1 (fail)"), "it counts from one: {run}");
    assert!(run.has("done compensation charge 4"), "{run}");
}

#[test]
fn cancel_takes_effect_while_a_step_backs_off() {
    let definition = sell();
    let run = played(
        Story::of(&definition)
            .given(r#"{"step": "reserve", "kind": "fail", "times": 2}"#)
            .operator_after("failed action reserve 1", Verb::Cancel),
    );
    assert_eq!(run.status(), "compensated");
    assert!(!run.has("sent action reserve 2"), "it was settled and not tried again: {run}");
}

#[test]
fn ended_saga_keeps_its_status() {
    // Everything that can come after the end: duplicates, late answers, operator commands.
    let definition = sell();
    for verb in [Verb::Cancel, Verb::Retry { step: None }, Verb::Pause, Verb::Resume, Verb::Close] {
        let run = played(
            Story::of(&definition)
                .given(r#"{"step": "charge", "kind": "duplicate"}"#)
                .given(r#"{"step": "ship", "kind": "delay-reply", "ms": 11000}"#)
                .operator_after("completed", verb),
        );
        assert_eq!(run.status(), "completed", "{run}");
        assert_eq!(run.refused, ["ended"]);
    }
}
