//! The port of the broker: commands out, replies in.

use std::future::Future;
use std::time::Duration;

use redress_core::decide::{NotSent, Unsent};
use redress_core::message::NotificationMessage;
use redress_core::{CommandMessage, Name, ReplyMessage, SagaId, Timestamp};

use super::data::DeadLetter;

/// The bus that carries commands to participants and their replies back. Cheap to clone.
///
/// It may lose, double, delay and reorder what it carries; nothing depends on it but how soon a saga ends.
pub trait Bus: Clone + Send + Sync + 'static {
    /// One consumer of replies.
    type Replies: Replies;
    /// One consumer of dead letters.
    type Letters: Letters;
    /// Names the store in which messages are kept: another one is a store that has lost them.
    type Incarnation: PartialEq + Send + Sync;

    /// Publishes commands whose decision is committed, and returns those that are not known to be stored: those are no
    /// attempts.
    fn publish(&self, commands: &[CommandMessage]) -> impl Future<Output = Vec<NotSent>> + Send;

    /// Sends notifications whose decision is committed: once, delivered or not.
    fn tell(&self, notifications: Vec<NotificationMessage>) -> impl Future<Output = ()> + Send;

    /// Tells the other coordinators of sagas whose end, or whose parking, is committed: a hint for their callers, sent at
    /// once or not at all. A bus without it is sound: a caller then hears half a second later of an end elsewhere.
    fn tell_ended(&self, sagas: &[SagaId]) -> impl Future<Output = ()> + Send {
        let _ = sagas;
        std::future::ready(())
    }

    /// Hands on the sagas of which coordinators tell, this one or others, until it is dropped. They may be lost, come
    /// twice, or be sagas that go on: a hint says where to look, and the journal what is so. `heard` does not wait.
    fn hear_ended(&self, heard: impl FnMut(Vec<SagaId>) + Send) -> impl Future<Output = ()> + Send {
        let _ = heard;
        std::future::pending()
    }

    /// A consumer of the replies to the sagas of one definition; all consumers of a definition share its replies.
    fn replies(&self, saga: &Name, version: u32) -> Self::Replies;

    /// A consumer of the dead letters of services; all consumers share them.
    fn letters(&self) -> Self::Letters;

    /// Returns true if commands or replies travel on this subject.
    fn carries(&self, subject: &str) -> bool;

    /// Publishes a message that was given up again, as it came; one of the same `message_id` may be stored once only.
    ///
    /// # Errors
    /// Why it is not known to be stored.
    fn replay(
        &self,
        message_id: String,
        message: &RawMessage,
    ) -> impl Future<Output = Result<(), Unsent>> + Send;

    /// The connection's health, which costs nothing to ask.
    fn health(&self) -> BusHealth;

    /// The store that holds the messages; `None` if the broker gives no answer. May wait for it for ever.
    fn incarnation(&self) -> impl Future<Output = Option<Self::Incarnation>> + Send;

    /// Waits until the acknowledgements that were sent have left this process.
    fn flush(&self) -> impl Future<Output = ()> + Send;

    /// Returns true if this process can go on by itself: if not, a new one must take its place.
    fn is_alive(&self) -> bool;

    /// What waits for a service at the broker; `None` if the broker does not say, or this bus cannot. May wait for it for
    /// ever.
    fn backlog(&self, service: &Name) -> impl Future<Output = Option<Backlog>> + Send {
        let _ = service;
        std::future::ready(None)
    }

    /// What the connection has carried, for the metrics.
    fn traffic(&self) -> Traffic {
        Traffic::default()
    }

    /// A reply as it travels: published again like this, it is the same reply.
    fn raw_reply(&self, reply: &ReplyMessage) -> RawMessage;
}

/// A consumer of replies.
pub trait Replies: Send + 'static {
    /// The right to settle a reply.
    type Acknowledge: Acknowledge;

    /// Waits for replies and takes those that are there, from one to `max` of them. May be dropped while it waits:
    /// then nothing was taken, or it comes again.
    fn next_batch(&mut self, max: usize) -> impl Future<Output = Vec<Incoming<Self::Acknowledge>>> + Send;
}

/// A consumer of dead letters.
pub trait Letters: Send + 'static {
    /// The right to settle a letter.
    type Acknowledge: Acknowledge;

    /// Waits for letters and takes those that are there, from one to `max` of them. May be dropped while it waits.
    fn next_batch(&mut self, max: usize) -> impl Future<Output = Vec<TakenLetter<Self::Acknowledge>>> + Send;
}

/// A letter that came, and the right to settle it.
#[derive(Debug)]
pub struct TakenLetter<A> {
    /// The letter.
    pub letter: DeadLetter,
    /// The right to settle it.
    pub acknowledge: A,
}

/// The right to settle a message. What is not settled comes again after a while, and what was settled may come again.
pub trait Acknowledge: Send + Sync + 'static {
    /// It is done: never again.
    fn ack(&self) -> impl Future<Output = ()> + Send;

    /// Not now: again after `pause`.
    fn nak(&self, pause: Duration) -> impl Future<Output = ()> + Send;

    /// Give it up: never again, though it was not done.
    fn term(&self) -> impl Future<Output = ()> + Send;
}

/// A reply that came, and the right to settle it.
#[derive(Debug)]
pub struct Incoming<A> {
    /// The reply, or the malformed message that came instead.
    pub message: Result<ReplyMessage, DeadLetter>,
    /// What it tells of the replies that wait.
    pub lag: Lag,
    /// The right to settle it.
    pub acknowledge: A,
}

/// How far a reply was behind when it was handed out. Time-outs wait for replies that are behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lag {
    /// It came before, or the bus does not say.
    Unknown,
    /// No other one waited behind it.
    CaughtUp,
    /// Others waited behind it.
    Behind {
        /// When it was published, by the bus's clock.
        published_at: Timestamp,
    },
}

/// A message as it travels.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RawMessage {
    /// The subject on which it travels.
    pub subject: String,
    /// Its headers.
    pub headers: Vec<(String, String)>,
    /// Its body.
    pub payload: Vec<u8>,
}

/// What waits for a service at the broker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backlog {
    /// Requests for commands that wait for some: of instances that live and are not busy.
    pub requests: u64,
    /// Commands that were not handed out yet.
    pub pending: u64,
    /// Commands that were handed out and are not settled.
    pub in_flight: u64,
    /// Commands handed out so far, once and again: it counts on while a service works.
    pub delivered: u64,
}

/// What a connection to the broker has carried since it was made.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Messages published and stored.
    pub published: u64,
    /// Publishes that failed.
    pub publish_failures: u64,
    /// Messages that came more than once.
    pub redeliveries: u64,
    /// Connections lost and made again.
    pub reconnects: u64,
    /// Consumers built anew.
    pub rebuilds: u64,
}

/// The health of the connection to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BusHealth {
    /// Connected.
    Connected,
    /// Not connected.
    Disconnected,
    /// Connected, and the store belongs to another installation.
    Strange,
}
