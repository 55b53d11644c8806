//! A saga that is parked for more than one reason: each of them must be gone before it goes on or ends.

use redress_core::decide::{Effect, Event, Resolution, Verb, decide};
use redress_core::fault::FaultBook;
use redress_core::message::Outcome;
use redress_core::state::Progress;
use redress_core::{JsonText, Phase, Timestamp};

use crate::sale::{RETRY, Sale, context, done, retry};
use crate::shop::name;

#[test]
fn a_cancel_leaves_in_doubt_what_is_in_doubt() {
    let sale = Sale::begun().hears("charge", done("{}")).hears("reserve", Outcome::Expired);
    assert_eq!(sale.told(), "parked, charge definition, reserve expired");
    let sale = sale.ordered(Verb::Cancel);
    assert_eq!(sale.told(), "parked, reserve expired", "nothing is undone before the doubt has ended");
    let sale = sale.resolved("reserve", Resolution::Happened { reply: JsonText::null() }).played_out();
    let undone = sale.state.steps.iter().filter(|step| step.progress == Progress::Compensated);
    assert_eq!(undone.count(), 2, "{:#?}", sale.state);
    assert_eq!(sale.told(), "compensated");
}

#[test]
fn a_contradiction_that_is_resolved_does_not_resolve_what_came_after_it() {
    let sale = Sale::begun()
        .hears("charge", done(r#"{"number": 1}"#))
        .hears("charge", Outcome::Fenced)
        .hears("reserve", Outcome::Expired);
    assert_eq!(sale.told(), "parked, charge contradiction, reserve expired");
    let sale = sale.resolved("charge", Resolution::NeverHappened);
    assert_eq!(sale.told(), "parked, reserve expired");
    let sale = sale.resolved("reserve", Resolution::NeverHappened).played_out();
    assert_eq!(sale.told(), "compensated");
}

#[test]
fn a_doubt_that_is_resolved_does_not_fold_a_reply_that_cannot_be() {
    let sale = Sale::begun().hears("reserve", Outcome::Expired).hears("charge", done("{}"));
    let sale = sale.resolved("reserve", Resolution::Happened { reply: JsonText::null() });
    assert_eq!(sale.told(), "parked, charge definition");
    assert_eq!(sale.state.due_at(), sale.state.verifications().map(|(_, question)| question.until).min());
    assert_eq!(sale.ordered(RETRY).told(), "parked, charge definition", "the closure is what it was");
}

#[test]
fn a_retry_of_one_step_leaves_the_other_where_it_stands() {
    let sale = Sale::begun()
        .hears("charge", done(r#"{"number": 1}"#))
        .hears("charge", Outcome::Fenced)
        .hears("reserve", Outcome::Expired)
        .ordered(retry("charge"));
    assert_eq!(sale.told(), "parked, reserve expired");
    let sale = sale.ordered(RETRY);
    assert_eq!(sale.told(), "running");
    assert_eq!(sale.played_out().told(), "completed");
}

#[test]
fn two_contradictions_are_two() {
    let sale = Sale::begun()
        .hears("charge", done(r#"{"number": 1}"#))
        .hears("charge", Outcome::Fenced)
        .hears("reserve", done("null"))
        .hears("reserve", Outcome::Fenced);
    assert_eq!(sale.told(), "parked, charge contradiction, reserve contradiction");
    let sale = sale.resolved("reserve", Resolution::NeverHappened);
    assert_eq!(sale.told(), "parked, charge contradiction");
    assert_eq!(sale.resolved("charge", Resolution::NeverHappened).told(), "compensated");
}

#[test]
fn an_answer_from_somebody_who_was_not_asked_answers_nothing() {
    let sale = Sale::begun();
    let before = sale.state.steps.clone();
    for (service, saga, version) in
        [("stock", "sell-faster", 1), ("payment", "sell", 1), ("payment", "sell-faster", 2)]
    {
        let mut reply = sale.reply("charge", Phase::Action, done(r#"{"number": 1}"#));
        (reply.service, reply.saga, reply.version) = (name(service), name(saga), version);
        let mut book = FaultBook::default();
        let decision = decide(
            &mut context(&sale.definition, &mut book, Timestamp::UNIX_EPOCH),
            sale.state.clone(),
            Event::Reply(reply),
        );
        assert_eq!(decision.effect, Effect::Noted, "{service} {saga} {version}");
        assert_eq!(decision.state.steps, before);
        assert_eq!(decision.commands, []);
    }
}
