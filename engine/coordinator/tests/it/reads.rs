//! Looking at sagas.

use redress_coordinator::{Include, ListFilter, Page, SagaView, StartRequest};
use redress_core::SagaId;
use uuid::Uuid;

use crate::fixture::{Fixture, Running, start, start_with};
use crate::party::{How, rush, sell};

async fn found(coordinator: &Running, filter: ListFilter) -> Vec<u64> {
    let limit = if filter.limit == 0 { 100 } else { filter.limit };
    let filter = ListFilter { limit, include: Include::ALL, ..filter };
    let Page { items, .. } = coordinator.engine.sagas(filter).await.unwrap();
    items.iter().map(number).collect()
}

fn number(view: &SagaView) -> u64 {
    view.input.as_ref().unwrap().read::<serde_json::Value>().unwrap()["number"].as_u64().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn lists_are_newest_first_and_filtered() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell(), rush()]).await;
    let mut ids = Vec::new();
    for number in 0..7 {
        let how = if number == 3 { How::Reject } else { How::Do };
        let saga = if number == 5 { "rush" } else { "sell" };
        let tags = [("odd".to_owned(), (number % 2 == 1).to_string())].into();
        ids.push(coordinator.start(StartRequest { tags, ..start_with(saga, number, "charge", how) }).await);
        coordinator.end_of(ids[ids.len() - 1]).await;
    }
    let all = || ListFilter { include: Include::ALL, ..ListFilter::default() };
    assert_eq!(found(&coordinator, all()).await, [6, 5, 4, 3, 2, 1, 0]);
    let by = |status: &str| ListFilter { status: Some(status.to_owned()), ..ListFilter::default() };
    assert_eq!(found(&coordinator, by("compensated")).await, [3]);
    assert_eq!(found(&coordinator, ListFilter { saga: Some("rush".to_owned()), ..all() }).await, [5]);
    let tag = Some(("odd".to_owned(), "true".to_owned()));
    assert_eq!(found(&coordinator, ListFilter { tag, ..all() }).await, [5, 3, 1]);
    let text = |text: &str| ListFilter { text: Some(text.to_owned()), ..ListFilter::default() };
    assert_eq!(found(&coordinator, text("\"how\":\"REJECT\"")).await, [3]);
    assert_eq!(found(&coordinator, text(&ids[2].to_string())).await, [2]);
    assert!(found(&coordinator, text("%")).await.is_empty(), "a percent sign means itself");
    let since = coordinator.engine.saga(ids[4]).await.unwrap().unwrap().started_at;
    assert_eq!(found(&coordinator, ListFilter { since: Some(since), ..all() }).await, [6, 5, 4]);
    assert_eq!(found(&coordinator, ListFilter { until: Some(since), ..all() }).await, [3, 2, 1, 0]);

    let mut pages = Vec::new();
    let mut after = None;
    loop {
        let page = coordinator.engine.sagas(ListFilter { limit: 3, after, ..all() }).await.unwrap();
        pages.push(page.items.iter().map(number).collect::<Vec<_>>());
        match page.next {
            Some(next) => after = Some(next.parse().unwrap()),
            None => break,
        }
    }
    assert_eq!(pages, [vec![6, 5, 4], vec![3, 2, 1], vec![0]]);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn history_comes_in_pages_without_gaps() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start("sell", 7)).await;
    coordinator.end_of(id).await;
    let (mut seqs, mut after) = (Vec::new(), 0);
    loop {
        let page = coordinator.engine.history(id, after, 4).await.unwrap().unwrap();
        assert!(page.items.len() <= 4);
        seqs.extend(page.items.iter().map(|entry| entry.seq));
        match page.next {
            Some(next) => after = next.parse().unwrap(),
            None => break,
        }
    }
    assert_eq!(seqs, (1..=10).collect::<Vec<_>>());
    let nobody = SagaId(Uuid::now_v7());
    assert!(coordinator.engine.history(nobody, 0, 4).await.unwrap().is_none());
    assert!(coordinator.engine.saga(nobody).await.unwrap().is_none());
    assert!(coordinator.engine.plan(nobody).await.unwrap().is_none());
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn plan_lists_compensations_in_order() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "ship", How::Hold)).await;
    fixture.party.holds(1).await;
    let plan = coordinator.engine.plan(id).await.unwrap().unwrap().unwrap();
    let undo: Vec<_> =
        plan.undo.iter().map(|u| format!("{} {} {}", u.service, u.command, u.payload)).collect();
    insta::assert_snapshot!(undo.join("\n"), @r#"
    till refund {"number":7,"how":"do"}
    shelf release {"number":7,"how":"do"}
    "#);
    fixture.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert_eq!(coordinator.engine.waiting(), 0, "nobody is waited for in vain");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn steps_view_is_readable_with_psql() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    let steps: Vec<String> = sqlx::query_scalar(
        "SELECT step || ' ' || progress || ' ' || attempts FROM saga_steps WHERE saga_id = $1",
    )
    .bind(id.0)
    .fetch_all(&fixture.pool)
    .await
    .unwrap();
    assert_eq!(steps, ["reserve succeeded 1", "charge open 1", "ship pending 0", "tell pending 0"]);
    coordinator.stop().await;
}
