//! What is done beside the sagas: draining, beginning paused, versions, marks, and forgetting what is old.

use std::time::Duration;

use redress_coordinator::journal::UnderWay;
use redress_coordinator::{Admission, Config, Keep, ListFilter, StartError};
use redress_core::decide::Verb;

use crate::party::{How, sale, sell};
use crate::place::{Place, order, start, start_with, until};

#[tokio::test(flavor = "multi_thread")]
async fn a_draining_coordinator_finishes_and_takes_nothing_new() {
    let place = Place::new().await;
    let serving = place.coordinator(vec![sell()]).await;
    let id = serving.start(start_with("sell", 1, "charge", How::Hold)).await;
    place.party.holds(1).await;
    let paused = serving.start(start_with("sell", 4, "charge", How::Hold)).await;
    place.party.holds(2).await;
    let revision = serving.engine.saga(paused).await.unwrap().unwrap().revision;
    let mut pause = order(Verb::Pause, "ann", "to be looked at");
    pause.if_match = Some(revision);
    serving.engine.order(paused, pause).await.unwrap();
    serving.stop().await;

    let config = Config { admission: Admission::Draining, ..place.config() };
    let draining = place.coordinator_with(config, vec![sell()]).await;
    let refused = draining.engine.start(start("sell", 2)).await.unwrap_err();
    assert!(matches!(refused, StartError::Draining), "{refused}");
    insta::assert_snapshot!(refused, @"this coordinator is draining and takes no new sagas; ask another one");
    let mut transaction = place.pool.begin().await.unwrap();
    let inside = draining.engine.start_in(&mut transaction, start("sell", 3)).await;
    assert!(matches!(inside, Err(StartError::Draining)));
    transaction.rollback().await.unwrap();
    // What another coordinator takes meanwhile is not waited for, nor what waits for an operator.
    let other = place.coordinator(vec![sell()]).await;
    other.start(start_with("sell", 5, "charge", How::Hold)).await;
    assert_eq!(draining.engine.under_way().await.unwrap(), UnderWay { going: 1, resting: 1 });
    place.party.let_go().await;
    assert_eq!(draining.end_of(id).await, "completed");
    assert_eq!(draining.engine.under_way().await.unwrap(), UnderWay { going: 0, resting: 1 });
    other.stop().await;
    draining.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_coordinator_that_was_started_paused_moves_nothing_until_it_is_told() {
    let place = Place::new().await;
    let config = Config { start_paused: true, ..place.config() };
    let paused = place.coordinator_with(config, vec![sell()]).await;
    let id = paused.start(start("sell", 1)).await;
    assert_eq!(place.history(id).await, "1 started", "it is written down, and nothing is sent");
    assert!(paused.engine.begin(), "it was paused");
    assert!(!paused.engine.begin(), "it is not any more");
    assert_eq!(paused.end_of(id).await, "completed");
    let next = paused.start(start("sell", 2)).await;
    assert_eq!(paused.end_of(next).await, "completed");
    paused.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_sagas_of_each_version_are_known_and_those_that_take_too_long_are_marked() {
    let place = Place::new().await;
    let old = place.coordinator(vec![sell()]).await;
    let waiting = old.start(start_with("sell", 1, "charge", How::Hold)).await;
    place.party.holds(1).await;
    old.stop().await;

    let config = Config { stalled_after: Duration::ZERO, ..place.config() };
    let new = place.coordinator_with(config, vec![sale("sell", 2, Duration::from_secs(60))]).await;
    let live = new.engine.live().await.unwrap();
    assert_eq!(live.len(), 1);
    assert_eq!((live[0].version, live[0].open, live[0].known_here), (1, 1, false));
    let readiness = new.engine.readiness().await;
    assert!(readiness.ready, "it can work, though not on this one");
    assert_eq!(readiness.waiting_versions, live);
    until("the gauges are read", async || {
        let metrics = new.engine.metrics().encode();
        let open = metrics.contains(r#"redress_sagas_open{saga="sell",version="1",known="false"} 1"#);
        (open && metrics.contains("redress_sagas_stalled 1")).then_some(())
    })
    .await;
    assert!(new.engine.saga(waiting).await.unwrap().unwrap().stalled);
    let stalled = ListFilter { stalled: true, limit: 10, ..ListFilter::default() };
    assert_eq!(new.engine.sagas(stalled).await.unwrap().items.len(), 1);
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_kept_for_ever_is_no_age_that_anybody_trips_over() {
    let place = Place::new().await;
    let config = Config {
        keep: Keep { sagas: Duration::MAX, dead_letters: Duration::MAX },
        stalled_after: Duration::MAX,
        prune_every: Duration::ZERO,
        ..place.config()
    };
    let coordinator = place.coordinator_with(config, vec![sell()]).await;
    let id = coordinator.start(start("sell", 1)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(!coordinator.engine.saga(id).await.unwrap().unwrap().stalled);
    let stalled = ListFilter { stalled: true, limit: 10, ..ListFilter::default() };
    assert_eq!(coordinator.engine.sagas(stalled).await.unwrap().items.len(), 0);
    // Older than for ever, so that the pruning can be seen to work.
    let letter = "INSERT INTO dead_letters (at, reason, subject, payload) VALUES (now() - interval '200 years', '', '', '')";
    sqlx::query(letter).execute(&place.pool).await.unwrap();
    coordinator.stop().await;
    let config = Config {
        keep: Keep { sagas: Duration::MAX, dead_letters: Duration::MAX },
        prune_every: Duration::ZERO,
        ..place.config()
    };
    let coordinator = place.coordinator_with(config, vec![sell()]).await;
    until("the letter is gone", async || {
        (place.count("SELECT count(*) FROM dead_letters").await == 0).then_some(())
    })
    .await;
    assert_eq!(place.count("SELECT count(*) FROM sagas").await, 1);
    coordinator.stop().await;
    let never = Config { prune_every: Duration::MAX, ..place.config() };
    let coordinator = place.coordinator_with(never, vec![sell()]).await;
    let id = coordinator.start(start("sell", 2)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_old_is_forgotten_and_what_is_open_never() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let old = coordinator.start(start("sell", 1)).await;
    let young = coordinator.start(start("sell", 2)).await;
    let open = coordinator.start(start_with("sell", 3, "charge", How::Hold)).await;
    for id in [old, young] {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    place.party.holds(1).await;
    let revision = coordinator.engine.saga(open).await.unwrap().unwrap().revision;
    let mut pause = order(Verb::Pause, "ann", "to be looked at");
    pause.if_match = Some(revision);
    coordinator.engine.order(open, pause).await.unwrap();
    coordinator.stop().await;
    // All were started a year ago; only the first one ended then.
    for id in [old, young, open] {
        place.age(id).await;
    }
    let ended = "UPDATE sagas SET ended_at = now() - interval '1 year' WHERE ended_at IS NOT NULL AND id = (\
                     SELECT id FROM sagas WHERE ended_at IS NOT NULL ORDER BY id LIMIT 1)";
    assert_eq!(sqlx::query(ended).execute(&place.pool).await.unwrap().rows_affected(), 1);
    sqlx::query("INSERT INTO dead_letters (at, reason, subject, payload) VALUES (now() - interval '1 year', '', '', '')")
        .execute(&place.pool)
        .await
        .unwrap();

    let keep = Keep { sagas: Duration::from_secs(86_400), dead_letters: Duration::from_secs(86_400) };
    let config = Config { keep, prune_every: Duration::ZERO, ..place.config() };
    let pruning = place.coordinator_with(config, vec![sell()]).await;
    until("the old one is gone", async || {
        (place.count("SELECT count(*) FROM sagas").await == 2).then_some(())
    })
    .await;
    until("the letter is gone", async || {
        (place.count("SELECT count(*) FROM dead_letters").await == 0).then_some(())
    })
    .await;
    assert_eq!(place.count("SELECT count(DISTINCT saga_id) FROM saga_history").await, 2);
    assert_eq!(place.count("SELECT count(*) FROM idempotency_keys").await, 2);
    assert_eq!(place.count("SELECT count(*) FROM sagas WHERE status = 'paused'").await, 1);
    assert_eq!(place.gaps().await, 0);
    pruning.stop().await;
}
