//! Stories of waits and of events from outside: in time, early, late, twice, while the saga is held up or turns back.

use std::time::Duration;

use redress_core::decide::{Event, EventVerdict, GivenEvent, Verb, decide, start};
use redress_core::fault::FaultBook;
use redress_core::history::HistoryEvent;
use redress_core::message::Outcome;
use redress_core::state::{Hold, SagaState};
use redress_core::{JsonText, Phase, SagaDefinition, Timestamp, saga};
use redress_testkit::{Story, UnwindMatrix, check, fixtures};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::sale::{RETRY, Sale, context, done};
use crate::shop::{Expense, Ship, expense, name, pay_later, played};

const HOUR: i64 = 3_600;

fn event(key: &str, payload: &str) -> Event {
    let payload = JsonText::parse(payload.as_bytes()).unwrap();
    Event::Given(GivenEvent { name: name("approval"), key: key.to_owned(), payload })
}

/// The verdict on an event, and the saga after it.
fn given(sale: Sale, key: &str, payload: &str) -> (String, Sale) {
    let mut book = FaultBook::default();
    let mut ctx = context(&sale.definition, &mut book, sale.now);
    let decision = decide(&mut ctx, sale.state.clone(), event(key, payload));
    let verdict = match decision.effect {
        redress_core::decide::Effect::Given(verdict) => verdict,
        other => panic!("{other:?}"),
    };
    let told = match &verdict {
        EventVerdict::Refused(refusal) => refusal.to_string(),
        EventVerdict::Taken | EventVerdict::Kept | EventVerdict::Repeated => verdict.as_str().to_owned(),
    };
    let changed = decision.state != sale.state;
    assert_eq!(changed, verdict.is_new(), "{told}");
    assert_eq!(decision.history.is_empty(), !verdict.is_new(), "{told}");
    (told, Sale { state: decision.state, sent: decision.commands, ..sale })
}

/// The expense is booked and waits for its approval.
fn waiting() -> Sale {
    Sale::of(expense()).hears("book", done("null"))
}

