//! Answers that come later: awaited without being called stalled, and given by the service or by a person.

use std::time::Duration;

use redress_coordinator::{Config, Engine, ListFilter};
use redress_core::decide::Verb;
use redress_core::inbox::GivenAnswer;
use redress_core::{JsonText, Phase, SagaId};

use crate::fixture::{Fixture, Running, name, order, start_with, until};
use crate::party::{How, approved};

async fn awaiting(coordinator: &Running, number: u64) -> SagaId {
    let id = coordinator.start(start_with("approved", number, "charge", How::Later)).await;
    until("the answer is awaited", async || {
        (status(&coordinator.engine, id, "charge").await == "awaiting").then_some(())
    })
    .await;
    id
}

async fn status(engine: &Engine, id: SagaId, step: &str) -> &'static str {
    let view = engine.saga(id).await.unwrap().unwrap();
    view.steps.iter().find(|it| it.name == step).unwrap().status
}

#[tokio::test(flavor = "multi_thread")]
async fn awaited_saga_is_not_stalled_and_goes_on_with_the_answer() {
    let fixture = Fixture::new().await;
    let config = Config { stalled_after: Duration::ZERO, ..fixture.config() };
    let coordinator = fixture.coordinator_with(config, vec![approved()]).await;
    let id = awaiting(&coordinator, 1).await;
    let held = coordinator.start(start_with("approved", 2, "charge", How::Hold)).await;
    fixture.party.holds(2).await;
    let filter = ListFilter { stalled: true, limit: 10, ..ListFilter::default() };
    let stalled = coordinator.engine.sagas(filter).await.unwrap().items;
    assert_eq!(stalled.iter().map(|view| view.id).collect::<Vec<_>>(), [held]);
    assert!(!coordinator.engine.saga(id).await.unwrap().unwrap().stalled);
    until("the gauge is read", async || {
        coordinator.engine.metrics().encode().contains("redress_sagas_stalled 1").then_some(())
    })
    .await;
    fixture.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert_eq!(coordinator.end_of(held).await, "completed");
    let accepted = "SELECT count(*) FROM saga_history WHERE event = 'accepted'";
    assert_eq!(fixture.count(accepted).await, 1);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_of_a_person_reaches_the_service() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![approved()]).await;
    let id = awaiting(&coordinator, 1).await;
    let reply = JsonText::parse(br#"{"note":"approved by ann"}"#).unwrap();
    let answer = GivenAnswer::Done { reply };
    let verb = Verb::Answer { step: name("charge"), answer };
    coordinator.engine.operate(id, order(verb.clone(), "ann", "it is fine")).await.unwrap();
    assert_eq!(coordinator.end_of(id).await, "completed");
    let events =
        "SELECT string_agg(event, ' ' ORDER BY seq) FROM saga_history WHERE saga_id = $1 AND step = 'charge'";
    let events: String = sqlx::query_scalar(events).bind(id.0).fetch_one(&fixture.pool).await.unwrap();
    assert_eq!(events, "sent accepted answer-given sent done", "the service has the last word");
    let seen = fixture.party.seen();
    let settlement = seen.iter().find(|command| command.key.phase == Phase::Settlement).unwrap();
    assert_eq!(settlement.payload.to_string(), r#"{"done":{"reply":{"note":"approved by ann"}}}"#);
    let refused = coordinator.engine.operate(id, order(verb, "bob", "me too")).await.unwrap_err();
    assert!(refused.to_string().contains("ended"), "{refused}");
    let audited = "SELECT count(*) FROM audit_log WHERE verb = 'answer' AND actor = 'ann'";
    assert_eq!(fixture.count(audited).await, 1);
    coordinator.stop().await;
}
