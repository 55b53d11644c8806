//! Stories of a `retry`, and of late answers to the command before it.

use std::time::Duration;

use redress_core::decide::Verb;
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_testkit::{RunResult, Story};

use crate::shop::{name, played, sell};

const RETRY: Verb = Verb::Retry { step: None };

/// A retry sends not only parked steps: a step that waits for its next attempt goes at once.
#[test]
fn retry_sends_a_waiting_attempt_at_once() {
    let definition = sell();
    let story = |definition| {
        Story::of(definition)
            .given(r#"{"step": "confirm", "kind": "fail", "times": 9}"#)
            .operator_after("sent action confirm 10", Verb::Pause)
    };
    let pauses = |run: &RunResult| {
        let at = |event, attempt| {
            let is_it = |row: &&HistoryEntry| {
                (row.event, row.step.as_ref(), row.attempt) == (event, Some(&name("confirm")), Some(attempt))
            };
            run.history.iter().find(is_it).unwrap().at
        };
        [8, 9].map(|attempt| {
            (at(HistoryEvent::Sent, attempt + 1) - at(HistoryEvent::Failed, attempt)).num_milliseconds()
        })
    };
    assert_eq!(pauses(&story(&definition).play()), [25_600, 51_200], "by itself it waits");
    let run = played(&definition, story(&definition).operator_after("failed action confirm 9", RETRY));
    assert_eq!(pauses(&run), [25_600, 0], "by order it does not:\n{run}");
    assert!(run.has("retry-requested") && run.refused.is_empty(), "{run}");
    let confirm = &run.state.steps[3];
    assert_eq!((confirm.generation, confirm.attempts), (1, 10), "it is the same command, sent once more");
}

/// The first attempt is overtaken by the second, which is rejected; an operator re-opens the step under a new key, and
/// while that one is being answered the first attempt comes back with the old answer.
#[test]
fn late_reply_of_an_older_generation_is_noted_and_ignored() {
    let definition = sell();
    let story = Story::of(&definition)
        .given(r#"{"step": "confirm", "kind": "delay", "ms": 22000}"#)
        .given(r#"{"step": "confirm", "kind": "reject", "code": "closed", "times": 2}"#)
        // Faults that are counted strike the command that was sent first only.
        .given(r#"{"step": "confirm", "kind": "delay-reply", "ms": 6000, "probability": 1}"#)
        .operator_later("parked", Duration::from_secs(8), RETRY);
    let run = played(&definition, story);
    insta::assert_snapshot!(run, @"
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
    let late = run.history.iter().find(|row| row.event == HistoryEvent::Late).unwrap();
    insta::assert_snapshot!(late.detail.as_str(), @r#"{"outcome":"rejected","why":"it answers another generation of the step"}"#);
    assert_eq!(run.effects[&name("confirm")], 1, "it is done once, under its new key");
}

/// The first attempt has failed and may still lie in the stream, so the step is asked at once; it is not tried again.
#[test]
fn cancel_during_back_off_settles_the_step() {
    let definition = sell();
    let story = Story::of(&definition)
        .given(r#"{"step": "charge", "kind": "fail", "times": 1}"#)
        .operator_after("failed action charge 1", Verb::Cancel);
    insta::assert_snapshot!(played(&definition, story), @"
    started
    sent action charge 1 (fail)
    failed action charge 1
    cancel-requested
    sent settlement charge 1
    fenced settlement charge 1
    plan-frozen
    compensated because cancelled: ann: why not
    ");
}
