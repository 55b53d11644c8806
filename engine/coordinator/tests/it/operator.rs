//! The operator's verbs on a real journal: their effects, their audit, and the writes that the journal itself refuses.

use redress_coordinator::ports::UnderWay;
use redress_coordinator::{Config, OperatorError, OperatorRequest};
use redress_core::decide::{Refusal, Resolution, Verb};
use redress_core::{JsonText, SagaId};

use crate::fixture::{Fixture, Running, name, order, start_with, until};
use crate::party::{How, sell};

const RETRY: Verb = Verb::Retry { step: None };
/// The command at which a step is parked asks for something else, and asks for the action again.
const DAMAGED: &str = r#"UPDATE sagas SET state = convert_to(replace(convert_from(state, 'UTF8'),
    '"phase":"action","attempt"', '"phase":"settlement","attempt"'), 'UTF8') WHERE id = $1"#;
const REPAIRED: &str = r#"UPDATE sagas SET state = convert_to(replace(convert_from(state, 'UTF8'),
    '"phase":"settlement","attempt"', '"phase":"action","attempt"'), 'UTF8') WHERE id = $1"#;

async fn obeyed(coordinator: &Running, id: SagaId, verb: Verb) -> String {
    loop {
        let revision = coordinator.engine.saga(id).await.unwrap().unwrap().revision;
        let request = OperatorRequest {
            if_match: Some(vec![revision]),
            ..order(verb.clone(), "ann", "so that it ends")
        };
        match coordinator.engine.operate(id, request).await {
            // It has moved since it was looked at.
            Err(OperatorError::StaleRevision(_)) => {}
            result => return result.unwrap().status.to_owned(),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn retry_of_parked_saga_is_audited_and_completes() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "tell", How::Reject)).await;
    assert_eq!(coordinator.end_of(id).await, "parked");
    fixture.party.relent();
    obeyed(&coordinator, id, RETRY).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    let log =
        "SELECT count(*) FROM audit_log WHERE (actor, verb, reason) = ('ann', 'retry', 'so that it ends')";
    assert_eq!(fixture.count(log).await, 1);
    let history = fixture.history(id).await;
    assert!(history.contains("retry-requested\n"), "{history}");
    coordinator.stop().await;
}

/// As no engine writes it: parked at a settlement because it was rejected, which only an action is.
#[tokio::test(flavor = "multi_thread")]
async fn saga_whose_step_would_move_as_none_can_is_left_as_it_is() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "tell", How::Reject)).await;
    assert_eq!(coordinator.end_of(id).await, "parked");
    fixture.execute(DAMAGED, id).await;
    let before = fixture.history(id).await;
    let refused = coordinator.engine.operate(id, order(RETRY, "ann", "so that it ends")).await.unwrap_err();
    let told = refused.to_string().replace(&id.to_string(), "ID");
    insta::assert_snapshot!(told, @"a row of the journal is unreadable: saga ID cannot be decided on; the log says why");
    assert_eq!(fixture.history(id).await, before);
    assert_eq!(fixture.count("SELECT count(*) FROM audit_log").await, 0);
    fixture.execute(REPAIRED, id).await;
    fixture.party.relent();
    obeyed(&coordinator, id, RETRY).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn paused_saga_takes_replies_and_sends_nothing() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    assert_eq!(obeyed(&coordinator, id, Verb::Pause).await, "paused");
    fixture.party.let_go().await;
    until("it is heard", async || fixture.history(id).await.contains("done action charge").then_some(()))
        .await;
    assert!(!fixture.history(id).await.contains("ship"));
    obeyed(&coordinator, id, Verb::Resume).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn closed_saga_is_still_verified_by_settlement() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    // Silent and without a trace: the outcome is not known until the party is asked, which fences it.
    let id = coordinator.start(start_with("sell", 1, "charge", How::Ignore)).await;
    until("the step is in doubt", async || {
        fixture.history(id).await.contains("sent action charge 1").then_some(())
    })
    .await;
    assert_eq!(obeyed(&coordinator, id, Verb::Pause).await, "paused");
    coordinator.stop().await;
    // One that hears no answer yet: as long as that lasts the version is needed, and no coordinator may drain past it.
    let config = Config { start_paused: true, ..fixture.config() };
    let coordinator = fixture.coordinator_with(config, vec![sell()]).await;
    assert_eq!(obeyed(&coordinator, id, Verb::Close).await, "closed");
    assert_eq!(coordinator.engine.live().await.unwrap().len(), 1);
    assert_eq!(coordinator.engine.under_way().await.unwrap(), UnderWay { going: 1, resting: 0 });
    assert!(coordinator.engine.begin());
    until("it is verified", async || {
        fixture.history(id).await.contains("verified settlement charge").then_some(())
    })
    .await;
    let view = coordinator.engine.saga(id).await.unwrap().unwrap();
    assert_eq!((view.status, view.due_at), ("closed", None));
    assert_eq!(coordinator.engine.live().await.unwrap(), []);
    let late = coordinator.engine.operate(id, order(RETRY, "ann", "once more")).await.unwrap_err();
    assert!(matches!(late, OperatorError::Refused { refusal: Refusal::Ended, .. }), "{late:?}");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn resolution_ends_doubt_and_is_verified() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    let reply = JsonText::of(&serde_json::json!({ "note": "by hand" })).unwrap();
    let happened = Verb::Resolve { step: name("charge"), resolution: Resolution::Happened { reply } };
    obeyed(&coordinator, id, happened).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    until("it is verified", async || {
        fixture.history(id).await.contains("verified settlement charge").then_some(())
    })
    .await;
    let unknown = Verb::Resolve { step: name("fly"), resolution: Resolution::NeverHappened };
    let error = coordinator.engine.operate(id, order(unknown, "ann", "?")).await.unwrap_err();
    assert!(matches!(error, OperatorError::Refused { refusal: Refusal::Ended, .. }), "{error:?}");
    coordinator.stop().await;
}

/// The journal itself keeps an end, even from a program that tries to change it.
#[tokio::test(flavor = "multi_thread")]
async fn journal_refuses_change_of_terminal_status() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "-", How::Do)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    for status in ["running", "compensating", "parked", "paused", "compensated", "closed"] {
        let refused = sqlx::query("UPDATE sagas SET status = $2, ended_at = NULL WHERE id = $1")
            .bind(id.0)
            .bind(status)
            .execute(&fixture.pool)
            .await
            .unwrap_err();
        assert!(refused.to_string().contains("a terminal state has no way out"), "{refused}");
    }
    coordinator.stop().await;
}
