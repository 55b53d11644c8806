//! A saga that is parked for more than one reason: each of them must be gone before it goes on or ends.

use redress_core::decide::{Context, Effect, Event, Order, Resolution, Verb, decide, start};
use redress_core::fault::FaultBook;
use redress_core::message::{Outcome, ReplyMessage};
use redress_core::state::{Progress, SagaState};
use redress_core::{IdempotencyKey, JsonText, Phase, SagaDefinition, SagaId, Timestamp};
use serde_json::json;

use crate::shop::{name, sell_faster};

/// A saga whose two steps of one stage were sent, and what happens to it.
struct Sale {
    definition: SagaDefinition,
    state: SagaState,
}

impl Sale {
    fn begun() -> Self {
        let definition = sell_faster();
        let data = definition.read_input(&json!({ "number": 7 })).unwrap();
        let mut book = FaultBook::default();
        let state = start(&mut context(&definition, &mut book), data, Vec::new()).state;
        Self { definition, state }
    }

    fn after(mut self, event: Event) -> Self {
        let mut book = FaultBook::default();
        let decision = decide(&mut context(&self.definition, &mut book), self.state, event);
        assert!(!matches!(decision.effect, Effect::Refused(_)), "{:?}", decision.effect);
        self.state = decision.state;
        self
    }

    fn reply(&self, step: &str, phase: Phase, outcome: Outcome) -> ReplyMessage {
        let (place, asked) = self.definition.step(step).unwrap();
        let generation = self.state.steps[place].generation;
        ReplyMessage {
            key: IdempotencyKey { saga_id: saga_id(), step: name(step), phase, generation },
            attempt: 1,
            saga: self.definition.name.clone(),
            version: self.definition.version,
            service: asked.service.clone(),
            outcome,
        }
    }

    fn answers(self, step: &str, phase: Phase, outcome: Outcome) -> Self {
        let reply = self.reply(step, phase, outcome);
        self.after(Event::Reply(reply))
    }

    fn hears(self, step: &str, outcome: Outcome) -> Self {
        self.answers(step, Phase::Action, outcome)
    }

    fn ordered(self, verb: Verb) -> Self {
        self.after(Event::Ordered(Order { verb, actor: "ann".to_owned(), reason: "why not".to_owned() }))
    }

    fn resolved(self, step: &str, resolution: Resolution) -> Self {
        self.ordered(Verb::Resolve { step: name(step), resolution })
    }

    /// Where it stands, and every reason for which it is parked.
    fn told(&self) -> String {
        let mut words = vec![self.state.status_word().to_owned()];
        let reasons = self.state.parked().into_iter().chain(self.state.parked_also());
        words.extend(reasons.map(|r| format!("{} {}", r.step.as_ref().unwrap(), r.code.as_str())));
        words.join(", ")
    }

    /// All that is open is answered with `done` until nothing is.
    fn played_out(mut self) -> Self {
        loop {
            let open = self.state.open().next();
            let Some((step, phase)) =
                open.map(|(at, asked)| (self.state.steps[at].name.clone(), asked.phase))
            else {
                return self;
            };
            self = self.answers(step.as_str(), phase, done("null"));
        }
    }
}

fn context<'a>(definition: &'a SagaDefinition, book: &'a mut FaultBook) -> Context<'a> {
    let now = Timestamp::UNIX_EPOCH;
    Context { definition, saga_id: saga_id(), now, jitter: 0.5, faults: book, traceparent: None }
}

fn saga_id() -> SagaId {
    "018f0000-0000-7000-8000-000000000001".parse().unwrap()
}

fn done(reply: &str) -> Outcome {
    Outcome::Done { reply: JsonText::parse(reply.as_bytes()).unwrap() }
}

const RETRY: Verb = Verb::Retry { step: None };

fn retry(step: &str) -> Verb {
    Verb::Retry { step: Some(name(step)) }
}

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
        let decision =
            decide(&mut context(&sale.definition, &mut book), sale.state.clone(), Event::Reply(reply));
        assert_eq!(decision.effect, Effect::Noted, "{service} {saga} {version}");
        assert_eq!(decision.state.steps, before);
        assert_eq!(decision.commands, []);
    }
}
