//! Starts: the same key is the same saga, whoever is asked and however often.

use futures_util::future::join_all;
use redress_coordinator::{StartError, StartRequest};
use serde_json::json;

use crate::party::{How, rush, sell};
use crate::place::{Place, start, start_with};

#[tokio::test(flavor = "multi_thread")]
async fn fifty_starts_with_one_key_are_one_saga() {
    let place = Place::new().await;
    let (one, other) = (place.coordinator(vec![sell()]).await, place.coordinator(vec![sell()]).await);
    let starts = (0..50).map(|n| {
        let coordinator = if n % 2 == 0 { &one } else { &other };
        coordinator.engine.start(start("sell", 7))
    });
    let started: Vec<_> = join_all(starts).await.into_iter().map(Result::unwrap).collect();
    assert!(started.iter().all(|s| s.id == started[0].id), "{started:?}");
    assert_eq!(started.iter().filter(|s| s.created).count(), 1);
    assert_eq!(one.end_of(started[0].id).await, "completed");
    assert_eq!(place.count("SELECT count(*) FROM sagas").await, 1);
    assert_eq!(place.count("SELECT count(*) FROM saga_history WHERE event = 'started'").await, 1);
    let again = other.engine.start(start("sell", 7)).await.unwrap();
    assert_eq!((again.id, again.created), (started[0].id, false));
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_order_of_the_keys_makes_no_other_body_but_anything_else_does() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell(), rush()]).await;
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
        let refused = coordinator.engine.start(other).await.unwrap_err();
        assert!(matches!(refused, StartError::KeyReused(id) if id == first), "{refused:?}");
    }
    assert_eq!(place.count("SELECT count(*) FROM sagas").await, 1);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_makes_no_sense_is_refused_before_anything_is_written() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let bad = [
        StartRequest { saga: "buy".to_owned(), ..start("sell", 1) },
        StartRequest { version: Some(9), ..start("sell", 1) },
        StartRequest { key: String::new(), ..start("sell", 1) },
        StartRequest { key: "a b".to_owned(), ..start("sell", 1) },
        StartRequest { input: json!({ "number": "one" }), ..start("sell", 1) },
        StartRequest { input: json!({ "number": 1, "color": "red" }), ..start("sell", 1) },
        StartRequest { faults: Some(json!([])), ..start("sell", 1) },
        StartRequest { tags: [("a".to_owned(), "\0".to_owned())].into(), ..start("sell", 1) },
    ];
    let mut told = Vec::new();
    for request in bad {
        told.push(coordinator.engine.start(request).await.unwrap_err().to_string());
    }
    insta::assert_snapshot!(told.join("\n"), @r#"
    there is no saga named `buy`; GET /v1/definitions lists what can be started
    there is no version 9 of saga `sell`; GET /v1/definitions lists what can be started
    the idempotency key must have 1 to 255 visible ASCII characters
    the idempotency key must have 1 to 255 visible ASCII characters
    the input does not fit: at `/number`, invalid type: string "one", expected u64
    the input does not fit: at `/color`, this field is unknown
    this coordinator does not inject failures; start it with --allow-faults to try them
    a tag holds a NUL character, which cannot be stored
    "#);
    assert_eq!(place.count("SELECT count(*) FROM idempotency_keys").await, 0);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_start_in_the_callers_transaction_lives_and_dies_with_it() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let mut rolled_back = place.pool.begin().await.unwrap();
    let gone = coordinator.engine.start_in(&mut rolled_back, start("sell", 7)).await.unwrap();
    rolled_back.rollback().await.unwrap();
    assert!(coordinator.engine.saga(gone.id).await.unwrap().is_none());

    let mut transaction = place.pool.begin().await.unwrap();
    let kept = coordinator.engine.start_in(&mut transaction, start("sell", 7)).await.unwrap();
    let again = coordinator.engine.start_in(&mut transaction, start("sell", 7)).await.unwrap();
    assert_eq!((kept.created, again.created, again.id), (true, false, kept.id));
    assert!(coordinator.engine.saga(kept.id).await.unwrap().is_none(), "not before the commit");
    transaction.commit().await.unwrap();
    assert_eq!(coordinator.end_of(kept.id).await, "completed");
    assert_eq!(place.gaps().await, 0);
    assert_eq!(coordinator.start(start("sell", 7)).await, kept.id);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_the_database_nothing_is_promised_and_nothing_forgotten() {
    let place = Place::new().await;
    let mut config = place.config();
    config.acquire_timeout = std::time::Duration::from_secs(1);
    let coordinator = place.coordinator_with(config, vec![sell()]).await;
    let held = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    place.party.holds(1).await;
    place.database_up(false).await;
    place.party.let_go().await;
    let refused = coordinator.engine.start(start("sell", 2)).await.unwrap_err();
    assert!(matches!(&refused, StartError::Journal(error) if error.is_unavailable()), "{refused:?}");
    assert_eq!(
        coordinator.engine.readiness().await.database,
        "the database is not available; the request can be made again"
    );
    place.database_up(true).await;
    assert_eq!(coordinator.end_of(held).await, "completed");
    let id = coordinator.start(start("sell", 2)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(place.dead_letters().await.is_empty(), "a reply that came in the meantime waited");
    coordinator.stop().await;
}

/// Nothing to wait for: every step is skipped or only tells somebody.
#[tokio::test(flavor = "multi_thread")]
async fn a_saga_may_end_with_its_start() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![crate::party::whisper()]).await;
    let id = coordinator.start(start("whisper", 1)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    insta::assert_snapshot!(place.history(id).await, @r"
    1 started
    2 skipped action charge
    3 notified action tell 1
    4 completed
    ");
    coordinator.stop().await;
}
