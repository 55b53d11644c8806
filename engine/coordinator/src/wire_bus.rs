//! JetStream as the coordinator's bus.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use redress_core::decide::{NotSent, Unsent};
use redress_core::message::NotificationMessage;
use redress_core::{CommandMessage, IdempotencyKey, Name, ReplyMessage, SagaId};
use redress_wire::delivery::AckHandle;
use redress_wire::headers::{of_reply, to_text};
use redress_wire::streams::Incarnation;
use redress_wire::{Consumer, DeadLetters, Delivery, Malformed, Position, PublishError, Wire, WireHealth};
use uuid::Uuid;

use crate::ports::{
    Acknowledge, Backlog, Bus, BusHealth, COORDINATOR, DeadLetter, Incoming, Lag, Letters, RawMessage,
    Replies, TakenLetter, Traffic,
};

impl Bus for Wire {
    type Replies = Consumer<ReplyMessage>;
    type Letters = DeadLetters;
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

    async fn tell_ended(&self, sagas: &[SagaId]) {
        Self::tell_ended(self, sagas).await;
    }

    async fn hear_ended(&self, heard: impl FnMut(Vec<SagaId>) + Send) {
        Self::hear_ended(self, heard).await;
    }

    fn replies(&self, saga: &Name, version: u32) -> Self::Replies {
        Self::replies(self, saga, version)
    }

    fn letters(&self) -> DeadLetters {
        self.dead_letters()
    }

    fn carries(&self, subject: &str) -> bool {
        self.topology().carries(subject)
    }

    async fn replay(&self, message_id: String, message: &RawMessage) -> Result<(), Unsent> {
        let RawMessage { subject, headers, payload } = message;
        Self::replay(self, message_id, subject, headers, payload).await.map_err(|error| unsent(&error))
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

    async fn backlog(&self, service: &Name) -> Option<Backlog> {
        match Self::backlog(self, service).await {
            // A service that never ran here has nothing in hand.
            Ok(found) => Some(found.map_or_else(Backlog::default, |it| Backlog {
                requests: it.requests,
                pending: it.pending,
                in_flight: it.in_flight,
                delivered: it.delivered,
            })),
            Err(error) => {
                tracing::debug!(%service, %error, "the broker does not say what waits for the service");
                None
            }
        }
    }

    fn traffic(&self) -> Traffic {
        let stats = self.stats();
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Traffic {
            published: read(&stats.published),
            publish_failures: read(&stats.publish_failures),
            redeliveries: read(&stats.redeliveries),
            reconnects: read(&stats.reconnects),
            rebuilds: read(&stats.rebuilds),
        }
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
    let lag = match delivery.position {
        Some(_) if delivery.deliveries > 1 => Lag::Unknown,
        Some(Position { pending: 0, .. }) => Lag::CaughtUp,
        Some(Position { published_at, .. }) => Lag::Behind { published_at },
        None => Lag::Unknown,
    };
    let (message, _, acknowledge) = delivery.split();
    Incoming { message: message.map_err(letter), lag, acknowledge }
}

fn letter(malformed: Malformed) -> DeadLetter {
    DeadLetter {
        id: Uuid::now_v7(),
        source: COORDINATOR.to_owned(),
        code: malformed.code,
        saga_id: malformed.address.map(|address| address.key.saga_id),
        reason: malformed.reason,
        subject: malformed.subject,
        headers: malformed.headers,
        payload: malformed.payload,
        missing: None,
    }
}

impl Letters for DeadLetters {
    type Acknowledge = AckHandle;

    async fn next_batch(&mut self, max: usize) -> Vec<TakenLetter<AckHandle>> {
        let taken = Self::next_batch(self, max).await.into_iter();
        taken.map(|(letter, acknowledge)| TakenLetter { letter: of_service(letter), acknowledge }).collect()
    }
}

fn of_service(letter: redress_wire::DeadLetter) -> DeadLetter {
    let redress_wire::DeadLetter { id, service, code, subject, reason, headers, payload, missing } = letter;
    let key = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("Idempotency-Key"));
    let saga_id = key.and_then(|(_, key)| key.parse::<IdempotencyKey>().ok()).map(|key| key.saga_id);
    let source = service.to_string();
    DeadLetter { id, source, code, saga_id, reason, subject, headers, payload, missing }
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
