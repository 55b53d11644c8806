//! The effects of settling a message: acknowledged, put back, worked on, given up.

use std::time::Duration;

use redress_wire::WireConfig;

use crate::fixture::{
    beside_shared, command, commands, name, publish, sagas, soon, stored, wire, wire_config, wire_with,
};

async fn until_stored(wire: &redress_wire::Wire, messages: u64) {
    let context = beside_shared().await;
    let stream = wire.topology().commands_stream();
    soon("the stream shrinks", async { while stored(&context, &stream).await != messages {} }).await;
}

#[tokio::test]
async fn acknowledged_message_is_gone_and_unacknowledged_comes_again() {
    let wire = wire_with(WireConfig { ack_wait: Duration::from_millis(500), ..wire_config() }).await;
    publish(&wire, &commands(0..2)).await;
    let mut till = wire.commands(&name("till"));
    let mut seen = Vec::new();
    while seen.len() < 2 {
        for delivery in soon("both", till.next_batch(9)).await {
            if sagas(std::slice::from_ref(&delivery)) == [0] {
                delivery.handle().ack().await;
            }
            seen.push(delivery);
        }
    }
    let again = soon("the other", till.next_batch(9)).await;
    assert_eq!(sagas(&again), [1]);
    assert_eq!(again[0].deliveries, 2);
    assert!(wire.stats().redeliveries.load(std::sync::atomic::Ordering::Relaxed) >= 1);
    again[0].handle().ack().await;
    until_stored(&wire, 0).await;
}

#[tokio::test]
async fn message_put_back_comes_again_after_its_pause() {
    let wire = wire().await;
    publish(&wire, &[command(0)]).await;
    let mut till = wire.commands(&name("till"));
    soon("the command", till.next_batch(9)).await[0].handle().nak(Duration::from_millis(200)).await;
    let again = soon("the command again", till.next_batch(9)).await;
    assert_eq!(again[0].deliveries, 2);
    again[0].handle().nak(Duration::ZERO).await;
    assert_eq!(soon("the command again", till.next_batch(9)).await[0].deliveries, 3);
}

#[tokio::test]
async fn message_in_work_does_not_come_again() {
    let ack_wait = Duration::from_millis(600);
    let wire = wire_with(WireConfig { ack_wait, ..wire_config() }).await;
    publish(&wire, &[command(0)]).await;
    let mut till = wire.commands(&name("till"));
    let batch = soon("the command", till.next_batch(9)).await;
    let mut ticks = tokio::time::interval(ack_wait / 4);
    for _ in 0..10 {
        tokio::select! {
            again = till.next_batch(9) => panic!("{:?} came again", sagas(&again)),
            _ = ticks.tick() => batch[0].handle().in_progress().await,
        }
    }
    let again = soon("the command again", till.next_batch(9)).await;
    assert_eq!(again[0].deliveries, 2);
}

#[tokio::test]
async fn message_given_up_is_gone_and_leaves_advisory() {
    let wire = wire().await;
    publish(&wire, &[command(0)]).await;
    let mut till = wire.commands(&name("till"));
    soon("the command", till.next_batch(9)).await[0].handle().term().await;
    until_stored(&wire, 0).await;
    let context = beside_shared().await;
    let dead_letters = wire.topology().dead_letters_stream();
    soon("the advisory", async { while stored(&context, &dead_letters).await != 1 {} }).await;
}
