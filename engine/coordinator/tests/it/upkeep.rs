//! The chores beside the sagas: draining, beginning paused, versions, marks, and forgetting old rows.

use std::time::Duration;

use redress_coordinator::ports::UnderWay;
use redress_coordinator::{Admission, Config, Keep, ListFilter, StartError};
use redress_core::SagaId;
use redress_core::decide::Verb;

use crate::fixture::{Fixture, order, start, start_with, until};
use crate::party::{How, sale, sell};

#[tokio::test(flavor = "multi_thread")]
async fn draining_coordinator_finishes_and_takes_nothing_new() {
    let fixture = Fixture::new().await;
    let serving = fixture.coordinator(vec![sell()]).await;
    let id = serving.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    let paused = serving.start(start_with("sell", 4, "charge", How::Hold)).await;
    fixture.party.holds(2).await;
    let revision = serving.engine.saga(paused).await.unwrap().unwrap().revision;
    let mut pause = order(Verb::Pause, "ann", "to be looked at");
    pause.if_match = Some(vec![revision]);
    serving.engine.operate(paused, pause).await.unwrap();
    serving.stop().await;

    let config = Config { admission: Admission::Draining, ..fixture.config() };
    let draining = fixture.coordinator_with(config, vec![sell()]).await;
    let refused = draining.engine.start_request(start("sell", 2)).await.unwrap_err();
    assert!(matches!(refused, StartError::Draining), "{refused}");
    insta::assert_snapshot!(refused, @"this coordinator is draining and takes no new sagas; ask another one");
    let mut transaction = fixture.pool.begin().await.unwrap();
    let inside = draining.engine.start_in(&mut transaction, start("sell", 3)).await;
    assert!(matches!(inside, Err(StartError::Draining)));
    transaction.rollback().await.unwrap();
    // A saga that another coordinator takes meanwhile is not waited for, nor one that waits for an operator.
    let other = fixture.coordinator(vec![sell()]).await;
    other.start(start_with("sell", 5, "charge", How::Hold)).await;
    assert_eq!(draining.engine.under_way().await.unwrap(), UnderWay { going: 1, resting: 1 });
    fixture.party.let_go().await;
    assert_eq!(draining.end_of(id).await, "completed");
    assert_eq!(draining.engine.under_way().await.unwrap(), UnderWay { going: 0, resting: 1 });
    other.stop().await;
    draining.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinator_started_paused_moves_nothing_until_begin() {
    let fixture = Fixture::new().await;
    let config = Config { start_paused: true, ..fixture.config() };
    let paused = fixture.coordinator_with(config, vec![sell()]).await;
    let id = paused.start(start("sell", 1)).await;
    assert_eq!(fixture.history(id).await, "1 started", "it is written down, and nothing is sent");
    assert!(paused.engine.begin(), "it was paused");
    assert!(!paused.engine.begin(), "it is not any more");
    assert_eq!(paused.end_of(id).await, "completed");
    let next = paused.start(start("sell", 2)).await;
    assert_eq!(paused.end_of(next).await, "completed");
    paused.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn open_sagas_are_counted_by_version_and_stalled_ones_marked() {
    let fixture = Fixture::new().await;
    let old = fixture.coordinator(vec![sell()]).await;
    let waiting = old.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    old.stop().await;

    let config = Config { stalled_after: Duration::ZERO, ..fixture.config() };
    let new = fixture.coordinator_with(config, vec![sale("sell", 2, Duration::from_secs(60))]).await;
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
async fn keep_of_duration_max_overflows_nowhere() {
    let fixture = Fixture::new().await;
    let config = Config {
        keep: Keep { sagas: Duration::MAX, keys: Some(Duration::MAX), dead_letters: Duration::MAX },
        stalled_after: Duration::MAX,
        prune_every: Duration::ZERO,
        ..fixture.config()
    };
    let coordinator = fixture.coordinator_with(config, vec![sell()]).await;
    let id = coordinator.start(start("sell", 1)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(!coordinator.engine.saga(id).await.unwrap().unwrap().stalled);
    let stalled = ListFilter { stalled: true, limit: 10, ..ListFilter::default() };
    assert_eq!(coordinator.engine.sagas(stalled).await.unwrap().items.len(), 0);
    // Older than for ever, so that the pruning can be seen to work.
    let letter = "INSERT INTO dead_letters (at, reason, subject, payload) VALUES (now() - interval '200 years', '', '', '')";
    sqlx::query(letter).execute(&fixture.pool).await.unwrap();
    coordinator.stop().await;
    let config = Config {
        keep: Keep { sagas: Duration::MAX, keys: Some(Duration::MAX), dead_letters: Duration::MAX },
        prune_every: Duration::ZERO,
        ..fixture.config()
    };
    let coordinator = fixture.coordinator_with(config, vec![sell()]).await;
    until("the letter is gone", async || {
        (fixture.count("SELECT count(*) FROM dead_letters").await == 0).then_some(())
    })
    .await;
    assert_eq!(fixture.count("SELECT count(*) FROM sagas").await, 1);
    coordinator.stop().await;
    let never = Config { prune_every: Duration::MAX, ..fixture.config() };
    let coordinator = fixture.coordinator_with(never, vec![sell()]).await;
    let id = coordinator.start(start("sell", 2)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    coordinator.stop().await;
}

async fn write_old_commands_and_faults(fixture: &Fixture, old: SagaId, young: SagaId, open: SagaId) {
    // Commands on a saga that is gone, on one that ended long after its command, and on an open one; a young one.
    let orders = "INSERT INTO audit_log (at, actor, verb, reason, saga_id) \
                  VALUES (now() - interval '1 year', 'ann', 'pause', '', $1), \
                         (now() - interval '1 year', 'ann', 'pause', '', $2), \
                         (now(), 'ann', 'pause', '', $1)";
    let (old_id, young_id) = (aged(old), aged(young));
    sqlx::query(orders).bind(old_id).bind(young_id).execute(&fixture.pool).await.unwrap();
    sqlx::query("UPDATE audit_log SET at = now() - interval '1 year', saga_id = $1 WHERE saga_id = $2")
        .bind(aged(open))
        .bind(open.0)
        .execute(&fixture.pool)
        .await
        .unwrap();
    // Faults: used up long ago, used up today, and never used up.
    let faults = "INSERT INTO faults (fault, remaining, added_at) \
                  SELECT '{\"step\": \"ship\", \"kind\": \"fail\"}', remaining, now() - age * interval '1 day' \
                  FROM (VALUES (0, 2), (0, 0), (1, 2), (NULL, 2)) AS f (remaining, age)";
    sqlx::query(faults).execute(&fixture.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn pruning_removes_old_rows_and_never_open_sagas() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let old = coordinator.start(start("sell", 1)).await;
    let young = coordinator.start(start("sell", 2)).await;
    let open = coordinator.start(start_with("sell", 3, "charge", How::Hold)).await;
    for id in [old, young] {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    fixture.party.holds(1).await;
    let revision = coordinator.engine.saga(open).await.unwrap().unwrap().revision;
    let mut pause = order(Verb::Pause, "ann", "to be looked at");
    pause.if_match = Some(vec![revision]);
    coordinator.engine.operate(open, pause).await.unwrap();
    coordinator.stop().await;
    // All were started a year ago; only the first one ended then.
    for id in [old, young, open] {
        fixture.age(id).await;
    }
    let ended = "UPDATE sagas SET ended_at = now() - interval '1 year' WHERE ended_at IS NOT NULL AND id = (\
                     SELECT id FROM sagas WHERE ended_at IS NOT NULL ORDER BY id LIMIT 1)";
    assert_eq!(sqlx::query(ended).execute(&fixture.pool).await.unwrap().rows_affected(), 1);
    sqlx::query("INSERT INTO dead_letters (at, reason, subject, payload) VALUES (now() - interval '1 year', '', '', '')")
        .execute(&fixture.pool)
        .await
        .unwrap();

    write_old_commands_and_faults(&fixture, old, young, open).await;

    let keep =
        Keep { sagas: Duration::from_secs(86_400), keys: None, dead_letters: Duration::from_secs(86_400) };
    let config = Config { keep, prune_every: Duration::ZERO, ..fixture.config() };
    let pruning = fixture.coordinator_with(config, vec![sell()]).await;
    until("the old one is gone", async || {
        (fixture.count("SELECT count(*) FROM sagas").await == 2).then_some(())
    })
    .await;
    until("the letter is gone", async || {
        (fixture.count("SELECT count(*) FROM dead_letters").await == 0).then_some(())
    })
    .await;
    until("the order of the old one is gone", async || {
        (fixture.count("SELECT count(*) FROM audit_log").await == 3).then_some(())
    })
    .await;
    let kept = "SELECT count(*) FROM audit_log WHERE at < now() - interval '1 day'";
    assert_eq!(fixture.count(kept).await, 2, "orders live as long as their sagas");
    until("the fault is gone", async || {
        (fixture.count("SELECT count(*) FROM faults").await == 3).then_some(())
    })
    .await;
    assert_eq!(fixture.count("SELECT count(*) FROM faults WHERE remaining = 0").await, 1);
    assert_eq!(fixture.count("SELECT count(DISTINCT saga_id) FROM saga_history").await, 2);
    assert_eq!(fixture.count("SELECT count(*) FROM idempotency_keys").await, 2);
    assert_eq!(fixture.count("SELECT count(*) FROM sagas WHERE status = 'paused'").await, 1);
    assert_eq!(fixture.gaps().await, 0);
    pruning.stop().await;
}

/// A key that may be kept for a day expires a day after the end of its saga, which is kept itself; that of a younger one,
/// and that of an open saga however old, stay.
#[tokio::test(flavor = "multi_thread")]
async fn start_with_an_expired_key_begins_a_new_saga() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let old = coordinator.start(start("sell", 1)).await;
    let young = coordinator.start(start("sell", 2)).await;
    let open = coordinator.start(start_with("sell", 3, "charge", How::Hold)).await;
    for id in [old, young] {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    fixture.party.holds(1).await;
    assert_eq!(coordinator.start(start("sell", 1)).await, old, "the same key is the same saga");
    coordinator.stop().await;
    for id in [old, young, open] {
        fixture.age(id).await;
    }
    let ended = "UPDATE sagas SET ended_at = now() - interval '2 days' WHERE id = $1";
    sqlx::query(ended).bind(aged(old)).execute(&fixture.pool).await.unwrap();

    let keys = "SELECT count(*) FROM idempotency_keys";
    let pruned = |keep: Keep| Config { keep, prune_every: Duration::ZERO, ..fixture.config() };
    let letter = "INSERT INTO dead_letters (at, reason, subject, payload) VALUES (now() - interval '1 year', '', '', '')";
    // By default a key is kept as long as its saga: the letter is pruned after the keys would be.
    sqlx::query(letter).execute(&fixture.pool).await.unwrap();
    let by_default = fixture.coordinator_with(pruned(fixture.config().keep), vec![sell()]).await;
    let letters = "SELECT count(*) FROM dead_letters";
    until("the letter is gone", async || (fixture.count(letters).await == 0).then_some(())).await;
    assert_eq!(by_default.start(start("sell", 1)).await.0, aged(old), "a key lives as long as its saga");
    by_default.stop().await;

    let keep = Keep { keys: Some(Duration::from_secs(86_400)), ..fixture.config().keep };
    let pruning = fixture.coordinator_with(pruned(keep), vec![sell()]).await;
    until("the old key is gone", async || (fixture.count(keys).await == 2).then_some(())).await;
    let anew = pruning.start(start("sell", 1)).await;
    assert!(anew.0 != aged(old), "an expired key is like one that never was");
    assert_eq!(pruning.start(start("sell", 1)).await, anew, "and names the new saga from now on");
    assert_eq!(pruning.start(start("sell", 2)).await.0, aged(young));
    assert_eq!(pruning.start(start_with("sell", 3, "charge", How::Hold)).await.0, aged(open));
    pruning.stop().await;

    // The old saga goes, and takes the key of the new one not with it.
    let keep = Keep { sagas: Duration::from_secs(86_400), ..fixture.config().keep };
    let pruning = fixture.coordinator_with(pruned(keep), vec![sell()]).await;
    let sagas = "SELECT count(*) FROM sagas";
    until("the old saga is gone", async || (fixture.count(sagas).await == 3).then_some(())).await;
    assert_eq!(pruning.start(start("sell", 1)).await, anew, "its key is still there");
    pruning.stop().await;
}

/// The id that [`Fixture::age`] gives a saga.
fn aged(id: redress_core::SagaId) -> uuid::Uuid {
    format!("018f0000-0000{}", &id.to_string()[13..]).parse().unwrap()
}
