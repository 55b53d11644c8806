//! Stories of facts that cannot be taken back: a pivot that was sent, a step beyond it, an undo; and of what an
//! operator can do then.

use redress_core::decide::{Event, Resolution, Verb};
use redress_core::message::{Outcome, Rejection};
use redress_core::state::Progress;
use redress_core::{JsonText, Phase};

use crate::sale::{RETRY, Sale, done, retry};
use crate::shop::{name, sell, sell_faster};

const RECEIPT: &str = r#"{"number": 1}"#;

fn happened() -> Resolution {
    Resolution::Happened { reply: JsonText::null() }
}

fn tells(step: &str, resolution: Resolution) -> Verb {
    Verb::Resolve { step: name(step), resolution }
}

fn no() -> Outcome {
    Outcome::Rejected(Rejection::new("no", "not today"))
}

/// The pivot was sent and is not answered.
fn at_its_pivot() -> Sale {
    Sale::of(sell()).hears("charge", done(RECEIPT)).hears("reserve", done("null"))
}

/// The step after the pivot was sent and is not answered.
fn beyond_its_pivot() -> Sale {
    at_its_pivot().hears("ship", done("null"))
}

fn stands(sale: &Sale, step: &str) -> bool {
    let (place, _) = sale.definition.step(step).unwrap();
    *sale.state.steps[place].progress() == Progress::Succeeded
}

#[test]
fn resolve_never_happened_before_a_sent_pivot_is_refused() {
    let sale = at_its_pivot().hears("reserve", Outcome::Fenced);
    assert_eq!(sale.summary(), "parked, reserve contradiction");
    assert_eq!(sale.refuses(tells("reserve", Resolution::NeverHappened)), "pivot-sent");
    let sale = sale.hears("ship", done("null")).ordered(tells("reserve", happened()));
    assert_eq!(sale.played_out().summary(), "completed");
}

/// The pivot is in doubt: its participant could make nothing of the command.
fn at_a_pivot_that_was_told_away() -> Sale {
    at_its_pivot().hears("ship", Outcome::Refused { reason: "what?".to_owned() })
}

/// An operator told that the pivot never happened, and its participant says that it did.
#[test]
fn contradicted_pivot_resolved_before_any_undo_goes_forward() {
    // Held back by another doubt, nothing is undone yet when the truth comes.
    let sale = at_a_pivot_that_was_told_away().hears("charge", Outcome::Fenced);
    let sale = sale.resolved("ship", Resolution::NeverHappened);
    let sale = sale.answers("ship", Phase::Settlement, done("null"));
    assert_eq!(sale.summary(), "parked, charge contradiction, ship contradiction");
    let sale = sale.resolved("ship", happened());
    assert_eq!(sale.refuses(retry("charge")), "contradicted");
    let sale = sale.resolved("charge", happened());
    assert_eq!(sale.sends(), "action confirm 1");
    assert_eq!(sale.played_out().summary(), "completed");
}

#[test]
fn resolve_pivot_happened_on_a_step_that_never_happened_is_refused() {
    let sale = at_a_pivot_that_was_told_away().hears("charge", Outcome::Fenced);
    let sale = sale.resolved("ship", Resolution::NeverHappened).resolved("charge", Resolution::NeverHappened);
    let sale = sale.answers("ship", Phase::Settlement, done("null"));
    assert_eq!(sale.summary(), "parked, ship contradiction");
    assert_eq!(sale.refuses(tells("ship", happened())), "undone-already");
}

#[test]
fn resolve_pivot_happened_after_an_undo_is_refused() {
    let sale = at_a_pivot_that_was_told_away().resolved("ship", Resolution::NeverHappened);
    let sale = sale.answers("ship", Phase::Settlement, done("null"));
    assert_eq!(sale.summary(), "parked, ship contradiction");
    assert_eq!(sale.refuses(tells("ship", happened())), "undone-already");
    assert_eq!(sale.ordered(Verb::Close).summary(), "closed");
}

