//! What a batch takes.

use redress_wire::Settings;

use crate::place::{
    beside_shared, command, commands, name, publish, sagas, settings, soon, until_sent, wire, wire_with,
};

#[tokio::test]
async fn a_batch_takes_all_that_is_there_and_no_more_than_asked() {
    let wire = wire().await;
    let mut till = wire.commands(&name("till"));
    publish(&wire, &commands(0..1_500)).await;
    let first = soon("a message", till.next_batch(1)).await;
    assert_eq!(sagas(&first), [0]);

    let stream = wire.topology().commands_stream();
    until_sent(&beside_shared().await, &stream, "till", 1_500).await;
    // What the server sent before it answered this has arrived.
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
async fn what_a_dropped_inflow_had_not_returned_comes_to_another_at_once() {
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
async fn a_small_pull_does_not_starve() {
    let wire = wire_with(Settings { pull_messages_max: 10, ..settings() }).await;
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
