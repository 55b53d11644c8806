//! A rolling upgrade: a state that a newer coordinator has written is left to newer ones, as it is and at once.

use redress_coordinator::{Config, JournalError, ListFilter, OperatorError};
use redress_core::SagaId;
use redress_core::state::STATE_FORMAT;
use sqlx::Row;

use crate::fixture::{Fixture, Running, cancel, start, start_with, until};
use crate::party::{How, sell};

/// The next form of a state, which a newer program may write.
const NEWER: u32 = STATE_FORMAT + 1;
/// As a newer program writes it, with a field that is not known here; and due. `$2` is its form.
const WRITTEN_BY_A_NEWER_ONE: &str = "UPDATE sagas SET state_format = $2, wake_at = now(), state = convert_to( \
    (convert_from(state, 'UTF8')::jsonb || '{\"novelty\": {\"of\": 2}}')::text, 'UTF8') WHERE id = $1";

/// All that a coordinator which cannot read a saga must not touch.
async fn row(fixture: &Fixture, id: SagaId) -> (Vec<u8>, i64, i32, Option<String>) {
    let sql = "SELECT state, revision, state_format, wake_at::text FROM sagas WHERE id = $1";
    let row = sqlx::query(sql).bind(id.0).fetch_one(&fixture.pool).await.unwrap();
    (row.get(0), row.get(1), row.get(2), row.get(3))
}

async fn left_to_others(coordinator: &Running) -> u64 {
    let metrics = coordinator.engine.metrics().encode();
    let count = metrics.lines().find_map(|line| line.strip_prefix("redress_replies_left_to_others_total "));
    count.unwrap().parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_state_is_left_untouched_to_newer_coordinators_at_once() {
    let fixture = Fixture::new().await;
    let old = fixture.coordinator(vec![sell()]).await;
    let id = old.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    old.stop().await;
    let newer = sqlx::query(WRITTEN_BY_A_NEWER_ONE).bind(id.0).bind(NEWER.cast_signed());
    assert_eq!(newer.execute(&fixture.pool).await.unwrap().rows_affected(), 1);
    let written = row(&fixture, id).await;

    let old = fixture.coordinator(vec![sell()]).await;
    fixture.party.let_go().await;
    until("the reply is put back", async || (left_to_others(&old).await > 0).then_some(())).await;
    // It works, and its timers turn: on everything but this one.
    let other = old.start(start_with("sell", 2, "ship", How::Hold)).await;
    fixture.party.holds(1).await;
    fixture.execute("UPDATE sagas SET wake_at = now() WHERE id = $1", other).await;
    let exact = "SELECT count(*) FROM sagas WHERE state_format = $1 AND wake_at = due_at";
    until("the timers turn", async || {
        let exact = sqlx::query_scalar::<_, i64>(exact).bind(STATE_FORMAT.cast_signed());
        (exact.fetch_one(&fixture.pool).await.unwrap() == 1).then_some(())
    })
    .await;
    fixture.party.let_go().await;
    assert_eq!(old.end_of(other).await, "completed");
    let refused = old.engine.operate(id, cancel("ann", "changed her mind")).await.unwrap_err();
    assert!(
        matches!(
            refused,
            OperatorError::Journal(JournalError::Newer { format: NEWER, known: STATE_FORMAT, .. })
        ),
        "{refused}"
    );
    assert_eq!(
        old.engine.saga(id).await.unwrap().unwrap().status,
        "running",
        "people are shown what can be read"
    );
    assert_eq!(row(&fixture, id).await, written);

    // Beside it, a newer one takes it at once.
    let config = Config { state_format: NEWER, ..fixture.config() };
    let new = fixture.coordinator_with(config, vec![sell()]).await;
    assert_eq!(new.end_of(id).await, "completed");
    let id = new.start(start("sell", 3)).await;
    assert_eq!(new.end_of(id).await, "completed");
    assert_eq!(row(&fixture, id).await.2, NEWER.cast_signed(), "a form counts for the start as well");
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
    old.stop().await;
    new.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_state_that_cannot_be_shown_is_named() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    let fine = coordinator.start(start("sell", 2)).await;
    assert_eq!(coordinator.end_of(fine).await, "completed");
    fixture
        .execute("UPDATE sagas SET state_format = 99, wake_at = now(), state = '{\"status\":\"new\"}' WHERE id = $1", id)
        .await;
    let written = row(&fixture, id).await;
    let page = coordinator.engine.sagas(ListFilter { limit: 9, ..ListFilter::default() }).await.unwrap();
    assert_eq!((page.items.len(), page.unreadable), (1, vec![id.to_string()]));
    let told = coordinator.engine.saga(id).await.unwrap_err().to_string();
    let told = told.replace(&id.to_string(), "ID").replace(&format!("to {STATE_FORMAT};"), "to OURS;");
    insta::assert_snapshot!(told, @"a newer coordinator carries saga ID on: its state is stored in form 99, and this one reads up to OURS; ask the newer one");
    fixture.party.let_go().await;
    until("the reply is put back", async || (left_to_others(&coordinator).await > 1).then_some(())).await;
    assert_eq!(row(&fixture, id).await, written, "nobody puts it off");
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
    coordinator.stop().await;
}
