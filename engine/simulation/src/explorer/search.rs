//! The scheduler of one run: it chooses the fate of each command, and the moment of each answer that comes later.

use redress_core::decide::{Effect, EventVerdict, Resolution, Verb};
use redress_core::inbox::GivenAnswer;
use redress_core::state::ParkCode;
use redress_core::{CommandMessage, JsonText, Name, Phase};
use redress_testkit::choices::Choices;
use redress_testkit::participants::{Business, ThirdParty, failure};

use super::fate::{Fate, fates, honest, no};
use super::run::Run;

/// Moves after which a run that has not ended never will.
const MOVES_MAX: usize = 400;
/// Moments at which an answer that comes later may come; at the last of them it does. Enough for the command to be asked
/// for again, overdue, settled, kept and settled again.
const MOMENTS_MAX: u32 = 8;

/// Moments at which an event from outside may come. Enough for it to come before its step and after its time.
const EVENT_MOMENTS_MAX: u32 = 6;
/// The key of the event that counts.
const FIRST: &str = "first";

/// A command whose answer comes later.
struct OpenCommand {
    command: CommandMessage,
    /// Moments at which it may still be answered; `None` once it was.
    moments: Option<u32>,
}

/// The scheduler of one run.
pub(super) struct Search<'d> {
    pub(super) run: Run<'d>,
    delayed: Vec<CommandMessage>,
    questions: Vec<OpenCommand>,
    /// Steps whose events may still come, each with the moments at which it may.
    events: Vec<(Name, u32)>,
    /// Disruptions that are left.
    disruptions: u32,
}

/// What happens to a question at a moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    NotNow,
    ServiceSaysDone,
    ServiceSaysNo,
    PersonSaysDone,
    PersonSaysNo,
    Cancelled,
}

impl<'d> Search<'d> {
    pub(super) fn new(run: Run<'d>, disruptions: u32) -> Self {
        let awaited = run.world.definition().steps.iter().filter(|step| step.awaited_event().is_some());
        let events = awaited.map(|step| (step.name.clone(), EVENT_MOMENTS_MAX)).collect();
        Self { run, delayed: Vec::new(), questions: Vec::new(), events, disruptions }
    }

    /// An event comes from outside now, or not, or an operator cancels; returns true if something happened. One that comes
    /// at none of its moments never does.
    fn give_an_event(&mut self, choices: &mut Choices) -> bool {
        let Some(nth) = self.events.iter().position(|(_, moments)| *moments > 0) else { return false };
        let (step, moments) = &mut self.events[nth];
        *moments -= 1;
        match choices.pick(if self.disruptions > 0 { 3 } else { 2 }) {
            0 => return false,
            1 => {
                *moments = 0;
                let step = step.clone();
                let effect = self.run.give(&step, FIRST);
                self.run.story.push(format!("{step}: the event comes, {effect:?}"));
            }
            _ => {
                self.disruptions -= 1;
                self.run.story.push("an operator cancels".to_owned());
                self.run.operate(Verb::Cancel);
            }
        }
        true
    }

    /// The events come once more, and then others of their names: nothing changes any more.
    fn give_all_again(&mut self) -> Result<(), String> {
        for (step, _) in std::mem::take(&mut self.events) {
            for key in [FIRST, "another"] {
                match self.run.give(&step, key) {
                    Effect::Given(EventVerdict::Repeated | EventVerdict::Refused(_)) => {}
                    effect => return Err(format!("{step}: the event comes when the saga rests, {effect:?}")),
                }
            }
        }
        Ok(())
    }

    pub(super) fn go_on_to_rest(&mut self, choices: &mut Choices) -> Result<(), String> {
        for _ in 0..MOVES_MAX {
            if self.run.rests() {
                if self.clear_up(choices) {
                    continue;
                }
                self.deliver_the_delayed();
                return self.give_all_again();
            }
            if self.give_an_event(choices) || self.take_a_turn(choices) {
                continue;
            }
            if self.run.wire.is_empty() {
                self.run.wait();
            } else {
                let command = self.run.wire.remove(0);
                let fate = self.fate(&command, choices);
                self.meet(&command, fate);
            }
        }
        Err("it never ends".to_owned())
    }

    fn fate(&mut self, command: &CommandMessage, choices: &mut Choices) -> Fate {
        let fates = fates(&self.run.world, command, self.disruptions > 0);
        let fate = fates[choices.pick(fates.len())];
        self.disruptions -= u32::from(fate.is_disruption());
        self.run.tell(command, &format!("{fate:?}"));
        fate
    }

