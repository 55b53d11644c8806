//! Cancel: it wins or it loses, and the audit log names its actor only if it wins.

use redress_coordinator::{OperatorError, OperatorRequest};
use redress_core::decide::Refusal;

use crate::fixture::{Fixture, start_with};
use crate::party::{How, sell};

fn request() -> OperatorRequest {
    crate::fixture::cancel("ann", "changed her mind")
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_before_pivot_wins_once() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    let view = coordinator.engine.operate(id, request()).await.unwrap();
    assert_eq!(view.cause.unwrap().to_string(), "cancelled: ann: changed her mind");
    assert_eq!(coordinator.end_of(id).await, "compensated");
    insta::assert_snapshot!(fixture.history(id).await, @r"
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
    let late = coordinator.engine.operate(id, request()).await.unwrap_err();
    assert!(matches!(late, OperatorError::Refused { refusal: Refusal::Ended, .. }), "{late:?}");
    let audited = "SELECT count(*) FROM audit_log WHERE actor = 'ann' AND verb = 'cancel'";
    assert_eq!(fixture.count(audited).await, 1);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_from_pivot_on_is_refused() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "ship", How::Hold)).await;
    fixture.party.holds(1).await;
    let lost = coordinator.engine.operate(id, request()).await.unwrap_err();
    assert!(
        matches!(&lost, OperatorError::Refused { refusal: Refusal::PivotSent, saga, .. } if saga.id == id),
        "{lost:?}"
    );
    fixture.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert_eq!(fixture.count("SELECT count(*) FROM audit_log").await, 0);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_with_stale_revision_is_refused() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    let now = coordinator.engine.saga(id).await.unwrap().unwrap().revision;
    let with = |revision| OperatorRequest { if_match: Some(vec![revision]), ..request() };
    let stale = coordinator.engine.operate(id, with(now - 1)).await.unwrap_err();
    assert!(matches!(&stale, OperatorError::StaleRevision(view) if view.revision == now), "{stale:?}");
    assert_eq!(fixture.count("SELECT count(*) FROM audit_log").await, 0);
    coordinator.engine.operate(id, with(now)).await.unwrap();
    assert_eq!(coordinator.end_of(id).await, "compensated");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_is_finished_after_caller_goes_away() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    // The row is locked, so the cancel cannot be decided before its caller is gone.
    let mut lock = fixture.pool.begin().await.unwrap();
    sqlx::query("SELECT id FROM sagas WHERE id = $1 FOR UPDATE")
        .bind(id.0)
        .execute(&mut *lock)
        .await
        .unwrap();
    let cancel = coordinator.engine.operate(id, request());
    let waits = async {
        let waiting = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'";
        crate::fixture::until("the cancel waits for the lock", async || {
            (fixture.count(waiting).await == 1).then_some(())
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
