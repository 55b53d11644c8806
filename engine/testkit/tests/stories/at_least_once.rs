//! Stories of steps that are delivered at least once: sent until they are answered, never settled, and left in doubt when
//! their answer is no longer waited for.

use std::time::Duration;

use redress_core::decide::{Event, Resolution, Verb};
use redress_core::definition::{Delivery, InvalidDefinition};
use redress_core::message::{Outcome, Rejection};
use redress_core::{JsonText, Phase, plan, saga};
use redress_testkit::Story;
use redress_testkit::fixtures::{Confirm, Create, Data};

use crate::sale::{RETRY, Sale, done};
use crate::shop::{played, sell_with_quote};

/// The two steps of the second stage are pending: `quote`, which nobody remembers, and `charge`.
fn quoting() -> Sale {
    Sale::of(sell_with_quote()).hears("reserve", done("null"))
}

fn failed() -> Outcome {
    Outcome::Failed { message: "no line".to_owned() }
}

/// `quote` succeeded, was rejected, or failed for good; everything that is pending is answered `done`.
fn shipped() -> Sale {
    quoting().hears("quote", done("null")).hears("charge", done("null")).hears("ship", done("null"))
}

#[test]
fn at_least_once_step_is_sent_until_it_is_answered() {
    let sale = quoting();
    assert_eq!(sale.sends(), "action quote 1, action charge 1");
    let sale = sale.hears("quote", failed());
    assert_eq!((sale.status("quote"), sale.sends().as_str()), ("waiting", ""));
    let sale = sale.later(60).after(Event::TimerFired);
    assert!(sale.sends().contains("action quote 1"), "{}", sale.sends());
    assert_eq!(sale.hears("quote", done("null")).status("quote"), "succeeded");
}

