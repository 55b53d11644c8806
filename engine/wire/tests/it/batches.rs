//! The messages that a batch takes, and its bounds.

use redress_core::{CommandMessage, JsonText};
use redress_wire::WireConfig;

use crate::fixture::{
    beside_shared, command, commands, name, publish, sagas, soon, until_sent, wire, wire_config, wire_with,
};

#[tokio::test]
async fn batch_takes_all_waiting_messages_up_to_its_maximum() {
    let wire = wire().await;
    let mut till = wire.commands(&name("till"));
    publish(&wire, &commands(0..1_500)).await;
    let first = soon("a message", till.next_batch(1)).await;
    assert_eq!(sagas(&first), [0]);

    let stream = wire.topology().commands_stream();
    until_sent(&beside_shared().await, &stream, "till", 1_500).await;
    // The messages that the server sent before it answered this have arrived.
    wire.ensure_streams().await.unwrap();
    let second = soon("a batch", till.next_batch(1_000)).await;
    assert_eq!(sagas(&second), (1..1_001).collect::<Vec<_>>());
    let third = soon("a batch", till.next_batch(1_000)).await;
    assert_eq!(sagas(&third), (1_001..1_500).collect::<Vec<_>>());
}

#[tokio::test]
async fn instances_of_a_service_share_its_commands() {
    let wire = wire().await;
    let (mut one, mut other) = (wire.commands(&name("till")), wire.commands(&name("till")));
    let mut seen = Vec::new();
    for round in 0..20 {
        publish(&wire, &[command(round)]).await;
        let batch = tokio::select! {
            batch = soon("a message", one.next_batch(10)) => batch,
            batch = soon("a message", other.next_batch(10)) => batch,
        };
        for delivery in &batch {
            delivery.handle().ack().await;
        }
        seen.extend(sagas(&batch));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..20).collect::<Vec<_>>());
}

#[tokio::test]
async fn dropped_consumer_gives_back_unreturned_messages_at_once() {
    let wire = wire().await;
    let mut leaving = wire.commands(&name("till"));
    publish(&wire, &commands(0..100)).await;
    let kept = soon("a message", leaving.next_batch(1)).await;
    until_sent(&beside_shared().await, &wire.topology().commands_stream(), "till", 100).await;
    wire.ensure_streams().await.unwrap();
    drop(leaving);

    let mut staying = wire.commands(&name("till"));
    let mut seen = sagas(&kept);
    while seen.len() < 100 {
        seen.extend(sagas(&soon("the rest", staying.next_batch(100)).await));
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..100).collect::<Vec<_>>());
}

#[tokio::test]
async fn small_pull_does_not_starve() {
    let wire = wire_with(WireConfig { pull_messages_max: 10, ..wire_config() }).await;
    publish(&wire, &commands(0..300)).await;
    let mut till = wire.commands(&name("till"));
    let mut seen = Vec::new();
    while seen.len() < 300 {
        let batch = soon("a batch", till.next_batch(100)).await;
        for delivery in &batch {
            delivery.handle().ack().await;
        }
        seen.extend(sagas(&batch));
    }
    assert_eq!(seen, (0..300).collect::<Vec<_>>());
}

/// Commands of 200 KiB each.
fn heavy(sagas: std::ops::Range<u32>) -> Vec<CommandMessage> {
    let payload = JsonText::of(&"x".repeat(200 << 10)).unwrap();
    sagas.map(|saga| CommandMessage { payload: payload.clone(), ..command(saga) }).collect()
}

#[tokio::test]
async fn batch_is_bounded_by_bytes() {
    let wire = wire_with(WireConfig { batch_bytes_max: 512 << 10, ..wire_config() }).await;
    publish(&wire, &heavy(0..9)).await;
    let mut till = wire.commands(&name("till"));
    let mut seen = 0;
    while seen < 9 {
        let batch = soon("a batch", till.next_batch(100)).await;
        assert!(batch.len() <= 3, "{} commands of 200 KiB in a batch of 512 KiB", batch.len());
        for delivery in &batch {
            delivery.handle().ack().await;
        }
        seen += batch.len();
    }
}

#[tokio::test]
async fn pull_is_bounded_by_bytes_and_never_stalls() {
    // Less than a message: the bound is then the largest message that the server lets through.
    let wire = wire_with(WireConfig { pull_bytes_max: 1, ..wire_config() }).await;
    publish(&wire, &heavy(0..30)).await;
    let mut till = wire.commands(&name("till"));
    let first = soon("a message", till.next_batch(1)).await;
    first[0].handle().ack().await;
    // The messages that the server sent before it answered this have arrived; three pulls of a mebibyte at most.
    wire.ensure_streams().await.unwrap();
    let stream = beside_shared().await.get_stream(wire.topology().commands_stream()).await.unwrap();
    let consumer: async_nats::jetstream::consumer::PullConsumer = stream.get_consumer("till").await.unwrap();
    let out = consumer.cached_info().num_ack_pending;
    assert!(out <= 16, "{out} commands of 200 KiB are out, of which nobody has taken any");
    let mut seen = 1;
    while seen < 30 {
        for delivery in soon("the others", till.next_batch(100)).await {
            delivery.handle().ack().await;
            seen += 1;
        }
    }
}
