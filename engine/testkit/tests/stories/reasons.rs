//! A saga that is parked for more than one reason: each of them must be gone before it goes on or ends.

use redress_core::decide::{Effect, Event, Resolution, Verb, decide};
use redress_core::fault::FaultBook;
use redress_core::message::Outcome;
use redress_core::state::{Progress, SagaState};
use redress_core::{JsonText, Phase, Rejection, Timestamp};

use crate::sale::{RETRY, Sale, by_ann, context, done, retry};
use crate::shop::{name, sell};

#[test]
fn cancel_keeps_an_expired_step_parked() {
    let sale = Sale::begun().hears("charge", done("{}")).hears("reserve", Outcome::Expired);
    assert_eq!(sale.summary(), "parked, charge definition, reserve expired");
    let sale = sale.ordered(Verb::Cancel);
    assert_eq!(sale.summary(), "parked, reserve expired", "nothing is undone before the doubt has ended");
    let sale = sale.resolved("reserve", Resolution::Happened { reply: JsonText::null() }).played_out();
    let undone = sale.state.steps.iter().filter(|step| *step.progress() == Progress::Compensated);
    assert_eq!(undone.count(), 2, "{:#?}", sale.state);
    assert_eq!(sale.summary(), "compensated");
}

#[test]
fn resolved_contradiction_leaves_the_next_park_reason() {
    let sale = Sale::begun()
        .hears("charge", done(r#"{"number": 1}"#))
        .hears("charge", Outcome::Fenced)
        .hears("reserve", Outcome::Expired);
    assert_eq!(sale.summary(), "parked, charge contradiction, reserve expired");
    let sale = sale.resolved("charge", Resolution::NeverHappened);
    assert_eq!(sale.summary(), "parked, reserve expired");
    let sale = sale.resolved("reserve", Resolution::NeverHappened).played_out();
    assert_eq!(sale.summary(), "compensated");
}

#[test]
fn resolved_doubt_leaves_an_unfoldable_reply_parked() {
    let sale = Sale::begun().hears("reserve", Outcome::Expired).hears("charge", done("{}"));
    let sale = sale.resolved("reserve", Resolution::Happened { reply: JsonText::null() });
    assert_eq!(sale.summary(), "parked, charge definition");
    assert_eq!(sale.state.due_at(), sale.state.verifications().map(|(_, pending)| pending.until).min());
    assert_eq!(sale.ordered(RETRY).summary(), "parked, charge definition", "the closure is what it was");
}

#[test]
fn retry_of_one_step_leaves_the_other_parked() {
    let sale = Sale::begun()
        .hears("charge", done(r#"{"number": 1}"#))
        .hears("charge", Outcome::Fenced)
        .hears("reserve", Outcome::Expired)
        .ordered(retry("reserve"));
    assert_eq!(sale.summary(), "parked, charge contradiction");
    let sale = sale.resolved("charge", Resolution::Happened { reply: JsonText::null() });
    assert_eq!((sale.summary().as_str(), sale.sends().as_str()), ("running", "action reserve 1"));
    assert_eq!(sale.played_out().summary(), "completed");
}

/// An operator says that it never happened, the participant that it did: a saga that went on as if nothing had been
/// said would report a compensation while the effect stands.
#[test]
fn retry_of_a_contradiction_is_refused() {
    let sale = || {
        let sale = Sale::begun().hears("charge", done(r#"{"number": 1}"#)).hears("reserve", Outcome::Expired);
        let sale = sale.resolved("reserve", Resolution::NeverHappened);
        sale.answers("reserve", Phase::Settlement, done("null"))
    };
    assert_eq!(sale().summary(), "parked, reserve contradiction");
    for verb in [RETRY, retry("reserve")] {
        assert_eq!(sale().refuses(verb), "contradicted");
    }
    let sale = sale().resolved("reserve", Resolution::Happened { reply: JsonText::null() }).played_out();
    assert_eq!(sale.summary(), "compensated");
    let undone = sale.state.steps.iter().filter(|step| *step.progress() == Progress::Compensated);
    assert_eq!(undone.count(), 2, "what stands after all is undone, too");
}

/// Resolved as happened, undone in vain, and then its participant says that there was nothing to undo.
#[test]
fn contradiction_about_a_step_being_undone_is_cleared_up() {
    let happened = || Resolution::Happened { reply: JsonText::parse(br#"{"number": 1}"#).unwrap() };
    let sale = || {
        let sale = Sale::of(sell()).hears("charge", Outcome::Expired);
        let sale = sale.resolved("charge", happened()).ordered(Verb::Cancel);
        sale.answers("reserve", Phase::Settlement, Outcome::Fenced)
    };
    let undoing = sale().answers("charge", Phase::Settlement, Outcome::Fenced);
    assert_eq!(undoing.summary(), "parked, charge contradiction");
    assert_eq!(undoing.refuses(RETRY), "contradicted");
    let undoing = undoing.resolved("charge", Resolution::NeverHappened);
    assert_eq!(undoing.summary(), "compensating", "its undo is asked on, and does nothing");
    assert_eq!(undoing.played_out().summary(), "compensated");
}

#[test]
fn contradictions_of_two_steps_are_resolved_one_by_one() {
    let sale = Sale::begun()
        .hears("charge", done(r#"{"number": 1}"#))
        .hears("charge", Outcome::Fenced)
        .hears("reserve", done("null"))
        .hears("reserve", Outcome::Fenced);
    assert_eq!(sale.summary(), "parked, charge contradiction, reserve contradiction");
    let sale = sale.resolved("reserve", Resolution::NeverHappened);
    assert_eq!(sale.summary(), "parked, charge contradiction");
    assert_eq!(sale.resolved("charge", Resolution::NeverHappened).summary(), "compensated");
}

#[test]
fn reply_of_another_service_or_saga_is_noted_and_ignored() {
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

/// As no engine writes it: parked at a settlement because it was rejected, which only an action is.
#[test]
fn move_that_no_step_makes_comes_to_nothing() {
    let no = Outcome::Rejected(Rejection::new("no", "no"));
    let sale = Sale::of(sell()).hears("charge", done(r#"{"number": 1}"#)).hears("reserve", done("null"));
    let sale = sale.hears("ship", done("null")).hears("confirm", no);
    assert_eq!(sale.summary(), "parked, confirm retriable-rejected");
    let retried = |state: &SagaState| {
        let mut book = FaultBook::default();
        let mut context = context(&sale.definition, &mut book, Timestamp::UNIX_EPOCH);
        decide(&mut context, state.clone(), Event::Operator(by_ann(RETRY)))
    };
    let sound = retried(&sale.state);
    assert_eq!((sound.effect, sound.commands.len()), (Effect::Moved, 1));
    let stored = serde_json::to_string(&sale.state).unwrap();
    let damaged = stored.replace(r#""phase":"action","attempt""#, r#""phase":"settlement","attempt""#);
    let damaged = SagaState { data: sale.state.data.clone(), ..serde_json::from_str(&damaged).unwrap() };
    let decision = retried(&damaged);
    let Effect::Illegal(illegal) = &decision.effect else { panic!("{:?}", decision.effect) };
    insta::assert_snapshot!(illegal, @"step `confirm` cannot move from `parked settlement` to `action`: the row was damaged, or the engine has a bug; nothing was changed, compare the saga's state with its history, and report it if they agree");
    assert_eq!((decision.commands, decision.notifications, decision.history), (vec![], vec![], vec![]));
}
