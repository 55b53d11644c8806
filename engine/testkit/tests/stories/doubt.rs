//! Stories of steps of which nobody can say whether they happened.

use redress_core::decide::{Event, Resolution, Verb};
use redress_core::definition::InDoubt;
use redress_core::message::Outcome;
use redress_core::{JsonText, Phase, RetryPolicy};
use redress_testkit::fixtures::paying;
use redress_testkit::{Story, UnansweredCall};

use crate::sale::{RETRY, Sale, done};
use crate::shop::{name, played, sell, sell_on_approval};

const RECEIPT: &str = r#"{"number": 1}"#;

fn in_doubt() -> Outcome {
    Outcome::InDoubt { reason: "the bank does not tell".to_owned() }
}

/// The payment of a definition is being settled.
fn settling(sale: Sale) -> Sale {
    let mut sale = sale;
    while sale.status("charge") != "settling" {
        let pause = sale.due_in().unwrap();
        sale = sale.later(pause).after(Event::TimerFired);
    }
    sale
}

fn undone_in_doubt() -> Sale {
    settling(Sale::of(sell_on_approval()).hears("reserve", done("null"))).answers(
        "charge",
        Phase::Settlement,
        in_doubt(),
    )
}

#[test]
fn step_in_doubt_is_undone_as_if_it_had_happened_if_the_definition_says_so() {
    let sale = undone_in_doubt();
    assert_eq!(sale.sends(), "compensation charge 1");
    let sale = sale.answers("charge", Phase::Compensation, done("null"));
    assert_eq!(sale.sends(), "compensation reserve 1");
    let sale = sale.answers("reserve", Phase::Compensation, done("null"));
    assert_eq!(sale.summary(), "compensated");
    let cause = sale.state.cause().unwrap();
    assert_eq!((cause.kind.as_str(), cause.step.as_deref()), ("in-doubt", Some("charge")));
}

#[test]
fn late_answer_to_a_step_that_is_undone_in_doubt_changes_nothing() {
    let sale = undone_in_doubt().hears("charge", done(RECEIPT));
    assert_eq!((sale.status("charge"), sale.summary().as_str()), ("compensating", "compensating"));
    let sale = undone_in_doubt().answers("charge", Phase::Settlement, in_doubt());
    assert_eq!(sale.sends(), "compensation charge 1", "a redelivery may mean that the undo was lost");
}

#[test]
fn step_in_doubt_parks_unless_the_definition_says_otherwise() {
    let parked = || settling(Sale::of(sell())).answers("charge", Phase::Settlement, in_doubt());
    assert_eq!(parked().summary(), "parked, charge in-doubt");
    assert_eq!(parked().ordered(RETRY).sends(), "settlement charge 1");
    assert_eq!(
        parked().hears("charge", done(RECEIPT)).sends(),
        "action reserve 1",
        "the answer comes after all"
    );
    let happened = Resolution::Happened { reply: JsonText::parse(RECEIPT.as_bytes()).unwrap() };
    let resolved = parked().ordered(Verb::Resolve { step: name("charge"), resolution: happened });
    assert_eq!(resolved.sends(), "settlement charge 1, action reserve 1", "believed and verified");
    let still = resolved.answers("charge", Phase::Settlement, in_doubt());
    let still = still.in_vain().in_vain();
    assert!(still.sends().contains("settlement charge 1"), "verified on: {}", still.sends());
    let never = Verb::Resolve { step: name("charge"), resolution: Resolution::NeverHappened };
    assert_eq!(parked().ordered(never).summary(), "compensated");
}

#[test]
fn step_is_in_doubt_only_while_it_is_settled() {
    let sale = Sale::of(sell()).hears("charge", in_doubt());
    assert_eq!((sale.status("charge"), sale.sends().as_str()), ("running", ""));
}

#[test]
fn story_undoes_a_step_in_doubt() {
    let mut definition = sell_on_approval();
    definition.steps[1].retry = RetryPolicy::ACTION.attempts(2);
    for call in [UnansweredCall::TookEffect, UnansweredCall::NeverArrived] {
        let story = Story::of(&definition).in_doubt("charge", call);
        insta::allow_duplicates!(insta::assert_snapshot!(played(&definition, story), @r"
        started
        sent action reserve 1
        done action reserve 1
        sent action charge 1
        failed action charge 1
        sent action charge 2
        failed action charge 2
        sent settlement charge 1
        in-doubt settlement charge 1
        plan-frozen
        sent compensation charge 1
        done compensation charge 1
        sent compensation reserve 1
        done compensation reserve 1
        compensated because charge in-doubt: in-doubt (nobody can say whether the step happened, and it is undone: the third party does not tell)
        "));
    }
}

#[test]
fn story_parks_in_doubt_until_an_operator_has_looked() {
    let definition = sell();
    let happened = Resolution::Happened { reply: JsonText::parse(RECEIPT.as_bytes()).unwrap() };
    let story = Story::of(&definition)
        .in_doubt("charge", UnansweredCall::TookEffect)
        .operator_after("parked", Verb::Resolve { step: name("charge"), resolution: happened });
    insta::assert_snapshot!(played(&definition, story), @r"
    started
    sent action charge 1
    failed action charge 1
    sent action charge 2
    failed action charge 2
    sent settlement charge 1
    in-doubt settlement charge 1
    parked (in-doubt)
    resolved action charge
    sent settlement charge 2
    sent action reserve 1
    verified settlement charge 2
    done action reserve 1
    sent action ship 1
    done action ship 1
    sent action confirm 1
    done action confirm 1
    completed
    ");
}

/// The next attempt calls again with the same key, and the third party has done it once.
#[test]
fn story_calls_again_after_an_injected_failure_of_its_call() {
    for kind in ["call-lost", "call-late", "call-twice", "call-failed"] {
        let definition = paying(3, 3, InDoubt::Park);
        let fault = format!(r#"{{"step": "pay", "kind": "{kind}"}}"#);
        let run = Story::of(&definition).given(&fault).play();
        let paid = run.effects.iter().find(|(step, _)| step.as_str() == "pay").map(|(_, times)| *times);
        assert_eq!((run.status(), paid), ("completed", Some(1)), "{kind}:\n{run}");
    }
}
