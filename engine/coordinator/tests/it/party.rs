//! The other end of the wire: sagas whose input says which failures happen, and a party that obeys.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_core::fault::FaultKind;
use redress_core::{
    Command, CommandMessage, Compensates, IdempotencyKey, JsonText, Outcome, Phase, Rejection, ReplyMessage,
    RetryPolicy, SagaDefinition, saga,
};
use redress_wire::Wire;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::fixture::{name, until};

/// The party's treatment of a command.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum How {
    /// Does it.
    #[default]
    Do,
    /// Says no.
    Reject,
    /// Does it, and keeps the reply until it is told to let go.
    Hold,
    /// Says that the answer comes later, and keeps it until it is told to let go.
    Later,
    /// Neither does it nor answers.
    Ignore,
}

/// The input of the sagas here.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Sale {
    pub(crate) number: u64,
    #[serde(default)]
    pub(crate) step: String,
    #[serde(default)]
    pub(crate) how: How,
    #[serde(default)]
    pub(crate) noted: Vec<String>,
}

impl Sale {
    fn how(&self, step: &str) -> How {
        if self.step == step { self.how } else { How::Do }
    }
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Noted {
    note: String,
}

macro_rules! commands {
    ($($name:ident = $service:literal / $command:literal),+ $(,)?) => {$(
        #[derive(Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name { number: u64, how: How }

        impl $name {
            pub(crate) fn of(sale: &Sale, step: &str) -> Self {
                Self { number: sale.number, how: sale.how(step) }
            }
        }

        impl Command for $name {
            const SERVICE: &'static str = $service;
            const NAME: &'static str = $command;
            type Reply = Noted;
        }
    )+};
}

commands! {
    Reserve = "shelf" / "reserve",
    Release = "shelf" / "release",
    Charge = "till" / "charge",
    Refund = "till" / "refund",
    Ship = "truck" / "ship",
    Tell = "shelf" / "tell",
}

impl Compensates<Reserve> for Release {}
impl Compensates<Charge> for Refund {}

/// The services of the sagas here.
const SERVICES: [&str; 3] = ["shelf", "till", "truck"];
/// Longer than any answer takes on a busy machine.
const PATIENT: Duration = Duration::from_secs(60);
/// Short enough to pass while a test waits, and longer than an answer takes.
const HASTY: Duration = Duration::from_secs(1);

/// Four steps, and patience.
pub(crate) fn sell() -> SagaDefinition {
    sale("sell", 1, PATIENT)
}

/// The same, without patience.
pub(crate) fn rush() -> SagaDefinition {
    sale("rush", 1, HASTY)
}

/// One that gives its undo up after two attempts.
pub(crate) fn faint() -> SagaDefinition {
    saga::<Sale>("faint", 1)
        .step("charge", |s| Charge::of(s, "charge"))
        .compensate(|s| Refund::of(s, "refund"))
        .compensation_retry(RetryPolicy::COMPENSATION.attempts(2).backoff(20, 20))
        .pivot("ship", |s| Ship::of(s, "ship"))
        .build()
}

/// One whose payment people may approve.
pub(crate) fn approved() -> SagaDefinition {
    saga::<Sale>("approved", 1)
        .step("charge", |s| Charge::of(s, "charge"))
        .people_may_answer()
        .on_reply(|s, reply| s.noted.push(reply.note))
        .compensate(|s| Refund::of(s, "refund"))
        .pivot("ship", |s| Ship::of(s, "ship"))
        .build()
}

/// One that only sends a notification.
pub(crate) fn whisper() -> SagaDefinition {
    saga::<Sale>("whisper", 1)
        .step("charge", |s| Charge::of(s, "charge"))
        .compensate(|s| Refund::of(s, "refund"))
        .when(|s| s.step == "charge")
        .notify("tell", |s| Tell::of(s, "tell"))
        .build()
}

/// The input of the next version of `sell`: it must say the color, too.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct ColoredSale {
    number: u64,
    color: String,
}

/// Version 2 of `sell`, which refuses the input of version 1.
pub(crate) fn sell_by_color() -> SagaDefinition {
    saga::<ColoredSale>("sell", 2)
        .pivot("ship", |s| Ship { number: s.number, how: How::Do })
        .when(|s| !s.color.is_empty())
        .build()
}

/// One whose shape does not show the price that it charges.
pub(crate) fn priced(price: fn(u64) -> u64) -> SagaDefinition {
    saga::<Sale>("priced", 1)
        .step("charge", move |s| Charge { number: price(s.number), how: s.how("charge") })
        .compensate(|s| Refund::of(s, "refund"))
        .build()
}

