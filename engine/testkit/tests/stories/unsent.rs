//! A broker that is away: a command that it did not store is no attempt, and silence spends no budget of a
//! compensation.

use redress_core::decide::{Event, NotSent, Resolution, Unsent, Verb};
use redress_core::definition::StepKind;
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::message::Outcome;
use redress_core::{CommandMessage, JsonText, Phase, Timestamp};
use redress_testkit::Story;

use crate::sale::{RETRY, Sale, done};
use crate::shop::{name, sell};

const RECEIPT: &str = r#"{"number": 1}"#;

fn unknown() -> Unsent {
    Unsent::Unknown { reason: "no broker".to_owned() }
}

fn too_large() -> Unsent {
    Unsent::Unsendable { reason: "it has 2 MB".to_owned() }
}

impl Sale {
    /// The broker has stored nothing of what the last decision sent.
    fn not_sent(self, why: &Unsent) -> Self {
        let sent = self.sent.clone();
        sent.iter().fold(self, |sale, command| sale.not_stored(command, why.clone()))
    }

    fn not_stored(self, command: &CommandMessage, why: Unsent) -> Self {
        let not_sent = NotSent { key: command.key.clone(), attempt: command.attempt, why };
        self.after(Event::NotSent(not_sent))
    }

    /// The commands that the last decision sent, with their attempts.
    fn attempts(&self) -> String {
        let line = |c: &CommandMessage| format!("{} {} #{}", c.key.phase, c.key.step, c.attempt);
        self.sent.iter().map(line).collect::<Vec<_>>().join(", ")
    }
}

/// On its way back: the refund was sent.
fn refunding() -> Sale {
    let no = redress_core::Rejection::new("no", "no");
    Sale::of(sell()).hears("charge", done(RECEIPT)).hears("reserve", Outcome::Rejected(no))
}

#[test]
fn unstored_command_is_not_counted_as_an_attempt() {
    let mut sale = Sale::of(sell());
    for _ in 0..100 {
        assert_eq!(sale.attempts(), "action charge #1");
        sale = sale.not_sent(&unknown());
        let wait = sale.state.due_at().unwrap();
        assert!(sale.sent.is_empty() && sale.summary() == "running", "{}", sale.summary());
        sale = sale.later(10).after(Event::TimerFired);
        assert!(wait > Timestamp::UNIX_EPOCH);
    }
    assert_eq!(sale.hears("charge", done(RECEIPT)).attempts(), "action reserve #1");
}

#[test]
fn unstored_command_is_due_again_in_a_second() {
    let sale = Sale::of(sell()).not_sent(&unknown());
    let pause = sale.state.due_at().unwrap() - Timestamp::UNIX_EPOCH;
    assert!((500..=1_000).contains(&pause.num_milliseconds()), "{pause}");
    // However long it lasts: soon after the broker is back.
    let sale = (0..50).fold(sale, |sale, _| sale.later(60).after(Event::TimerFired).not_sent(&unknown()));
    let pause = sale.state.due_at().unwrap() - Timestamp::UNIX_EPOCH;
    assert!(pause.num_seconds() <= 50 * 60 + 10, "{pause}");
}

#[test]
fn reply_to_a_command_reported_unstored_counts() {
    let sale = Sale::of(sell()).not_sent(&unknown()).hears("charge", done(RECEIPT));
    assert_eq!(sale.attempts(), "action reserve #1");
    // And a report about a command that is closed changes nothing.
    let command = Sale::of(sell()).sent[0].clone();
    let before = sale.state.clone();
    assert_eq!(sale.not_stored(&command, unknown()).state, before);
}

#[test]
fn silence_during_a_broker_outage_does_not_count() {
    let lost = |seconds| Event::MayBeLost {
        asked_before: Timestamp::UNIX_EPOCH + chrono::TimeDelta::seconds(seconds),
    };
    let sale = Sale::of(sell()).later(3_600).after(lost(1));
    assert_eq!(sale.after(Event::TimerFired).attempts(), "action charge #1");
    let sale = Sale::of(sell()).later(3_600).after(lost(0)).after(Event::TimerFired);
    assert_eq!(sale.in_vain().attempts(), "action charge #2");
    // Before anything is due: it is sent at once, and once.
    let sale = Sale::of(sell()).later(1).after(lost(1)).after(Event::TimerFired);
    assert_eq!(sale.attempts(), "action charge #1");
    assert_eq!(sale.after(lost(1)).after(Event::TimerFired).attempts(), "");
}

#[test]
fn cancel_is_accepted_while_the_broker_is_away() {
    let sale = Sale::of(sell()).not_sent(&unknown()).ordered(Verb::Cancel);
    assert_eq!((sale.summary().as_str(), sale.attempts().as_str()), ("compensating", "settlement charge #1"));
    let sale = (0..50).fold(sale, |sale, _| sale.not_sent(&unknown()).later(60).after(Event::TimerFired));
    assert_eq!(sale.attempts(), "settlement charge #1");
    let sale = sale.answers("charge", Phase::Settlement, Outcome::Fenced);
    assert_eq!(sale.summary(), "compensated");
}

