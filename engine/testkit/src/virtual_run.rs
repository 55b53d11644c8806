//! Plays one saga in virtual time: the next event happens at once.
//!
//! Commands and replies travel without delay and in order unless a fault says otherwise; when nothing travels, time
//! goes on to when the saga is due. Everything is determined by what was given.

use std::collections::BTreeMap;

use redress_core::decide::{Effect, Event, EventVerdict, GivenEvent, OperatorCommand};
use redress_core::fault::FaultKind;
use redress_core::message::NotificationMessage;
use redress_core::plan::{Plan, plan};
use redress_core::{CommandMessage, Name, Phase, Rejection, ReplyMessage, Timestamp};
use serde_json::Value;

use crate::delivery::Delivery;
use crate::events::{ScheduledEvent, Senders, refusal};
use crate::manners::Manners;
use crate::participants::{Business, DisabledRule, ThirdParty, failure};
use crate::run_result::{RunResult, ScheduledCommand, line};
use crate::world::{Outgoing, World};

/// Moves after which a saga that has not come to rest never will: more than a step takes that is tried for a whole day.
const MOVES_MAX: u32 = 50_000;
/// How long a command stays with a participant that has died, in milliseconds.
const ACK_WAIT_MS: i64 = 1_000;

#[derive(Debug)]
enum Message {
    Command(CommandMessage),
    Reply(ReplyMessage),
    Operator(OperatorCommand),
    /// An event from outside.
    Event(GivenEvent),
    /// The time has come to answer a command that was accepted.
    Answer(CommandMessage),
}

pub(crate) struct VirtualRun<'d> {
    world: World<'d>,
    /// Rows of the history after which operator commands were looked for.
    rows_seen: usize,
    notifications: Vec<NotificationMessage>,
    refused: Vec<String>,
    plans: Vec<Plan>,
    /// Messages under way: by arrival, then in the order of sending.
    under_way: BTreeMap<(Timestamp, u64), Message>,
    sent: u64,
    scheduled: Vec<ScheduledCommand>,
    /// Steps whose notification never arrives.
    lost: Vec<Name>,
    manners: Manners,
    senders: Senders,
    /// The payloads of events, by step.
    payloads: BTreeMap<String, Value>,
    /// The events that were given, and what became of them.
    events: Vec<(Name, EventVerdict)>,
    without: DisabledRule,
    /// The deliveries that the participants saw.
    deliveries: Vec<Delivery>,
}

impl<'d> VirtualRun<'d> {
    pub(crate) fn new(
        world: World<'d>,
        scheduled: Vec<ScheduledCommand>,
        lost: Vec<Name>,
        manners: Manners,
        without: DisabledRule,
    ) -> Self {
        Self {
            world,
            rows_seen: 0,
            notifications: Vec::new(),
            refused: Vec::new(),
            plans: Vec::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            scheduled,
            lost,
            manners,
            senders: Senders::default(),
            payloads: BTreeMap::new(),
            events: Vec::new(),
            without,
            deliveries: Vec::new(),
        }
    }

    /// The same run, in which these events come, with these payloads.
    pub(crate) fn with_events(self, senders: Senders, payloads: BTreeMap<String, Value>) -> Self {
        Self { senders, payloads, ..self }
    }

    fn decide(&mut self, event: Event) {
        if let (Event::Operator(_), Ok(plan)) = (&event, plan(self.world.definition(), &self.world.state)) {
            self.plans.push(plan);
        }
        let name = match &event {
            Event::Given(given) => Some(given.name.clone()),
            Event::Reply(_)
            | Event::TimerFired
            | Event::NotSent(_)
            | Event::MayBeLost { .. }
            | Event::PlaceIsFirst { .. }
            | Event::Operator(_) => None,
        };
        let outgoing = self.world.decide(event);
        if let (Some(name), Effect::Given(verdict)) = (name, &outgoing.effect) {
            self.refused.extend(refusal(verdict).map(ToOwned::to_owned));
            self.events.push((name, verdict.clone()));
        }
        self.carry_out(outgoing);
    }

    fn carry_out(&mut self, outgoing: Outgoing) {
        if let Effect::Refused(refusal) = outgoing.effect {
            self.refused.push(refusal.as_str().to_owned());
        }
        let lines: Vec<String> = self.world.history[self.rows_seen..].iter().map(line).collect();
        self.rows_seen = self.world.history.len();
        for notification in outgoing.notifications {
            let is_lost = self.lost.contains(&notification.step) && !self.without.ignores("lost");
            if !is_lost {
                self.deliveries.push(Delivery::notified(&notification, self.world.now()));
            }
            self.notifications.push(notification);
        }
        for command in outgoing.commands {
            self.send(0, Message::Command(command));
        }
        for line in lines {
            for event in self.senders.after(&line) {
                let ScheduledEvent { delay_ms, .. } = event;
                let given =
                    event.clone().with(self.payloads.get(event.step.as_str()).unwrap_or(&Value::Null));
                self.send(delay_ms, Message::Event(given));
            }
            if let Some(place) =
                self.scheduled.iter().position(|scheduled| line.starts_with(&scheduled.after))
            {
                let ScheduledCommand { command, delay_ms, .. } = self.scheduled.remove(place);
                match delay_ms {
                    0 => self.decide(Event::Operator(command)),
                    _ => self.send(delay_ms, Message::Operator(command)),
                }
            }
        }
    }

    fn send(&mut self, delay_ms: i64, message: Message) {
        self.sent += 1;
        self.under_way.insert((later(self.world.now(), delay_ms), self.sent), message);
    }

