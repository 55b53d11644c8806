//! The configuration of the streams, and the reasons for which Redress refuses to use them.

use std::error::Error;
use std::time::Duration;

use async_nats::jetstream::stream::{Config, DiscardPolicy, RetentionPolicy, StorageType};
use redress_core::Outcome;
use redress_wire::{Topology, Wire, WireConfig};

use crate::fixture::{
    anchors, beside_shared, command, commands, name, own_server, prefix, publish, reply, sagas, soon, stored,
    wire, wire_config, wire_of,
};

#[tokio::test]
async fn streams_are_work_queues_on_disk_that_refuse_overflow() {
    let wire = wire().await;
    let context = beside_shared().await;
    for (stream, retention) in [
        (wire.topology().commands_stream(), RetentionPolicy::WorkQueue),
        (wire.topology().replies_stream(), RetentionPolicy::WorkQueue),
        (wire.topology().dead_letters_stream(), RetentionPolicy::Limits),
    ] {
        let config = context.get_stream(stream).await.unwrap().cached_info().config.clone();
        assert_eq!(config.retention, retention);
        assert_eq!(config.discard, DiscardPolicy::New);
        assert_eq!(config.storage, StorageType::File);
        assert_eq!(config.max_bytes, wire.config().stream_bytes_max);
        assert_eq!(config.max_age, wire.config().stream_age_max);
        assert_eq!(config.duplicate_window, Duration::from_secs(120));
    }
}

#[tokio::test]
async fn operators_stream_additions_stay_and_limits_follow_config() {
    let shared = redress_devstack::shared().await;
    let url = shared.nats().url();
    let prefix = prefix();
    let wire = wire_of(&url, &prefix, wire_config()).await;
    let context = beside_shared().await;
    let stream = wire.topology().commands_stream();
    let mut config = context.get_stream(&stream).await.unwrap().cached_info().config.clone();
    config.description = Some("ours, do not touch".to_owned());
    context.update_stream(config).await.unwrap();

    let smaller = WireConfig { stream_bytes_max: 1 << 20, subject_messages_max: 10, ..wire_config() };
    wire_of(&url, &prefix, smaller).await;
    let config = context.get_stream(&stream).await.unwrap().cached_info().config.clone();
    assert_eq!(config.description.as_deref(), Some("ours, do not touch"));
    assert_eq!((config.max_bytes, config.max_messages_per_subject), (1 << 20, 10));
}

