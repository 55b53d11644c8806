//! Plays one saga in virtual time: the next event happens at once.
//!
//! Commands and replies travel without delay and in order unless a fault says otherwise; when nothing travels, time
//! goes on to when the saga is due. Everything is determined by what was given.

use std::collections::BTreeMap;

use redress_core::decide::{Context, Decision, Effect, Event, OperatorCommand, decide, start};
use redress_core::fault::{Fault, FaultBook, FaultKind};
use redress_core::history::HistoryEntry;
use redress_core::message::NotificationMessage;
use redress_core::plan::{Plan, plan};
use redress_core::state::SagaState;
use redress_core::{
    CommandMessage, JsonText, Name, Outcome, Rejection, ReplyMessage, SagaDefinition, SagaId, Timestamp,
};
use uuid::Uuid;

use crate::delivery::Delivery;
use crate::participants::{Business, DisabledRule, Participants, reply};
use crate::run_result::{RunResult, ScheduledCommand, line};

/// Moves after which a saga that has not come to rest never will.
const MOVES_MAX: u32 = 2_000;
/// How long a command stays with a participant that has died, in milliseconds.
const ACK_WAIT_MS: i64 = 1_000;

#[derive(Debug)]
enum Message {
    Command(CommandMessage),
    Reply(ReplyMessage),
    Operator(OperatorCommand),
}

pub(crate) struct VirtualRun<'d> {
    definition: &'d SagaDefinition,
    now: Timestamp,
    state: Option<SagaState>,
    history: Vec<HistoryEntry>,
    notifications: Vec<NotificationMessage>,
    refused: Vec<String>,
    plans: Vec<Plan>,
    /// Messages under way: by arrival, then in the order of sending.
    under_way: BTreeMap<(Timestamp, u64), Message>,
    sent: u64,
    scheduled: Vec<ScheduledCommand>,
    /// Steps whose notification never arrives.
    pub(crate) lost: Vec<Name>,
    without: DisabledRule,
    /// The deliveries that the participants saw.
    deliveries: Vec<Delivery>,
    pub(crate) participants: Participants,
}

impl<'d> VirtualRun<'d> {
    pub(crate) fn new(definition: &'d SagaDefinition, without: DisabledRule) -> Self {
        Self {
            definition,
            now: Timestamp::UNIX_EPOCH,
            state: None,
            history: Vec::new(),
            notifications: Vec::new(),
            refused: Vec::new(),
            plans: Vec::new(),
            under_way: BTreeMap::new(),
            sent: 0,
            scheduled: Vec::new(),
            lost: Vec::new(),
            without,
            deliveries: Vec::new(),
            participants: Participants::new(without),
        }
    }

    pub(crate) fn begin(&mut self, data: JsonText, faults: Vec<Fault>, scheduled: Vec<ScheduledCommand>) {
        self.scheduled = scheduled;
        let mut book = FaultBook::default();
        let decision = start(&mut self.context(&mut book), data, faults);
        self.keep(decision);
    }

