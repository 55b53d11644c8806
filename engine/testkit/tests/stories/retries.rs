//! What a `retry` sets going, and what the answers to the question before it still mean.

use std::time::Duration;

use redress_core::decide::Verb;
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_testkit::{Life, Story};

use crate::shop::{name, sell, told};

const RETRY: Verb = Verb::Retry { step: None };

/// Not only what is parked: a step that waits for its next attempt goes at once.
#[test]
fn what_waits_goes_when_an_operator_says_so() {
    let definition = sell();
    let story = |definition| {
        Story::of(definition)
            .given(r#"{"step": "confirm", "kind": "fail", "times": 9}"#)
            .order_after("sent action confirm 10", Verb::Pause)
    };
    let pauses = |life: &Life| {
        let at = |event, attempt| {
            let is_it = |row: &&HistoryEntry| {
                (row.event, row.step.as_ref(), row.attempt) == (event, Some(&name("confirm")), Some(attempt))
            };
            life.history.iter().find(is_it).unwrap().at
        };
        [8, 9].map(|attempt| {
            (at(HistoryEvent::Sent, attempt + 1) - at(HistoryEvent::Failed, attempt)).num_milliseconds()
        })
    };
    assert_eq!(pauses(&story(&definition).play()), [25_600, 51_200], "by itself it waits");
    let life = told(&definition, story(&definition).order_after("failed action confirm 9", RETRY));
    assert_eq!(pauses(&life), [25_600, 0], "by order it does not:\n{life}");
    assert!(life.has("retry-requested") && life.refused.is_empty(), "{life}");
    let confirm = &life.state.steps[3];
    assert_eq!((confirm.generation, confirm.attempts), (1, 10), "it is the same question, asked once more");
}

/// The first attempt is overtaken by the second, which is rejected; an operator re-opens the step under a new key, and
/// while that one is being answered the first attempt comes back with the old answer.
#[test]
fn an_answer_to_the_question_before_does_not_answer_the_new_one() {
    let definition = sell();
    let story = Story::of(&definition)
        .given(r#"{"step": "confirm", "kind": "delay", "ms": 22000}"#)
        .given(r#"{"step": "confirm", "kind": "reject", "code": "closed", "times": 2}"#)
        // Faults that are counted strike what was asked first only.
        .given(r#"{"step": "confirm", "kind": "delay-reply", "ms": 6000, "probability": 1}"#)
        .order_later("parked", Duration::from_secs(8), RETRY);
    let life = told(&definition, story);
    insta::assert_snapshot!(life, @"
    started
    sent action charge 1
    done action charge 1
    sent action reserve 1
    done action reserve 1
    sent action ship 1
    done action ship 1
    sent action confirm 1 (delay:22000)
    timed-out action confirm 1
    sent action confirm 2 (reject:closed)
    rejected action confirm 2
    parked (retriable-rejected)
    retry-requested
    sent action confirm 1 (delay-reply:6000)
    late action confirm 1
    done action confirm 1
    completed
    ");
    let late = life.history.iter().find(|row| row.event == HistoryEvent::Late).unwrap();
    insta::assert_snapshot!(late.detail.as_str(), @r#"{"outcome":"rejected","why":"it answers another generation of the step"}"#);
    assert_eq!(life.effects[&name("confirm")], 1, "it is done once, under its new key");
}
