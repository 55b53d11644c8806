//! A saga that is decided on event by event, without a world around it.

use chrono::TimeDelta;
use redress_core::decide::{Context, Effect, Event, OperatorCommand, Resolution, Verb, decide, start};
use redress_core::fault::FaultBook;
use redress_core::message::{Outcome, ReplyMessage};
use redress_core::state::{ParkReason, SagaState};
use redress_core::{CommandMessage, IdempotencyKey, JsonText, Phase, SagaDefinition, SagaId, Timestamp};
use serde_json::json;

use crate::shop::{name, sell_faster};

/// A saga that was started, and what happens to it.
pub(crate) struct Sale {
    pub(crate) definition: SagaDefinition,
    pub(crate) state: SagaState,
    pub(crate) now: Timestamp,
    /// The commands that the last decision sent.
    pub(crate) sent: Vec<CommandMessage>,
}

impl Sale {
    /// Its two steps of one stage were sent.
    pub(crate) fn begun() -> Self {
        Self::of(sell_faster())
    }

    pub(crate) fn of(definition: SagaDefinition) -> Self {
        let data = definition.read_input(&json!({ "number": 7 })).unwrap();
        let (mut book, now) = (FaultBook::default(), Timestamp::UNIX_EPOCH);
        let decision = start(&mut context(&definition, &mut book, now), data, Vec::new());
        Self { definition, state: decision.state, now, sent: decision.commands }
    }

    /// So much later.
    pub(crate) fn later(mut self, seconds: i64) -> Self {
        self.now += TimeDelta::seconds(seconds);
        self
    }

    pub(crate) fn after(mut self, event: Event) -> Self {
        let mut book = FaultBook::default();
        let decision = decide(&mut context(&self.definition, &mut book, self.now), self.state, event);
        assert!(!matches!(decision.effect, Effect::Refused(_)), "{:?}", decision.effect);
        (self.state, self.sent) = (decision.state, decision.commands);
        self
    }

    /// The word with which an operator command is refused.
    pub(crate) fn refuses(&self, verb: Verb) -> &'static str {
        let (mut book, state) = (FaultBook::default(), self.state.clone());
        let order = Event::Operator(by_ann(verb));
        match decide(&mut context(&self.definition, &mut book, self.now), state, order).effect {
            Effect::Refused(refusal) => refusal.as_str(),
            obeyed => panic!("{obeyed:?}"),
        }
    }

    /// Time runs out for everything that is pending.
    pub(crate) fn in_vain(self) -> Self {
        self.later(3_600).after(Event::TimerFired)
    }

    /// The commands that the last decision sent, line by line.
    pub(crate) fn sends(&self) -> String {
        let line = |c: &CommandMessage| format!("{} {} {}", c.key.phase, c.key.step, c.key.generation);
        self.sent.iter().map(line).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn reply(&self, step: &str, phase: Phase, outcome: Outcome) -> ReplyMessage {
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

    pub(crate) fn answers(self, step: &str, phase: Phase, outcome: Outcome) -> Self {
        let reply = self.reply(step, phase, outcome);
        self.after(Event::Reply(reply))
    }

    pub(crate) fn hears(self, step: &str, outcome: Outcome) -> Self {
        self.answers(step, Phase::Action, outcome)
    }

    pub(crate) fn ordered(self, verb: Verb) -> Self {
        self.after(Event::Operator(by_ann(verb)))
    }

    pub(crate) fn resolved(self, step: &str, resolution: Resolution) -> Self {
        self.ordered(Verb::Resolve { step: name(step), resolution })
    }

    /// The status of a step as one word.
    pub(crate) fn status(&self, step: &str) -> &'static str {
        let (place, _) = self.definition.step(step).unwrap();
        self.state.steps[place].progress().as_str()
    }

    /// In so many seconds, rounded up, it goes on by itself.
    pub(crate) fn due_in(&self) -> Option<i64> {
        self.state.due_at().map(|at| (at - self.now + TimeDelta::milliseconds(999)).num_seconds())
    }

    /// Where it stands, and every reason for which it is parked.
    pub(crate) fn summary(&self) -> String {
        let mut words = vec![self.state.status_word().to_owned()];
        let reasons = self.state.parked().into_iter().chain(self.state.parked_also());
        let step = |r: &ParkReason| r.step.as_ref().map_or(String::new(), |step| format!("{step} "));
        words.extend(reasons.map(|r| format!("{}{}", step(r), r.code.as_str())));
        words.join(", ")
    }

    /// Answers everything that is pending with `done` until nothing is.
    pub(crate) fn played_out(mut self) -> Self {
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

pub(crate) fn by_ann(verb: Verb) -> OperatorCommand {
    OperatorCommand { verb, actor: "ann".to_owned(), reason: "why not".to_owned() }
}

pub(crate) fn context<'a>(
    definition: &'a SagaDefinition,
    book: &'a mut FaultBook,
    now: Timestamp,
) -> Context<'a> {
    Context { definition, saga_id: saga_id(), now, jitter: 0.5, faults: book, traceparent: None }
}

fn saga_id() -> SagaId {
    "018f0000-0000-7000-8000-000000000001".parse().unwrap()
}

pub(crate) fn done(reply: &str) -> Outcome {
    Outcome::Done { reply: JsonText::parse(reply.as_bytes()).unwrap() }
}

pub(crate) const RETRY: Verb = Verb::Retry { step: None };

pub(crate) fn retry(step: &str) -> Verb {
    Verb::Retry { step: Some(name(step)) }
}
