//! A saga of two steps, decided on by hand: what each decision is measured by.

use redress_core::decide::{Context, Event, decide, start};
use redress_core::fault::FaultBook;
use redress_core::{
    Command, Compensates, JsonText, Outcome, Rejection, ReplyMessage, RetryPolicy, SagaId, saga,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::*;

macro_rules! commands {
    ($($name:ident = $command:literal),+) => { $(
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $name {}
        impl Command for $name {
            const SERVICE: &'static str = "till";
            const NAME: &'static str = $command;
            type Reply = ();
        }
    )+ };
}

commands!(Take = "take", GiveBack = "give-back", Ship = "ship");

impl Compensates<Take> for GiveBack {}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Sale {}

const SECOND: Duration = Duration::from_secs(1);

/// Each attempt may take ten seconds; there are two, with a second between them.
fn sell() -> SagaDefinition {
    let retry = RetryPolicy::FOR_EVER.attempts(2).backoff(1_000, 1_000);
    saga::<Sale>("sell", 1)
        .step("take-money", |_| Take {})
        .timeout(10 * SECOND)
        .retry(retry)
        .compensate(|_| GiveBack {})
        .compensation_retry(retry)
        .pivot("ship", |_| Ship {})
        .timeout(10 * SECOND)
        .build()
}

struct Run {
    definition: SagaDefinition,
    state: Option<SagaState>,
    now: Timestamp,
    /// The command that was sent last.
    sent: Option<CommandMessage>,
}

impl Run {
    fn begin() -> Self {
        let now = Timestamp::from_timestamp(1_800_000_000, 0).unwrap();
        let mut run = Self { definition: sell(), state: None, now, sent: None };
        run.act(None);
        run
    }

    fn act(&mut self, event: Option<Event>) -> Vec<Measure> {
        let mut faults = FaultBook::default();
        let mut context = Context {
            definition: &self.definition,
            saga_id: SagaId(Uuid::nil()),
            now: self.now,
            jitter: 0.0,
            faults: &mut faults,
            traceparent: None,
        };
        let before = self.state.take();
        let decision = match (before.clone(), event) {
            (Some(state), Some(event)) => decide(&mut context, state, event),
            (_, _) => start(&mut context, JsonText::of(&Sale {}).unwrap(), Vec::new()),
        };
        let before = before.unwrap_or_else(|| decision.state.clone());
        let measures =
            measure(&self.definition, &before, &decision.state, &decision.history, &decision.commands);
        self.sent = decision.commands.last().cloned().or(self.sent.take());
        self.state = Some(decision.state);
        measures.all.into_iter().filter(|it| !matches!(it, Measure::Event(_))).collect()
    }

    /// So long after the last event the timer fires.
    fn timer(&mut self, after: Duration) -> Vec<Measure> {
        self.now += after;
        self.act(Some(Event::TimerFired))
    }

    /// So long after the last event the command that was sent last is answered.
    fn answer(&mut self, after: Duration, outcome: Outcome) -> Vec<Measure> {
        self.now += after;
        let sent = self.sent.clone().unwrap();
        self.act(Some(Event::Reply(ReplyMessage {
            key: sent.key,
            attempt: sent.attempt,
            saga: sent.saga,
            version: sent.version,
            service: sent.service,
            outcome,
        })))
    }
}

fn done() -> Outcome {
    Outcome::Done { reply: JsonText::null() }
}

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn step_ended(step: &str, phase: Phase, seconds: u32) -> Measure {
    Measure::StepEnded { step: name(step), phase, took: seconds * SECOND }
}

fn failed(step: &str, phase: Phase, event: HistoryEvent) -> Measure {
    Measure::AttemptFailed { step: name(step), phase, event }
}

#[test]
fn answers_are_timed_from_the_first_attempt_and_the_saga_from_its_start() {
    let mut run = Run::begin();
    assert_eq!(run.answer(2 * SECOND, done()), [step_ended("take-money", Phase::Action, 2)]);
    assert_eq!(
        run.answer(3 * SECOND, done()),
        [step_ended("ship", Phase::Action, 3), Measure::SagaEnded { status: "completed", took: 5 * SECOND }]
    );
    // It comes again, and is late or nothing.
    assert_eq!(run.answer(SECOND, done()), []);
}

#[test]
fn turning_back_is_measured_by_step_and_reason() {
    let mut run = Run::begin();
    run.answer(SECOND, done());
    let code = "no-road".to_owned();
    let no = Outcome::Rejected(Rejection { code, message: String::new() });
    assert_eq!(run.answer(SECOND, no), [step_ended("ship", Phase::Action, 1)]);
    let message = "no change".to_owned();
    assert_eq!(
        run.answer(2 * SECOND, Outcome::Failed { message }),
        [failed("take-money", Phase::Compensation, HistoryEvent::Failed)]
    );
    assert_eq!(run.timer(SECOND), [Measure::Resent { service: name("till") }]);
    assert_eq!(
        run.answer(4 * SECOND, done())[..2],
        [
            // The attempt that was answered; its policy has no limit in time, so that the time before it is not kept.
            step_ended("take-money", Phase::Compensation, 4),
            Measure::Compensated { step: name("take-money"), reason: CauseKind::Rejected },
        ]
    );
}

#[test]
fn silent_action_of_which_the_service_knows_nothing_is_lost() {
    let mut run = Run::begin();
    let silent = || failed("take-money", Phase::Action, HistoryEvent::TimedOut);
    assert_eq!(run.timer(10 * SECOND), [silent()]);
    assert_eq!(run.timer(SECOND), [Measure::Resent { service: name("till") }]);
    assert_eq!(run.timer(10 * SECOND), [silent()], "and its settlement goes out, for the first time");
    assert_eq!(
        run.answer(2 * SECOND, Outcome::Fenced)[..3],
        [
            step_ended("take-money", Phase::Settlement, 2),
            Measure::Settled(HistoryEvent::Fenced),
            Measure::Lost { step: name("take-money") },
        ]
    );
}

#[test]
fn action_that_failed_is_not_lost_though_it_never_happened() {
    let mut run = Run::begin();
    let message = || "no paper".to_owned();
    run.answer(SECOND, Outcome::Failed { message: message() });
    run.timer(SECOND);
    run.answer(SECOND, Outcome::Failed { message: message() });
    let settled = run.answer(SECOND, Outcome::Fenced);
    assert!(settled.contains(&Measure::Settled(HistoryEvent::Fenced)), "{settled:?}");
    assert!(!settled.iter().any(|it| matches!(it, Measure::Lost { .. })), "{settled:?}");
}
