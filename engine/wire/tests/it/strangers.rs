//! Streams and consumers of other owners, looking without touching, and the addresses of the servers.

use std::io;
use std::sync::{Arc, Mutex};

use async_nats::jetstream::stream::Config;
use redress_wire::streams::StreamError;
use redress_wire::{ConsumerError, PublishError, Topology, Wire, WireConfig};

use crate::fixture::{
    beside, beside_shared, command, name, own_server, prefix, publish, sagas, soon, wire_config, wire_of,
};

#[tokio::test]
async fn streams_of_another_journal_are_refused() {
    let url = redress_devstack::shared().await.nats().url();
    let prefix = prefix();
    let (one, other) =
        (wire_of(&url, &prefix, wire_config()).await, wire_of(&url, &prefix, wire_config()).await);
    one.claim_streams("journal-1").await.unwrap();
    one.claim_streams("journal-1").await.unwrap();
    let error = other.claim_streams("journal-2").await.unwrap_err();
    assert!(matches!(error, StreamError::Stranger { .. }), "{error}");
    insta::assert_snapshot!(error.to_string().replace(&prefix.to_ascii_uppercase(), "REDRESS"), @"the stream `REDRESS_COMMANDS` belongs to another installation: it holds commands and replies of the journal journal-1, and this one is journal-2; choose another prefix (`--prefix`, REDRESS_PREFIX), or delete the stream if that journal is gone for good");
    // Nor does it publish there.
    assert!(matches!(other.publish_commands(&[command(1)]).await[0], Err(PublishError::Refused(_))));
    publish(&one, &[command(2)]).await;
}

#[tokio::test]
async fn streams_after_wipe_belong_to_first_journal_that_makes_them() {
    let stack = own_server().await;
    let url = stack.nats().url();
    let one = wire_of(&url, "redress", wire_config()).await;
    one.claim_streams("journal-1").await.unwrap();
    let context = beside(&url).await;
    for stream in ["REDRESS_COMMANDS", "REDRESS_REPLIES", "REDRESS_DEAD_LETTERS"] {
        context.delete_stream(stream).await.unwrap();
    }
    let other = wire_of(&url, "redress", wire_config()).await;
    other.claim_streams("journal-2").await.unwrap();
    assert!(matches!(one.ensure_streams().await.unwrap_err(), StreamError::Stranger { .. }));
    assert!(matches!(one.publish_commands(&[command(1)]).await[0], Err(PublishError::Refused(_))));
    publish(&other, &[command(2)]).await;
    stack.stop().await;
}

#[tokio::test]
async fn streams_of_an_older_version_are_taken_over_and_lose_their_rollup() {
    let url = redress_devstack::shared().await.nats().url();
    let prefix = prefix();
    let wire = wire_of(&url, &prefix, wire_config()).await;
    let context = beside_shared().await;
    let stream = wire.topology().commands_stream();
    let present = context.get_stream(&stream).await.unwrap().cached_info().config.clone();
    context.update_stream(Config { allow_rollup: true, ..present }).await.unwrap();
    wire.claim_streams("journal-1").await.unwrap();
    let config = context.get_stream(&stream).await.unwrap().cached_info().config.clone();
    assert!(!config.allow_rollup, "one message could empty the stream");
    assert_eq!(config.metadata["redress-journal"], "journal-1");
}