    fn context<'a>(&self, faults: &'a mut FaultBook) -> Context<'a>
    where
        'd: 'a,
    {
        let (definition, now) = (self.definition, self.now);
        Context { definition, saga_id: saga_id(), now, jitter: 0.0, faults, traceparent: None }
    }

    fn decide(&mut self, event: Event) {
        let Some(state) = self.state.clone() else { return };
        if let (Event::Operator(_), Ok(plan)) = (&event, plan(self.definition, &state)) {
            self.plans.push(plan);
        }
        let mut book = FaultBook::default();
        let decision = decide(&mut self.context(&mut book), state, event);
        self.keep(decision);
    }

    fn keep(&mut self, decision: Decision) {
        if let Effect::Refused(refusal) = decision.effect {
            self.refused.push(refusal.as_str().to_owned());
        }
        self.state = Some(decision.state);
        let lines: Vec<String> = decision.history.iter().map(line).collect();
        self.history.extend(decision.history);
        for notification in decision.notifications {
            let is_lost = self.lost.contains(&notification.step) && !self.without.ignores("lost");
            if !is_lost {
                self.deliveries.push(Delivery::notified(&notification, self.now));
            }
            self.notifications.push(notification);
        }
        for command in decision.commands {
            self.send(0, Message::Command(command));
        }
        for line in lines {
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
        self.under_way.insert((later(self.now, delay_ms), self.sent), message);
    }

    /// Plays until nothing is under way and nothing is due.
    pub(crate) fn play(&mut self) {
        for _ in 0..MOVES_MAX {
            let due = self.state.as_ref().and_then(SagaState::due_at);
            let arrival = self.under_way.first_key_value().map(|((at, _), _)| *at);
            match (arrival, due) {
                (None, None) => return,
                (Some(arrival), due) if due.is_none_or(|due| arrival <= due) => {
                    self.now = self.now.max(arrival);
                    if let Some((_, message)) = self.under_way.pop_first() {
                        self.deliver(message);
                    }
                }
                (_, due) => {
                    self.now = self.now.max(due.unwrap_or(self.now));
                    self.decide(Event::TimerFired);
                }
            }
        }
        let lines: Vec<String> = self.history.iter().map(line).collect();
        panic!("the saga goes on without an end:\n{}", lines.join("\n"));
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Reply(reply) => self.decide(Event::Reply(reply)),
            Message::Operator(command) => self.decide(Event::Operator(command)),
            Message::Command(mut command) => {
                let fault = command.fault.take().filter(|fault| !self.without.ignores(fault.word()));
                match fault {
                    None => self.answer(&command, &Business::Done, 0),
                    Some(fault) => self.obey(command, fault),
                }
            }
        }
    }

    fn answer(&mut self, command: &CommandMessage, business: &Business, delay_ms: i64) {
        let outcome = self.participants.handle(command, self.now, business);
        let answered_at = later(self.now, delay_ms);
        self.deliveries.push(Delivery::of(command, self.now).handled().answered(answered_at));
        self.send(delay_ms, Message::Reply(reply(command, outcome)));
    }

    /// The effect is committed, and no reply is sent.
    fn handle_in_silence(&mut self, command: &CommandMessage) {
        drop(self.participants.handle(command, self.now, &Business::Done));
        self.deliveries.push(Delivery::of(command, self.now).handled());
    }

    /// Plays an ordered failure, as a participant would.
    fn obey(&mut self, command: CommandMessage, fault: FaultKind) {
        match fault {
            FaultKind::Reject { code } => {
                self.answer(&command, &Business::Rejected(Rejection::new(code, "injected")), 0);
            }
            FaultKind::Fail => {
                self.deliveries.push(Delivery::of(&command, self.now).answered(self.now));
                let failed = Outcome::Failed { message: "injected".to_owned() };
                self.send(0, Message::Reply(reply(&command, failed)));
            }
            FaultKind::Delay { ms } => self.send(millis(ms), Message::Command(command)),
            FaultKind::DropCommand => {}
            FaultKind::DropReply => self.handle_in_silence(&command),
            FaultKind::DelayReply { ms } => self.answer(&command, &Business::Done, millis(ms)),
            FaultKind::Duplicate => {
                self.answer(&command, &Business::Done, 0);
                self.send(0, Message::Command(command));
            }
            FaultKind::CrashBeforeCommit => {
                self.deliveries.push(Delivery::of(&command, self.now));
                self.send(ACK_WAIT_MS, Message::Command(command));
            }
            FaultKind::CrashAfterReply => {
                self.answer(&command, &Business::Done, 0);
                self.send(ACK_WAIT_MS, Message::Command(command));
            }
            FaultKind::CrashAfterCommit => {
                self.handle_in_silence(&command);
                self.send(ACK_WAIT_MS, Message::Command(command));
            }
        }
    }

    pub(crate) fn into_result(self) -> RunResult {
        let effects = self.definition.steps.iter();
        let effects =
            effects.map(|step| (step.name.clone(), self.participants.effect(saga_id(), &step.name)));
        RunResult {
            effects: effects.collect(),
            wrong: self.participants.wrong().map(ToOwned::to_owned),
            state: self.state.expect("a saga that was begun has a state"),
            history: self.history,
            notifications: self.notifications,
            deliveries: self.deliveries,
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

fn saga_id() -> SagaId {
    SagaId(Uuid::from_u128(0x0190_163d_8694_739b_aea5_966c_26f8_ad91))
}
