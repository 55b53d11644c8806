//! The answer to a COMMIT is lost: it happened, no coordinator heard of it, and the state of the journal decides.

use std::time::Duration;

use redress_coordinator::OperatorRequest;
use redress_devstack::{Drop, FaultProxy};

use crate::fixture::{Fixture, Running, cancel, start, start_with};
use crate::party::{How, sell};

async fn behind_a_proxy(fixture: &Fixture) -> (FaultProxy, Running) {
    let (server, mut config) = (fixture.stack.postgres().port(), fixture.config());
    let (proxy, port) = FaultProxy::before(server).await.unwrap();
    config.database_url = config.database_url.replace(&format!(":{server}/"), &format!(":{port}/"));
    // Only the test's own work is on the wire.
    config.timer_poll = Duration::from_secs(3_600);
    (config.unit_time_max, config.read_time_max) = (Duration::from_millis(500), Duration::from_millis(500));
    (proxy, fixture.coordinator_with(config, vec![sell()]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn start_with_lost_commit_finds_its_own_saga() {
    let fixture = Fixture::new().await;
    let (proxy, coordinator) = behind_a_proxy(&fixture).await;
    coordinator.start(start("sell", 1)).await;
    proxy.drop_on_match(Drop::Reply, b"sell-2");
    let started = coordinator.engine.start_request(start("sell", 2)).await.unwrap();
    assert!(proxy.has_dropped());
    assert!(started.created, "it is this start's own saga");
    // Its command was published although the commit had not been heard of: the timers rest.
    assert_eq!(coordinator.end_of(started.id).await, "completed");
    assert_eq!(fixture.count("SELECT count(*) FROM sagas").await, 2);
    assert!(coordinator.engine.metrics().encode().contains("redress_batch_retries_total 1"));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_with_lost_commit_is_decided_again_on_journal_state() {
    let fixture = Fixture::new().await;
    let (proxy, coordinator) = behind_a_proxy(&fixture).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    // The write of the reply, in one statement that is its own transaction. No query holds these bytes: the text of the
    // one that reads a saga for a view has the event's name in it.
    proxy.drop_on_match(Drop::Reply, b"{\"reply\":");
    fixture.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(proxy.has_dropped());
    assert_eq!(fixture.gaps().await, 0);
    let done = "SELECT count(*) FROM saga_history WHERE event = 'done' AND step = 'charge'";
    assert_eq!(fixture.count(done).await, 1, "{}", fixture.history(id).await);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_with_lost_commit_is_reported_as_won() {
    let fixture = Fixture::new().await;
    let (proxy, coordinator) = behind_a_proxy(&fixture).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    let revision = coordinator.engine.saga(id).await.unwrap().unwrap().revision;
    proxy.drop_on_match(Drop::Reply, b"COMMIT");
    let request = OperatorRequest { if_match: Some(vec![revision]), ..cancel("ann", "changed her mind") };
    let view = coordinator.engine.operate(id, request).await.unwrap();
    assert!(proxy.has_dropped());
    assert_eq!(view.status, "compensating");
    assert_eq!(fixture.count("SELECT count(*) FROM audit_log").await, 1);
    coordinator.stop().await;
}

/// The database's machine vanishes from the network: no end of file, no error, nothing.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connection_is_given_up() {
    let fixture = Fixture::new().await;
    let (proxy, coordinator) = behind_a_proxy(&fixture).await;
    // A start.
    coordinator.start(start("sell", 1)).await;
    proxy.drop_on_match(Drop::Connection, b"sell-2");
    let started = coordinator.engine.start_request(start("sell", 2)).await.unwrap();
    assert!(proxy.has_dropped());
    assert_eq!(coordinator.end_of(started.id).await, "completed");
    // The write of a reply.
    let id = coordinator.start(start_with("sell", 3, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    proxy.drop_on_match(Drop::Connection, b"{\"reply\":");
    fixture.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(proxy.has_dropped());
    // An operator command.
    let id = coordinator.start(start_with("sell", 4, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    proxy.drop_on_match(Drop::Connection, b"COMMIT");
    let view = coordinator.engine.operate(id, cancel("ann", "changed her mind")).await.unwrap();
    assert!(proxy.has_dropped());
    assert_eq!(view.status, "compensating");
    // A query: answered with an error in time, and then as ever. Its text goes over a connection only once.
    proxy.drop_on_match(Drop::Connection, b"pg_settings");
    let error = coordinator.engine.durability().await.unwrap_err();
    assert!(proxy.has_dropped());
    assert!(error.is_unavailable(), "{error}");
    coordinator.engine.durability().await.unwrap();
    assert_eq!(fixture.gaps().await, 0);
    coordinator.stop().await;
}
