//! The bus in memory.

use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_coordinator::ports::{
    Acknowledge, Bus, BusHealth, Clock, DeadLetter, Incoming, Lag, Letters, RawMessage, Replies, TakenLetter,
};
use redress_core::decide::{NotSent, Unsent};
use redress_core::message::NotificationMessage;
use redress_core::{CommandMessage, Name, ReplyMessage, SagaId};
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, broadcast};

use super::queue::Queue;

/// How long a message stays with its taker, unless the bus is told otherwise.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// Hints of ends that may wait for a coordinator to hear them; beyond, the oldest are lost to it.
const ENDED_WAITING_MAX: usize = 64;

/// The messages that a bus holds.
#[derive(Debug, Default)]
pub struct Store {
    /// Commands that wait for participants.
    pub commands: Queue<CommandMessage>,
    /// Replies that wait for coordinators.
    pub replies: Queue<ReplyMessage>,
    /// Dead letters of participants that wait for coordinators.
    pub letters: Queue<DeadLetter>,
    /// Notifications, in the order in which they were sent.
    pub notifications: Vec<NotificationMessage>,
    /// The number of times that everything was lost.
    pub incarnation: u64,
}

impl Store {
    /// Loses every message.
    pub fn wipe(&mut self) {
        self.commands.wipe();
        self.replies.wipe();
        self.letters.wipe();
        self.incarnation += 1;
    }
}

/// The bus in memory. Cheap to clone; clones are the same bus.
#[derive(Clone, Debug)]
pub struct MemoryBus<C> {
    clock: C,
    ack_wait: Duration,
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    store: Mutex<Store>,
    arrived: Notify,
    ended: broadcast::Sender<Vec<SagaId>>,
}

impl<C: Clock> MemoryBus<C> {
    /// An empty bus on this clock.
    pub fn new(clock: C) -> Self {
        let ended = broadcast::Sender::new(ENDED_WAITING_MAX);
        let inner = Inner { store: Mutex::default(), arrived: Notify::new(), ended };
        Self { clock, ack_wait: ACK_WAIT, inner: Arc::new(inner) }
    }

    /// The same bus, where a message stays with its taker for so long.
    pub fn ack_wait(self, ack_wait: Duration) -> Self {
        Self { ack_wait, ..self }
    }

    /// Looks into its store or changes it, and wakes those that wait for messages.
    ///
    /// # Panics
    /// If a caller of it has panicked before.
    pub fn with<T>(&self, change: impl FnOnce(&mut Store, Duration) -> T) -> T {
        let now = self.clock.monotonic();
        let result =
            change(&mut self.inner.store.lock().expect("nobody panics while holding the store"), now);
        self.inner.arrived.notify_waiters();
        result
    }

    /// Waits for a command and takes it; it comes again unless it is [acknowledged](Queue::acknowledge).
    pub async fn next_command(&self) -> (u64, CommandMessage) {
        self.next(|store, now, again_at, draw| {
            let queue = &mut store.commands;
            let ready = queue.ready(now, |_| true);
            queue.take(at_random(ready, draw), now, again_at, |_| true).ok_or(queue.next_at(|_| true))
        })
        .await
    }

    /// Waits until `take` finds something; it is told the time, when the message comes again, and a draw.
    async fn next<T>(
        &self,
        take: impl Fn(&mut Store, Duration, Duration, f64) -> Result<T, Option<Duration>>,
    ) -> T {
        loop {
            let mut arrived = pin!(self.inner.arrived.notified());
            arrived.as_mut().enable();
            let now = self.clock.monotonic();
            let found = {
                let mut store = self.inner.store.lock().expect("nobody panics while holding the store");
                take(&mut store, now, now + self.ack_wait, self.clock.jitter())
            };
            match found {
                Ok(found) => return found,
                Err(None) => arrived.await,
                Err(Some(next_at)) => tokio::select! {
                    biased;
                    () = arrived => {}
                    () = self.clock.sleep(next_at.saturating_sub(now)) => {}
                },
            }
        }
    }
}

/// One of so many, by a draw from `0.0..1.0`.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    clippy::cast_precision_loss,
    reason = "a queue in memory is short"
)]
fn at_random(ready: usize, draw: f64) -> usize {
    ((ready as f64 * draw) as usize).min(ready.saturating_sub(1))
}

impl<C: Clock> Bus for MemoryBus<C> {
    type Replies = MemoryReplies<C>;
    type Letters = MemoryLetters<C>;
    type Incarnation = u64;

    async fn publish(&self, commands: &[CommandMessage]) -> Vec<NotSent> {
        self.with(|store, now| {
            commands.iter().for_each(|command| store.commands.publish(command.clone(), now));
        });
        Vec::new()
    }

    async fn tell(&self, notifications: Vec<NotificationMessage>) {
        self.with(|store, _| store.notifications.extend(notifications));
    }

    async fn tell_ended(&self, sagas: &[SagaId]) {
        // Without a coordinator that hears it, it is lost.
        let _ = self.inner.ended.send(sagas.to_vec());
    }

    async fn hear_ended(&self, mut heard: impl FnMut(Vec<SagaId>) + Send) {
        let mut told = self.inner.ended.subscribe();
        loop {
            match told.recv().await {
                Ok(sagas) => heard(sagas),
                Err(RecvError::Lagged(_)) => {}
                Err(RecvError::Closed) => return,
            }
        }
    }

    fn replies(&self, saga: &Name, version: u32) -> MemoryReplies<C> {
        MemoryReplies { bus: self.clone(), saga: saga.clone(), version }
    }

