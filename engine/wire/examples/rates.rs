//! How fast the wire is: publish, consume and acknowledge small messages on a private server.
//!
//! `cargo run --release -p redress-wire --example rates [messages] [burst]`

#![expect(clippy::print_stdout, reason = "a measurement is printed")]

use std::time::{Duration, Instant};

use redress_core::{CommandMessage, IdempotencyKey, JsonText, Name, Phase, SagaId};
use redress_devstack::{Stack, StackConfig};
use redress_wire::{Consumer, Topology, Wire, WireConfig};
use uuid::Uuid;

type Failure = Box<dyn std::error::Error>;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let mut arguments = std::env::args().skip(1);
    let messages: usize = arguments.next().map_or(Ok(20_000), |text| text.parse())?;
    let burst: usize = arguments.next().map_or(Ok(500), |text| text.parse())?;
    let options = StackConfig { postgres: false, ..StackConfig::default() };
    let stack = Stack::start(options, &|line| println!("{line}")).await?;
    let wire = Wire::connect(&stack.nats().url(), Topology::new("rates")?, WireConfig::default()).await?;
    let commands = (0..messages).map(command).collect::<Result<Vec<_>, Failure>>()?;

    println!("{messages} messages in bursts of {burst}, nats-server {}", wire.server_version());
    let mut till = wire.commands(&Name::new("till")?);
    let watch = Instant::now();
    publish(&wire, &commands, burst).await?;
    told("publish", messages, watch.elapsed());
    let watch = Instant::now();
    let batches = consume(&mut till, messages, burst).await;
    told("consume and acknowledge", messages, watch.elapsed());
    println!("  in {batches} batches");

    let again: Vec<CommandMessage> =
        commands.into_iter().map(|command| CommandMessage { attempt: 2, ..command }).collect();
    let watch = Instant::now();
    let (published, _) = tokio::join!(publish(&wire, &again, burst), consume(&mut till, messages, burst));
    published?;
    told("all at the same time", messages, watch.elapsed());
    stack.stop().await;
    Ok(())
}

async fn publish(wire: &Wire, commands: &[CommandMessage], burst: usize) -> Result<(), Failure> {
    for burst in commands.chunks(burst) {
        for result in wire.publish_commands(burst).await {
            result?;
        }
    }
    Ok(())
}

async fn consume(till: &mut Consumer<CommandMessage>, messages: usize, burst: usize) -> usize {
    let (mut left, mut batches) = (messages, 0);
    while left > 0 {
        let batch = till.next_batch(burst).await;
        for delivery in &batch {
            delivery.handle().ack().await;
        }
        left = left.saturating_sub(batch.len());
        batches += 1;
    }
    batches
}

fn told(what: &str, messages: usize, took: Duration) {
    println!("{what}: {:.0}/s", messages as f64 / took.as_secs_f64());
}

fn command(number: usize) -> Result<CommandMessage, Failure> {
    Ok(CommandMessage {
        key: IdempotencyKey {
            saga_id: SagaId(Uuid::from_u128(number as u128 + 1)),
            step: Name::new("charge-payment")?,
            phase: Phase::Action,
            generation: 1,
        },
        attempt: 1,
        saga: Name::new("place-order")?,
        version: 1,
        service: Name::new("till")?,
        command: Name::new("charge")?,
        action_sent_at: "2026-11-23T10:11:12.345678Z".parse()?,
        fault: None,
        traceparent: None,
        payload: JsonText::parse(br#"{"payment":"0190163d-8694-739b-aea5-966c26f8ad91","amount":3000}"#)?,
    })
}