#[tokio::test]
async fn stream_that_would_lose_work_is_refused() {
    let shared = redress_devstack::shared().await;
    let context = beside_shared().await;
    let mut story = Vec::new();
    for (retention, discard, storage) in [
        (RetentionPolicy::Interest, DiscardPolicy::New, StorageType::File),
        (RetentionPolicy::WorkQueue, DiscardPolicy::Old, StorageType::File),
        (RetentionPolicy::WorkQueue, DiscardPolicy::New, StorageType::Memory),
    ] {
        let prefix = prefix();
        let topology = Topology::new(&prefix).unwrap();
        let config = Config {
            name: topology.commands_stream(),
            subjects: vec![format!("{prefix}.command.>")],
            retention,
            discard,
            storage,
            ..Config::default()
        };
        context.create_stream(config).await.unwrap();
        let error = Wire::connect(&shared.nats().url(), topology, wire_config()).await.unwrap_err();
        story.push(error.to_string().replace(&prefix.to_ascii_uppercase(), "REDRESS"));
    }
    insta::assert_snapshot!(story.join("\n"), @r"
    the stream `REDRESS_COMMANDS` exists with retention Interest where retention WorkQueue is needed, so it would lose work; delete it or choose another prefix
    the stream `REDRESS_COMMANDS` exists with discard policy Old where discard policy New is needed, so it would lose work; delete it or choose another prefix
    the stream `REDRESS_COMMANDS` exists with storage Memory where storage File is needed, so it would lose work; delete it or choose another prefix
    ");
}

#[tokio::test]
async fn taken_subject_is_named() {
    let shared = redress_devstack::shared().await;
    let context = beside_shared().await;
    let prefix = prefix();
    let config = Config {
        name: prefix.to_ascii_uppercase(),
        subjects: vec![format!("{prefix}.>")],
        ..Config::default()
    };
    context.create_stream(config).await.unwrap();
    let topology = Topology::new(&prefix).unwrap();
    let error = Wire::connect(&shared.nats().url(), topology, wire_config()).await.unwrap_err();
    let mut story = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        story.push_str(&format!("\nbecause: {cause}"));
        source = cause.source();
    }
    insta::assert_snapshot!(story.replace(&prefix.to_ascii_uppercase(), "REDRESS"), @r"
    the stream `REDRESS_COMMANDS` could not be created or updated; check the server's JetStream limits
    because: jetstream error: subjects overlap with an existing stream (code 400, error code 10065)
    ");
}

#[tokio::test]
async fn prefixes_on_one_server_are_isolated() {
    let (one, other) = (wire().await, wire().await);
    publish(&one, &[command(1)]).await;
    publish(&other, &[command(2)]).await;
    let answer = reply(&command(1), Outcome::Fenced);
    assert_eq!(one.publish_replies(&[answer]).await, [Ok(())]);
    let came = soon("one's", one.commands(&name("till")).next_batch(9)).await;
    assert_eq!(sagas(&came), [1]);
    let came = soon("other's", other.commands(&name("till")).next_batch(9)).await;
    assert_eq!(sagas(&came), [2]);
    assert_eq!(stored(&beside_shared().await, &other.topology().replies_stream()).await, 0);
}

#[tokio::test]
async fn work_queue_keeps_one_anchor_that_is_never_taken() {
    let wire = wire().await;
    let context = beside_shared().await;
    let [queue, replies] = [wire.topology().commands_stream(), wire.topology().replies_stream()];
    let one_anchor_each = async || {
        soon("the anchors", async {
            while (anchors(&context, &queue).await, anchors(&context, &replies).await) != (1, 1) {}
        })
        .await;
    };
    one_anchor_each().await;
    let first_seq = async || {
        let mut stream = context.get_stream(&queue).await.unwrap();
        stream.info().await.unwrap().state.first_sequence
    };
    let before = first_seq().await;
    // More than a mebibyte, so a new anchor takes the place of the old one.
    let mut till = wire.commands(&name("till"));
    let mut taken = 0;
    for round in 0..3 {
        publish(&wire, &commands(round * 1_000..(round + 1) * 1_000)).await;
        while taken < (round + 1) * 1_000 {
            let batch = soon("the commands", till.next_batch(2_000)).await;
            taken += u32::try_from(batch.len()).unwrap();
            for delivery in batch {
                delivery.handle().ack().await;
            }
        }
    }
    soon("the new anchor", async { while first_seq().await <= before {} }).await;
    soon("all are gone", async { while stored(&context, &queue).await > 0 {} }).await;
    one_anchor_each().await;
}

#[tokio::test]
async fn bad_url_and_absent_server_are_reported() {
    let topology = Topology::new("redress").unwrap();
    let mut story = Vec::new();
    for url in ["nats://[", "nats://127.0.0.1:1"] {
        story.push(Wire::connect(url, topology.clone(), wire_config()).await.unwrap_err().to_string());
    }
    insta::assert_snapshot!(story.join("\n"), @"
    the NATS URL is unusable; it looks like nats://user:password@host:4222, several with commas between
    no connection to the NATS server; check NATS_URL and that the server runs
    ");
}

#[tokio::test]
async fn connecting_waits_for_server_if_configured() {
    let stack = own_server().await;
    stack.nats().stop(redress_devstack::StopMode::Fast).await.unwrap();
    let url = stack.nats().url();
    let topology = Topology::new("redress").unwrap();
    let waiting =
        WireConfig { wait_for_server: true, publish_timeout: Duration::from_millis(100), ..wire_config() };
    let connecting = tokio::spawn(async move { Wire::connect(&url, topology, waiting).await });
    // Long enough for a first request to be given up.
    let mut ticks = tokio::time::interval(Duration::from_millis(500));
    for _ in 0..3 {
        ticks.tick().await;
    }
    assert!(!connecting.is_finished());
    stack.nats().start().await.unwrap();
    let wire = soon("a connection", connecting).await.unwrap().unwrap();
    publish(&wire, &[command(1)]).await;
    stack.stop().await;
}
