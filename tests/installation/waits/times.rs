//! Waits that are over, cut short, or outlive their coordinator.

use serde_json::{Value, json};

use super::house::House;
use crate::support::until;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_that_does_not_come_turns_its_saga_back_or_lets_it_go_on() {
    let house = House::busy().await;
    let hasty = house.start("hasty", "hasty", json!({})).await;
    assert_eq!(house.end_of(&hasty).await, ("compensated".to_owned(), Value::Null));
    let cause = house.saga(&hasty).await["cause"].clone();
    assert_eq!((&cause["step"], &cause["kind"]), (&json!("approval"), &json!("timed-out")));
    let late = house.approve(&hasty, "form-1", "ann").await;
    assert_eq!(late, (409, "event-refused timed-out".to_owned()));

    let relaxed = house.start("relaxed", "relaxed", json!({})).await;
    house.comes_to(&relaxed, "receipt", "awaiting").await;
    assert_eq!(house.step(&relaxed, "approval").await["status"], "timed-out");
    assert_eq!(house.send(&relaxed, "receipt", "form-2", json!({ "by": "post" })).await.0, 202);
    assert_eq!(house.end_of(&relaxed).await, ("completed".to_owned(), Value::Null));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_and_deadline_reach_a_saga_that_waits() {
    let house = House::busy().await;
    let cancelled = house.awaiting("cancelled").await;
    assert_eq!(house.redress(&["cancel", &cancelled, "--reason", "not needed"]).await.0, Some(0));
    assert_eq!(house.end_of(&cancelled).await, ("compensated".to_owned(), Value::Null));
    assert_eq!(house.step(&cancelled, "approval").await["status"], "given-up");
    let late = house.approve(&cancelled, "form-1", "ann").await;
    assert_eq!(late, (409, "event-refused ended".to_owned()));

    let pausing = house.start("expense", "pausing", json!({ "pause_ms": 3_600_000 })).await;
    house.approve(&pausing, "form-1", "ann").await;
    house.comes_to(&pausing, "cool-off", "awaiting").await;
    assert!(house.step(&pausing, "cool-off").await["awaits"]["until"].is_string());
    assert_eq!(house.redress(&["cancel", &pausing, "--reason", "not needed"]).await.0, Some(0));
    assert_eq!(house.end_of(&pausing).await.0, "compensated");

    let rushed = house.start("rushed", "rushed", json!({})).await;
    assert_eq!(house.end_of(&rushed).await.0, "compensated");
    assert_eq!(house.saga(&rushed).await["cause"]["kind"], "deadline");
    house.close().await;
}

/// The coordinator dies while the saga waits. The next one finds the end of the wait in the journal, which may be over by
/// then: a machine that was too slow to die before that dies again, in a longer wait.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wait_outlives_its_coordinator() {
    let mut house = House::open().await;
    house.call_the_cashier().await;
    let mut pause_ms = 500;
    let (pausing, awaiting) = loop {
        let doomed = house.doomed_coordinator().await;
        let awaiting = house.awaiting(&format!("awaiting-{pause_ms}")).await;
        let key = format!("pausing-{pause_ms}");
        let pausing = house.start("expense", &key, json!({ "pause_ms": pause_ms })).await;
        house.approve(&pausing, "form-1", "ann").await;
        house.comes_to(&pausing, "cool-off", "awaiting").await;
        doomed.shutdown_background();
        if !house.history(&pausing).await.contains(&"waited".to_owned()) {
            break (pausing, awaiting);
        }
        pause_ms *= 2;
    };
    // An event needs no coordinator that moves sagas: it is written down, with what follows.
    assert_eq!(house.approve(&awaiting, "form-1", "ann").await, (202, "taken".to_owned()));
    let id: uuid::Uuid = pausing.parse().unwrap();
    let due = "SELECT count(*) FROM sagas WHERE id = $1 AND due_at <= now() AND ended_at IS NULL";
    until("the wait is over and nobody looks", async || {
        let due: i64 = sqlx::query_scalar(due).bind(id).fetch_one(house.world.journal()).await.ok()?;
        (due > 0).then_some(())
    })
    .await;
    assert_eq!(house.step(&pausing, "cool-off").await["status"], "awaiting");
    house.run();
    assert_eq!(house.end_of(&pausing).await, ("completed".to_owned(), json!("ann")));
    assert_eq!(house.end_of(&awaiting).await, ("completed".to_owned(), json!("ann")));
    house.close().await;
}
