//! The bus as a coordinator has it in a storm: it refuses, does not answer, loses acknowledgements, and may be away. A
//! planted bug of taking and acknowledging is one of this wrapper.

use std::time::Duration;

use redress_coordinator::ports::{Acknowledge, Bus, BusHealth, Incoming, RawMessage, Replies};
use redress_core::decide::{NotSent, Unsent};
use redress_core::message::NotificationMessage;
use redress_core::{CommandMessage, Name, ReplyMessage};

use super::clock::SimulatedClock;
use super::life::Life;
use super::mutants::Mutation;
use super::stage::Stage;
use crate::memory::{MemoryAcknowledge, MemoryBus, MemoryLetters, MemoryReplies};

/// The likelihood, in 256, that an acknowledgement is lost.
const ACKNOWLEDGEMENT_LOST: u8 = 10;
/// The most replies that a consumer is given at once.
const BATCH_MAX: usize = 3;

/// The bus of one coordinator.
#[derive(Clone)]
pub(super) struct StormyBus {
    stage: Stage,
    life: Life,
    inner: MemoryBus<SimulatedClock>,
    mutation: Option<Mutation>,
}

impl StormyBus {
    pub(super) fn new(stage: &Stage, life: &Life) -> Self {
        let (inner, mutation) = stage.with(|world| (world.bus.clone(), world.mutation));
        Self { stage: stage.clone(), life: life.clone(), inner, mutation }
    }
}

impl Bus for StormyBus {
    type Replies = StormyReplies;
    type Letters = MemoryLetters<SimulatedClock>;
    type Incarnation = u64;

    async fn publish(&self, commands: &[CommandMessage]) -> Vec<NotSent> {
        let mut not_sent = Vec::new();
        for command in commands {
            // It may die after any of them.
            self.stage.moment(&self.life).await;
            not_sent.extend(self.stage.with(|world| world.publish(command)));
        }
        self.stage.moment(&self.life).await;
        not_sent
    }

    async fn tell(&self, notifications: Vec<NotificationMessage>) {
        self.life.go_on().await;
        self.inner.tell(notifications).await;
    }

    fn replies(&self, saga: &Name, version: u32) -> StormyReplies {
        StormyReplies { bus: self.clone(), inner: self.inner.replies(saga, version) }
    }

    fn letters(&self) -> MemoryLetters<SimulatedClock> {
        self.inner.letters()
    }

    fn carries(&self, subject: &str) -> bool {
        self.inner.carries(subject)
    }

    async fn replay(&self, message_id: String, message: &RawMessage) -> Result<(), Unsent> {
        self.life.go_on().await;
        self.inner.replay(message_id, message).await
    }

    fn health(&self) -> BusHealth {
        let is_away = self.stage.with(|world| world.broker_is_away());
        if is_away { BusHealth::Disconnected } else { BusHealth::Connected }
    }

    async fn incarnation(&self) -> Option<u64> {
        self.life.go_on().await;
        if self.stage.with(|world| world.broker_is_away()) { None } else { self.inner.incarnation().await }
    }

    async fn flush(&self) {}

    fn is_alive(&self) -> bool {
        true
    }

    fn raw_reply(&self, reply: &ReplyMessage) -> RawMessage {
        self.inner.raw_reply(reply)
    }
}

/// A consumer of replies in a storm.
pub(super) struct StormyReplies {
    bus: StormyBus,
    inner: MemoryReplies<SimulatedClock>,
}

impl Replies for StormyReplies {
    type Acknowledge = StormyAcknowledge;

    async fn next_batch(&mut self, max: usize) -> Vec<Incoming<StormyAcknowledge>> {
        loop {
            let most = self.bus.stage.with(|world| world.rng.usize(1..=BATCH_MAX));
            let batch = self.inner.next_batch(most.min(max)).await;
            self.bus.life.go_on().await;
            let away = self.bus.stage.with(|world| world.broker_is_away_for());
            let mut batch: Vec<_> = batch.into_iter().map(|taken| self.incoming(taken)).collect();
            if away.is_zero() {
                self.mutate(&mut batch).await;
                return batch;
            }
            // What was under way when the broker went comes again when it is back.
            for taken in &batch {
                taken.acknowledge.inner.nak(away).await;
            }
        }
    }
}

impl StormyReplies {
    fn incoming(&self, taken: Incoming<MemoryAcknowledge<SimulatedClock>>) -> Incoming<StormyAcknowledge> {
        let Incoming { message, lag, acknowledge: inner } = taken;
        let reply = message.as_ref().ok().cloned();
        Incoming { message, lag, acknowledge: StormyAcknowledge { bus: self.bus.clone(), inner, reply } }
    }

    /// Plays the planted bug, if it is one of taking.
    async fn mutate(&self, batch: &mut Vec<Incoming<StormyAcknowledge>>) {
        match self.bus.mutation {
            Some(Mutation::AcknowledgeBeforeCommit) => {
                for taken in batch {
                    taken.acknowledge.ack().await;
                }
            }
            Some(Mutation::LoseAReply) if batch.len() > 1 => {
                if let Some(lost) = batch.pop() {
                    lost.acknowledge.ack().await;
                }
            }
            _ => {}
        }
    }
}

/// The right to settle a reply, in a storm.
pub(super) struct StormyAcknowledge {
    bus: StormyBus,
    inner: MemoryAcknowledge<SimulatedClock>,
    reply: Option<ReplyMessage>,
}

impl Acknowledge for StormyAcknowledge {
    async fn ack(&self) {
        self.bus.stage.moment(&self.bus.life).await;
        let is_lost = self.bus.stage.with(|world| {
            if let Some(reply) = &self.reply {
                world.check_acknowledged(reply);
            }
            world.broker_is_away() || world.strikes(ACKNOWLEDGEMENT_LOST, "acknowledgement lost")
        });
        if !is_lost {
            self.inner.ack().await;
        }
    }

    async fn nak(&self, pause: Duration) {
        self.bus.life.go_on().await;
        self.inner.nak(pause).await;
    }

    async fn term(&self) {
        self.bus.life.go_on().await;
        self.inner.term().await;
    }
}