#[tokio::test]
async fn commands_of_another_inbox_are_refused() {
    let url = redress_devstack::shared().await.nats().url();
    let prefix = prefix();
    let wire = wire_of(&url, &prefix, wire_config()).await;
    let till = name("till");
    // As an older version left it.
    publish(&wire, &[command(1), command(2)]).await;
    let mut old = wire.commands(&till);
    soon("a command", old.next_batch(1)).await[0].handle().ack().await;
    drop(old);
    let mut one = wire.commands_for(&till, "inbox-1");
    one.claim().await.unwrap();
    wire.commands_for(&till, "inbox-1").claim().await.unwrap();
    let error = wire.commands_for(&till, "inbox-2").claim().await.unwrap_err();
    assert!(matches!(error, ConsumerError::Stranger { .. }), "{error}");
    insta::assert_snapshot!(error.to_string().replace(&prefix.to_ascii_uppercase(), "REDRESS"), @"the commands of service `till` are taken by another installation: for the inbox inbox-1, and this one is inbox-2; instances of a service share one database: give this one the same, or choose another prefix (`--prefix`, REDRESS_PREFIX), or delete the consumer `till` of the stream `REDRESS_COMMANDS` if that database is gone for good");
    assert_eq!(sagas(&soon("the other command", one.next_batch(1)).await), [2]);
}

#[tokio::test]
async fn looking_changes_nothing_on_server() {
    let url = redress_devstack::shared().await.nats().url();
    let prefix = prefix();
    let topology = Topology::new(&prefix).unwrap();
    let context = beside_shared().await;
    let other = WireConfig { stream_bytes_max: 1 << 20, ..wire_config() };
    let look = Wire::look(&url, topology.clone(), other.clone()).await.unwrap();
    assert!(look.server_version().starts_with('2'));
    assert!(context.get_stream(topology.commands_stream()).await.is_err(), "nothing was made");
    let wire = wire_of(&url, &prefix, wire_config()).await;
    let config = async || {
        let stream = context.get_stream(topology.commands_stream()).await.unwrap();
        stream.cached_info().config.clone()
    };
    let before = config().await;
    let look = Wire::look(&url, topology.clone(), other).await.unwrap();
    assert_eq!(look.listening(&name("till")).await.unwrap(), None);
    assert_eq!(config().await, before);
    let stream = context.get_stream(topology.commands_stream()).await.unwrap();
    assert!(stream.get_consumer::<async_nats::jetstream::consumer::pull::Config>("till").await.is_err());
    drop(wire);
}

#[tokio::test]
async fn several_servers_are_tried_until_one_answers() {
    let url = redress_devstack::shared().await.nats().url();
    let (credentials, _) = url.strip_prefix("nats://").unwrap().split_once('@').unwrap();
    let urls = format!("nats://{credentials}@127.0.0.1:1,{url}");
    let topology = Topology::new(&prefix()).unwrap();
    // The first attempt may be at the one that is not there.
    let config = WireConfig { wait_for_server: true, ..wire_config() };
    let wire = soon("a connection", Wire::connect(&urls, topology, config)).await.unwrap();
    publish(&wire, &[command(1)]).await;
}

/// Keeps the log.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn password_is_in_no_log_at_any_level() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_max_level(tracing::Level::TRACE)
        .with_writer(move || writer.clone())
        .finish();
    // This test's runtime has one thread, so that all that it does is heard.
    let _hearing = tracing::subscriber::set_default(subscriber);
    let url = redress_devstack::shared().await.nats().url();
    let (credentials, _) = url.strip_prefix("nats://").unwrap().split_once('@').unwrap();
    let (_, password) = credentials.split_once(':').unwrap();
    let wire = wire_of(&url, &prefix(), wire_config()).await;
    publish(&wire, &[command(1)]).await;
    soon("a command", wire.commands(&name("till")).next_batch(1)).await;
    let topology = Topology::new(&prefix()).unwrap();
    let nowhere = format!("nats://{credentials}@127.0.0.1:1");
    let error = Wire::connect(&nowhere, topology, wire_config()).await.unwrap_err();
    let told = format!("{error} {error:?} {wire:?}");
    let logged = String::from_utf8_lossy(&log.0.lock().unwrap()).into_owned();
    assert!(logged.contains("async_nats"), "the client's own lines are heard: {} bytes", logged.len());
    for text in [logged, told] {
        let line = text.lines().find(|line| line.contains(password));
        assert_eq!(line, None, "the password is told");
    }
}
