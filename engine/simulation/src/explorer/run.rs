//! One run of the explorer: a saga in its world, the commands under way, and the story for counter-examples.
//!
//! The rule that is taken away from the coordinator, settling the pivot, is taken away here; the participants leave out
//! theirs.

use std::collections::BTreeSet;
use std::time::Duration;

use redress_core::decide::{Effect, Event, GivenEvent, OperatorCommand, Verb};
use redress_core::state::{AttemptState, Transition};
use redress_core::{CommandMessage, JsonText, Name, Outcome, Phase, ReplyMessage, SagaDefinition};
use redress_testkit::check;
use redress_testkit::participants::{DisabledRule, Participants, reply};
use redress_testkit::world::{Outgoing, World, not_sent};

/// The longest time that a call to a third party takes: longer than the pause before it is made again.
const CALLS_TAKE: Duration = Duration::from_secs(5);

pub(super) struct Run<'d> {
    pub(super) world: World<'d>,
    without: DisabledRule,
    /// Commands that were published and not delivered yet.
    pub(super) wire: Vec<CommandMessage>,
    /// The story of the run, line by line.
    pub(super) story: Vec<String>,
    /// The moves that the steps have made.
    pub(super) transitions: BTreeSet<Transition>,
    last_reply: Option<ReplyMessage>,
    /// The first promise that a plan did not keep.
    broken_plan: Option<String>,
}

impl<'d> Run<'d> {
    /// The saga has just begun.
    pub(super) fn begin(definition: &'d SagaDefinition, without: DisabledRule) -> Self {
        let data = definition.read_input(&serde_json::json!({})).expect("the fixture needs no input");
        let participants = Participants::new(without).calls_taking(CALLS_TAKE);
        let (world, first) = World::begin(definition, participants, data, Vec::new());
        let mut run = Self {
            world,
            without,
            wire: Vec::new(),
            story: Vec::new(),
            transitions: BTreeSet::new(),
            last_reply: None,
            broken_plan: None,
        };
        run.carry_out(first);
        run
    }

    fn decide(&mut self, event: Event) {
        let outgoing = self.world.decide(event);
        self.carry_out(outgoing);
    }

    fn carry_out(&mut self, outgoing: Outgoing) {
        self.transitions.extend(outgoing.transitions);
        if let Err(broken) = check::plan(self.world.definition(), &self.world.state) {
            self.broken_plan.get_or_insert(broken);
        }
        for command in outgoing.commands {
            self.publish(command);
        }
    }

    fn publish(&mut self, command: CommandMessage) {
        if self.without == DisabledRule::SettlingThePivot && self.settles_the_pivot(&command) {
            self.story.push(format!("{}: silence taken for a refusal", command.key.step));
            self.hear(reply(&command, Outcome::Fenced));
        } else {
            self.wire.push(command);
        }
    }

    fn settles_the_pivot(&self, command: &CommandMessage) -> bool {
        let step = self.world.definition().step(&command.key.step);
        command.key.phase == Phase::Settlement && step.is_some_and(|(_, step)| step.kind.as_str() == "pivot")
    }

    /// The coordinator hears a reply.
    pub(super) fn hear(&mut self, reply: ReplyMessage) {
        self.last_reply = Some(reply.clone());
        self.decide(Event::Reply(reply));
    }

    /// The reply before is delivered once more, as after a crash between commit and publish.
    pub(super) fn hear_again(&mut self) {
        if let Some(reply) = self.last_reply.clone() {
            self.decide(Event::Reply(reply));
        }
    }

    /// The broker did not say that it has stored a command.
    pub(super) fn not_stored(&mut self, command: &CommandMessage) {
        self.decide(Event::NotSent(not_sent(command)));
    }

    /// An operator gives a command, which may be refused.
    pub(super) fn operate(&mut self, verb: Verb) {
        let command = OperatorCommand { verb, actor: "ann".to_owned(), reason: "why not".to_owned() };
        self.decide(Event::Operator(command));
    }

    /// The event of a step comes from outside; gives what becomes of it.
    pub(super) fn give(&mut self, step: &Name, key: &str) -> Effect {
        let payload = JsonText::of(&serde_json::json!({})).expect("an object becomes JSON");
        let event = GivenEvent { name: step.clone(), key: key.to_owned(), payload };
        let outgoing = self.world.decide(Event::Given(event));
        let effect = outgoing.effect.clone();
        self.carry_out(outgoing);
        effect
    }

    /// Returns true if the answer to a step's command is awaited.
    pub(super) fn is_awaiting(&self, step: &Name) -> bool {
        let mut steps = self.world.state.steps.iter().filter(|state| state.name == *step);
        steps.any(|state| state.open().is_some_and(|open| open.attempt_state == AttemptState::Awaiting))
    }

    /// Time goes on to when something is due.
    pub(super) fn wait(&mut self) {
        if let Some(outgoing) = self.world.wait() {
            self.carry_out(outgoing);
        }
    }

    /// Adds what became of a command to the story.
    pub(super) fn tell(&mut self, command: &CommandMessage, fate: &str) {
        let key = &command.key;
        self.story.push(format!("{} {} {}: {fate}", key.step, key.phase, command.attempt));
    }

    pub(super) fn rests(&self) -> bool {
        self.world.state.is_ended() || self.world.state.parked().is_some()
    }

    /// Checks the saga at rest.
    pub(super) fn check(&self) -> Result<(), String> {
        let (definition, world) = (self.world.definition(), &self.world);
        if let Some(wrong) = world.wrong().or(self.broken_plan.as_deref()) {
            return Err(wrong.to_owned());
        }
        check::effects(definition, &world.state, |step| world.effect(step))?;
        check::unremembered(definition, &world.state, &world.history)?;
        check::history(definition, &world.history)?;
        check::waits_in_time(definition, &world.history)
    }
}
