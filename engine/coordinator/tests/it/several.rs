//! Several coordinators on one journal, with the same and with other definitions.

use std::time::Duration;

use redress_coordinator::Engine;

use crate::fixture::{Fixture, PATIENCE, start, start_with, until};
use crate::party::{How, priced, rush, sale, sell};

#[tokio::test(flavor = "multi_thread")]
async fn sagas_are_shared_by_two_coordinators() {
    let fixture = Fixture::patient().await;
    let (one, other) = (fixture.coordinator(vec![sell()]).await, fixture.coordinator(vec![sell()]).await);
    // Room on each page for all that a saga ever was, so that no update is cold because its page is full.
    sqlx::query("ALTER TABLE sagas SET (fillfactor = 10)").execute(&fixture.pool).await.unwrap();
    for number in 0..200 {
        let how = if number % 5 == 0 { How::Reject } else { How::Do };
        one.start(start_with("sell", number, "ship", how)).await;
    }
    let ended = "SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL";
    until("200 ends", async || (fixture.count(ended).await == 200).then_some(())).await;
    assert_eq!(fixture.count("SELECT count(*) FROM sagas WHERE status = 'completed'").await, 160);
    assert_eq!(fixture.count("SELECT count(*) FROM sagas WHERE status = 'compensated'").await, 40);
    assert_eq!(fixture.gaps().await, 0);
    // A command that was sent twice, because the machine is slow, is answered twice.
    let late = "SELECT count(*) FROM saga_history AS late WHERE event = 'late' AND NOT EXISTS ( \
                    SELECT FROM saga_history WHERE saga_id = late.saga_id AND event = 'timed-out')";
    assert_eq!(fixture.count(late).await, 0, "no reply is decided on twice");
    for (coordinator, who) in [(&one, "one"), (&other, "the other")] {
        let metrics = coordinator.engine.metrics().encode();
        let completed = "redress_sagas_ended_total{saga=\"sell\",kind=\"completed\"} ";
        let count = metrics.lines().find_map(|line| line.strip_prefix(completed));
        assert!(count.is_some_and(|count| count != "0"), "{who} ended none");
    }
    // Only the last move of each saga touches an index: it takes the saga out of the timers'. A timer that fires because
    // the machine is slow is one more; with an index on anything that moves, all 840 would be cold.
    until("the statistics", async || {
        let moves = "SELECT (n_tup_upd >= 840)::int::bigint FROM pg_stat_user_tables WHERE relname = 'sagas'";
        (fixture.count(moves).await == 1).then_some(())
    })
    .await;
    let cold = "SELECT n_tup_upd - n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = 'sagas'";
    let cold = fixture.count(cold).await;
    assert!((200..300).contains(&cold), "{cold} of 840 updates were not HOT");
    one.stop().await;
    other.stop().await;
    let log = std::fs::read_to_string(fixture.stack.postgres().log()).unwrap();
    assert!(!log.contains("no transaction in progress"), "the pool fills the server's log");
}

