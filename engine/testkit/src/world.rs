//! One saga and its hidden world: participants behind the real inbox rules, and the effects that really happened.
//!
//! A rule of the protocol can be taken away, by a wrapper around the core and never by a flag in it, to show what
//! the rule is for.

use std::collections::BTreeSet;

use redress_core::decide::{Context, Decision, Effect, Event, NotSent, Unsent, decide, start};
use redress_core::fault::FaultBook;
use redress_core::history::HistoryEntry;
use redress_core::state::{SagaState, Transition};
use redress_core::{
    CommandMessage, Name, Outcome, Phase, Rejection, ReplyMessage, SagaDefinition, SagaId, Timestamp,
};

use crate::check;
use crate::participants::{Business, DisabledRule, Participants, reply};

/// A saga, its participants and what happened so far.
#[derive(Debug)]
pub struct World<'d> {
    definition: &'d SagaDefinition,
    without: DisabledRule,
    now: Timestamp,
    /// Where the saga stands.
    pub state: SagaState,
    /// Commands that were published and not delivered yet.
    pub wire: Vec<CommandMessage>,
    /// The whole history.
    pub history: Vec<HistoryEntry>,
    /// The story of the run, line by line, for counter-examples.
    pub story: Vec<String>,
    /// The moves that its steps have made.
    pub transitions: BTreeSet<Transition>,
    participants: Participants,
    last_reply: Option<ReplyMessage>,
    /// The first promise that a plan did not keep.
    broken_plan: Option<String>,
}

impl<'d> World<'d> {
    /// A world in which the saga has just begun.
    pub fn begin(definition: &'d SagaDefinition, without: DisabledRule) -> Self {
        let mut faults = FaultBook::default();
        let now = Timestamp::UNIX_EPOCH;
        let data = definition.read_input(&serde_json::json!({})).expect("the fixture needs no input");
        let first = start(&mut context(definition, now, &mut faults), data, Vec::new());
        let mut world = Self {
            definition,
            without,
            now,
            state: first.state.clone(),
            wire: Vec::new(),
            history: Vec::new(),
            story: Vec::new(),
            transitions: BTreeSet::new(),
            participants: Participants::new(without),
            last_reply: None,
            broken_plan: None,
        };
        world.keep(first);
        world
    }

    fn decide(&mut self, event: Event) {
        let mut faults = FaultBook::default();
        let mut context = context(self.definition, self.now, &mut faults);
        let decision = decide(&mut context, self.state.clone(), event);
        self.keep(decision);
    }

    fn keep(&mut self, decision: Decision) {
        let stores = !matches!(decision.effect, Effect::Ignored | Effect::Refused(_));
        assert!(stores || decision.history.is_empty(), "an ignored event leaves no row");
        if let Effect::Illegal(illegal) = decision.effect {
            panic!("{illegal}");
        }
        self.state = decision.state;
        self.transitions.extend(decision.transitions);
        if let Err(broken) = check::plan(self.definition, &self.state) {
            self.broken_plan.get_or_insert(broken);
        }
        self.history.extend(decision.history);
        for command in decision.commands {
            self.publish(command);
        }
    }

    fn publish(&mut self, command: CommandMessage) {
        let is_pivots = |command: &CommandMessage| {
            self.definition.step(&command.key.step).is_some_and(|(_, step)| step.kind.as_str() == "pivot")
        };
        if self.without == DisabledRule::SettlingThePivot
            && command.key.phase == Phase::Settlement
            && is_pivots(&command)
        {
            self.story.push(format!("{}: silence taken for a refusal", command.key.step));
            self.hear(reply(&command, Outcome::Fenced));
        } else {
            self.wire.push(command);
        }
    }

    /// The coordinator hears a reply.
    pub fn hear(&mut self, reply: ReplyMessage) {
        self.last_reply = Some(reply.clone());
        self.decide(Event::Reply(reply));
    }

    /// The reply before is delivered once more, as after a crash between commit and publish.
    pub fn hear_again(&mut self) {
        if let Some(reply) = self.last_reply.clone() {
            self.decide(Event::Reply(reply));
        }
    }

    /// The broker did not say that it has stored a command.
    pub fn not_stored(&mut self, command: &CommandMessage) {
        self.decide(Event::NotSent(not_sent(command)));
    }

    /// Time goes on to when something is due.
    pub fn wait(&mut self) {
        if let Some(due_at) = self.state.due_at() {
            self.now = self.now.max(due_at);
            self.decide(Event::TimerFired);
        }
    }

    /// A participant gets a command; `rejects` is what its business would say. Gives the reply.
    pub fn deliver(&mut self, command: &CommandMessage, rejects: bool) -> ReplyMessage {
        let business = if rejects { Business::Rejected(Rejection::new("no", "no")) } else { Business::Done };
        let outcome = self.participants.handle(command, self.now, &business);
        reply(command, outcome)
    }

    /// The handler fails and leaves nothing behind.
    pub fn deliver_in_vain(&self, command: &CommandMessage) -> ReplyMessage {
        reply(command, Outcome::Failed { message: "injected".to_owned() })
    }

    /// Returns true if delivering the command would run its handler, so that the business has a say.
    pub fn would_run(&self, command: &CommandMessage) -> bool {
        command.key.phase == Phase::Action && self.participants.would_run(command)
    }

    /// How often the effect of a step stands.
    pub fn effect(&self, step: &Name) -> i32 {
        self.participants.effect(saga_id(), step)
    }

    /// The first error at the participants or of a plan, if there was one.
    pub fn wrong(&self) -> Option<&str> {
        self.participants.wrong().or(self.broken_plan.as_deref())
    }

    /// The definition.
    pub fn definition(&self) -> &'d SagaDefinition {
        self.definition
    }
}

/// A command that is not known to be stored.
pub fn not_sent(command: &CommandMessage) -> NotSent {
    let why = Unsent::Unknown { reason: "no broker".to_owned() };
    NotSent { key: command.key.clone(), attempt: command.attempt, why }
}

fn context<'a>(definition: &'a SagaDefinition, now: Timestamp, faults: &'a mut FaultBook) -> Context<'a> {
    Context { definition, saga_id: saga_id(), now, jitter: 0.0, faults, traceparent: None }
}

fn saga_id() -> SagaId {
    SagaId("0190163d-8694-739b-aea5-966c26f8ad91".parse().expect("a UUID"))
}
