//! Stories of answers that come later: awaited, asked for again, given by people, given up.

use std::time::Duration;

use redress_core::decide::{Event, Verb};
use redress_core::inbox::GivenAnswer;
use redress_core::message::{Outcome, Rejection};
use redress_core::{JsonText, Phase};
use redress_testkit::Story;

use crate::sale::{RETRY, Sale, done};
use crate::shop::{name, played, sell, sell_on_approval};

const RECEIPT: &str = r#"{"number": 1}"#;
const DAY: i64 = 86_400;

fn gives(step: &str, answer: GivenAnswer) -> Verb {
    Verb::Answer { step: name(step), answer }
}

fn receipt() -> GivenAnswer {
    GivenAnswer::Done { reply: JsonText::parse(RECEIPT.as_bytes()).unwrap() }
}

/// The payment waits for its approval.
fn awaiting() -> Sale {
    Sale::of(sell_on_approval()).hears("reserve", done("null")).hears("charge", Outcome::Accepted)
}

#[test]
fn awaited_step_is_neither_retried_nor_settled_before_its_time() {
    let mut sale = awaiting();
    let mut told = vec![format!("{}, in {:?} s", sale.status("charge"), sale.due_in())];
    let mut waited = 0;
    while waited < DAY {
        let pause = sale.due_in().unwrap();
        waited += pause;
        sale = sale.later(pause).after(Event::TimerFired);
        let attempts = sale.sent.iter().map(|command| command.attempt).max();
        told.push(format!("after {waited} s: {} {attempts:?}, {}", sale.sends(), sale.status("charge")));
    }
    told.drain(3..told.len() - 2);
    insta::assert_snapshot!(told.join("\n"), @r"
    awaiting, in Some(225) s
    after 225 s: action charge 1 Some(1), awaiting
    after 675 s: action charge 1 Some(1), awaiting
    after 84375 s: action charge 1 Some(1), awaiting
    after 86400 s: settlement charge 1 Some(1), settling
    ");
}

#[test]
fn answer_that_comes_later_leads_the_saga_on() {
    let sale = awaiting().later(DAY / 2).hears("charge", done(RECEIPT));
    assert_eq!((sale.status("charge"), sale.sends().as_str()), ("succeeded", "action ship 1"));
    let sale = awaiting().hears("charge", Outcome::Rejected(Rejection::new("no", "not today")));
    assert_eq!(sale.sends(), "compensation reserve 1");
    let again = awaiting().hears("charge", Outcome::Accepted);
    assert_eq!(
        (again.status("charge"), again.sends().as_str()),
        ("awaiting", ""),
        "an answer to a question asked again"
    );
}

#[test]
fn accepted_after_a_timeout_still_ends_the_retries() {
    let sale = Sale::of(sell_on_approval()).hears("reserve", done("null")).later(11).after(Event::TimerFired);
    assert_eq!(sale.status("charge"), "waiting");
    assert_eq!(sale.hears("charge", Outcome::Accepted).status("charge"), "awaiting");
}

#[test]
fn cancelled_saga_asks_to_give_up_what_it_awaits() {
    let sale = awaiting().ordered(Verb::Cancel);
    assert_eq!((sale.sends().as_str(), sale.status("charge")), ("settlement charge 1", "settling"));
    let given_up = awaiting().ordered(Verb::Cancel).answers("charge", Phase::Settlement, Outcome::Fenced);
    assert_eq!(given_up.sends(), "compensation reserve 1");
    let kept = sale.answers("charge", Phase::Settlement, Outcome::Accepted);
    assert_eq!((kept.status("charge"), kept.summary().as_str()), ("awaiting", "compensating"), "visibly");
    let late = kept.later(40 * DAY).after(Event::TimerFired);
    assert_eq!(late.sends(), "settlement charge 1", "it is asked on, without an end");
    assert_eq!(late.hears("charge", done(RECEIPT)).sends(), "compensation charge 1");
}

#[test]
fn person_answers_where_the_definition_allows_it_and_the_service_has_the_last_word() {
    assert_eq!(awaiting().refuses(gives("reserve", receipt())), "not-for-people");
    assert_eq!(awaiting().refuses(gives("nothing", receipt())), "unknown-step");
    let unfit = GivenAnswer::Done { reply: JsonText::parse(b"7").unwrap() };
    assert_eq!(awaiting().refuses(gives("charge", unfit)), "reply-does-not-fit");
    let sale = awaiting().ordered(gives("charge", receipt()));
    assert_eq!(sale.sends(), "settlement charge 1");
    assert_eq!(sale.sent[0].payload.to_string(), r#"{"done":{"reply":{"number": 1}}}"#);
    assert_eq!(sale.refuses(gives("charge", receipt())), "not-awaiting");
    let again = sale.later(11).after(Event::TimerFired).later(1).after(Event::TimerFired);
    assert_eq!(again.sent[0].payload.to_string(), r#"{"done":{"reply":{"number": 1}}}"#, "the same bytes");
    let taken = again.answers("charge", Phase::Settlement, done(RECEIPT));
    assert_eq!(taken.sends(), "action ship 1");
    let no = Outcome::Rejected(Rejection::new("no", "the service said so before"));
    let sale = awaiting().ordered(gives("charge", receipt())).answers("charge", Phase::Settlement, no);
    assert_eq!(sale.sends(), "compensation reserve 1");
}

#[test]
fn retriable_step_and_compensation_are_awaited_without_an_end() {
    let beyond = Sale::of(sell()).hears("charge", done(RECEIPT)).hears("reserve", done("null"));
    let beyond = beyond.hears("ship", done("null")).hears("confirm", Outcome::Accepted);
    let late = beyond.later(400 * DAY).after(Event::TimerFired);
    assert_eq!((late.status("confirm"), late.sends().as_str()), ("awaiting", "action confirm 1"));
    assert_eq!(late.hears("confirm", done("null")).summary(), "completed");
    let undoing = awaiting().hears("charge", Outcome::Rejected(Rejection::new("no", "no")));
    let undoing = undoing.answers("reserve", Phase::Compensation, Outcome::Accepted).later(400 * DAY);
    let undoing = undoing.after(Event::TimerFired);
    assert_eq!(
        (undoing.status("reserve"), undoing.sends().as_str()),
        ("compensating", "compensation reserve 1")
    );
    assert_eq!(undoing.answers("reserve", Phase::Compensation, done("null")).summary(), "compensated");
}

/// Attempts that were not answered are no failures, and do not become ones when the command is accepted at last.
#[test]
fn accepted_compensation_that_is_asked_for_again_has_its_whole_budget() {
    let undoing = awaiting().hears("charge", Outcome::Rejected(Rejection::new("no", "no")));
    let undoing = (0..50).fold(undoing, |sale, _| sale.in_vain());
    let accepted = undoing.answers("reserve", Phase::Compensation, Outcome::Accepted);
    let asked_again = accepted.ordered(RETRY);
    let failed = Outcome::Failed { message: "not today".to_owned() };
    let mut failed = asked_again.reply("reserve", Phase::Compensation, failed);
    failed.attempt = asked_again.sent[0].attempt;
    let asked_again = asked_again.after(Event::Reply(failed));
    assert_eq!(asked_again.summary(), "compensating");
}

#[test]
fn operator_has_an_awaited_step_asked_at_once() {
    let sale = awaiting().ordered(RETRY);
    assert_eq!((sale.sends().as_str(), sale.status("charge")), ("action charge 1", "running"));
    assert_eq!(sale.hears("charge", Outcome::Accepted).status("charge"), "awaiting");
}

#[test]
fn story_waits_for_an_answer_that_comes_later() {
    let definition = sell_on_approval();
    let run = Story::of(&definition).answers_later("charge", Duration::from_secs(3_600));
    insta::assert_snapshot!(played(&definition, run), @r"
    started
    sent action reserve 1
    done action reserve 1
    sent action charge 1
    accepted action charge 1
    done action charge 1
    sent action ship 1
    done action ship 1
    sent action confirm 1
    done action confirm 1
    completed
    ");
    let too_late = Story::of(&definition).answers_later("charge", Duration::from_secs(90_000));
    insta::assert_snapshot!(played(&definition, too_late), @r"
    started
    sent action reserve 1
    done action reserve 1
    sent action charge 1
    accepted action charge 1
    timed-out action charge 1
    sent settlement charge 1
    fenced settlement charge 1
    plan-frozen
    sent compensation reserve 1
    done compensation reserve 1
    compensated because charge fenced: answer-overdue (the step never happened; before it was settled: the answer did not come within 86400000 ms)
    ");
}