#[test]
fn silence_does_not_spend_the_compensation_budget() {
    let failed = |sale: Sale| {
        let mut reply =
            sale.reply("charge", Phase::Compensation, Outcome::Failed { message: "x".to_owned() });
        reply.attempt = sale.state.steps[0].compensation_attempts;
        sale.after(Event::Reply(reply))
    };
    // Sent, unanswered, and sent again, for days.
    let mut sale = (0..200).fold(refunding(), |sale, _| sale.in_vain());
    assert_eq!(sale.summary(), "compensating");
    assert_eq!(sale.state.steps[0].compensation_attempts, 101);
    // Its own "no" counts: three times, as the policy says.
    for _ in 0..2 {
        sale = failed(sale).in_vain();
        assert_eq!(sale.summary(), "compensating");
    }
    assert_eq!(failed(sale).summary(), "parked, charge compensation-failed");
}

#[test]
fn silent_settlement_is_never_given_up() {
    let sale = Sale::of(sell()).ordered(Verb::Cancel);
    let sale = (0..200).fold(sale, |sale, _| sale.in_vain());
    assert_eq!(sale.summary(), "compensating");
    assert_eq!(sale.answers("charge", Phase::Settlement, Outcome::Fenced).summary(), "compensated");
}

#[test]
fn unsendable_action_never_happened_and_turns_back() {
    let sale = Sale::of(sell()).hears("charge", done(RECEIPT)).not_sent(&too_large());
    assert_eq!(sale.attempts(), "compensation charge #1");
    let cause = sale.state.cause().unwrap();
    assert_eq!((cause.step.clone(), cause.code.as_str()), (Some(name("reserve")), "unsendable"));
    assert!(cause.message.contains("it has 2 MB"), "{cause}");
    assert_eq!(sale.played_out().summary(), "compensated");
    // It may have been sent before: then it is settled.
    let sale = Sale::of(sell()).in_vain().in_vain();
    assert_eq!(sale.not_sent(&too_large()).attempts(), "settlement charge #1");
}

#[test]
fn unsendable_compensation_parks_with_the_reason() {
    let sale = refunding().not_sent(&too_large());
    assert_eq!(sale.summary(), "parked, charge refused");
    let message = &sale.state.parked().unwrap().message;
    assert_eq!(message, "its compensation cannot be sent: it has 2 MB");
    assert_eq!(sale.ordered(RETRY).played_out().summary(), "compensated");
}

#[test]
fn unsendable_retriable_step_parks() {
    let sale = Sale::of(sell()).hears("charge", done(RECEIPT)).hears("reserve", done("null"));
    let sale = sale.hears("ship", done("null")).not_sent(&too_large());
    assert!(matches!(sale.definition.steps[3].kind, StepKind::Retriable));
    assert_eq!(sale.summary(), "parked, confirm refused");
    assert_eq!(sale.ordered(RETRY).played_out().summary(), "completed");
}

/// A service that is silent for days leaves a row now and then, and not two each minute.
#[test]
fn endless_attempts_leave_few_history_rows() {
    let definition = sell();
    let drop = r#"{"step": "confirm", "kind": "drop-command", "times": 600}"#;
    let run = Story::of(&definition).given(drop).play();
    assert_eq!(run.status(), "completed");
    assert_eq!(run.state.steps[3].attempts, 601, "the state counts them all");
    let is_of_it = |row: &&HistoryEntry| row.step.as_ref() == Some(&name("confirm"));
    let rows: Vec<&HistoryEntry> = run.history.iter().filter(is_of_it).collect();
    assert!(rows.len() < 80, "{} rows", rows.len());
    assert!(run.history.iter().zip(1..).all(|(row, seq)| row.seq == seq), "and without a gap");
    let last = rows.iter().rfind(|row| row.event == HistoryEvent::TimedOut).unwrap();
    assert_eq!(last.attempt, Some(512));
    assert!(last.detail.as_str().contains(r#""since":"1970-01-01T00:00:00Z""#), "{}", last.detail);
}

/// Its participant remembers nothing of a step that must succeed: an operator who has looked there says what became of
/// it.
#[test]
fn expired_retriable_step_can_be_resolved() {
    let forgotten = || {
        let sale = Sale::of(sell()).hears("charge", done(RECEIPT)).hears("reserve", done("null"));
        sale.hears("ship", done("null")).hears("confirm", Outcome::Expired)
    };
    assert_eq!(forgotten().summary(), "parked, confirm expired");
    let happened = Resolution::Happened { reply: JsonText::null() };
    assert_eq!(forgotten().resolved("confirm", happened).summary(), "completed");
    let sale = forgotten().resolved("confirm", Resolution::NeverHappened);
    assert_eq!(sale.summary(), "parked, confirm retriable-rejected");
    let sale = sale.later(1).ordered(RETRY);
    assert_eq!(sale.sends(), "action confirm 2", "a new command: the old one would be refused as too old");
    assert!(sale.sent[0].action_sent_at > Timestamp::UNIX_EPOCH, "and a new time");
    assert_eq!(sale.played_out().summary(), "completed");
}

/// It was stored all the same, and what its participant has accepted is asked for again as the attempt that it was.
#[test]
fn accepted_command_that_was_not_known_to_be_stored_is_asked_for_again_as_it_was_sent() {
    let unstored = Sale::of(sell()).not_sent(&unknown());
    let mut accepted = unstored.reply("charge", Phase::Action, Outcome::Accepted);
    accepted.attempt = 1;
    let awaiting = unstored.after(Event::Reply(accepted));
    assert_eq!(awaiting.later(3_600).after(Event::TimerFired).attempts(), "action charge #1");
}