    fn letters(&self) -> MemoryLetters<C> {
        MemoryLetters(self.clone())
    }

    fn carries(&self, subject: &str) -> bool {
        subject.starts_with("reply.")
    }

    /// Replies alone: a command has no other form here than its value.
    async fn replay(&self, _: String, message: &RawMessage) -> Result<(), Unsent> {
        let unsendable = || Unsent::Unsendable { reason: "it is no reply".to_owned() };
        let reply = read_reply(message).ok_or_else(unsendable)?;
        self.with(|store, now| store.replies.publish(reply, now));
        Ok(())
    }

    fn health(&self) -> BusHealth {
        BusHealth::Connected
    }

    async fn incarnation(&self) -> Option<u64> {
        Some(self.with(|store, _| store.incarnation))
    }

    async fn flush(&self) {}

    fn is_alive(&self) -> bool {
        true
    }

    fn raw_reply(&self, reply: &ReplyMessage) -> RawMessage {
        let payload = serde_json::to_vec(&reply.outcome).unwrap_or_default();
        let headers = vec![
            ("Idempotency-Key".to_owned(), reply.key.to_string()),
            ("attempt".to_owned(), reply.attempt.to_string()),
        ];
        RawMessage {
            subject: format!("reply.{}.{}.{}", reply.service, reply.saga, reply.version),
            headers,
            payload,
        }
    }
}

/// A reply that was written by [`Bus::raw_reply`].
fn read_reply(message: &RawMessage) -> Option<ReplyMessage> {
    let mut names = message.subject.strip_prefix("reply.")?.split('.');
    let header = |wanted| message.headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value);
    Some(ReplyMessage {
        service: Name::new(names.next()?).ok()?,
        saga: Name::new(names.next()?).ok()?,
        version: names.next()?.parse().ok()?,
        key: header("Idempotency-Key")?.parse().ok()?,
        attempt: header("attempt")?.parse().ok()?,
        outcome: serde_json::from_slice(&message.payload).ok()?,
    })
}

/// A consumer of the replies to the sagas of one definition.
#[derive(Debug)]
pub struct MemoryReplies<C> {
    bus: MemoryBus<C>,
    saga: Name,
    version: u32,
}

impl<C: Clock> Replies for MemoryReplies<C> {
    type Acknowledge = MemoryAcknowledge<C>;

    async fn next_batch(&mut self, max: usize) -> Vec<Incoming<Self::Acknowledge>> {
        let is_ours = |reply: &ReplyMessage| reply.saga == self.saga && reply.version == self.version;
        let taken = self.bus.next(|store, now, again_at, draw| {
            let mut taken = Vec::new();
            while taken.len() < max {
                let ready = store.replies.ready(now, is_ours);
                let Some(next) = store.replies.take(at_random(ready, draw), now, again_at, is_ours) else {
                    break;
                };
                taken.push(next);
            }
            if taken.is_empty() { Err(store.replies.next_at(is_ours)) } else { Ok(taken) }
        });
        let incoming = |(token, reply)| Incoming {
            message: Ok(reply),
            lag: Lag::Unknown,
            acknowledge: MemoryAcknowledge { bus: self.bus.clone(), token },
        };
        taken.await.into_iter().map(incoming).collect()
    }
}

/// The right to settle a reply.
#[derive(Debug)]
pub struct MemoryAcknowledge<C> {
    bus: MemoryBus<C>,
    token: u64,
}

impl<C: Clock> Acknowledge for MemoryAcknowledge<C> {
    async fn ack(&self) {
        self.bus.with(|store, _| store.replies.acknowledge(self.token));
    }

    async fn nak(&self, pause: Duration) {
        self.bus.with(|store, now| store.replies.give_back(self.token, now + pause));
    }

    async fn term(&self) {
        self.bus.with(|store, _| store.replies.acknowledge(self.token));
    }
}

/// A consumer of dead letters.
#[derive(Debug)]
pub struct MemoryLetters<C>(MemoryBus<C>);

impl<C: Clock> Letters for MemoryLetters<C> {
    type Acknowledge = MemoryLetterAcknowledge<C>;

    async fn next_batch(&mut self, max: usize) -> Vec<TakenLetter<Self::Acknowledge>> {
        let taken = self.0.next(|store, now, again_at, _| {
            let mut taken = Vec::new();
            while taken.len() < max {
                let Some(next) = store.letters.take(0, now, again_at, |_| true) else { break };
                taken.push(next);
            }
            if taken.is_empty() { Err(store.letters.next_at(|_| true)) } else { Ok(taken) }
        });
        let of_bus = |(token, letter)| TakenLetter {
            letter,
            acknowledge: MemoryLetterAcknowledge { bus: self.0.clone(), token },
        };
        taken.await.into_iter().map(of_bus).collect()
    }
}

/// The right to settle a letter.
#[derive(Debug)]
pub struct MemoryLetterAcknowledge<C> {
    bus: MemoryBus<C>,
    token: u64,
}

impl<C: Clock> Acknowledge for MemoryLetterAcknowledge<C> {
    async fn ack(&self) {
        self.bus.with(|store, _| store.letters.acknowledge(self.token));
    }

    async fn nak(&self, pause: Duration) {
        self.bus.with(|store, now| store.letters.give_back(self.token, now + pause));
    }

    async fn term(&self) {
        self.bus.with(|store, _| store.letters.acknowledge(self.token));
    }
}