    /// Carries out what the start of the saga asks for, and plays until nothing is under way and nothing is due.
    pub(crate) fn play(mut self, first: Outgoing) -> RunResult {
        self.carry_out(first);
        for _ in 0..MOVES_MAX {
            if let Some((arrival, message)) = self.next_message() {
                self.world.advance_to(arrival);
                self.deliver(message);
            } else if let Some(outgoing) = self.world.wait() {
                self.carry_out(outgoing);
            } else {
                return self.into_result();
            }
        }
        let lines: Vec<String> = self.world.history.iter().map(line).collect();
        panic!("the saga goes on without an end:\n{}", lines.join("\n"));
    }

    /// The next message and its arrival, unless the saga is due before.
    fn next_message(&mut self) -> Option<(Timestamp, Message)> {
        let next = self.under_way.first_entry()?;
        let arrival = next.key().0;
        let is_due_before = self.world.state.due_at().is_some_and(|due_at| due_at < arrival);
        (!is_due_before).then(|| (arrival, next.remove()))
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Reply(reply) => self.decide(Event::Reply(reply)),
            Message::Operator(command) => self.decide(Event::Operator(command)),
            Message::Event(event) => self.decide(Event::Given(event)),
            Message::Answer(command) => {
                let done = self.world.done(&command);
                if let Some(reply) = self.world.answer(&command, done) {
                    self.decide(Event::Reply(reply));
                }
            }
            Message::Command(mut command) => {
                let fault = command.fault.take().filter(|fault| !self.without.ignores(fault.word()));
                match fault {
                    None => self.answer_as_usual(&command, 0),
                    Some(fault) => self.obey(command, fault),
                }
            }
        }
    }

    fn answer(&mut self, command: &CommandMessage, business: &Business, delay_ms: i64) {
        let reply = self.world.deliver(command, business);
        let now = self.world.now();
        self.deliveries.push(Delivery::of(command, now).handled().answered(later(now, delay_ms)));
        self.send(delay_ms, Message::Reply(reply));
    }

    /// Answers as the participants of this story do if nothing goes wrong.
    fn answer_as_usual(&mut self, command: &CommandMessage, delay_ms: i64) {
        let business = self.business(command);
        self.answer(command, &business, delay_ms);
    }

    fn business(&mut self, command: &CommandMessage) -> Business {
        let ruling = self.world.ruling(command);
        if let Some(delay_ms) = self.manners.delay_ms(command, &ruling, self.without) {
            self.send(delay_ms, Message::Answer(command.clone()));
            return Business::Later;
        }
        if command.key.phase == Phase::Settlement {
            let mut steps = self.world.state.steps.iter().filter(|step| step.name == command.key.step);
            let is_resolved = steps.any(|step| step.unverified.is_some());
            self.world.set_third_party(if is_resolved { ThirdParty::Tells } else { ThirdParty::Silent });
        }
        self.manners.unanswered(command, self.without).unwrap_or(Business::Done)
    }

    /// The effect is committed, and no reply is sent.
    fn handle_in_silence(&mut self, command: &CommandMessage) {
        let business = self.business(command);
        drop(self.world.deliver(command, &business));
        self.deliveries.push(Delivery::of(command, self.world.now()).handled());
    }

    /// Plays an ordered failure, as a participant would.
    fn obey(&mut self, command: CommandMessage, fault: FaultKind) {
        match fault {
            FaultKind::Reject { code } => {
                self.answer(&command, &Business::Rejected(Rejection::new(code, "injected")), 0);
            }
            FaultKind::Fail => {
                let now = self.world.now();
                self.deliveries.push(Delivery::of(&command, now).answered(now));
                self.send(0, Message::Reply(failure(&command)));
            }
            FaultKind::Delay { ms } => self.send(millis(ms), Message::Command(command)),
            FaultKind::DropCommand => {}
            FaultKind::DropReply => self.handle_in_silence(&command),
            FaultKind::DelayReply { ms } => self.answer_as_usual(&command, millis(ms)),
            FaultKind::Duplicate => {
                self.answer_as_usual(&command, 0);
                self.send(0, Message::Command(command));
            }
            FaultKind::CrashBeforeCommit => {
                self.deliveries.push(Delivery::of(&command, self.world.now()));
                self.send(ACK_WAIT_MS, Message::Command(command));
            }
            FaultKind::CrashAfterReply => {
                self.answer_as_usual(&command, 0);
                self.send(ACK_WAIT_MS, Message::Command(command));
            }
            FaultKind::CrashAfterCommit => {
                self.handle_in_silence(&command);
                self.send(ACK_WAIT_MS, Message::Command(command));
            }
            FaultKind::CallLost => {
                self.answer(&command, &Business::Called { done: false, answered: false }, 0);
            }
            FaultKind::CallLate | FaultKind::CallFailed => {
                self.answer(&command, &Business::Called { done: true, answered: false }, 0);
            }
            // Its third party honours the key.
            FaultKind::CallTwice => self.answer_as_usual(&command, 0),
        }
    }

    fn into_result(self) -> RunResult {
        let effects = self.world.definition().steps.iter();
        RunResult {
            effects: effects.map(|step| (step.name.clone(), self.world.effect(&step.name))).collect(),
            wrong: self.world.wrong().map(ToOwned::to_owned),
            state: self.world.state,
            history: self.world.history,
            notifications: self.notifications,
            deliveries: self.deliveries,
            events: self.events,
            refused: self.refused,
            plans: self.plans,
        }
    }
}

fn later(at: Timestamp, ms: i64) -> Timestamp {
    at + chrono::TimeDelta::milliseconds(ms)
}

fn millis(ms: u64) -> i64 {
    i64::try_from(ms).unwrap_or(i64::MAX)
}
