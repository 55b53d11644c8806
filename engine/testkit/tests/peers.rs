//! The worst documented faults of other engines, one test each.

#![expect(clippy::unwrap_used, reason = "in a test, a broken expectation is the finding")]

use redress_core::decide::Verb;
use redress_core::{Command, Compensates, RetryPolicy, SagaDefinition, saga};
use redress_testkit::{Life, Story, check};
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

fn told(story: Story<'_>) -> Life {
    let life = story.play();
    let definition = sell();
    check::history(&definition, &life.history).unwrap();
    check::effects(&definition, &life.state, |step| life.effects[step]).unwrap();
    assert_eq!(life.wrong, None);
    life
}

#[test]
fn a_step_that_timed_out_and_took_effect_is_undone() {
    // It was carried out and nobody heard of it; the next step fails.
    let definition = sell();
    let life = told(
        Story::of(&definition)
            .given(r#"{"step": "reserve", "kind": "drop-reply", "times": 9}"#)
            .given(r#"{"step": "ship", "kind": "reject", "code": "no"}"#),
    );
    assert_eq!(life.status(), "compensated");
    assert!(life.has("done settlement reserve") && life.has("done compensation reserve"), "{life}");
}

#[test]
fn a_cancel_skips_no_undo() {
    // Also not that of the step whose answer is still under way when the cancel comes.
    let definition = sell();
    let life = told(
        Story::of(&definition)
            .given(r#"{"step": "reserve", "kind": "delay-reply", "ms": 2000}"#)
            .order_after("sent action reserve 1", Verb::Cancel),
    );
    assert_eq!(life.status(), "compensated");
    assert!(life.has("done compensation charge"), "{life}");
}

#[test]
fn a_success_that_comes_late_is_not_dropped() {
    let definition = sell();
    let life = told(
        Story::of(&definition)
            .given(r#"{"step": "reserve", "kind": "delay-reply", "ms": 31000, "times": 3}"#)
            .given(r#"{"step": "reserve", "phase": "settlement", "kind": "drop-reply", "times": 3}"#),
    );
    assert_eq!(life.status(), "completed", "{life}");
    assert!(life.has("timed-out action reserve 3"), "all attempts had been given up: {life}");
    assert!(life.has("done action reserve"), "the action's own late answer was heard: {life}");
}

#[test]
fn a_duplicate_of_a_forward_reply_is_no_compensation() {
    // The first attempt is overtaken by the second; it is answered from memory while the compensation is asked for.
    let definition = sell();
    let life = told(
        Story::of(&definition)
            .given(r#"{"step": "charge", "kind": "delay", "ms": 10500}"#)
            .given(r#"{"step": "reserve", "kind": "reject", "code": "no"}"#)
            .given(r#"{"step": "charge", "phase": "compensation", "kind": "drop-command", "times": 2}"#),
    );
    assert_eq!(life.status(), "compensated");
    assert!(life.has("late action charge 1"), "{life}");
    assert!(life.has("done compensation charge 3"), "{life}");
}

#[test]
fn attempts_of_the_action_do_not_count_for_the_compensation() {
    // Two of three attempts are used up forward; the compensation still has its own four.
    let definition = sell();
    let life = told(
        Story::of(&definition)
            .given(r#"{"step": "charge", "kind": "fail", "times": 2}"#)
            .given(r#"{"step": "reserve", "kind": "reject", "code": "no"}"#)
            .given(r#"{"step": "charge", "phase": "compensation", "kind": "fail", "times": 3}"#),
    );
    assert_eq!(life.status(), "compensated");
    assert!(life.has("sent compensation charge 1 (fail)"), "it counts from one: {life}");
    assert!(life.has("done compensation charge 4"), "{life}");
}

#[test]
fn a_cancel_is_seen_while_a_step_backs_off() {
    let definition = sell();
    let life = told(
        Story::of(&definition)
            .given(r#"{"step": "reserve", "kind": "fail", "times": 2}"#)
            .order_after("failed action reserve 1", Verb::Cancel),
    );
    assert_eq!(life.status(), "compensated");
    assert!(!life.has("sent action reserve 2"), "it was settled and not tried again: {life}");
}

#[test]
fn an_end_has_no_way_out() {
    // Everything that can come after the end: duplicates, late answers, orders.
    let definition = sell();
    for verb in [Verb::Cancel, Verb::Retry { step: None }, Verb::Pause, Verb::Resume, Verb::Close] {
        let life = told(
            Story::of(&definition)
                .given(r#"{"step": "charge", "kind": "duplicate"}"#)
                .given(r#"{"step": "ship", "kind": "delay-reply", "ms": 11000}"#)
                .order_after("completed", verb),
        );
        assert_eq!(life.status(), "completed", "{life}");
        assert_eq!(life.refused, ["ended"]);
    }
}
