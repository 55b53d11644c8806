//! Cancel: it wins or it loses, and leaves a trace of who asked only if it wins.

use redress_coordinator::{OrderError, OrderRequest};
use redress_core::decide::Refusal;

use crate::party::{How, sell};
use crate::place::{Place, start_with};

fn request() -> OrderRequest {
    crate::place::cancel("ann", "changed her mind")
}

#[tokio::test(flavor = "multi_thread")]
async fn before_the_pivot_it_wins_once() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "charge", How::Hold)).await;
    place.party.holds(1).await;
    let view = coordinator.engine.order(id, request()).await.unwrap();
    assert_eq!(view.cause.unwrap().to_string(), "cancelled: ann: changed her mind");
    assert_eq!(coordinator.end_of(id).await, "compensated");
    insta::assert_snapshot!(place.history(id).await, @r"
    1 started
    2 sent action reserve 1
    3 done action reserve 1
    4 sent action charge 1
    5 cancel-requested
    6 sent settlement charge 1
    7 done settlement charge 1
    8 plan-frozen
    9 sent compensation charge 1
    10 done compensation charge 1
    11 sent compensation reserve 1
    12 done compensation reserve 1
    13 compensated
    ");
    let late = coordinator.engine.order(id, request()).await.unwrap_err();
    assert!(matches!(late, OrderError::Refused { refusal: Refusal::Ended, .. }), "{late:?}");
    let audited = "SELECT count(*) FROM audit_log WHERE actor = 'ann' AND verb = 'cancel'";
    assert_eq!(place.count(audited).await, 1);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn from_the_pivot_on_it_loses() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "ship", How::Hold)).await;
    place.party.holds(1).await;
    let lost = coordinator.engine.order(id, request()).await.unwrap_err();
    assert!(
        matches!(&lost, OrderError::Refused { refusal: Refusal::PivotSent, saga, .. } if saga.id == id),
        "{lost:?}"
    );
    place.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert_eq!(place.count("SELECT count(*) FROM audit_log").await, 0);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_condition_on_the_revision_is_kept() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "charge", How::Hold)).await;
    place.party.holds(1).await;
    let now = coordinator.engine.saga(id).await.unwrap().unwrap().revision;
    let with = |revision| OrderRequest { if_match: Some(revision), ..request() };
    let stale = coordinator.engine.order(id, with(now - 1)).await.unwrap_err();
    assert!(matches!(&stale, OrderError::StaleRevision(view) if view.revision == now), "{stale:?}");
    assert_eq!(place.count("SELECT count(*) FROM audit_log").await, 0);
    coordinator.engine.order(id, with(now)).await.unwrap();
    assert_eq!(coordinator.end_of(id).await, "compensated");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_begun_is_finished_when_the_caller_goes_away() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "charge", How::Hold)).await;
    place.party.holds(1).await;
    // The row is locked, so the cancel cannot be decided before its caller is gone.
    let mut lock = place.pool.begin().await.unwrap();
    sqlx::query("SELECT id FROM sagas WHERE id = $1 FOR UPDATE")
        .bind(id.0)
        .execute(&mut *lock)
        .await
        .unwrap();
    let cancel = coordinator.engine.order(id, request());
    let waits = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        crate::place::until("the cancel waits for the lock", async || {
            (place.count(waiting).await == 1).then_some(())
        })
        .await;
    };
    tokio::select! {
        result = cancel => panic!("decided under somebody else's lock: {result:?}"),
        () = waits => {}
    }
    lock.commit().await.unwrap();
    assert_eq!(coordinator.end_of(id).await, "compensated");
    coordinator.stop().await;
}
