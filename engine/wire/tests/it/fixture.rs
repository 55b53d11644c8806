//! The fixture of a test: a server, a prefix of its own, and messages to send.

use std::future::Future;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use async_nats::jetstream::{self, consumer::PullConsumer};
use futures_util::TryStreamExt;
use redress_core::{CommandMessage, IdempotencyKey, JsonText, Name, Outcome, Phase, ReplyMessage, SagaId};
use redress_devstack::{Data, Durability, Stack, StackConfig};
use redress_wire::{Delivery, Topology, Wire, WireConfig};
use uuid::Uuid;

/// Longer than any of these tests takes when all is well.
const PATIENCE: Duration = Duration::from_secs(30);

/// Room for the largest of these tests, in bytes; the server sets it aside for every stream.
pub(crate) const STREAM_BYTES_MAX: i64 = 8 << 20;

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Waits for something that must happen.
pub(crate) async fn soon<T>(what: &str, happens: impl Future<Output = T>) -> T {
    match tokio::time::timeout(PATIENCE, happens).await {
        Ok(value) => value,
        Err(_) => panic!("waited in vain: {what}"),
    }
}

/// A prefix that no other test has.
pub(crate) fn prefix() -> String {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    format!("wire-{}-{}", std::process::id(), COUNTER.fetch_add(1, Ordering::Relaxed))
}

/// Acknowledgements are waited for longer than the test takes: a message that comes again comes for another reason.
pub(crate) fn wire_config() -> WireConfig {
    WireConfig {
        ack_wait: Duration::from_secs(60),
        stream_bytes_max: STREAM_BYTES_MAX,
        ..WireConfig::for_tests()
    }
}

/// A wire under a prefix of its own on the shared server.
pub(crate) async fn wire() -> Wire {
    wire_with(wire_config()).await
}

pub(crate) async fn wire_with(config: WireConfig) -> Wire {
    wire_of(&redress_devstack::shared().await.nats().url(), &prefix(), config).await
}

pub(crate) async fn wire_of(url: &str, prefix: &str, config: WireConfig) -> Wire {
    soon("a connection", Wire::connect(url, Topology::new(prefix).unwrap(), config)).await.unwrap()
}

/// A server of its own, to be stopped, killed and wiped.
pub(crate) async fn own_server() -> Stack {
    let options =
        StackConfig { durability: Durability::Relaxed, data: Data::Ephemeral, postgres: false, nats: true };
    Stack::start(options, &|line| eprintln!("{line}")).await.unwrap()
}

/// JetStream on a connection beside the wire's.
pub(crate) async fn beside(url: &str) -> jetstream::Context {
    let address: async_nats::ServerAddr = url.parse().unwrap();
    let [user, password] = [address.username(), address.password()].map(|part| part.unwrap().to_owned());
    let options = async_nats::ConnectOptions::with_user_and_password(user, password);
    jetstream::new(options.connect(address).await.unwrap())
}

/// The same, on the shared server.
pub(crate) async fn beside_shared() -> jetstream::Context {
    beside(&redress_devstack::shared().await.nats().url()).await
}

/// The number of messages that a stream holds, beside its anchor.
pub(crate) async fn stored(context: &jetstream::Context, stream: &str) -> u64 {
    by_subject(context, stream)
        .await
        .iter()
        .filter(|(subject, _)| !subject.ends_with(".anchor"))
        .map(|s| s.1)
        .sum()
}

/// The number of anchors that a stream has.
pub(crate) async fn anchors(context: &jetstream::Context, stream: &str) -> u64 {
    by_subject(context, stream)
        .await
        .iter()
        .filter(|(subject, _)| subject.ends_with(".anchor"))
        .map(|s| s.1)
        .sum()
}

async fn by_subject(context: &jetstream::Context, stream: &str) -> Vec<(String, u64)> {
    let stream = context.get_stream(stream).await.unwrap();
    let subjects = stream.info_with_subjects(">").await.unwrap();
    subjects.map_ok(|(subject, messages)| (subject, messages as u64)).try_collect().await.unwrap()
}

/// Waits until no request for messages of the consumer is open at the server.
pub(crate) async fn until_nobody_waits(context: &jetstream::Context, stream: &str, durable: &str) {
    let stream = context.get_stream(stream).await.unwrap();
    let consumer = async || -> PullConsumer { stream.get_consumer(durable).await.unwrap() };
    soon("nobody waits", async { while consumer().await.cached_info().num_waiting > 0 {} }).await;
}

/// Waits until the server has sent `messages` to the consumer that are not acknowledged.
pub(crate) async fn until_sent(context: &jetstream::Context, stream: &str, durable: &str, messages: usize) {
    let stream = context.get_stream(stream).await.unwrap();
    soon("the messages are sent", async {
        loop {
            let consumer: Option<PullConsumer> = stream.get_consumer(durable).await.ok();
            if consumer.is_some_and(|consumer| consumer.cached_info().num_ack_pending == messages) {
                break;
            }
        }
    })
    .await;
}

/// The command of saga number `saga` to the till.
pub(crate) fn command(saga: u32) -> CommandMessage {
    CommandMessage {
        key: IdempotencyKey {
            saga_id: SagaId(Uuid::from_u128(u128::from(saga) + 1)),
            step: name("charge-payment"),
            phase: Phase::Action,
            generation: 1,
        },
        attempt: 1,
        saga: name("place-order"),
        version: 1,
        service: name("till"),
        command: name("charge"),
        action_sent_at: "2026-11-23T10:11:12.345678Z".parse().unwrap(),
        fault: None,
        traceparent: None,
        payload: JsonText::of(&saga).unwrap(),
    }
}

pub(crate) fn commands(sagas: std::ops::Range<u32>) -> Vec<CommandMessage> {
    sagas.map(command).collect()
}

/// The reply to a command.
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

/// Publishes commands that must be stored.
pub(crate) async fn publish(wire: &Wire, commands: &[CommandMessage]) {
    for result in soon("the commands are stored", wire.publish_commands(commands)).await {
        result.unwrap();
    }
}

/// The numbers of the sagas whose commands came.
pub(crate) fn sagas(batch: &[Delivery<CommandMessage>]) -> Vec<u32> {
    batch.iter().map(|delivery| delivery.message.as_ref().unwrap().payload.read().unwrap()).collect()
}
