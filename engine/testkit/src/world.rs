//! One saga on the real core, and its hidden world: participants behind the real inbox rules, and the effects that really
//! happened.
//!
//! A world keeps state, history and time, and chooses nothing: a *scheduler* gives it the next event and carries out the
//! [`Outgoing`] messages of the decision. The scheduler of a [`Story`](crate::Story) goes by the clock; the explorer in
//! `redress-simulation` tries every mix of disruptions; the test of the corpus leads sagas that older versions have stored to
//! their ends.
//!
//! A rule of the protocol can be taken away, by a wrapper around the core and never by a flag in it, to show what
//! the rule is for.

use redress_core::decide::{Context, Decision, Effect, Event, NotSent, Unsent, decide, start};
use redress_core::fault::{Fault, FaultBook};
use redress_core::history::HistoryEntry;
use redress_core::inbox::{GivenAnswer, Ruling};
use redress_core::message::NotificationMessage;
use redress_core::state::{SagaState, Transition};
use redress_core::{CommandMessage, JsonText, Name, Phase, ReplyMessage, SagaDefinition, SagaId, Timestamp};
use uuid::Uuid;

use crate::participants::{Business, Participants, ThirdParty, reply};

/// A saga, its participants and what happened so far.
#[derive(Debug)]
pub struct World<'d> {
    definition: &'d SagaDefinition,
    now: Timestamp,
    /// Where the saga stands.
    pub state: SagaState,
    /// The whole history.
    pub history: Vec<HistoryEntry>,
    participants: Participants,
}

/// The part of a decision that its scheduler carries out; state and history are the world's.
#[derive(Debug)]
#[must_use = "a command that no scheduler carries out is lost"]
pub struct Outgoing {
    /// The kind of the decision.
    pub effect: Effect,
    /// Commands to publish.
    pub commands: Vec<CommandMessage>,
    /// Notifications to send.
    pub notifications: Vec<NotificationMessage>,
    /// The moves that the steps made.
    pub transitions: Vec<Transition>,
}

impl<'d> World<'d> {
    /// A world in which the saga has just begun.
    pub fn begin(
        definition: &'d SagaDefinition,
        participants: Participants,
        data: JsonText,
        faults: Vec<Fault>,
    ) -> (Self, Outgoing) {
        let (now, mut book) = (Timestamp::UNIX_EPOCH, FaultBook::default());
        let first = start(&mut context(definition, now, &mut book), data, faults);
        let mut world = Self::resume(definition, participants, first.state.clone(), Vec::new());
        let mut outgoing = world.keep(first);
        // A saga that is alone is the first in the order of each of its keys.
        let ordered = definition.steps.iter().filter(|step| step.is_ordered());
        for step in ordered.map(|step| step.name.clone()) {
            let more = world.decide(Event::PlaceIsFirst { step });
            outgoing.commands.extend(more.commands);
            outgoing.notifications.extend(more.notifications);
            outgoing.transitions.extend(more.transitions);
        }
        (world, outgoing)
    }

    /// A world in which the saga has come so far already, at the time of its last row.
    pub fn resume(
        definition: &'d SagaDefinition,
        participants: Participants,
        state: SagaState,
        history: Vec<HistoryEntry>,
    ) -> Self {
        let now = history.iter().map(|row| row.at).max().unwrap_or_default();
        let participants = participants.serving([definition]);
        Self { definition, now, state, history, participants }
    }

    /// An event happens.
    ///
    /// # Panics
    /// If the core decides on a move that no step may make, or on rows for an event that it ignores.
    pub fn decide(&mut self, event: Event) -> Outgoing {
        let mut book = FaultBook::default();
        let mut context = context(self.definition, self.now, &mut book);
        let decision = decide(&mut context, self.state.clone(), event);
        self.keep(decision)
    }

    fn keep(&mut self, decision: Decision) -> Outgoing {
        let Decision { state, commands, notifications, history, transitions, effect } = decision;
        if let Effect::Illegal(illegal) = &effect {
            panic!("{illegal}");
        }
        let stores = match &effect {
            Effect::Ignored | Effect::Refused(_) => false,
            Effect::Given(verdict) => verdict.is_new(),
            Effect::Moved | Effect::Noted | Effect::Contradiction | Effect::Illegal(_) => true,
        };
        assert!(stores || history.is_empty(), "an ignored event leaves no row");
        self.state = state;
        self.history.extend(history);
        Outgoing { effect, commands, notifications, transitions }
    }

    /// Time goes on to this moment, unless it is later already; participants forget what is old enough.
    pub fn advance_to(&mut self, at: Timestamp) {
        self.now = self.now.max(at);
        self.participants.prune(self.now);
    }

    /// Time goes on to when the saga is due, and its timer fires; `None` if it waits for nothing.
    pub fn wait(&mut self) -> Option<Outgoing> {
        let due_at = self.state.due_at()?;
        self.advance_to(due_at);
        Some(self.decide(Event::TimerFired))
    }

    /// A participant gets a command; `business` is what its handler would say. Gives the reply.
    pub fn deliver(&mut self, command: &CommandMessage, business: &Business) -> ReplyMessage {
        let outcome = self.participants.handle(command, self.now, business);
        reply(command, outcome)
    }

    /// Returns true if delivering the command would run its handler, so that the business has a say.
    pub fn would_run(&self, command: &CommandMessage) -> bool {
        command.key.phase == Phase::Action && self.participants.would_run(command)
    }

    /// The ruling on a command if it came now.
    pub fn ruling(&self, command: &CommandMessage) -> Ruling {
        self.participants.ruling(command, self.now)
    }

    /// A service gives the answer to a command that it left open; `None` if there is nothing to answer any more.
    pub fn answer(&mut self, command: &CommandMessage, answer: GivenAnswer) -> Option<ReplyMessage> {
        let outcome = self.participants.answer(&command.key, answer, self.now)?;
        Some(reply(command, outcome))
    }

    /// The answer "done" to a command that was left open, with the reply of its step.
    pub fn done(&self, command: &CommandMessage) -> GivenAnswer {
        let reply = match command.key.phase {
            Phase::Action | Phase::Settlement => self.participants.reply_of(&command.key.step),
            Phase::Compensation => JsonText::null(),
        };
        GivenAnswer::Done { reply }
    }

    /// From now on the third party tells so much.
    pub fn set_third_party(&mut self, third_party: ThirdParty) {
        self.participants.set_third_party(third_party);
    }

    /// How often the effect of a step stands.
    pub fn effect(&self, step: &Name) -> i32 {
        self.participants.effect(SAGA_ID, step)
    }

    /// The first error at the participants, if there was one.
    pub fn wrong(&self) -> Option<&str> {
        self.participants.wrong()
    }

    /// The time.
    pub const fn now(&self) -> Timestamp {
        self.now
    }

    /// The definition.
    pub const fn definition(&self) -> &'d SagaDefinition {
        self.definition
    }
}

/// A command that is not known to be stored.
pub fn not_sent(command: &CommandMessage) -> NotSent {
    let why = Unsent::Unknown { reason: "no broker".to_owned() };
    NotSent { key: command.key.clone(), attempt: command.attempt, why }
}

/// The saga of every world: there is one in each.
const SAGA_ID: SagaId = SagaId(Uuid::from_u128(0x0190_163d_8694_739b_aea5_966c_26f8_ad91));

fn context<'a>(definition: &'a SagaDefinition, now: Timestamp, faults: &'a mut FaultBook) -> Context<'a> {
    Context { definition, saga_id: SAGA_ID, now, jitter: 0.0, faults, traceparent: None }
}
