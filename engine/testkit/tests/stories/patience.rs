//! How long a step is tried: by its policy, from the first attempt on, and only for the time in which it was tried.

use std::time::Duration;

use chrono::TimeDelta;
use redress_core::decide::{Event, NotSent, Unsent, Verb};
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::message::Outcome;
use redress_core::{JsonText, Phase, RetryPolicy, SagaDefinition, Timestamp};
use redress_testkit::fixtures;
use redress_testkit::participants::{Business, DisabledRule, Participants, failure};
use redress_testkit::world::World;

use crate::sale::{RETRY, Sale, done};
use crate::shop::{sell, sell_with};

/// The way in which a participant is disturbed. A command that comes to it meanwhile is lost; the broker would keep it.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Disturbance {
    /// Its handler fails, its database is away, say.
    Fails,
    /// It does not answer.
    Silent,
}

/// A saga of five steps that each have the policies by default.
fn by_default() -> SagaDefinition {
    let mut definition = fixtures::five_steps(1, 1);
    for step in definition.steps.iter_mut().filter(|step| step.kind.as_str() != "retriable") {
        step.retry = RetryPolicy::ACTION;
    }
    definition
}

fn at(seconds: f64) -> Timestamp {
    Timestamp::UNIX_EPOCH + TimeDelta::milliseconds((seconds * 1_000.0) as i64)
}

/// Plays a saga whose participants are disturbed from its start on, for so long. Gives its status in the end, the attempts
/// at its first step, and when the last of them went wrong, in seconds.
fn outage(definition: &SagaDefinition, disturbance: Disturbance, seconds: f64) -> String {
    let data = definition.read_input(&serde_json::json!({})).unwrap();
    let participants = Participants::new(DisabledRule::Nothing);
    let (mut world, first) = World::begin(definition, participants, data, Vec::new());
    let mut wire = first.commands;
    loop {
        let outgoing = match wire.pop() {
            Some(command) if world.now() < at(seconds) => match disturbance {
                Disturbance::Fails => world.decide(Event::Reply(failure(&command))),
                Disturbance::Silent => continue,
            },
            Some(command) => {
                let reply = world.deliver(&command, &Business::Done);
                world.decide(Event::Reply(reply))
            }
            None => match world.wait() {
                Some(outgoing) => outgoing,
                None => break,
            },
        };
        wire.extend(outgoing.commands);
    }
    let is_vain = |row: &&HistoryEntry| {
        row.phase == Some(Phase::Action) && matches!(row.event, HistoryEvent::Failed | HistoryEvent::TimedOut)
    };
    let vain = world.history.iter().rfind(is_vain).map_or(0, |row| row.at.timestamp_millis());
    format!(
        "{}, {} attempts, {} s",
        world.state.status_word(),
        world.state.steps[0].attempts,
        vain as f64 / 1e3
    )
}

#[test]
fn handler_that_fails_for_four_seconds_turns_no_saga_back() {
    assert_eq!(outage(&by_default(), Disturbance::Fails, 4.0), "completed, 6 attempts, 3 s");
}