#[test]
fn retriable_resolved_happened_but_fenced_is_a_contradiction() {
    let sale = beyond_its_pivot().ordered(Verb::Pause);
    let sale = sale.resolved("confirm", happened()).answers("confirm", Phase::Settlement, Outcome::Fenced);
    assert_eq!(sale.summary(), "parked, confirm contradiction, paused");
    assert_eq!(sale.refuses(RETRY), "contradicted");
    let sale = sale.resolved("confirm", Resolution::NeverHappened);
    assert_eq!(sale.summary(), "parked, confirm retriable-rejected, paused");
    let sale = sale.ordered(Verb::Resume).ordered(RETRY);
    assert_eq!(sale.sends(), "action confirm 2", "a new command: the old one was refused for ever");
    assert_eq!(sale.played_out().summary(), "completed");
}

#[test]
fn retry_of_a_contradicted_retriable_step_is_refused() {
    let sale = beyond_its_pivot().hears("confirm", no()).hears("confirm", done("null"));
    assert_eq!(sale.summary(), "parked, confirm retriable-rejected, confirm contradiction");
    assert_eq!(sale.refuses(RETRY), "contradicted");
    assert_eq!(sale.resolved("confirm", happened()).summary(), "completed");
}

#[test]
fn success_of_an_older_generation_is_a_contradiction() {
    let sale = beyond_its_pivot().hears("confirm", no());
    let old = sale.reply("confirm", Phase::Action, done("null"));
    let also_old = sale.reply("confirm", Phase::Action, no());
    let sale = sale.ordered(RETRY).after(Event::Reply(also_old));
    assert_eq!(sale.summary(), "running", "a refusal that comes twice is one");
    let sale = sale.after(Event::Reply(old));
    assert_eq!(sale.summary(), "parked, confirm contradiction", "it may have happened twice");
}

#[test]
fn resolve_pivot_never_happened_after_later_steps_is_refused() {
    let sale = beyond_its_pivot().hears("ship", Outcome::Fenced);
    assert_eq!(sale.summary(), "parked, ship contradiction");
    assert_eq!(sale.refuses(tells("ship", Resolution::NeverHappened)), "beyond-pivot");
    assert_eq!(sale.refuses(RETRY), "contradicted");
    assert_eq!(sale.resolved("ship", happened()).played_out().summary(), "completed");
}

#[test]
fn unfoldable_reply_does_not_stop_a_compensating_saga() {
    // In a stage: one cannot be folded, the other says no.
    let sale = Sale::begun().hears("charge", done("{}")).hears("reserve", no());
    assert_eq!(sale.sends(), "compensation charge 1");
    assert_eq!(sale.played_out().summary(), "compensated");
    // The answer to a settlement after a cancel.
    let sale = Sale::of(sell()).ordered(Verb::Cancel).answers("charge", Phase::Settlement, done("{}"));
    assert_eq!(sale.sends(), "compensation charge 1");
    assert_eq!(sale.played_out().summary(), "compensated");
}

#[test]
fn late_success_with_unfoldable_reply_is_undone() {
    let silent = || Outcome::Failed { message: "down".to_owned() };
    let sale = Sale::begun().hears("reserve", done("null")).hears("charge", silent());
    let sale = sale.answers("charge", Phase::Settlement, done("{}"));
    assert_eq!(sale.sends(), "compensation reserve 1");
    assert_eq!(sale.played_out().summary(), "compensated");
}

#[test]
fn closed_saga_does_not_republish_commands() {
    let sale = Sale::begun().hears("charge", done(RECEIPT)).ordered(Verb::Pause).ordered(Verb::Close);
    assert_eq!(sale.sends(), "settlement reserve 1");
    assert_eq!(sale.hears("charge", done(RECEIPT)).sends(), "", "the same reply once more");
}

/// On the way back no step that goes forward is tried again.
#[test]
fn retry_of_an_action_while_compensating_settles_it() {
    let sale = Sale::begun().hears("charge", Outcome::Expired).hears("reserve", no());
    assert_eq!(sale.summary(), "parked, charge expired");
    assert_eq!(sale.ordered(RETRY).sends(), "settlement charge 1");
}

