//! The operator's verbs on a real journal: what they do, who did it, and what the journal itself refuses.

use redress_coordinator::journal::UnderWay;
use redress_coordinator::{Config, OrderError, OrderRequest};
use redress_core::decide::{Refusal, Resolution, Verb};
use redress_core::{JsonText, SagaId};

use crate::party::{How, sell};
use crate::place::{Place, Running, name, order, start_with, until};

const RETRY: Verb = Verb::Retry { step: None };

async fn obeyed(coordinator: &Running, id: SagaId, verb: Verb) -> String {
    loop {
        let revision = coordinator.engine.saga(id).await.unwrap().unwrap().revision;
        let request =
            OrderRequest { if_match: Some(revision), ..order(verb.clone(), "ann", "so that it ends") };
        match coordinator.engine.order(id, request).await {
            // It has moved since it was looked at.
            Err(OrderError::StaleRevision(_)) => {}
            result => return result.unwrap().status.to_owned(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_parked_saga_is_tried_again_and_the_log_says_who_wanted_it() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "tell", How::Reject)).await;
    assert_eq!(coordinator.end_of(id).await, "parked");
    place.party.relent();
    obeyed(&coordinator, id, RETRY).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    let log =
        "SELECT count(*) FROM audit_log WHERE (actor, verb, reason) = ('ann', 'retry', 'so that it ends')";
    assert_eq!(place.count(log).await, 1);
    let history = place.history(id).await;
    assert!(history.contains("retry-requested\n"), "{history}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_saga_hears_and_sends_nothing() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    place.party.holds(1).await;
    assert_eq!(obeyed(&coordinator, id, Verb::Pause).await, "paused");
    place.party.let_go().await;
    until("it is heard", async || place.history(id).await.contains("done action charge").then_some(())).await;
    assert!(!place.history(id).await.contains("ship"));
    obeyed(&coordinator, id, Verb::Resume).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_told_is_verified_even_after_the_end() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    // Silent and without a trace: what became of it is not known until the party is asked, which fences it.
    let id = coordinator.start(start_with("sell", 1, "charge", How::Ignore)).await;
    until("the step is in doubt", async || {
        place.history(id).await.contains("sent action charge 1").then_some(())
    })
    .await;
    assert_eq!(obeyed(&coordinator, id, Verb::Pause).await, "paused");
    coordinator.stop().await;
    // One that hears no answer yet: as long as that lasts the version is needed, and nobody may drain past it.
    let config = Config { start_paused: true, ..place.config() };
    let coordinator = place.coordinator_with(config, vec![sell()]).await;
    assert_eq!(obeyed(&coordinator, id, Verb::Close).await, "closed");
    assert_eq!(coordinator.engine.live().await.unwrap().len(), 1);
    assert_eq!(coordinator.engine.under_way().await.unwrap(), UnderWay { going: 1, resting: 0 });
    assert!(coordinator.engine.begin());
    until("it is verified", async || {
        place.history(id).await.contains("verified settlement charge").then_some(())
    })
    .await;
    let view = coordinator.engine.saga(id).await.unwrap().unwrap();
    assert_eq!((view.status, view.due_at), ("closed", None));
    assert_eq!(coordinator.engine.live().await.unwrap(), []);
    let late = coordinator.engine.order(id, order(RETRY, "ann", "once more")).await.unwrap_err();
    assert!(matches!(late, OrderError::Refused { refusal: Refusal::Ended, .. }), "{late:?}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_finding_ends_a_doubt() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    place.party.holds(1).await;
    let reply = JsonText::of(&serde_json::json!({ "note": "by hand" })).unwrap();
    let happened = Verb::Resolve { step: name("charge"), resolution: Resolution::Happened { reply } };
    obeyed(&coordinator, id, happened).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    until("it is verified", async || {
        place.history(id).await.contains("verified settlement charge").then_some(())
    })
    .await;
    let unknown = Verb::Resolve { step: name("fly"), resolution: Resolution::NeverHappened };
    let error = coordinator.engine.order(id, order(unknown, "ann", "?")).await.unwrap_err();
    assert!(matches!(error, OrderError::Refused { refusal: Refusal::Ended, .. }), "{error:?}");
    coordinator.stop().await;
}

/// Whatever a program may try, the journal itself keeps an end.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_refuses_a_way_out_of_an_end() {
    let place = Place::new().await;
    let coordinator = place.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "-", How::Do)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    for status in ["running", "compensating", "parked", "paused", "compensated", "closed"] {
        let refused = sqlx::query("UPDATE sagas SET status = $2, ended_at = NULL WHERE id = $1")
            .bind(id.0)
            .bind(status)
            .execute(&place.pool)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("a terminal state has no way out"), "{refused}");
    }
    coordinator.stop().await;
}