#[test]
fn default_policy_rides_out_two_minutes_of_trouble_and_no_more() {
    let cases = [
        (Disturbance::Fails, 119.0),
        (Disturbance::Fails, 120.0),
        (Disturbance::Fails, 120.001),
        (Disturbance::Fails, 300.0),
        (Disturbance::Silent, 60.0),
        (Disturbance::Silent, 112.0),
        (Disturbance::Silent, 113.0),
        (Disturbance::Silent, 300.0),
    ];
    let told = cases.map(|(disturbance, seconds)| {
        format!("{disturbance:?} for {seconds} s: {}", outage(&by_default(), disturbance, seconds))
    });
    insta::assert_snapshot!(told.join("\n"), @r"
    Fails for 119 s: completed, 18 attempts, 112.6 s
    Fails for 120 s: completed, 18 attempts, 112.6 s
    Fails for 120.001 s: compensated, 18 attempts, 120 s
    Fails for 300 s: compensated, 18 attempts, 120 s
    Silent for 60 s: completed, 7 attempts, 66.2 s
    Silent for 112 s: completed, 9 attempts, 102.6 s
    Silent for 113 s: compensated, 9 attempts, 122.6 s
    Silent for 300 s: compensated, 9 attempts, 122.6 s
    ");
}

#[test]
fn limit_that_is_reached_first_settles_the_step() {
    let seconds = |s| RetryPolicy::for_at_most(Duration::from_secs(s));
    let cases = [
        ("3 attempts", RetryPolicy::FOR_EVER.attempts(3)),
        ("5 s", seconds(5)),
        ("3 attempts, 5 s", seconds(5).attempts(3)),
        ("9 attempts, 5 s", seconds(5).attempts(9)),
        ("no time", seconds(0)),
        ("for ever", RetryPolicy::FOR_EVER),
    ];
    let told = cases.map(|(name, policy)| {
        let mut definition = by_default();
        definition.steps[0].retry = policy;
        format!("{name}: {}", outage(&definition, Disturbance::Fails, 3_600.0))
    });
    insta::assert_snapshot!(told.join("\n"), @r"
    3 attempts: compensated, 3 attempts, 0.6 s
    5 s: compensated, 6 attempts, 5 s
    3 attempts, 5 s: compensated, 3 attempts, 0.6 s
    9 attempts, 5 s: compensated, 6 attempts, 5 s
    no time: compensated, 1 attempts, 0 s
    for ever: completed, 69 attempts, 3342.2 s
    ");
}

/// A saga whose first step is tried for a minute.
fn for_a_minute() -> Sale {
    Sale::of(sell_with(RetryPolicy::for_at_most(Duration::from_secs(60))))
}

impl Sale {
    fn fails(self, phase: Phase) -> Self {
        let attempt = self.state.open().next().unwrap().1.attempt;
        let mut reply = self.reply("charge", phase, Outcome::Failed { message: "x".to_owned() });
        reply.attempt = attempt;
        self.after(Event::Reply(reply))
    }

    fn tried_ms(&self) -> u64 {
        self.state.open().next().unwrap().1.tried_ms
    }

    fn phase(&self) -> Phase {
        self.state.open().next().unwrap().1.phase
    }
}

/// The journal was away, or no coordinator ran: an hour is no attempt, and one that was not answered meanwhile costs its
/// timeout. The same holds if the clock steps on by an hour.
#[test]
fn time_in_which_nothing_was_tried_does_not_count() {
    let sale = for_a_minute().in_vain();
    assert_eq!(
        (sale.phase(), sale.tried_ms()),
        (Phase::Action, 10_150),
        "the timeout, and half of the jitter"
    );
    let sale = sale.in_vain().fails(Phase::Action);
    assert_eq!(
        (sale.phase(), sale.tried_ms()),
        (Phase::Action, 10_450),
        "an hour late, and answered at once"
    );
}

/// A clock that steps back adds nothing, and takes nothing away.
#[test]
fn clock_that_steps_back_does_not_lengthen_the_trial() {
    let sale = for_a_minute().later(3_600).fails(Phase::Action);
    let before = sale.tried_ms();
    let sale = sale.later(1).after(Event::TimerFired).later(-3_600).after(Event::TimerFired);
    let sale = sale.fails(Phase::Action);
    assert_eq!((sale.phase(), sale.tried_ms()), (Phase::Action, before + 300));
    let mut sale = sale;
    for attempt in 0.. {
        if sale.phase() == Phase::Settlement {
            break;
        }
        assert!(attempt < 20, "it is settled in the end");
        sale = sale.in_vain();
    }
}

#[test]
fn time_without_a_broker_does_not_count() {
    let sale = for_a_minute().fails(Phase::Action).later(1).after(Event::TimerFired);
    let before = sale.tried_ms();
    let sale = (0..100).fold(sale, |sale, _| {
        let sent = sale.sent[0].clone();
        let why = Unsent::Unknown { reason: "no broker".to_owned() };
        let not_sent = NotSent { key: sent.key.clone(), attempt: sent.attempt, why };
        sale.after(Event::NotSent(not_sent)).later(60).after(Event::TimerFired)
    });
    assert_eq!((sale.phase(), sale.tried_ms()), (Phase::Action, before));
}

#[test]
fn time_in_which_the_saga_is_paused_does_not_count() {
    let sale = for_a_minute().fails(Phase::Action).ordered(Verb::Pause);
    let before = sale.tried_ms();
    let sale = sale.later(3_600).ordered(Verb::Resume).fails(Phase::Action);
    assert_eq!((sale.phase(), sale.tried_ms()), (Phase::Action, before + 300));
}

/// What is left of a pause that an operator ends was not waited.
#[test]
fn retry_of_a_waiting_attempt_counts_only_the_pause_that_was_waited() {
    let mut sale = for_a_minute();
    for _ in 0..6 {
        sale = sale.fails(Phase::Action).later(10).after(Event::TimerFired);
    }
    let sale = sale.fails(Phase::Action);
    let (before, pause_ms) = (sale.tried_ms(), 7_500);
    let sale = sale.later(2).ordered(RETRY);
    assert_eq!(sale.tried_ms(), before - pause_ms + 2_000);
}

/// An operator who asks for another try gives a compensation its whole time anew.
#[test]
fn forgiven_compensation_has_its_whole_time_anew() {
    let no = redress_core::Rejection::new("no", "no");
    let receipt = done(r#"{"number": 1}"#);
    let refunding = for_a_minute().hears("charge", receipt).hears("reserve", Outcome::Rejected(no));
    let until_parked = |mut sale: Sale| {
        for failures in 1.. {
            sale = sale.fails(Phase::Compensation);
            if sale.summary() != "compensating" {
                return (failures, sale);
            }
            sale = sale.later(20).after(Event::TimerFired);
        }
        unreachable!("a compensation with a limit in time is parked");
    };
    let (first, sale) = until_parked(refunding);
    assert_eq!(sale.summary(), "parked, charge compensation-failed");
    let message = &sale.state.parked().unwrap().message;
    insta::assert_snapshot!(message, @"the compensation failed 14 times, for as long as its policy allows; the ones behind it wait");
    let (second, sale) = until_parked(sale.ordered(RETRY));
    assert_eq!((first, sale.summary().as_str()), (second, "parked, charge compensation-failed"));
}

/// An undo that no participant takes has not failed, however long it is silent.
#[test]
fn silence_does_not_spend_the_time_of_a_compensation() {
    let no = redress_core::Rejection::new("no", "no");
    let receipt = done(r#"{"number": 1}"#);
    let sale = for_a_minute().hears("charge", receipt).hears("reserve", Outcome::Rejected(no));
    let sale = sale.fails(Phase::Compensation).later(20).after(Event::TimerFired);
    let before = sale.tried_ms();
    let sale = (0..100).fold(sale, |sale, _| sale.in_vain());
    assert_eq!((sale.summary().as_str(), sale.tried_ms()), ("compensating", before));
}

/// Only where the limit is in time is the time stored.
#[test]
fn time_is_stored_only_for_a_policy_with_a_limit_in_time() {
    let stored = |sale: Sale| JsonText::of(&sale.state).unwrap().as_str().contains("tried_ms");
    assert!(stored(for_a_minute().fails(Phase::Action)));
    assert!(!stored(Sale::of(sell_with(RetryPolicy::FOR_EVER)).fails(Phase::Action)));
    assert!(!stored(Sale::of(sell())), "a saga that nothing disturbs");
}