#[test]
fn wait_is_the_due_time_of_its_saga_and_sends_nothing() {
    let approved = given(waiting(), "a", r#"{"by": "ann"}"#).1;
    assert_eq!((approved.sends().as_str(), approved.status("cool-off")), ("", "awaiting"));
    assert_eq!(approved.due_in(), Some(2 * HOUR));
    assert!(approved.state.is_awaiting(), "it is not stalled");
    let paused = SagaState { hold: Hold::Paused, ..approved.state.clone() };
    assert!(!paused.is_awaiting(), "it waits for an operator first");
    let early = approved.later(2 * HOUR - 1).after(Event::TimerFired);
    assert_eq!((early.sends().as_str(), early.due_in()), ("", Some(1)), "a timer that fires before its time");
    let over = early.later(1).after(Event::TimerFired);
    assert_eq!((over.sends().as_str(), over.status("cool-off")), ("action pay 1", "succeeded"));
    let state = over.state.clone();
    let twice = over.after(Event::TimerFired);
    assert_eq!((twice.sends().as_str(), &twice.state), ("", &state), "a timer that fires twice");
}

#[test]
fn event_is_taken_once_and_folded() {
    let (told, sale) = given(waiting(), "a", r#"{"by": "ann"}"#);
    assert_eq!((told.as_str(), sale.status("approval")), ("taken", "succeeded"));
    assert!(sale.state.data.as_str().contains(r#""approved_by":"ann""#), "{}", sale.state.data.as_str());
    let (again, sale) = given(sale, "a", r#"{"by": "ann"}"#);
    let (another, _) = given(sale, "b", r#"{"by": "bob"}"#);
    assert_eq!(again, "repeated");
    assert_eq!(another, "another event of this name, with another key, came first: the first counts");
}

#[test]
fn event_before_its_step_is_kept_until_then() {
    let (told, sale) = given(Sale::of(expense()), "a", r#"{"by": "ann"}"#);
    assert_eq!((told.as_str(), sale.status("approval")), ("kept", "pending"));
    let (again, sale) = given(sale, "a", r#"{"by": "ann"}"#);
    let (another, sale) = given(sale, "b", r#"{"by": "bob"}"#);
    assert_eq!(again, "repeated");
    assert_eq!(another, "another event of this name, with another key, came first: the first counts");
    let stored = serde_json::to_string(&sale.state).unwrap();
    let data = sale.state.data.clone();
    let read: SagaState = serde_json::from_str(&stored).unwrap();
    let sale = Sale { state: SagaState { data, ..read }, ..sale }.hears("book", done("null"));
    assert_eq!((sale.status("approval"), sale.status("cool-off")), ("succeeded", "awaiting"));
    assert!(sale.state.data.as_str().contains(r#""approved_by":"ann""#), "{}", sale.state.data.as_str());
}

#[test]
fn event_that_fits_no_type_or_no_name_changes_nothing() {
    let cases =
        [r#"{"by": 7}"#, r#"{}"#, r#"{"by": "ann", "amount": 7}"#, r#"{"by": "a\u0000nn"}"#, r#"["ann"]"#];
    let told: Vec<String> = cases.iter().map(|payload| given(waiting(), "a", payload).0).collect();
    insta::assert_snapshot!(told.join("\n"), @"
    the payload is not of the event's type: at `/by`, invalid type: integer `7`, expected a string
    the payload is not of the event's type: at `/`, missing field `by`
    the payload is not of the event's type: at `/amount`, this field is unknown
    the payload is not of the event's type: at `/`, a text in it holds a NUL character
    the payload is not of the event's type: at `/`, an array stands where an object is expected
    ");
    for unawaited in ["book", "cool-off", "nothing"] {
        let sale = waiting();
        let mut book = FaultBook::default();
        let mut ctx = context(&sale.definition, &mut book, sale.now);
        let event = GivenEvent { name: name(unawaited), key: "a".to_owned(), payload: JsonText::null() };
        let decision = decide(&mut ctx, sale.state.clone(), Event::Given(event));
        let refused = EventVerdict::Refused(redress_core::decide::EventRefusal::NotAwaited);
        assert_eq!(decision.effect, redress_core::decide::Effect::Given(refused), "{unawaited}");
    }
}

#[test]
fn event_after_its_step_is_refused_with_the_reason() {
    let approval = r#"{"by": "ann"}"#;
    let late = waiting().later(24 * HOUR).after(Event::TimerFired);
    assert_eq!(late.sends(), "compensation book 1", "it turns back");
    let ended = waiting().ordered(Verb::Cancel).answers("book", Phase::Compensation, done("null"));
    let skipped = Sale::of(pay_later(false)).hears("pay", done("null"));
    let told = [
        given(late, "a", approval).0,
        given(waiting().ordered(Verb::Cancel), "a", approval).0,
        given(ended, "a", approval).0,
        given(skipped, "a", approval).0,
    ];
    insta::assert_snapshot!(told.join("\n"), @"
    it comes too late: the time in which the saga waited for it is over
    the saga does not wait for it any more: it goes back
    the saga does not wait for it any more: it has ended
    the saga does not wait for it: the condition of this step did not hold
    ");
}

/// Once it is decided nothing changes it; before that the state decides and not the clock.
#[test]
fn event_that_is_decided_before_its_timer_counts() {
    let (told, sale) = given(waiting().later(25 * HOUR), "a", r#"{"by": "ann"}"#);
    assert_eq!((told.as_str(), sale.after(Event::TimerFired).status("approval")), ("taken", "succeeded"));
}

#[test]
fn timeout_after_the_pivot_goes_on_without_the_event() {
    let sale = Sale::of(pay_later(true)).hears("pay", done("null"));
    assert_eq!((sale.status("approval"), sale.refuses(Verb::Cancel)), ("awaiting", "pivot-sent"));
    let sale = sale.later(HOUR).after(Event::TimerFired);
    assert_eq!((sale.status("approval"), sale.sends().as_str()), ("timed-out", "action tell 1"));
    assert_eq!(sale.hears("tell", done("null")).summary(), "completed");
}

#[test]
fn cancel_and_deadline_reach_a_saga_that_waits() {
    let cancelled = waiting().ordered(Verb::Cancel);
    assert_eq!(
        (cancelled.sends().as_str(), cancelled.status("approval")),
        ("compensation book 1", "given-up")
    );
    let end = cancelled.answers("book", Phase::Compensation, done("null"));
    assert_eq!((end.summary().as_str(), end.due_in()), ("compensated", None));
    let approved = given(waiting(), "a", r#"{"by": "ann"}"#).1;
    let late = approved.later(HOUR).after(Event::TimerFired);
    assert_eq!(late.due_in(), Some(HOUR), "the deadline is later than the wait");
    let mut definition = expense();
    definition.deadline_ms = Some(60_000);
    let late = Sale::of(definition).hears("book", done("null"));
    assert_eq!(late.due_in(), Some(60));
    let late = late.later(60).after(Event::TimerFired);
    assert_eq!((late.sends().as_str(), late.status("approval")), ("compensation book 1", "given-up"));
}

/// The clock goes on, and what follows waits for the operator.
#[test]
fn pause_does_not_stop_the_clock_of_a_wait() {
    let paused = given(waiting(), "a", r#"{"by": "ann"}"#).1.ordered(Verb::Pause);
    assert_eq!(paused.due_in(), None);
    let over = paused.later(3 * HOUR).after(Event::TimerFired);
    assert_eq!((over.sends().as_str(), over.status("cool-off")), ("", "awaiting"));
    let resumed = over.ordered(Verb::Resume);
    assert_eq!((resumed.sends().as_str(), resumed.status("cool-off")), ("action pay 1", "succeeded"));
    let (told, taken) = given(waiting().ordered(Verb::Pause), "a", r#"{"by": "ann"}"#);
    assert_eq!((told.as_str(), taken.status("cool-off")), ("taken", "pending"), "as an answer is heard");
    assert_eq!(taken.ordered(Verb::Resume).status("cool-off"), "awaiting");
}

#[test]
fn operator_closes_a_saga_that_waits_and_has_nothing_to_retry() {
    assert_eq!(waiting().refuses(RETRY), "nothing-to-retry");
    let happened = redress_core::decide::Resolution::Happened { reply: JsonText::null() };
    assert_eq!(
        waiting().refuses(Verb::Resolve { step: name("approval"), resolution: happened }),
        "not-in-doubt"
    );
    let closed = waiting().ordered(Verb::Pause).ordered(Verb::Close);
    assert_eq!((closed.summary().as_str(), closed.status("approval")), ("closed", "given-up"));
    assert!(!closed.state.is_awaiting());
}

#[test]
fn reply_to_a_step_that_waits_is_late() {
    let sale = waiting();
    let reply =
        sale.reply("approval", Phase::Action, Outcome::Rejected(redress_core::Rejection::new("no", "no")));
    assert_eq!(sale.after(Event::Reply(reply)).status("approval"), "awaiting");
}

/// A step of the journal's clock makes a wait at most twice as long; a time of the clock stays what it is.
#[test]
fn wait_is_measured_anew_when_the_clock_has_stepped_back() {
    let sale = waiting().later(-1_000 * HOUR).after(Event::TimerFired);
    assert_eq!(sale.due_in(), Some(24 * HOUR));
    let sale = Sale::of(until_1970()).later(-HOUR).after(Event::TimerFired);
    assert_eq!(sale.due_in(), Some(2 * HOUR));
}

/// A sale that waits until an hour after the epoch.
fn until_1970() -> SagaDefinition {
    saga::<Expense>("until", 1)
        .wait_until("opening", |_| Timestamp::UNIX_EPOCH + Duration::from_secs(3_600))
        .pivot("pay", |e| Ship { number: e.number })
        .build()
}

#[test]
fn time_that_has_passed_is_not_waited_for() {
    let sale = Sale::of(
        saga::<Expense>("until", 1)
            .wait_until("opening", |_| Timestamp::UNIX_EPOCH)
            .wait("no-time", |_| Duration::ZERO)
            .pivot("pay", |e| Ship { number: e.number })
            .build(),
    );
    assert_eq!((sale.sends().as_str(), sale.status("opening")), ("action pay 1", "succeeded"));
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Count {
    of: u64,
}

/// The reasons to park, and what a retry makes of it.
#[test]
fn closure_that_panics_parks_the_saga_and_a_retry_tries_again() {
    let panics = saga::<Expense>("panics", 1)
        .wait("cool-off", |e| if e.number == 7 { panic!("not for 7") } else { Duration::ZERO })
        .build();
    let sale = Sale::of(panics);
    assert_eq!(
        (sale.summary().as_str(), sale.status("cool-off")),
        ("parked, cool-off definition", "pending")
    );
    assert_eq!(sale.ordered(RETRY).summary(), "parked, cool-off definition");
    let panics = saga::<Expense>("panics", 1)
        .await_event::<Count>("approval", Duration::from_secs(60))
        .on_event(|_, count| assert!(count.of == 0, "only nothing"))
        .build();
    let (told, sale) = given(Sale::of(panics), "a", r#"{"of": 7}"#);
    assert_eq!((told.as_str(), sale.summary().as_str()), ("taken", "parked, approval definition"));
    assert_eq!(sale.status("approval"), "succeeded", "it was given, and is not asked for again");
    assert_eq!(sale.ordered(RETRY).summary(), "parked, approval definition");
}

#[test]
fn saga_may_begin_with_a_wait() {
    let definition = until_1970();
    let data = definition.read_input(&serde_json::json!({ "number": 7 })).unwrap();
    let (mut book, now) = (FaultBook::default(), Timestamp::UNIX_EPOCH);
    let decision = start(&mut context(&definition, &mut book, now), data, Vec::new());
    let events: Vec<HistoryEvent> = decision.history.iter().map(|row| row.event).collect();
    assert_eq!(events, [HistoryEvent::Started, HistoryEvent::Waiting]);
    assert_eq!(decision.state.due_at(), Some(now + Duration::from_secs(3_600)));
}

#[test]
fn story_gives_events_when_it_is_told_to() {
    let definition = expense();
    insta::assert_snapshot!(played(&definition, Story::of(&definition)), @"
    started
    sent action book 1
    done action book 1
    waiting action approval
    event-taken action approval
    waiting action cool-off
    waited action cool-off
    sent action pay 1
    done action pay 1
    completed
    ");
    let early = Story::of(&definition).event_after("started", "approval", "a").event_after(
        "waited action cool-off",
        "approval",
        "b",
    );
    insta::assert_snapshot!(played(&definition, early), @"
    started
    sent action book 1
    event-kept action approval
    done action book 1
    waiting action approval
    event-taken action approval
    waiting action cool-off
    waited action cool-off
    sent action pay 1
    done action pay 1
    completed
    refused: already-given
    ");
    insta::assert_snapshot!(played(&definition, Story::of(&definition).no_event("approval")), @"
    started
    sent action book 1
    done action book 1
    waiting action approval
    timed-out action approval
    plan-frozen
    sent compensation book 1
    done compensation book 1
    compensated because approval timed-out: timed-out (the event `approval` did not come within 86400000 ms)
    ");
}

#[test]
fn matrix_of_a_saga_that_waits() {
    let definition = fixtures::waiting(2, 8, Duration::from_secs(60));
    let table = UnwindMatrix::of(definition.clone()).run().unwrap();
    let mut waits = table.clone();
    let is_wait = |step: &str| definition.step(step).is_some_and(|(_, step)| !step.kind.is_sent());
    waits.cells.retain(|cell| is_wait(&cell.step));
    insta::assert_snapshot!(waits, @"
    waiting v1: 16 cells
    approval action
      completed    comes-early, comes-twice
      compensated  cancelled, never-comes, comes-late
    cool-off action
      compensated  cancelled
    second-approval action
      completed    comes-early, comes-twice
      compensated  cancelled, never-comes, comes-late
    receipt action
      completed    cancelled, never-comes, comes-early, comes-twice, comes-late
    ");
}

#[test]
fn check_finds_a_wait_that_ends_twice_or_early_and_an_event_that_is_lost() {
    let definition = expense();
    let honest = Story::of(&definition).event_after("started", "approval", "a").play();
    let wrong = |change: &dyn Fn(&mut Vec<redress_core::history::HistoryEntry>)| {
        let mut rows = honest.history.clone();
        change(&mut rows);
        for (place, row) in rows.iter_mut().enumerate() {
            row.seq = u32::try_from(place + 1).unwrap();
        }
        let held = check::history(&definition, &rows).and_then(|()| check::waits_in_time(&definition, &rows));
        held.unwrap_err()
    };
    let place = |event| honest.history.iter().position(|row| row.event == event).unwrap();
    let waited = place(HistoryEvent::Waited);
    let told = [
        wrong(&|rows| rows.insert(waited, rows[waited].clone())),
        wrong(&|rows| rows[waited].at -= Duration::from_secs(1)),
        wrong(&|rows| drop(rows.remove(place(HistoryEvent::EventTaken)))),
    ];
    insta::assert_snapshot!(told.join("\n"), @"
    cool-off was waited for 1 times, and that ended 2 times
    the wait of cool-off ended before its time
    cool-off was sent before approval was done
    ");
}
