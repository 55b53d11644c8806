//! Starts with data in their type, and their ends.

use std::time::Duration;

use redress_coordinator::{EndError, StartError, TypedStartError};
use redress_core::decide::Verb;
use redress_core::{SagaContract, SagaEnd, SagaId};
use uuid::Uuid;

use crate::fixture::{Fixture, PATIENCE, order, until};
use crate::party::{How, Sale, sell};

/// The saga `sell`, as another program knows it.
const SELL: SagaContract<Sale> = SagaContract::new("sell", 1);

fn sale(number: u64, step: &str, how: How) -> Sale {
    Sale { number, step: step.to_owned(), how, noted: Vec::new() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_start_gives_the_data_as_they_were_at_the_end() {
    let fixture = Fixture::new().await;
    let (coordinator, definition) = (fixture.coordinator(vec![sell()]).await, sell());
    let engine = &coordinator.engine;

    let sold =
        engine.start(&definition, &sale(1, "-", How::Do)).key("one").tag("kind", "good").await.unwrap();
    let ended = sold.ended().await.unwrap();
    assert!(ended.is_completed() && ended.id == sold.id(), "{ended:?}");
    assert_eq!(ended.data.number, 1);
    assert!(!ended.data.noted.is_empty(), "the replies are folded into the data: {ended:?}");
    let view = sold.view().await.unwrap().unwrap();
    assert_eq!(view.tags, serde_json::json!({ "kind": "good" }));

    let refused = engine.start(&SELL, &sale(2, "ship", How::Reject)).await.unwrap().ended().await.unwrap();
    let SagaEnd::Compensated { cause } = &refused.end else { panic!("{refused:?}") };
    assert_eq!(cause.step.as_ref().map(|step| step.as_str()), Some("ship"));
    assert_eq!(refused.cause(), Some(cause));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_start_with_the_same_key_finds_its_saga() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let engine = &coordinator.engine;
    let start = |number| engine.start(&SELL, &sale(number, "-", How::Do));
    let first = start(1).key("one").await.unwrap();
    let again = start(1).key("one").await.unwrap();
    assert_eq!((again.id(), first.was_created(), again.was_created()), (first.id(), true, false));
    let other = start(2).key("one").await.unwrap_err();
    assert!(
        matches!(other, TypedStartError::Start(StartError::KeyReused(id)) if id == first.id()),
        "{other}"
    );
    // Without a key each start is one of its own.
    let (one, another) = (start(1).await.unwrap(), start(1).await.unwrap());
    assert_ne!(one.id(), another.id());
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_start_refuses_data_of_another_type_and_unknown_sagas() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let engine = &coordinator.engine;
    let wrong = engine.start(&sell(), &serde_json::json!({ "number": 1 })).await.unwrap_err();
    assert!(matches!(wrong, TypedStartError::WrongData(_)), "{wrong}");
    let unknown = engine.start("buy", &sale(1, "-", How::Do)).await.unwrap_err();
    assert!(matches!(unknown, TypedStartError::Start(StartError::UnknownSaga(_))), "{unknown}");
    assert_eq!(fixture.count("SELECT count(*) FROM sagas").await, 0);
    let never = engine.handle::<Sale>(SagaId(Uuid::from_u128(7))).ended().await.unwrap_err();
    assert!(matches!(never, EndError::Unknown(_)), "{never}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_end_tells_open_and_parked_sagas_from_ended_ones() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let engine = &coordinator.engine;
    let held = engine.start(&SELL, &sale(1, "charge", How::Hold)).await.unwrap();
    let open = held.ended_within(Duration::ZERO).await.unwrap_err();
    assert!(matches!(open, EndError::StillOpen { status: "running", .. }), "{open}");

    // A retriable step must not be rejected: an operator has to act.
    let parked = engine.start(&SELL, &sale(2, "tell", How::Reject)).await.unwrap();
    let reason = parked.ended().await.unwrap_err();
    assert!(matches!(&reason, EndError::Parked { id, .. } if *id == parked.id()), "{reason}");
    engine.operate(parked.id(), order(Verb::Close, "alice", "done by hand")).await.unwrap();
    let closed = parked.ended().await.unwrap();
    assert_eq!(closed.end, SagaEnd::Closed { cause: None });
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn typed_end_is_heard_after_the_database_was_away() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let engine = &coordinator.engine;
    let held = engine.start(&SELL, &sale(1, "charge", How::Hold)).await.unwrap();
    fixture.party.holds(1).await;
    let waiting = tokio::spawn({
        let held = held.clone();
        async move { held.ended().await }
    });
    until("the waiter waits", async || (engine.waiting() > 0).then_some(())).await;
    fixture.database_up(false).await;
    until("the database is away", async || engine.saga(held.id()).await.err()).await;
    fixture.database_up(true).await;
    fixture.party.let_go().await;
    let ended = tokio::time::timeout(PATIENCE, waiting).await.expect("it ends").unwrap().unwrap();
    assert!(ended.is_completed(), "{ended:?}");
    coordinator.stop().await;
}