#[tokio::test(flavor = "multi_thread")]
async fn saga_that_moved_during_decision_is_decided_again() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    let mut somebody_else = fixture.pool.begin().await.unwrap();
    let moved =
        sqlx::query("UPDATE sagas SET revision = revision + 1").execute(&mut *somebody_else).await.unwrap();
    assert_eq!(moved.rows_affected(), 1);
    fixture.party.let_go().await;
    until("the reply waits for the row", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        (fixture.count(waiting).await == 1).then_some(())
    })
    .await;
    assert!(!coordinator.engine.metrics().encode().contains("redress_batch_retries_total 1"));
    somebody_else.commit().await.unwrap();
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(coordinator.engine.metrics().encode().contains("redress_batch_retries_total 1"));
    assert_eq!(fixture.gaps().await, 0);
    let done = "SELECT count(*) FROM saga_history WHERE event = 'done' AND step = 'charge'";
    assert_eq!(fixture.count(done).await, 1, "{}", fixture.history(id).await);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn saga_of_unknown_version_is_left_alone() {
    let fixture = Fixture::new().await;
    let old = fixture.coordinator(vec![rush()]).await;
    let waiting = old.start(start_with("rush", 1, "ship", How::Ignore)).await;
    until("the pivot is sent", async || {
        fixture.party.seen().iter().any(|command| command.key.step == *"ship").then_some(())
    })
    .await;
    old.stop().await;
    let before = fixture.history(waiting).await;

    let next = sale("rush", 2, Duration::from_secs(1));
    let new = fixture.coordinator(vec![next]).await;
    // Its own saga is due several times; the other one has been due since long ago.
    let id = new.start(start_with("rush", 2, "reserve", How::Ignore)).await;
    until("two re-sends", async || fixture.history(id).await.contains("sent action reserve 3").then_some(()))
        .await;
    assert_eq!(fixture.history(waiting).await, before);
    let refused =
        new.engine.operate(waiting, crate::fixture::cancel("ann", "changed her mind")).await.unwrap_err();
    insta::assert_snapshot!(refused, @"this coordinator does not know version 1 of saga `rush`; ask one that does");
    assert_eq!(new.engine.saga(waiting).await.unwrap().unwrap().version, 1);
    new.stop().await;

    let both = fixture.coordinator(vec![rush(), sale("rush", 2, Duration::from_secs(1))]).await;
    until("it goes on", async || (fixture.history(waiting).await != before).then_some(())).await;
    let newest = both.start(start("rush", 3)).await;
    assert_eq!(both.engine.wait_ended(newest, PATIENCE).await.unwrap().unwrap().version, 2);
    both.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deployed_version_is_immutable() {
    let fixture = Fixture::new().await;
    fixture.coordinator(vec![sell()]).await.stop().await;
    let changed = sale("sell", 1, Duration::from_secs(61));
    let refused = Engine::open(fixture.config(), vec![changed], fixture.wire.clone()).await.err().unwrap();
    insta::assert_snapshot!(refused, @"saga `sell` version 1 differs from the one that was deployed: /steps/charge/timeout_ms: stored 60000, now 61000; /steps/reserve/timeout_ms: stored 60000, now 61000; /steps/ship/timeout_ms: stored 60000, now 61000; /steps/tell/timeout_ms: stored 60000, now 61000; a deployed version is immutable, so give the changed definition version 2 and keep the old one as long as sagas of it live");
    let twice =
        Engine::open(fixture.config(), vec![sell(), sell()], fixture.wire.clone()).await.err().unwrap();
    insta::assert_snapshot!(twice, @"saga `sell` version 1 is defined twice: give one of them another version");
    fixture.coordinator(vec![sell()]).await.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_closure_is_refused_under_its_deployed_version() {
    let fixture = Fixture::new().await;
    let opens = async |price: fn(u64) -> u64| {
        let opened = Engine::open(fixture.config(), vec![priced(price)], fixture.wire.clone()).await;
        opened.err().map_or_else(|| "it opens".to_owned(), |error| error.to_string())
    };
    let once: fn(u64) -> u64 = |n| n;
    let twice: fn(u64) -> u64 = |n| n * 2;
    let added: fn(u64) -> u64 = |n| (0..n).map(|_| 1).sum();
    assert_eq!(opens(once).await, "it opens");
    assert_eq!(opens(added).await, "it opens", "a refactoring is no change");
    insta::assert_snapshot!(opens(twice).await, @"saga `priced` version 1 differs from the one that was deployed: step `charge` makes something else of the same data: /command/number: stored 3, now 6; a deployed version is immutable, so give the changed definition version 2 and keep the old one as long as sagas of it live");

    // As version 0.1 has left it: the shape is compared as ever, and from then on the results of the closures, too.
    let as_before = "UPDATE saga_definitions SET behaviour = NULL, behaviour_scheme = NULL";
    sqlx::query(as_before).execute(&fixture.pool).await.unwrap();
    assert_eq!(opens(twice).await, "it opens");
    assert!(opens(once).await.contains("step `charge`"));

    // As a program of a later version has left it.
    let as_later = "UPDATE saga_definitions SET behaviour = 'who knows', behaviour_scheme = 2";
    sqlx::query(as_later).execute(&fixture.pool).await.unwrap();
    assert_eq!(opens(once).await, "it opens");
    let kept = "SELECT count(*) FROM saga_definitions WHERE behaviour = 'who knows'";
    assert_eq!(fixture.count(kept).await, 1, "what it cannot read it leaves as it is");
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_coordinators_agree_on_one_stored_behaviour() {
    let fixture = Fixture::new().await;
    fixture.coordinator(vec![sell()]).await.stop().await;
    let as_before = "UPDATE saga_definitions SET behaviour = NULL, behaviour_scheme = NULL";
    sqlx::query(as_before).execute(&fixture.pool).await.unwrap();
    let open = || Engine::open(fixture.config(), vec![sell()], fixture.wire.clone());
    let (one, other, third) = tokio::join!(open(), open(), open());
    for opened in [one, other, third] {
        opened.unwrap();
    }
    assert_eq!(fixture.count("SELECT count(*) FROM saga_definitions WHERE behaviour_scheme = 1").await, 1);
}
