//! One bad saga, one bad message: set aside alone, while the others go on.

use std::time::Duration;

use futures_util::future::join_all;
use redress_coordinator::{Config, ListFilter, StartError, StartRequest};
use redress_core::decide::Verb;
use redress_core::{JsonText, Outcome, ReplyMessage, SagaId};
use uuid::Uuid;

use crate::fixture::{Fixture, Running, order, start, start_with, until};
use crate::party::{How, Party, faint, rush, sell};

/// Starts sagas that are all held at `charge`, and gives their ids.
async fn held(fixture: &Fixture, coordinator: &Running, count: u64) -> Vec<SagaId> {
    let mut ids = Vec::new();
    for number in 0..count {
        ids.push(coordinator.start(start_with("sell", number, "charge", How::Hold)).await);
    }
    fixture.party.holds(usize::try_from(count).unwrap()).await;
    ids
}

async fn all_but_the_first_complete(coordinator: &Running, ids: &[SagaId]) {
    for &id in &ids[1..] {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_saga_is_set_aside_alone() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let ids = held(&fixture, &coordinator, 20).await;
    fixture.execute("UPDATE sagas SET state = 'broken', revision = revision + 1 WHERE id = $1", ids[0]).await;
    fixture.party.let_go().await;
    all_but_the_first_complete(&coordinator, &ids).await;
    let reasons =
        until("a dead letter", async || Some(fixture.dead_letters().await).filter(|l| !l.is_empty())).await;
    insta::assert_snapshot!(reasons.join("\n"), @"the saga's row is unreadable: expected value at line 1 column 1");
    let filter = ListFilter { limit: 100, ..ListFilter::default() };
    let page = coordinator.engine.sagas(filter).await.unwrap();
    assert_eq!((page.items.len(), page.unreadable), (19, vec![ids[0].to_string()]), "it hides no other");
    fixture.execute("UPDATE sagas SET wake_at = now() WHERE id = $1", ids[0]).await;
    let resting = "SELECT count(*) FROM sagas WHERE wake_at > now() + interval '50 minutes'";
    until("the timer leaves it alone", async || (fixture.count(resting).await == 1).then_some(())).await;
    assert!(
        coordinator.engine.operate(ids[0], crate::fixture::cancel("ann", "changed her mind")).await.is_err()
    );
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unwritable_saga_is_set_aside_alone() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let ids = held(&fixture, &coordinator, 20).await;
    occupy_its_next_row(&fixture, ids[0]).await;
    fixture.party.let_go().await;
    all_but_the_first_complete(&coordinator, &ids).await;
    let reasons =
        until("a dead letter", async || Some(fixture.dead_letters().await).filter(|l| !l.is_empty())).await;
    let known = |reason: &String| reason.contains("duplicate key value violates unique constraint");
    assert!(reasons.len() == 1 && reasons.iter().all(known), "{reasons:?}");
    coordinator.stop().await;
}

async fn occupy_its_next_row(fixture: &Fixture, id: SagaId) {
    let row = "INSERT INTO saga_history (saga_id, seq, at, event, detail) \
               SELECT saga_id, max(seq) + 1, now(), 'late', '{}' FROM saga_history WHERE saga_id = $1 GROUP BY 1";
    fixture.execute(row, id).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unwritable_saga_does_not_stop_timers() {
    let fixture = Fixture::new().await;
    let asleep = fixture.coordinator(vec![sell()]).await;
    let ids = held(&fixture, &asleep, 20).await;
    asleep.stop().await;
    occupy_its_next_row(&fixture, ids[0]).await;
    // All are due at once; the bad one comes first.
    let due = "UPDATE sagas SET wake_at = started_at, \
               state = convert_to(replace(convert_from(state, 'UTF8'), '\"attempt\":1,\"turn\":\"asked\"', \
                                          '\"attempt\":1,\"turn\":\"backoff\"'), 'UTF8')";
    sqlx::query(due).execute(&fixture.pool).await.unwrap();
    let until_now = "UPDATE sagas SET state = convert_to(regexp_replace(convert_from(state, 'UTF8'), \
                     '\"until\":[0-9]+', '\"until\":1577836800000000'), 'UTF8')";
    sqlx::query(until_now).execute(&fixture.pool).await.unwrap();
    let are_due = "SELECT count(*) FROM sagas WHERE convert_from(state, 'UTF8') LIKE \
                   '%\"turn\":\"backoff\",\"until\":1577836800000000%'";
    assert_eq!(fixture.count(are_due).await, 20);
    let coordinator = fixture.coordinator(vec![sell()]).await;
    fixture.party.holds(39).await;
    let resting = "SELECT count(*) FROM sagas WHERE wake_at > now() + interval '50 minutes'";
    until("it is set aside", async || (fixture.count(resting).await == 1).then_some(())).await;
    fixture.party.let_go().await;
    all_but_the_first_complete(&coordinator, &ids).await;
    coordinator.stop().await;
}

fn forged(saga_id: SagaId, party: &Party) -> ReplyMessage {
    let command = party.seen().into_iter().find(|c| c.key.saga_id == saga_id).expect("it was asked");
    crate::party::reply(&command, Outcome::Fenced)
}

/// Subject, headers and body are those of the reply, so that the letter can be published again as it is.
#[tokio::test(flavor = "multi_thread")]
async fn dead_letter_keeps_a_reply_as_it_came() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start("sell", 7)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    let reply = forged(id, &fixture.party);
    fixture.party.send(vec![reply.clone()]).await;
    let kept: (String, serde_json::Value, Vec<u8>) = until("a dead letter", async || {
        let letter = "SELECT subject, headers, payload FROM dead_letters";
        sqlx::query_as(letter).fetch_optional(&fixture.pool).await.unwrap()
    })
    .await;
    let (headers, payload) = redress_wire::headers::of_reply(&reply);
    let headers = serde_json::json!(redress_wire::headers::to_text(&headers));
    assert_eq!(kept, (fixture.wire.topology().reply_subject(&reply), headers, payload));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unusable_reply_becomes_dead_letter_and_blocks_nothing() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start("sell", 7)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    // It said `done` before.
    let contradiction = forged(id, &fixture.party);
    let nobody = ReplyMessage {
        key: redress_core::IdempotencyKey { saga_id: SagaId(Uuid::now_v7()), ..contradiction.key.clone() },
        ..contradiction.clone()
    };
    let nul = Outcome::Done { reply: JsonText::parse(br#"{"note":"\u0000"}"#).unwrap() };
    let unreadable = ReplyMessage { outcome: nul, ..contradiction.clone() };
    for reply in [contradiction, nobody, unreadable] {
        let before = fixture.dead_letters().await.len();
        fixture.party.send(vec![reply]).await;
        until("a dead letter", async || (fixture.dead_letters().await.len() > before).then_some(())).await;
    }
    insta::assert_snapshot!(fixture.dead_letters().await.join("\n"), @"
    a participant took back what it had promised
    the saga does not exist in this journal
    the payload is unusable: a text in it holds a NUL character
    ");
    let view = coordinator.engine.saga(id).await.unwrap().unwrap();
    assert_eq!((view.status, view.parked), ("completed", None));
    assert_eq!(fixture.gaps().await, 0);
    let next = coordinator.start(start("sell", 8)).await;
    assert_eq!(coordinator.end_of(next).await, "completed");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_reply_counts_once_and_heals_lost_command() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    let asked = |step: &str| fixture.party.seen().iter().filter(|c| c.key.step == *step).count();
    let reserved = fixture.party.seen().into_iter().find(|c| c.key.step == *"reserve").unwrap();
    let done = Outcome::Done { reply: JsonText::parse(br#"{"note":"reserve 7"}"#).unwrap() };
    let before = fixture.history(id).await;
    fixture.party.send(vec![crate::party::reply(&reserved, done)]).await;
    // The broker knows the message id, so the party sees it once all the same.
    until("it is published again", async || {
        coordinator.engine.metrics().encode().contains("redress_commands_healed_total 1").then_some(())
    })
    .await;
    assert_eq!(fixture.history(id).await, before);
    fixture.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert_eq!((asked("reserve"), asked("charge")), (1, 1));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_saga_does_not_stop_other_sagas() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell(), rush()]).await;
    let stuck = coordinator.start(start_with("rush", 1, "tell", How::Ignore)).await;
    for number in 2..12 {
        let id = coordinator.start(start("sell", number)).await;
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    assert_eq!(coordinator.engine.saga(stuck).await.unwrap().unwrap().status, "running");
    coordinator.stop().await;
}

/// A refund that fails again and again is given up and not skipped; others go on; the operator mends it and retries.
#[tokio::test(flavor = "multi_thread")]
async fn failing_compensation_parks_its_saga_alone() {
    let fixture = Fixture::new().await;
    let config = Config { allow_faults: true, ..fixture.config() };
    let coordinator = fixture.coordinator_with(config, vec![faint()]).await;
    let fails =
        serde_json::json!([{ "step": "charge", "phase": "compensation", "kind": "fail", "times": 3 }]);
    let request = StartRequest { faults: Some(fails), ..start_with("faint", 1, "ship", How::Reject) };
    let stuck = coordinator.start(request).await;
    assert_eq!(coordinator.end_of(stuck).await, "parked");
    let other = coordinator.start(start_with("faint", 2, "ship", How::Reject)).await;
    assert_eq!(coordinator.end_of(other).await, "compensated");
    coordinator.engine.operate(stuck, order(Verb::Retry { step: None }, "ann", "mended")).await.unwrap();
    assert_eq!(coordinator.end_of(stuck).await, "compensated");
    insta::assert_snapshot!(fixture.history(stuck).await, @"
    1 started
    2 sent action charge 1
    3 done action charge 1
    4 sent action ship 1
    5 rejected action ship 1
    6 plan-frozen
    7 sent compensation charge 1
    8 failed compensation charge 1
    9 sent compensation charge 2
    10 failed compensation charge 2
    11 parked
    12 retry-requested
    13 sent compensation charge 3
    14 failed compensation charge 3
    15 sent compensation charge 4
    16 done compensation charge 4
    17 compensated
    ");
    coordinator.stop().await;
}

/// Another transaction takes up all connections: a caller is told in time and nothing is lost.
#[tokio::test(flavor = "multi_thread")]
async fn start_without_free_connection_is_refused_in_time() {
    let fixture = Fixture::new().await;
    let mut config = fixture.config();
    (config.work_connections, config.start_timeout) = (1, Duration::from_millis(500));
    let coordinator = fixture.coordinator_with(config, vec![sell()]).await;
    let mut lock = fixture.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE idempotency_keys").execute(&mut *lock).await.unwrap();
    // The first one takes the only connection and waits for the lock.
    let (engine, first) = (coordinator.engine.clone(), start("sell", 1));
    let first = tokio::spawn(async move { engine.start_request(first).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
    until("it waits", async || (fixture.count(waiting).await > 0).then_some(())).await;
    let refused = coordinator.engine.start_request(start("sell", 2)).await.unwrap_err();
    assert!(matches!(&refused, StartError::Journal(error) if error.is_unavailable()), "{refused:?}");
    lock.rollback().await.unwrap();
    first.await.unwrap().unwrap_err();
    // Both were only slow: the same keys find them.
    let id = coordinator.start(start("sell", 1)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    let second = coordinator.start(start("sell", 2)).await;
    assert_eq!(coordinator.end_of(second).await, "completed");
    coordinator.stop().await;
}

/// As a person at a prompt, or a coordinator that was stopped in the middle, holds a row.
#[tokio::test(flavor = "multi_thread")]
async fn locked_saga_waits_alone() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let ids = held(&fixture, &coordinator, 20).await;
    let mut somebody = fixture.pool.begin().await.unwrap();
    let lock = sqlx::query("SELECT FROM sagas WHERE id = $1 FOR UPDATE").bind(ids[0].0);
    lock.execute(&mut *somebody).await.unwrap();
    fixture.party.let_go().await;
    all_but_the_first_complete(&coordinator, &ids).await;
    assert_eq!(coordinator.engine.saga(ids[0]).await.unwrap().unwrap().status, "running");
    somebody.rollback().await.unwrap();
    assert_eq!(coordinator.end_of(ids[0]).await, "completed");
    assert_eq!(fixture.dead_letters().await, [""; 0]);
    coordinator.stop().await;
}

/// A start inside another, open transaction holds its key; the same key again has to wait, the others have not.
#[tokio::test(flavor = "multi_thread")]
async fn locked_start_key_is_waited_for_alone() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let mut somebody = fixture.pool.begin().await.unwrap();
    let kept = coordinator.engine.start_in(&mut somebody, start("sell", 1)).await.unwrap();
    let starts = (1..=20).map(|number| {
        let engine = coordinator.engine.clone();
        async move { engine.start_request(start("sell", number)).await }
    });
    let mut started = join_all(starts).await.into_iter();
    let refused = started.next().unwrap().unwrap_err();
    assert!(matches!(&refused, StartError::Journal(error) if error.is_unavailable()), "{refused:?}");
    for started in started {
        assert_eq!(coordinator.end_of(started.unwrap().id).await, "completed");
    }
    somebody.commit().await.unwrap();
    assert_eq!(coordinator.start(start("sell", 1)).await, kept.id);
    assert_eq!(coordinator.end_of(kept.id).await, "completed");
    coordinator.stop().await;
}

/// As one whose row is too large for its connection: the batch fails as if the database had gone.
#[tokio::test(flavor = "multi_thread")]
async fn saga_that_ends_its_connection_waits_alone() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let ids = held(&fixture, &coordinator, 20).await;
    let poison = format!(
        "CREATE FUNCTION poison() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             PERFORM pg_terminate_backend(pg_backend_pid()); RETURN NEW; END $$; \
         CREATE TRIGGER poison BEFORE UPDATE ON sagas FOR EACH ROW WHEN (NEW.id = '{}') EXECUTE FUNCTION poison()",
        ids[0]
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(poison)).execute(&fixture.pool).await.unwrap();
    fixture.party.let_go().await;
    all_but_the_first_complete(&coordinator, &ids).await;
    assert_eq!(coordinator.engine.saga(ids[0]).await.unwrap().unwrap().status, "running");
    sqlx::raw_sql("DROP TRIGGER poison ON sagas").execute(&fixture.pool).await.unwrap();
    assert_eq!(coordinator.end_of(ids[0]).await, "completed");
    assert_eq!(fixture.dead_letters().await, [""; 0]);
    coordinator.stop().await;
}

/// As after a migration or a change of rights that an operator takes back.
#[tokio::test(flavor = "multi_thread")]
async fn replies_wait_for_missing_table() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let ids = held(&fixture, &coordinator, 5).await;
    sqlx::raw_sql("ALTER TABLE saga_history RENAME TO elsewhere").execute(&fixture.pool).await.unwrap();
    fixture.party.let_go().await;
    let redelivered = || fixture.wire.stats().redeliveries.load(std::sync::atomic::Ordering::Relaxed);
    until("a reply was put back", async || (redelivered() > 0).then_some(())).await;
    sqlx::raw_sql("ALTER TABLE elsewhere RENAME TO saga_history").execute(&fixture.pool).await.unwrap();
    for id in ids {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    assert_eq!(fixture.dead_letters().await, [""; 0]);
    coordinator.stop().await;
}

/// The same for the timers: a saga that was due when the table went away must not be left alone for long when it is
/// back.
#[tokio::test(flavor = "multi_thread")]
async fn timers_wait_for_missing_table() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![rush()]).await;
    let ids = join_all((0..5).map(|n| coordinator.start(start_with("rush", n, "charge", How::Ignore)))).await;
    sqlx::raw_sql("ALTER TABLE saga_history RENAME TO elsewhere").execute(&fixture.pool).await.unwrap();
    let later = "SELECT count(*) FROM sagas WHERE wake_at > now() AND due_at <= now()";
    until("sagas are put off", async || (fixture.count(later).await > 0).then_some(())).await;
    sqlx::raw_sql("ALTER TABLE elsewhere RENAME TO saga_history").execute(&fixture.pool).await.unwrap();
    for id in ids {
        assert_eq!(coordinator.end_of(id).await, "compensated");
    }
    coordinator.stop().await;
}

/// Rows that another transaction holds cost the sagas behind them no time each.
#[tokio::test(flavor = "multi_thread")]
async fn locked_sagas_hold_up_no_other_saga() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let ids = held(&fixture, &coordinator, 40).await;
    let mut somebody = fixture.pool.begin().await.unwrap();
    let locked: Vec<Uuid> = ids[..39].iter().map(|id| id.0).collect();
    let lock = sqlx::query("SELECT FROM sagas WHERE id = ANY($1) FOR UPDATE").bind(locked);
    lock.execute(&mut *somebody).await.unwrap();
    let begun = std::time::Instant::now();
    fixture.party.let_go().await;
    assert_eq!(coordinator.end_of(ids[39]).await, "completed");
    // Two seconds for the batch; two more for each would be more than a minute.
    assert!(begun.elapsed() < Duration::from_secs(20), "{:?}", begun.elapsed());
    somebody.rollback().await.unwrap();
    for id in ids {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    coordinator.stop().await;
}

/// Sagas of a version that is not known here may wait by the thousand: the timers do not read them again and again.
#[tokio::test(flavor = "multi_thread")]
async fn sagas_of_unknown_version_do_not_slow_down_timers() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![rush()]).await;
    let id = coordinator.start(start_with("rush", 1, "charge", How::Ignore)).await;
    let strangers = "INSERT INTO sagas (id, saga, version, status, revision, state, data, input, started_at, due_at, wake_at) \
                     SELECT gen_random_uuid(), 'strange', 7, 'running', 1, '{}', '{}', '{}', now(), now(), now() \
                     FROM generate_series(1, 2000)";
    sqlx::raw_sql(strangers).execute(&fixture.pool).await.unwrap();
    sqlx::raw_sql("ANALYZE sagas").execute(&fixture.pool).await.unwrap();
    assert_eq!(coordinator.end_of(id).await, "compensated");
    let plan: Vec<String> = sqlx::query_scalar(
        "EXPLAIN SELECT due.* FROM unnest(array['rush'], array[1]) AS known (saga, version), LATERAL ( \
             SELECT id FROM sagas WHERE sagas.saga = known.saga AND sagas.version = known.version \
             AND wake_at <= now() ORDER BY wake_at LIMIT 10 FOR UPDATE SKIP LOCKED) AS due",
    )
    .fetch_all(&fixture.pool)
    .await
    .unwrap();
    assert!(plan.iter().any(|line| line.contains("using sagas_due")), "{plan:#?}");
    coordinator.stop().await;
}
