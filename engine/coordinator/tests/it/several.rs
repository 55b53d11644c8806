//! Several coordinators on one journal, with the same and with other definitions.

use std::time::Duration;

use redress_coordinator::Engine;

use crate::party::{How, rush, sale, sell};
use crate::place::{PATIENCE, Place, start, start_with, until};

#[tokio::test(flavor = "multi_thread")]
async fn two_coordinators_share_two_hundred_sagas() {
    let place = Place::new().await;
    let (one, other) = (place.coordinator(vec![sell()]).await, place.coordinator(vec![sell()]).await);
    // Room on each page for all that a saga ever was, so that no update is cold because its page is full.
    sqlx::query("ALTER TABLE sagas SET (fillfactor = 10)").execute(&place.pool).await.unwrap();
    for number in 0..200 {
        let how = if number % 5 == 0 { How::Reject } else { How::Do };
        one.start(start_with("sell", number, "ship", how)).await;
    }
    let ended = "SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL";
    until("200 ends", async || (place.count(ended).await == 200).then_some(())).await;
    assert_eq!(place.count("SELECT count(*) FROM sagas WHERE status = 'completed'").await, 160);
    assert_eq!(place.count("SELECT count(*) FROM sagas WHERE status = 'compensated'").await, 40);
    assert_eq!(place.gaps().await, 0);
    assert_eq!(place.count("SELECT count(*) FROM saga_history WHERE event = 'late'").await, 0);
    for (coordinator, who) in [(&one, "one"), (&other, "the other")] {
        let metrics = coordinator.engine.metrics().encode();
        assert!(
            metrics.contains("redress_sagas_ended_total{saga=\"sell\",kind=\"completed\""),
            "{who} ended none"
        );
    }
    // Only the last move of each saga touches an index: it takes the saga out of the timers'. A timer that fires because
    // the machine is slow is one more; with an index on anything that moves, all 840 would be cold.
    until("the statistics", async || {
        let moves = "SELECT (n_tup_upd >= 840)::int::bigint FROM pg_stat_user_tables WHERE relname = 'sagas'";
        (place.count(moves).await == 1).then_some(())
    })
    .await;
    let cold = "SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sagas'";
    let cold = place.count(cold).await;
    assert!((200..300).contains(&cold), "{cold} of 840 updates were not HOT");
    one.stop().await;
    other.stop().await;
    let log = std::fs::read_to_string(place.stack.postgres().log()).unwrap();
    assert!(!log.contains("no transaction in progress"), "the pool fills the server's log");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_that_moves_while_it_is_decided_on_is_decided_on_again() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    place.party.holds(1).await;
    let mut somebody_else = place.pool.begin().await.unwrap();
    let moved =
        sqlx::query("UPDATE sagas SET revision = revision + 1").execute(&mut *somebody_else).await.unwrap();
    assert_eq!(moved.rows_affected(), 1);
    place.party.let_go().await;
    until("the reply waits for the row", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (place.count(waiting).await == 1).then_some(())
    })
    .await;
    assert!(!coordinator.engine.metrics().encode().contains("redress_batch_retries_total 1"));
    somebody_else.commit().await.unwrap();
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(coordinator.engine.metrics().encode().contains("redress_batch_retries_total 1"));
    assert_eq!(place.gaps().await, 0);
    let done = "SELECT count(*) FROM saga_history WHERE event = 'done' AND step = 'charge'";
    assert_eq!(place.count(done).await, 1, "{}", place.history(id).await);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_saga_of_an_unknown_version_is_left_alone() {
    let place = Place::new().await;
    let old = place.coordinator(vec![rush()]).await;
    let waiting = old.start(start_with("rush", 1, "ship", How::Ignore)).await;
    until("the pivot is sent", async || {
        place.party.seen().iter().any(|command| command.key.step == *"ship").then_some(())
    })
    .await;
    old.stop().await;
    let before = place.history(waiting).await;

    let next = sale("rush", 2, Duration::from_secs(1));
    let new = place.coordinator(vec![next]).await;
    // Its own saga is due several times; the other one has been due since long ago.
    let id = new.start(start_with("rush", 2, "reserve", How::Ignore)).await;
    until("two re-sends", async || place.history(id).await.contains("sent action reserve 3").then_some(()))
        .await;
    assert_eq!(place.history(waiting).await, before);
    let refused =
        new.engine.order(waiting, crate::place::cancel("ann", "changed her mind")).await.unwrap_err();
    insta::assert_snapshot!(refused, @"this coordinator does not know version 1 of saga `rush`; ask one that does");
    assert_eq!(new.engine.saga(waiting).await.unwrap().unwrap().version, 1);
    new.stop().await;

    let both = place.coordinator(vec![rush(), sale("rush", 2, Duration::from_secs(1))]).await;
    until("it goes on", async || (place.history(waiting).await != before).then_some(())).await;
    let newest = both.start(start("rush", 3)).await;
    assert_eq!(both.engine.wait_ended(newest, PATIENCE).await.unwrap().unwrap().version, 2);
    both.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deployed_version_is_immutable() {
    let place = Place::new().await;
    place.coordinator(vec![sell()]).await.stop().await;
    let changed = sale("sell", 1, Duration::from_secs(61));
    let refused = Engine::open(place.config(), vec![changed], place.wire.clone()).await.err().unwrap();
    insta::assert_snapshot!(refused, @"saga `sell` version 1 differs from the one that was deployed: /steps/charge/timeout_ms: stored 60000, now 61000; /steps/reserve/timeout_ms: stored 60000, now 61000; /steps/ship/timeout_ms: stored 60000, now 61000; /steps/tell/timeout_ms: stored 60000, now 61000; a deployed version is immutable, so give the changed definition version 2 and keep the old one as long as sagas of it live");
    let twice = Engine::open(place.config(), vec![sell(), sell()], place.wire.clone()).await.err().unwrap();
    insta::assert_snapshot!(twice, @"saga `sell` version 1 is defined twice: give one of them another version");
    place.coordinator(vec![sell()]).await.stop().await;
}