    fn meet(&mut self, command: &CommandMessage, fate: Fate) {
        match fate {
            Fate::CarriedOut => self.answer(command, &honest(command)),
            Fate::Rejected => self.answer(command, &Business::Rejected(no())),
            Fate::Accepted => {
                self.questions.push(OpenCommand { command: command.clone(), moments: Some(MOMENTS_MAX) });
                self.answer(command, &Business::Later);
            }
            Fate::Kept => self.answer(command, &Business::Later),
            Fate::Failed => self.run.hear(failure(command)),
            Fate::RequestLost => {}
            Fate::ReplyLost => drop(self.run.world.deliver(command, &honest(command))),
            Fate::Delayed => self.delayed.push(command.clone()),
            Fate::Twice => {
                for _ in 0..2 {
                    self.answer(command, &honest(command));
                }
            }
            // The command was never published; what the coordinator had not acknowledged comes again.
            Fate::Crash => self.run.hear_again(),
            Fate::NotStored => self.run.not_stored(command),
            Fate::StoredInSilence => {
                self.run.not_stored(command);
                self.delayed.push(command.clone());
            }
            Fate::Cancelled => {
                self.run.operate(Verb::Cancel);
                self.run.wire.insert(0, command.clone());
            }
            Fate::CallLost => self.answer(command, &Business::Called { done: false, answered: false }),
            Fate::CallNotAnswered => self.answer(command, &Business::Called { done: true, answered: false }),
            Fate::NotTold => {
                self.run.world.set_third_party(ThirdParty::Silent);
                self.answer(command, &Business::Done);
                self.run.world.set_third_party(ThirdParty::Tells);
            }
        }
    }

    fn answer(&mut self, command: &CommandMessage, business: &Business) {
        let reply = self.run.world.deliver(command, business);
        self.run.hear(reply);
    }

    /// An open question is answered now, or not; returns true if something happened.
    fn take_a_turn(&mut self, choices: &mut Choices) -> bool {
        let Some(nth) = self.questions.iter().position(|question| question.moments.is_some()) else {
            return false;
        };
        let acts = self.acts(&self.questions[nth]);
        let act = acts[choices.pick(acts.len())];
        let question = &mut self.questions[nth];
        question.moments = match act {
            Act::ServiceSaysDone | Act::ServiceSaysNo => None,
            Act::NotNow | Act::PersonSaysDone | Act::PersonSaysNo | Act::Cancelled => {
                question.moments.map(|left| left - 1)
            }
        };
        let command = question.command.clone();
        if act != Act::NotNow {
            self.run.tell(&command, &format!("{act:?}"));
        }
        let done = GivenAnswer::Done { reply: JsonText::null() };
        match act {
            Act::NotNow => return false,
            Act::ServiceSaysDone => self.service_answers(&command, done),
            Act::ServiceSaysNo => self.service_answers(&command, GivenAnswer::Rejected(no())),
            Act::PersonSaysDone => self.person_answers(&command.key.step, done),
            Act::PersonSaysNo => self.person_answers(&command.key.step, GivenAnswer::Rejected(no())),
            Act::Cancelled => {
                self.disruptions -= 1;
                self.run.operate(Verb::Cancel);
            }
        }
        true
    }

    fn acts(&self, question: &OpenCommand) -> Vec<Act> {
        let mut acts = vec![Act::ServiceSaysDone];
        let is_action = question.command.key.phase == Phase::Action;
        if is_action {
            acts.push(Act::ServiceSaysNo);
        }
        if question.moments == Some(0) {
            return acts;
        }
        acts.insert(0, Act::NotNow);
        if is_action && self.disruptions > 0 {
            if self.run.is_awaiting(&question.command.key.step) {
                acts.extend([Act::PersonSaysDone, Act::PersonSaysNo]);
            }
            acts.push(Act::Cancelled);
        }
        acts
    }

    fn service_answers(&mut self, command: &CommandMessage, answer: GivenAnswer) {
        if let Some(reply) = self.run.world.answer(command, answer) {
            self.run.hear(reply);
        }
    }

    fn person_answers(&mut self, step: &Name, answer: GivenAnswer) {
        self.disruptions -= 1;
        self.run.operate(Verb::Answer { step: step.clone(), answer });
    }

    /// An operator clears up a step of which nobody could say whether it happened: asks again, or resolves it as it is.
    /// Returns true if the saga goes on.
    fn clear_up(&mut self, choices: &mut Choices) -> bool {
        let parked = self.run.world.state.parked();
        let Some(step) = parked.filter(|r| r.code == ParkCode::InDoubt).and_then(|r| r.step.clone()) else {
            return false;
        };
        // A command that is still under way could do it after all: it is no time to say that it never happened.
        let is_certain = self.delayed.is_empty() && self.run.wire.is_empty();
        let options = if is_certain { 2 } else { 1 };
        let verb = match choices.pick(options) {
            0 => Verb::Retry { step: None },
            _ => {
                let resolution = match self.run.world.effect(&step) > 0 {
                    true => Resolution::Happened { reply: JsonText::null() },
                    false => Resolution::NeverHappened,
                };
                Verb::Resolve { step, resolution }
            }
        };
        self.run.story.push(format!("an operator gives: {}", verb.as_str()));
        self.run.operate(verb);
        true
    }

    /// The delayed commands arrive at last, and are answered; services answer once more what they have answered or given up.
    fn deliver_the_delayed(&mut self) {
        let rest = std::mem::take(&mut self.run.wire);
        for command in self.delayed.drain(..).chain(rest) {
            let reply = self.run.world.deliver(&command, &honest(&command));
            self.run.tell(&command, &format!("arrives late, answered {}", reply.outcome.as_str()));
            self.run.hear(reply);
        }
        for question in std::mem::take(&mut self.questions) {
            let done = GivenAnswer::Done { reply: JsonText::null() };
            if let Some(reply) = self.run.world.answer(&question.command, done) {
                self.run.tell(&question.command, "the service answers once more, done");
                self.run.hear(reply);
            }
        }
    }
}
