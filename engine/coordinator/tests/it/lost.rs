//! The answer to a COMMIT is lost: it happened, nobody heard, and what the journal says decides.

use std::time::Duration;

use redress_coordinator::OrderRequest;
use redress_devstack::{Loot, Thief};

use crate::party::{How, sell};
use crate::place::{Place, Running, cancel, start, start_with};

async fn robbed(place: &Place) -> (Thief, Running) {
    let (server, mut config) = (place.stack.postgres().port(), place.config());
    let (thief, port) = Thief::before(server).await.unwrap();
    config.database_url = config.database_url.replace(&format!(":{server}/"), &format!(":{port}/"));
    // Only what a test does is on the wire.
    config.timer_poll = Duration::from_secs(3_600);
    (config.unit_time_max, config.read_time_max) = (Duration::from_millis(500), Duration::from_millis(500));
    (thief, place.coordinator_with(config, vec![sell()]).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_finds_itself() {
    let place = Place::new().await;
    let (thief, coordinator) = robbed(&place).await;
    coordinator.start(start("sell", 1)).await;
    thief.wants(Loot::Answer, b"sell-2");
    let started = coordinator.engine.start(start("sell", 2)).await.unwrap();
    assert!(thief.has_stolen());
    assert!(started.created, "it is this start's own saga");
    // Its command was published although the commit had not been heard of: the timers rest.
    assert_eq!(coordinator.end_of(started.id).await, "completed");
    assert_eq!(place.count("SELECT count(*) FROM sagas").await, 2);
    assert!(coordinator.engine.metrics().encode().contains("redress_batch_retries_total 1"));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_is_decided_again_on_what_the_journal_says() {
    let place = Place::new().await;
    let (thief, coordinator) = robbed(&place).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    place.party.holds(1).await;
    // What is written of the reply, in one statement that is its own transaction. No question holds these bytes:
    // the text of the one that reads a saga for a view has the event's name in it.
    thief.wants(Loot::Answer, b"{\"reply\":");
    place.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(thief.has_stolen());
    assert_eq!(place.gaps().await, 0);
    let done = "SELECT count(*) FROM saga_history WHERE event = 'done' AND step = 'charge'";
    assert_eq!(place.count(done).await, 1, "{}", place.history(id).await);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancel_that_won_is_not_told_that_it_lost() {
    let place = Place::new().await;
    let (thief, coordinator) = robbed(&place).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    place.party.holds(1).await;
    let revision = coordinator.engine.saga(id).await.unwrap().unwrap().revision;
    thief.wants(Loot::Answer, b"COMMIT");
    let request = OrderRequest { if_match: Some(revision), ..cancel("ann", "changed her mind") };
    let view = coordinator.engine.order(id, request).await.unwrap();
    assert!(thief.has_stolen());
    assert_eq!(view.status, "compensating");
    assert_eq!(place.count("SELECT count(*) FROM audit_log").await, 1);
    coordinator.stop().await;
}

/// The database's machine vanishes from the network: no end of file, no error, nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_any_more_is_given_up() {
    let place = Place::new().await;
    let (thief, coordinator) = robbed(&place).await;
    // A start.
    coordinator.start(start("sell", 1)).await;
    thief.wants(Loot::Connection, b"sell-2");
    let started = coordinator.engine.start(start("sell", 2)).await.unwrap();
    assert!(thief.has_stolen());
    assert_eq!(coordinator.end_of(started.id).await, "completed");
    // What is written of a reply.
    let id = coordinator.start(start_with("sell", 3, "charge", How::Hold)).await;
    place.party.holds(1).await;
    thief.wants(Loot::Connection, b"{\"reply\":");
    place.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(thief.has_stolen());
    // An order.
    let id = coordinator.start(start_with("sell", 4, "charge", How::Hold)).await;
    place.party.holds(1).await;
    thief.wants(Loot::Connection, b"COMMIT");
    let view = coordinator.engine.order(id, cancel("ann", "changed her mind")).await.unwrap();
    assert!(thief.has_stolen());
    assert_eq!(view.status, "compensating");
    // A question: answered with an error in time, and then as ever. Its text goes over a connection only once.
    thief.wants(Loot::Connection, b"pg_settings");
    let error = coordinator.engine.durability().await.unwrap_err();
    assert!(thief.has_stolen());
    assert!(error.is_unavailable(), "{error}");
    coordinator.engine.durability().await.unwrap();
    assert_eq!(place.gaps().await, 0);
    coordinator.stop().await;
}