pub(crate) fn sale(saga_name: &str, version: u32, timeout: Duration) -> SagaDefinition {
    let twice = RetryPolicy::ACTION.attempts(2).backoff(20, 20);
    saga::<Sale>(saga_name, version)
        .step("reserve", |s| Reserve::of(s, "reserve"))
        .timeout(timeout)
        .on_reply(|s, reply| s.noted.push(reply.note))
        .compensate(|s| Release::of(s, "release"))
        .step("charge", |s| Charge::of(s, "charge"))
        .timeout(timeout)
        .retry(twice)
        .compensate(|s| Refund::of(s, "refund"))
        .pivot("ship", |s| Ship::of(s, "ship"))
        .timeout(timeout)
        .retriable("tell", |s| Tell::of(s, "tell"))
        .timeout(timeout)
        .build()
}

/// Carries out the commands that it gets, and remembers them.
#[derive(Clone)]
pub(crate) struct Party {
    wire: Wire,
    memory: Arc<Mutex<Memory>>,
}

#[derive(Default)]
struct Memory {
    seen: Vec<CommandMessage>,
    answers: HashMap<IdempotencyKey, Outcome>,
    held: Vec<ReplyMessage>,
    relented: bool,
}

#[derive(Deserialize)]
struct Asked {
    number: u64,
    how: How,
}

impl Party {
    /// Opens its doors until the runtime of the test ends.
    pub(crate) fn open(wire: &Wire) -> Self {
        let party = Self { wire: wire.clone(), memory: Arc::default() };
        for service in SERVICES {
            let (party, mut commands) = (party.clone(), wire.commands(&name(service)));
            tokio::spawn(async move {
                loop {
                    for delivery in commands.next_batch(500).await {
                        let (command, _, ack) = delivery.split();
                        let reply = party.answer(command.expect("the coordinator sends what can be read"));
                        party.send(reply.into_iter().collect()).await;
                        ack.ack().await;
                    }
                }
            });
        }
        party
    }

    fn answer(&self, command: CommandMessage) -> Option<ReplyMessage> {
        let mut memory = self.memory.lock().unwrap();
        memory.seen.push(command.clone());
        if matches!(command.fault, Some(FaultKind::Fail)) {
            return Some(reply(&command, Outcome::Failed { message: "injected".to_owned() }));
        }
        let asked: Option<Asked> = command.payload.read().ok();
        let how = asked.as_ref().map_or(How::Do, |asked| asked.how);
        if how == How::Ignore {
            return None;
        }
        let action = command.key.of_action();
        let outcome = match (memory.answers.get(&action), command.key.phase) {
            (Some(known), Phase::Action | Phase::Settlement) => known.clone(),
            (None, Phase::Settlement) => Outcome::Fenced,
            (None, Phase::Action) if how == How::Reject && !memory.relented => {
                Outcome::Rejected(Rejection::new("no", "not today"))
            }
            (None, Phase::Action) | (_, Phase::Compensation) => {
                let note = format!("{} {}", command.command, asked.map_or(0, |asked| asked.number));
                Outcome::Done { reply: JsonText::of(&Noted { note }).unwrap() }
            }
        };
        if command.key.phase != Phase::Compensation {
            memory.answers.insert(action, outcome.clone());
        }
        let answered = reply(&command, outcome);
        match how {
            How::Hold => {
                memory.held.push(answered);
                None
            }
            How::Later => {
                memory.held.push(answered);
                Some(reply(&command, Outcome::Accepted))
            }
            How::Do | How::Reject | How::Ignore => Some(answered),
        }
    }

    /// Publishes replies, its own or made up.
    pub(crate) async fn send(&self, replies: Vec<ReplyMessage>) {
        for result in self.wire.publish_replies(&replies).await {
            result.unwrap();
        }
    }

    /// Waits until it holds so many replies.
    pub(crate) async fn holds(&self, count: usize) {
        let held = async || (self.memory.lock().unwrap().held.len() >= count).then_some(());
        until("held replies", held).await;
    }

    /// Lets go the replies that it holds, and returns a copy of them.
    pub(crate) async fn let_go(&self) -> Vec<ReplyMessage> {
        let held = std::mem::take(&mut self.memory.lock().unwrap().held);
        self.send(held.clone()).await;
        held
    }

    /// Rejects no command any more that is sent anew.
    pub(crate) fn relent(&self) {
        self.memory.lock().unwrap().relented = true;
    }

    /// The commands that it has seen.
    pub(crate) fn seen(&self) -> Vec<CommandMessage> {
        self.memory.lock().unwrap().seen.clone()
    }
}

/// The answer to a command.
pub(crate) fn reply(command: &CommandMessage, outcome: Outcome) -> ReplyMessage {
    ReplyMessage {
        key: command.key.clone(),
        attempt: command.attempt,
        saga: command.saga.clone(),
        version: command.version,
        service: command.service.clone(),
        outcome,
    }
}
