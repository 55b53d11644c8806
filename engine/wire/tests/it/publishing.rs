//! The answers of publishing, and their time limits.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use redress_core::message::PAYLOAD_BYTES_MAX;
use redress_core::{CommandMessage, JsonText, Outcome};
use redress_devstack::StopMode;
use redress_wire::{PublishError, WireConfig};

use crate::fixture::{
    STREAM_BYTES_MAX, beside_shared, command, commands, name, own_server, prefix, publish, reply, sagas,
    soon, stored, wire, wire_config, wire_of, wire_with,
};

#[tokio::test]
async fn command_attempt_is_stored_once_and_next_attempt_again() {
    let wire = wire().await;
    let first = command(1);
    publish(&wire, std::slice::from_ref(&first)).await;
    publish(&wire, std::slice::from_ref(&first)).await;
    let second = CommandMessage { attempt: 2, ..first.clone() };
    publish(&wire, std::slice::from_ref(&second)).await;
    assert_eq!(wire.stats().duplicates.load(Ordering::Relaxed), 1);
    assert_eq!(wire.stats().published.load(Ordering::Relaxed), 2);
    assert_eq!(stored(&beside_shared().await, &wire.topology().commands_stream()).await, 2);

    let mut till = wire.commands(&name("till"));
    let mut came = Vec::new();
    while came.len() < 2 {
        let batch = soon("both attempts", till.next_batch(10)).await;
        came.extend(batch.into_iter().map(|delivery| delivery.message.unwrap()));
    }
    assert_eq!(came, [first, second]);
}

#[tokio::test]
async fn reply_is_stored_as_often_as_it_is_sent() {
    let wire = wire().await;
    let answer = reply(&command(1), Outcome::Fenced);
    for _ in 0..2 {
        assert_eq!(wire.publish_replies(std::slice::from_ref(&answer)).await, [Ok(())]);
    }
    assert_eq!(stored(&beside_shared().await, &wire.topology().replies_stream()).await, 2);
}

#[tokio::test]
async fn backlog_of_one_service_leaves_room_for_others() {
    let wire = wire_with(WireConfig { subject_messages_max: 10, ..wire_config() }).await;
    let answers = soon("every answer", wire.publish_commands(&commands(0..15))).await;
    let refused: Vec<_> = answers.into_iter().filter_map(Result::err).collect();
    assert_eq!(refused, vec![PublishError::StreamFull; 5]);
    let other = CommandMessage { service: name("stock"), ..command(20) };
    publish(&wire, &[other]).await;
    // The first ten are there, and there is room again for each that is taken.
    let mut till = wire.commands(&name("till"));
    let mut came = 0;
    while came < 10 {
        for delivery in soon("the accepted", till.next_batch(100)).await {
            delivery.handle().ack().await;
            came += 1;
        }
    }
    soon("room again", async { while wire.publish_commands(&[command(14)]).await[0].is_err() {} }).await;
}

#[tokio::test]
async fn full_stream_refuses_and_loses_nothing() {
    let wire = wire_with(WireConfig { stream_bytes_max: 64 << 10, ..wire_config() }).await;
    let heavy: Vec<CommandMessage> = commands(0..40)
        .into_iter()
        .map(|command| CommandMessage { payload: JsonText::of(&"x".repeat(4 << 10)).unwrap(), ..command })
        .collect();
    let results = soon("every answer", wire.publish_commands(&heavy)).await;
    let accepted = results.iter().filter(|result| result.is_ok()).count();
    assert!((1..40).contains(&accepted), "{accepted} of 40 were accepted");
    for refused in results.iter().filter_map(|result| result.as_ref().err()) {
        assert!(matches!(refused, PublishError::StreamFull), "{refused:?}");
    }
    assert_eq!(
        stored(&beside_shared().await, &wire.topology().commands_stream()).await,
        u64::try_from(accepted).unwrap()
    );

    let mut till = wire.commands(&name("till"));
    let mut left = accepted;
    while left > 0 {
        for delivery in soon("the accepted", till.next_batch(100)).await {
            delivery.handle().ack().await;
            left -= 1;
        }
    }
    soon("room again", async {
        let refused = &heavy[accepted..accepted + 1];
        while wire.publish_commands(refused).await[0].is_err() {}
    })
    .await;
}

#[tokio::test]
async fn oversize_payload_fails_alone() {
    let wire = wire().await;
    let oversize = JsonText::of(&"x".repeat(PAYLOAD_BYTES_MAX)).unwrap();
    let bytes = oversize.as_bytes().len();
    let burst = [command(0), CommandMessage { payload: oversize, ..command(1) }, command(2)];
    assert_eq!(wire.publish_commands(&burst).await, [Ok(()), Err(PublishError::TooLarge { bytes }), Ok(())]);
}

#[tokio::test]
async fn burst_beyond_in_flight_limit_is_sent_in_portions() {
    let wire = wire_with(WireConfig { publishes_in_flight_max: 16, ..wire_config() }).await;
    let bursts: Vec<Vec<CommandMessage>> =
        (0..8).map(|burst| commands(burst * 100..burst * 100 + 100)).collect();
    let results = soon("all bursts", join_all(bursts.iter().map(|burst| wire.publish_commands(burst)))).await;
    assert!(results.into_iter().flatten().all(|result| result.is_ok()));
    assert_eq!(stored(&beside_shared().await, &wire.topology().commands_stream()).await, 800);
}

#[tokio::test]
async fn burst_ends_in_time_while_server_is_down() {
    let stack = own_server().await;
    let wire = wire_of(
        &stack.nats().url(),
        &prefix(),
        WireConfig { publish_timeout: Duration::from_millis(300), ..wire_config() },
    )
    .await;
    stack.nats().stop(StopMode::Kill).await.unwrap();
    // More than the client queues for a server that is away.
    let burst = commands(0..5_000);
    let results = soon("every answer", wire.publish_commands(&burst)).await;
    assert_eq!(results.len(), burst.len());
    assert!(results.iter().all(|result| *result == Err(PublishError::TimedOut)));
    assert_eq!(wire.stats().publish_failures.load(Ordering::Relaxed), 5_000);
    stack.stop().await;
}

#[tokio::test]
async fn missing_stream_is_made_anew_without_consumers() {
    let wire = wire_with(WireConfig { stream_bytes_max: STREAM_BYTES_MAX, ..wire_config() }).await;
    let context = beside_shared().await;
    for stream in [wire.topology().commands_stream(), wire.topology().dead_letters_stream()] {
        context.delete_stream(&stream).await.unwrap();
    }
    assert_eq!(wire.publish_commands(&[command(1)]).await, [Err(PublishError::NoStream)]);
    soon("the stream is back", async { while wire.publish_commands(&[command(1)]).await[0].is_err() {} })
        .await;
    let mut till = wire.commands(&name("till"));
    assert_eq!(sagas(&soon("the command", till.next_batch(9)).await), [1]);
}
