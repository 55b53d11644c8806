//! Consumers, streams and servers go away; messages go on.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_core::CommandMessage;
use redress_devstack::StopMode;
use redress_wire::{Consumer, Wire, WireConfig};

use crate::fixture::{
    beside, beside_shared, command, commands, name, own_server, prefix, publish, sagas, soon, stored,
    until_nobody_waits, until_sent, wire, wire_config, wire_of,
};

/// Sends the command of `saga` until it arrives; the messages before it are passed over.
async fn flows_again(wire: &Wire, till: &mut Consumer<CommandMessage>, saga: u32) {
    soon("messages flow again", async {
        for attempt in 1.. {
            let again = CommandMessage { attempt, ..command(saga) };
            if wire.publish_commands(&[again]).await[0].is_ok() {
                break;
            }
        }
        loop {
            let batch = till.next_batch(100).await;
            for delivery in &batch {
                delivery.handle().ack().await;
            }
            if sagas(&batch).contains(&saga) {
                break;
            }
        }
    })
    .await;
}

fn rebuilds(wire: &Wire) -> u64 {
    wire.stats().rebuilds.load(Ordering::Relaxed)
}

#[tokio::test]
async fn deleted_consumer_is_built_anew() {
    let wire = wire().await;
    let mut till = wire.commands(&name("till"));
    flows_again(&wire, &mut till, 1).await;
    assert_eq!(rebuilds(&wire), 0);
    let stream = beside_shared().await.get_stream(wire.topology().commands_stream()).await.unwrap();
    stream.delete_consumer("till").await.unwrap();
    flows_again(&wire, &mut till, 2).await;
    assert_eq!(rebuilds(&wire), 1);
}

#[tokio::test]
async fn deleted_streams_are_built_anew() {
    let wire = wire().await;
    let mut till = wire.commands(&name("till"));
    flows_again(&wire, &mut till, 1).await;
    let context = beside_shared().await;
    for stream in [wire.topology().commands_stream(), wire.topology().replies_stream()] {
        context.delete_stream(stream).await.unwrap();
    }
    flows_again(&wire, &mut till, 2).await;
    assert_eq!(stored(&context, &wire.topology().replies_stream()).await, 0);
}

#[tokio::test]
async fn restarted_server_is_found_again_and_nothing_is_lost() {
    let stack = own_server().await;
    let wire = wire_of(&stack.nats().url(), &prefix(), WireConfig::for_tests()).await;
    let mut till = wire.commands(&name("till"));
    flows_again(&wire, &mut till, 0).await;
    for (round, mode) in (1..).zip([StopMode::Kill, StopMode::Fast]) {
        let numbers = round * 100..round * 100 + 50;
        publish(&wire, &commands(numbers.clone())).await;
        stack.nats().restart(mode).await.unwrap();
        let mut seen = BTreeSet::new();
        let context = beside(&stack.nats().url()).await;
        // Messages that were acknowledged while the server was away come again; in the end nothing is left.
        let stream = wire.topology().commands_stream();
        while stored(&context, &stream).await > 0 {
            tokio::select! {
                batch = soon("what was stored", till.next_batch(100)) => {
                    for delivery in &batch {
                        delivery.handle().ack().await;
                    }
                    seen.extend(sagas(&batch));
                }
                _ = stored(&context, &stream) => {}
            }
        }
        let lost: Vec<u32> = numbers.filter(|number| !seen.contains(number)).collect();
        assert!(lost.is_empty(), "{lost:?} of {mode:?}; seen {seen:?}");
        flows_again(&wire, &mut till, round).await;
    }
    assert!(wire.stats().reconnects.load(Ordering::Relaxed) >= 2);
    stack.stop().await;
}

#[tokio::test]
async fn wiped_store_is_built_anew() {
    let stack = own_server().await;
    let wire = wire_of(&stack.nats().url(), &prefix(), wire_config()).await;
    let mut till = wire.commands(&name("till"));
    flows_again(&wire, &mut till, 0).await;
    assert_eq!(wire.stats().reconnects.load(Ordering::Relaxed), 0);
    for round in 1..3 {
        publish(&wire, &commands(round * 100..round * 100 + 50)).await;
        stack.nats().wipe_store().await.unwrap();
        flows_again(&wire, &mut till, round).await;
        let context = beside(&stack.nats().url()).await;
        for stream in [
            wire.topology().commands_stream(),
            wire.topology().replies_stream(),
            wire.topology().dead_letters_stream(),
        ] {
            stored(&context, &stream).await;
        }
    }
    assert!(rebuilds(&wire) >= 2);
    stack.stop().await;
}

#[tokio::test]
async fn acknowledgements_of_former_incarnation_hit_no_new_message() {
    let stack = own_server().await;
    let prefix = prefix();
    let wire = wire_of(&stack.nats().url(), &prefix, wire_config()).await;
    let mut till = wire.commands(&name("till"));
    publish(&wire, &commands(0..20)).await;
    // Ten in hand, ten waiting in the client.
    let mut in_hand = Vec::new();
    while in_hand.len() < 10 {
        in_hand.extend(soon("ten", till.next_batch(10 - in_hand.len())).await);
    }
    let context = beside(&stack.nats().url()).await;
    until_sent(&context, &wire.topology().commands_stream(), "till", 20).await;
    wire.ensure_streams().await.unwrap();

    stack.nats().wipe_store().await.unwrap();
    // Another process is faster: stream and consumer exist again before ours looks.
    let faster = wire_of(&stack.nats().url(), &prefix, wire_config()).await;
    let mut elsewhere = faster.commands(&name("till"));
    publish(&faster, &commands(100..120)).await;
    // It takes them all, so that none is on its way when it goes, and gives them back.
    let mut taken = Vec::new();
    while taken.len() < 20 {
        taken.extend(soon("all of them", elsewhere.next_batch(20)).await);
    }
    drop(elsewhere);
    // What is given back before the server knows that it went would be sent to it.
    until_nobody_waits(&context, &wire.topology().commands_stream(), "till").await;
    for delivery in &in_hand {
        delivery.handle().ack().await;
    }
    for delivery in &taken {
        delivery.handle().nak(Duration::ZERO).await;
    }
    let mut seen = Vec::new();
    while seen.len() < 20 {
        let batch = soon("the new ones", till.next_batch(100)).await;
        for delivery in in_hand.iter().chain(&batch) {
            delivery.handle().ack().await;
        }
        seen.extend(sagas(&batch));
    }
    seen.sort_unstable();
    assert_eq!(seen, (100..120).collect::<Vec<_>>());
    stack.stop().await;
}
