//! What holds of every state that a random walk comes to.
//!
//! A saga is stored in one form, whatever the program computes with: each state is written and read back without a
//! loss, and so are the states of the corpus, those of today's form byte for byte. The corpus holds states as each form
//! stores them, each with something in it that no line before it has: a status, a progress of a step, a reason to be parked.
//! It is never edited; a version that stores something new adds a file of its own.

#![expect(clippy::unwrap_used, reason = "in a test, a broken expectation is the finding")]

mod forms;
mod walk;

use std::collections::BTreeSet;
use std::time::Duration;

use redress_core::decide::{Decision, Effect};
use redress_core::definition::InDoubt;
use redress_core::state::{STATE_FORMAT, SagaState, Transition};
use redress_core::{RetryPolicy, SagaDefinition, saga};
use redress_testkit::check;
use redress_testkit::fixtures::{self, Cancel, Confirm, Create, Data, Reserve, Ship};

use walk::walk;

/// Form 3 adds answers that come later, and steps that are undone in doubt; form 4 the time that a command was tried; form 5
/// waits and events; form 6 has times as numbers, and no first generation.
const CORPUS: [(u32, &str, u32); 5] = [
    (2, include_str!("../corpus/states-format-2.jsonl"), 40),
    (3, include_str!("../corpus/states-format-3.jsonl"), 15),
    (4, include_str!("../corpus/states-format-4.jsonl"), 15),
    (5, include_str!("../corpus/states-format-5.jsonl"), 15),
    (6, include_str!("../corpus/states-format-6.jsonl"), 85),
];

/// Walks through each definition: some seconds' worth.
const WALKS: u64 = 1_000;

/// A step that must succeed after another one, which may be contradicted meanwhile; before them one that people may
/// answer, and that is undone in doubt.
fn two_retriables() -> SagaDefinition {
    saga::<Data>("two-retriables", 1)
        .step("create", |_| Create {})
        .compensate(|_| Cancel {})
        .retry(RetryPolicy::ACTION.attempts(1))
        .in_doubt(InDoubt::Undo)
        .people_may_answer()
        .answer_within(Duration::from_secs(600))
        .pivot("ship", |_| Ship {})
        .retriable("confirm", |_| Confirm {})
        .retriable("reserve", |_| Reserve {})
        .build()
}

/// Steps that are tried, and undone, for a time and not for a number of attempts.
fn tried_for_a_time() -> SagaDefinition {
    let policy = RetryPolicy::for_at_most(Duration::from_secs(30));
    saga::<Data>("tried-for-a-time", 1)
        .step("create", |_| Create {})
        .compensate(|_| Cancel {})
        .retry(policy)
        .compensation_retry(policy)
        .step("reserve", |_| Reserve {})
        .no_compensation()
        .pivot("ship", |_| Ship {})
        .retry(policy.attempts(3))
        .build()
}

fn walk_all(mut show: impl FnMut(&SagaDefinition, &Decision)) {
    let fixtures = [
        fixtures::five_steps(2, 3),
        fixtures::branching(2, 3),
        fixtures::nested(2, 3),
        fixtures::unremembered(2, 3),
    ];
    let waiting = fixtures::waiting(2, 3, Duration::from_secs(60));
    for definition in fixtures.into_iter().chain([two_retriables(), tried_for_a_time(), waiting]) {
        for seed in 0..WALKS {
            walk(&definition, seed, |decision| show(&definition, decision));
        }
    }
}

fn encode(state: &SagaState) -> String {
    serde_json::to_string(state).unwrap()
}

/// As the journal reads it: the data are in a column of their own.
fn decode(text: &str, data: &SagaState) -> SagaState {
    SagaState { data: data.data.clone(), ..serde_json::from_str(text).unwrap() }
}

#[test]
fn stored_state_is_read_as_it_was_written() {
    let mut statuses = BTreeSet::new();
    walk_all(|_, decision| {
        assert_eq!(decode(&encode(&decision.state), &decision.state), decision.state);
        statuses.insert(decision.state.status_word());
    });
    assert_eq!(statuses.len(), 7, "the walks come to each status: {statuses:?}");
}

#[test]
fn states_of_each_form_are_written_in_todays_form_and_lose_nothing() {
    for (form, corpus, states_min) in CORPUS {
        let mut count = 0;
        for line in corpus.lines() {
            let state: SagaState = serde_json::from_str(line).unwrap();
            let stored = serde_json::from_str(line).unwrap();
            assert_eq!(serde_json::to_value(&state).unwrap(), forms::in_form_6(stored), "form {form}");
            if form == STATE_FORMAT {
                assert_eq!(encode(&state), line);
            }
            count += 1;
        }
        assert!(count >= states_min, "{count} states of form {form}");
    }
}

#[test]
fn frozen_plan_is_the_plan_that_a_reader_is_shown() {
    let mut frozen = 0;
    walk_all(|definition, decision| {
        frozen += u32::from(check::plan(definition, &decision.state).unwrap());
    });
    assert!(frozen > 1_000, "{frozen} frozen plans");
}

#[test]
fn walks_make_every_legal_move_of_a_step_and_no_other() {
    let mut made = BTreeSet::new();
    walk_all(|_, decision| {
        assert!(!matches!(decision.effect, Effect::Illegal(_)), "{:?}", decision.effect);
        made.extend(decision.transitions.iter().copied());
    });
    let missing: Vec<String> =
        Transition::legal().filter(|legal| !made.contains(legal)).map(|legal| legal.to_string()).collect();
    assert_eq!(missing, [""; 0]);
}
