//! Starts: the same key is the same saga, at every coordinator and however often.

use futures_util::future::join_all;
use redress_coordinator::{Admission, Config, StartError, StartRequest};
use serde_json::json;

use crate::fixture::{Fixture, Running, start, start_with};
use crate::party::{How, rush, sell, sell_by_color};

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_starts_with_one_key_are_one_saga() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.coordinator(vec![sell()]).await, fixture.coordinator(vec![sell()]).await);
    let starts = (0..50).map(|n| {
        let coordinator = if n % 2 == 0 { &one } else { &other };
        coordinator.engine.start_request(start("sell", 7))
    });
    let started: Vec<_> = join_all(starts).await.into_iter().map(Result::unwrap).collect();
    assert!(started.iter().all(|s| s.id == started[0].id), "{started:?}");
    assert_eq!(started.iter().filter(|s| s.created).count(), 1);
    assert_eq!(one.end_of(started[0].id).await, "completed");
    assert_eq!(fixture.count("SELECT count(*) FROM sagas").await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM saga_history WHERE event = 'started'").await, 1);
    let again = other.engine.start_request(start("sell", 7)).await.unwrap();
    assert_eq!((again.id, again.created), (started[0].id, false));
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_body_ignores_key_order_and_nothing_else() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell(), rush()]).await;
    let with = |input: serde_json::Value| StartRequest { input, ..start("sell", 7) };
    let first = coordinator.start(with(json!({ "number": 7, "step": "x" }))).await;
    assert_eq!(
        coordinator.start(with(serde_json::from_str(r#"{"step":"x","number":7}"#).unwrap())).await,
        first
    );
    let tags = [("by".to_owned(), "me".to_owned())].into();
    let others = [
        with(json!({ "number": 8, "step": "x" })),
        with(json!({ "number": 7 })),
        StartRequest { tags, ..with(json!({ "number": 7, "step": "x" })) },
        StartRequest { version: Some(1), ..with(json!({ "number": 7, "step": "x" })) },
        StartRequest { saga: "rush".to_owned(), ..with(json!({ "number": 7, "step": "x" })) },
    ];
    for other in others {
        let refused = coordinator.engine.start_request(other).await.unwrap_err();
        assert!(matches!(refused, StartError::KeyReused(id) if id == first), "{refused:?}");
    }
    assert_eq!(fixture.count("SELECT count(*) FROM sagas").await, 1);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn invalid_start_is_refused_before_any_write() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let bad = [
        StartRequest { saga: "buy".to_owned(), ..start("sell", 1) },
        StartRequest { version: Some(9), ..start("sell", 1) },
        StartRequest { key: String::new(), ..start("sell", 1) },
        StartRequest { key: "a b".to_owned(), ..start("sell", 1) },
        StartRequest { input: json!({ "number": "one" }), ..start("sell", 1) },
        StartRequest { input: json!({ "number": 1, "color": "red" }), ..start("sell", 1) },
        StartRequest { faults: Some(one_fault()), ..start("sell", 1) },
        StartRequest { tags: [("a".to_owned(), "\0".to_owned())].into(), ..start("sell", 1) },
    ];
    let mut told = Vec::new();
    for request in bad {
        told.push(coordinator.engine.start_request(request).await.unwrap_err().to_string());
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    there is no saga named `buy`; GET /v1/definitions lists what can be started
    there is no version 9 of saga `sell`; GET /v1/definitions lists what can be started
    the idempotency key must have 1 to 255 visible ASCII characters
    the idempotency key must have 1 to 255 visible ASCII characters
    the input does not fit: at `/number`, invalid type: string "one", expected u64
    the input does not fit: at `/color`, this field is unknown
    this coordinator does not inject failures; start it with --allow-faults to try them
    the value of the tag `a` is unusable: at most 256 characters, and neither control characters nor marks of direction
    "#);
    assert_eq!(fixture.count("SELECT count(*) FROM idempotency_keys").await, 0);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_in_callers_transaction_commits_and_rolls_back_with_it() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let mut rolled_back = fixture.pool.begin().await.unwrap();
    let gone = coordinator.engine.start_in(&mut rolled_back, start("sell", 7)).await.unwrap();
    rolled_back.rollback().await.unwrap();
    assert!(coordinator.engine.saga(gone.id).await.unwrap().is_none());

    let mut transaction = fixture.pool.begin().await.unwrap();
    let kept = coordinator.engine.start_in(&mut transaction, start("sell", 7)).await.unwrap();
    let again = coordinator.engine.start_in(&mut transaction, start("sell", 7)).await.unwrap();
    assert_eq!((kept.created, again.created, again.id), (true, false, kept.id));
    assert!(coordinator.engine.saga(kept.id).await.unwrap().is_none(), "not before the commit");
    transaction.commit().await.unwrap();
    assert_eq!(coordinator.end_of(kept.id).await, "completed");
    assert_eq!(fixture.gaps().await, 0);
    assert_eq!(coordinator.start(start("sell", 7)).await, kept.id);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_is_refused_and_replies_wait_while_database_is_away() {
    let fixture = Fixture::new().await;
    let mut config = fixture.config();
    config.acquire_timeout = std::time::Duration::from_secs(1);
    let coordinator = fixture.coordinator_with(config, vec![sell()]).await;
    let held = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    fixture.database_up(false).await;
    fixture.party.let_go().await;
    let refused = coordinator.engine.start_request(start("sell", 2)).await.unwrap_err();
    assert!(matches!(&refused, StartError::Journal(error) if error.is_unavailable()), "{refused:?}");
    assert_eq!(
        coordinator.engine.readiness().await.database,
        "the database is not available; the request can be made again"
    );
    fixture.database_up(true).await;
    assert_eq!(coordinator.end_of(held).await, "completed");
    let id = coordinator.start(start("sell", 2)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(fixture.dead_letters().await.is_empty(), "a reply that came in the meantime waited");
    coordinator.stop().await;
}

/// Nothing to wait for: every step is skipped or only sends a notification.
#[tokio::test(flavor = "multi_thread")]
async fn saga_may_end_with_its_start() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![crate::party::whisper()]).await;
    let id = coordinator.start(start("whisper", 1)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    insta::assert_snapshot!(fixture.history(id).await, @r"
    1 started
    2 skipped action charge
    3 notified action tell 1
    4 completed
    ");
    coordinator.stop().await;
}

fn one_fault() -> serde_json::Value {
    json!([{ "step": "ship", "kind": "fail", "times": 1 }])
}

/// The same start again is the same saga, with another body it is refused, in a transaction of the caller's or not.
async fn finds_by_its_key(
    fixture: &Fixture,
    coordinator: &Running,
    again: StartRequest,
    id: redress_core::SagaId,
) {
    let found = coordinator.engine.start_request(again.clone()).await.unwrap();
    assert_eq!((found.id, found.created), (id, false));
    let other = StartRequest { input: json!({ "number": 99 }), ..again.clone() };
    let refused = coordinator.engine.start_request(other.clone()).await.unwrap_err();
    assert!(matches!(refused, StartError::KeyReused(of) if of == id), "{refused:?}");
    let mut transaction = fixture.pool.begin().await.unwrap();
    let found = coordinator.engine.start_in(&mut transaction, again).await.unwrap();
    assert_eq!((found.id, found.created), (id, false));
    let refused = coordinator.engine.start_in(&mut transaction, other).await.unwrap_err();
    assert!(matches!(refused, StartError::KeyReused(of) if of == id), "{refused:?}");
    transaction.rollback().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_start_finds_its_saga_after_newer_version_is_deployed() {
    let fixture = Fixture::new().await;
    let old = fixture.coordinator(vec![sell()]).await;
    let id = old.start(start("sell", 7)).await;
    old.end_of(id).await;
    old.stop().await;
    let new = fixture.coordinator(vec![sell(), sell_by_color()]).await;
    finds_by_its_key(&fixture, &new, start("sell", 7), id).await;
    let refused = new.engine.start_request(start("sell", 8)).await.unwrap_err();
    assert!(matches!(refused, StartError::InvalidInput(_)), "a new key is a new start: {refused:?}");
    new.stop().await;
    // Nor does it matter that no coordinator knows the definition any more.
    let other = fixture.coordinator(vec![rush()]).await;
    finds_by_its_key(&fixture, &other, start("sell", 7), id).await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn repeated_start_finds_its_saga_at_draining_coordinator() {
    let fixture = Fixture::new().await;
    let config = Config { allow_faults: true, ..fixture.config() };
    let open = fixture.coordinator_with(config, vec![sell()]).await;
    let plain = open.start(start("sell", 7)).await;
    let faulty = StartRequest { faults: Some(one_fault()), ..start("sell", 8) };
    let with_fault = open.start(faulty.clone()).await;
    open.stop().await;
    let config = Config { admission: Admission::Draining, ..fixture.config() };
    let draining = fixture.coordinator_with(config, vec![sell()]).await;
    finds_by_its_key(&fixture, &draining, start("sell", 7), plain).await;
    let refused = draining.engine.start_request(start("sell", 9)).await.unwrap_err();
    assert!(matches!(refused, StartError::Draining), "{refused:?}");
    draining.stop().await;
    let without_faults = fixture.coordinator(vec![sell()]).await;
    finds_by_its_key(&fixture, &without_faults, faulty.clone(), with_fault).await;
    let new = StartRequest { key: "another".to_owned(), ..faulty };
    let refused = without_faults.engine.start_request(new).await.unwrap_err();
    assert!(matches!(refused, StartError::FaultsNotAllowed), "{refused:?}");
    without_faults.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn start_is_same_for_empty_and_absent_faults() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let spelled_out = StartRequest { faults: Some(json!([])), ..start("sell", 7) };
    let id = coordinator.start(spelled_out.clone()).await;
    assert_eq!(coordinator.start(start("sell", 7)).await, id);
    assert_eq!(coordinator.start(spelled_out).await, id);
    coordinator.stop().await;
}