#[test]
fn pause_outlives_another_park_reason() {
    let sale = Sale::of(sell()).ordered(Verb::Pause).hears("charge", Outcome::Expired);
    assert_eq!(sale.summary(), "parked, charge expired, paused");
    let sale =
        sale.resolved("charge", Resolution::Happened { reply: JsonText::parse(RECEIPT.as_bytes()).unwrap() });
    assert_eq!((sale.summary().as_str(), sale.sends().as_str()), ("paused", "settlement charge 1"));
    assert_eq!(sale.ordered(Verb::Resume).sends(), "action reserve 1");
    // Resumed first, it stays parked for the other reason.
    let sale = Sale::of(sell()).ordered(Verb::Pause).hears("charge", Outcome::Expired).ordered(Verb::Resume);
    assert_eq!(sale.summary(), "parked, charge expired");
    assert_eq!(sale.refuses(Verb::Resume), "not-paused");
}

#[test]
fn passed_deadline_stops_new_steps_before_the_timer_fires() {
    // A reply that comes before the timer has looked.
    let both = |sale: Sale| sale.hears("charge", done(RECEIPT)).hears("reserve", done("null"));
    assert_eq!(both(Sale::begun()).sends(), "action ship 1");
    assert_eq!(both(Sale::begun().later(61)).sends(), "compensation reserve 1");
    // Parked for longer than its deadline.
    let sale = Sale::begun().hears("reserve", done("null")).hears("charge", done("{}"));
    assert_eq!(sale.summary(), "parked, charge definition");
    let receipt = sale.ordered(RETRY).later(61);
    assert_eq!(receipt.ordered(RETRY).summary(), "parked, charge definition", "the closure still fails");
    let sale = Sale::begun().hears("reserve", done("null")).hears("charge", Outcome::Expired).later(61);
    let reply = JsonText::parse(RECEIPT.as_bytes()).unwrap();
    let sale = sale.resolved("charge", Resolution::Happened { reply });
    assert_eq!(sale.sends(), "settlement charge 1, compensation reserve 1");
}

/// Resolved as happened, then resolved as compensated: the verification of the first goes on, so that no late command
/// takes effect behind the compensation.
#[test]
fn resolution_is_still_verified_after_resolve_compensated() {
    let told_and_undone = || {
        let sale = Sale::of(sell()).hears("charge", Outcome::Expired);
        let reply = JsonText::parse(RECEIPT.as_bytes()).unwrap();
        let sale = sale.resolved("charge", Resolution::Happened { reply }).ordered(Verb::Cancel);
        let sale = sale.answers("reserve", Phase::Settlement, Outcome::Fenced);
        let failed = Outcome::Refused { reason: "what?".to_owned() };
        let sale = sale.answers("charge", Phase::Compensation, failed);
        assert_eq!(sale.summary(), "parked, charge refused");
        sale.resolved("charge", Resolution::Compensated)
    };
    let sale = told_and_undone();
    assert_eq!(sale.summary(), "compensated");
    assert!(sale.state.due_at().is_some(), "what became of the charge is asked on");
    let sale = sale.in_vain().answers("charge", Phase::Settlement, done(RECEIPT));
    assert_eq!((sale.summary().as_str(), sale.state.due_at()), ("compensated", None));
    let sale = told_and_undone().answers("charge", Phase::Settlement, Outcome::Fenced);
    assert_eq!((sale.summary().as_str(), sale.state.due_at()), ("compensated", None));
}

#[test]
fn plan_begins_with_the_compensation_under_way() {
    let plan = |sale: &Sale| {
        let plan = redress_core::plan::plan(&sale.definition, &sale.state).unwrap();
        plan.undo.iter().map(|undo| undo.step.to_string()).collect::<Vec<_>>()
    };
    let sale = Sale::of(sell_faster()).hears("charge", done(RECEIPT)).hears("reserve", Outcome::Expired);
    let sale = sale.ordered(Verb::Cancel).resolved("reserve", Resolution::NeverHappened);
    assert_eq!(sale.sends(), "settlement reserve 1, compensation charge 1");
    let sale = sale.answers("reserve", Phase::Settlement, done("null"));
    assert_eq!(sale.summary(), "parked, reserve contradiction");
    let sale = sale.resolved("reserve", happened());
    assert!(stands(&sale, "reserve"));
    assert_eq!(plan(&sale), ["charge", "reserve"], "the refund is under way");
    let sale = sale.answers("charge", Phase::Compensation, done("null"));
    assert_eq!(
        (plan(&sale), sale.sends()),
        (vec!["reserve".to_owned()], "compensation reserve 1".to_owned())
    );
}