#[test]
fn at_least_once_step_whose_patience_ends_is_left_in_doubt_and_the_saga_unwinds() {
    let definition = sell_with_quote();
    let story = Story::of(&definition).given(r#"{"step": "quote", "kind": "drop-reply", "times": 9}"#);
    insta::assert_snapshot!(played(&definition, story), @r"
    started
    sent action reserve 1
    done action reserve 1
    sent action quote 1 (drop-reply)
    sent action charge 1
    done action charge 1
    timed-out action quote 1
    sent action quote 2 (drop-reply)
    timed-out action quote 2
    in-doubt action quote 2
    plan-frozen
    sent compensation charge 1
    done compensation charge 1
    sent compensation reserve 1
    done compensation reserve 1
    compensated because quote in-doubt: in-doubt (nobody can say whether the step happened: no answer within 10000 ms; it is delivered at least once, so no participant remembers it)
    ");
}

#[test]
fn cancel_leaves_an_open_at_least_once_step_in_doubt_and_settles_the_others() {
    let sale = quoting().ordered(Verb::Cancel);
    assert_eq!((sale.status("quote"), sale.sends().as_str()), ("in-doubt", "settlement charge 1"));
    assert_eq!(plan::plan(&sale.definition, &sale.state).unwrap().in_doubt, ["charge"]);
    let sale = sale.answers("charge", Phase::Settlement, Outcome::Fenced);
    assert_eq!(sale.sends(), "compensation reserve 1");
    assert_eq!(sale.played_out().summary(), "compensated");
}

#[test]
fn plan_of_a_saga_lists_no_unremembered_step_as_one_to_settle() {
    let sale = quoting();
    assert_eq!(plan::plan(&sale.definition, &sale.state).unwrap().in_doubt, ["charge"]);
}

#[test]
fn deadline_leaves_an_open_at_least_once_step_in_doubt() {
    let sale = quoting().hears("charge", done("null")).later(601).after(Event::TimerFired);
    assert_eq!((sale.status("quote"), sale.sends().as_str()), ("in-doubt", "compensation charge 1"));
}

/// Both run out of time in one decision: the first turns the saga back, and the second is settled and not sent again.
#[test]
fn steps_of_one_stage_that_run_out_of_patience_together_are_left_in_doubt_and_settled() {
    let sale = quoting().in_vain().in_vain().in_vain();
    assert_eq!((sale.status("quote"), sale.status("charge")), ("in-doubt", "settling"));
    assert_eq!(sale.summary(), "compensating");
}

#[test]
fn late_answer_to_a_step_in_doubt_is_recorded_and_changes_nothing() {
    let cancelled = || quoting().ordered(Verb::Cancel);
    for outcome in [done("null"), Outcome::Rejected(Rejection::new("no", "no")), Outcome::Fenced, failed()] {
        let before = cancelled();
        let rows = before.state.history_length;
        let sale = before.hears("quote", outcome);
        assert_eq!((sale.status("quote"), sale.summary().as_str()), ("in-doubt", "compensating"));
        assert_eq!((sale.sends().as_str(), sale.state.history_length), ("", rows + 1), "one row, `late`");
    }
    let ended = cancelled().answers("charge", Phase::Settlement, Outcome::Fenced).played_out();
    let ended = ended.hears("quote", done("null"));
    assert_eq!((ended.status("quote"), ended.summary().as_str()), ("in-doubt", "compensated"));
}

#[test]
fn two_answers_of_an_unremembered_step_are_no_contradiction() {
    let no = || Outcome::Rejected(Rejection::new("no", "no"));
    let sale = quoting().hears("quote", done("null")).hears("quote", no());
    assert_eq!((sale.status("quote"), sale.summary().as_str()), ("succeeded", "running"));
    let sale = quoting().hears("quote", no()).hears("quote", done("null"));
    assert_eq!((sale.status("quote"), sale.summary().as_str()), ("rejected", "compensating"));
}

#[test]
fn retriable_at_least_once_step_is_sent_for_ever_and_asked_anew_after_a_rejection() {
    let mut sale = shipped();
    assert_eq!(sale.sends(), "action announce 1");
    for _ in 0..40 {
        sale = sale.in_vain();
    }
    assert_eq!((sale.status("announce"), sale.summary().as_str()), ("running", "running"));
    assert!(sale.due_in().unwrap() <= 60, "the ceiling of its pauses");
    let sale = sale.hears("announce", Outcome::Rejected(Rejection::new("no", "no")));
    assert_eq!(sale.summary(), "parked, announce retriable-rejected");
    let sale = sale.ordered(RETRY);
    assert_eq!(sale.sends(), "action announce 2");
    let first = sale.reply("announce", Phase::Action, done("null"));
    let mut first = first;
    first.key.generation = 1;
    let sale = sale.after(Event::Reply(first));
    assert_eq!(sale.summary(), "running", "an answer to the earlier key is late, and breaks no promise");
    assert_eq!(sale.played_out().summary(), "completed");
}

#[test]
fn refused_at_least_once_step_is_not_settled() {
    let sale = quoting().hears("quote", Outcome::Refused { reason: "no such command".to_owned() });
    assert_eq!((sale.status("quote"), sale.sends().as_str()), ("in-doubt", "settlement charge 1"));
    let sale = quoting().hears("quote", Outcome::Expired);
    assert_eq!((sale.status("quote"), sale.summary().as_str()), ("in-doubt", "compensating"));
}

#[test]
fn resolution_of_an_unremembered_step_is_believed_and_never_verified() {
    let happened = || Resolution::Happened { reply: JsonText::null() };
    let sale = quoting().resolved("quote", happened());
    assert_eq!((sale.status("quote"), sale.sends().as_str()), ("succeeded", ""));
    assert!(sale.state.verifications().next().is_none());
    let sale = quoting().resolved("quote", Resolution::NeverHappened);
    assert_eq!((sale.status("quote"), sale.sends().as_str()), ("fenced", "settlement charge 1"));
    assert!(sale.state.verifications().next().is_none());
    let sale = sale.hears("quote", done("null"));
    assert_eq!(sale.summary(), "compensating", "an operator's word is the last");
}

#[test]
fn closed_saga_verifies_no_unremembered_step() {
    let sale = quoting().ordered(Verb::Pause).ordered(Verb::Close);
    assert_eq!((sale.status("quote"), sale.sends().as_str()), ("in-doubt", "settlement charge 1"));
}

#[test]
fn unremembered_step_is_never_settled_however_the_saga_goes() {
    let definition = sell_with_quote();
    let faults = [
        r#"{"step": "quote", "kind": "fail", "times": 9}"#,
        r#"{"step": "quote", "kind": "drop-command", "times": 9}"#,
        r#"{"step": "ship", "kind": "reject", "code": "no"}"#,
        r#"{"step": "charge", "kind": "fail", "times": 9}"#,
    ];
    for fault in faults {
        let run = played(&definition, Story::of(&definition).given(fault));
        assert_eq!(run.status(), "compensated", "{fault}");
    }
}

#[test]
fn people_cannot_answer_a_step_that_nobody_remembers() {
    let built = saga::<Data>("no", 1)
        .step("create", |_| Create {})
        .no_compensation()
        .people_may_answer()
        .answer_within(Duration::from_secs(60))
        .delivery(Delivery::AtLeastOnce)
        .step("confirm", |_| Confirm {})
        .no_compensation()
        .try_build();
    assert!(matches!(built, Err(InvalidDefinition::AnswerNotKept { .. })));
}
