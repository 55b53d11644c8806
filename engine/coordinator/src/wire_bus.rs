//! JetStream as the coordinator's bus.

use std::time::Duration;

use redress_core::decide::{NotSent, Unsent};
use redress_core::message::NotificationMessage;
use redress_core::{CommandMessage, Name, ReplyMessage};
use redress_wire::delivery::AckHandle;
use redress_wire::headers::{of_reply, to_text};
use redress_wire::streams::Incarnation;
use redress_wire::{Consumer, Delivery, Malformed, PublishError, Wire, WireHealth};

use crate::ports::{Acknowledge, Bus, BusHealth, DeadLetter, Incoming, RawMessage, Replies};

impl Bus for Wire {
    type Replies = Consumer<ReplyMessage>;
    type Incarnation = Incarnation;

    async fn publish(&self, commands: &[CommandMessage]) -> Vec<NotSent> {
        let results = self.publish_commands(commands).await;
        let failed = commands.iter().zip(results).filter_map(|(command, result)| {
            let why = unsent(&result.err()?);
            tracing::debug!(key = %command.key, reason = why.reason(), "command not stored");
            Some(NotSent { key: command.key.clone(), attempt: command.attempt, why })
        });
        failed.collect()
    }

    async fn tell(&self, notifications: Vec<NotificationMessage>) {
        self.notify(&notifications).await;
    }

    fn replies(&self, saga: &Name, version: u32) -> Self::Replies {
        Self::replies(self, saga, version)
    }

    fn health(&self) -> BusHealth {
        match Self::health(self) {
            WireHealth::Connected => BusHealth::Connected,
            WireHealth::Disconnected => BusHealth::Disconnected,
            WireHealth::Strange => BusHealth::Strange,
        }
    }

    async fn incarnation(&self) -> Option<Incarnation> {
        Self::incarnation(self).await.ok()
    }

    async fn flush(&self) {
        Self::flush(self).await;
    }

    fn is_alive(&self) -> bool {
        Self::is_alive(self)
    }

    fn raw_reply(&self, reply: &ReplyMessage) -> RawMessage {
        let (headers, payload) = of_reply(reply);
        RawMessage { subject: self.topology().reply_subject(reply), headers: to_text(&headers), payload }
    }
}

fn unsent(error: &PublishError) -> Unsent {
    let reason = error.to_string();
    match error {
        PublishError::TimedOut | PublishError::NoStream => Unsent::Unknown { reason },
        PublishError::StreamFull | PublishError::Refused(_) => Unsent::Refused { reason },
        PublishError::TooLarge { .. } => Unsent::Unsendable { reason },
    }
}

impl Replies for Consumer<ReplyMessage> {
    type Acknowledge = AckHandle;

    async fn next_batch(&mut self, max: usize) -> Vec<Incoming<AckHandle>> {
        Self::next_batch(self, max).await.into_iter().map(incoming).collect()
    }
}

fn incoming(delivery: Delivery<ReplyMessage>) -> Incoming<AckHandle> {
    let (message, _, acknowledge) = delivery.split();
    Incoming { message: message.map_err(letter), acknowledge }
}

fn letter(malformed: Malformed) -> DeadLetter {
    DeadLetter {
        saga_id: malformed.address.map(|address| address.key.saga_id),
        reason: malformed.reason,
        subject: malformed.subject,
        headers: malformed.headers,
        payload: malformed.payload,
    }
}

impl Acknowledge for AckHandle {
    async fn ack(&self) {
        Self::ack(self).await;
    }

    async fn nak(&self, pause: Duration) {
        Self::nak(self, pause).await;
    }

    async fn term(&self) {
        Self::term(self).await;
    }
}
