//! Callers that wait for the end of a saga.

use std::time::Duration;

use redress_coordinator::Engine;

use crate::fixture::{Fixture, PATIENCE, start, start_with};
use crate::party::{How, sell};

#[tokio::test(flavor = "multi_thread")]
async fn awaited_start_answers_with_the_end_and_again_with_the_same_one() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    for created in [true, false] {
        let awaited = coordinator.engine.start_awaited(start("sell", 1)).await.unwrap();
        assert_eq!(awaited.started.created, created);
        let view = awaited.ended(PATIENCE).await.unwrap().unwrap();
        assert_eq!(view.status, "completed");
    }
    assert_eq!(coordinator.engine.waiting(), 0);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn awaited_start_gives_the_saga_as_it_is_when_its_time_is_over() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let awaited = coordinator.engine.start_awaited(start_with("sell", 1, "ship", How::Hold)).await.unwrap();
    let view = awaited.ended(Duration::from_millis(50)).await.unwrap().unwrap();
    assert_eq!(view.status, "running");
    assert_eq!(coordinator.engine.waiting(), 0);
    fixture.party.let_go().await;
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_hears_of_an_end_that_another_coordinator_brought_about() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    // It takes starts and moves no saga.
    let idle = Engine::open(fixture.config(), vec![sell()], fixture.wire.clone()).await.unwrap();
    let awaited = idle.start_awaited(start("sell", 1)).await.unwrap();
    let view = tokio::time::timeout(PATIENCE, awaited.ended(10 * PATIENCE)).await.expect("it hears of it");
    assert_eq!(view.unwrap().unwrap().status, "completed");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn read_survives_a_server_that_closed_the_resting_connection() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start("sell", 1)).await;
    coordinator.end_of(id).await;
    let end_sessions = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                        WHERE datname = current_database() AND pid <> pg_backend_pid()";
    for _ in 0..5 {
        assert!(fixture.count(end_sessions).await > 0);
        assert_eq!(coordinator.engine.saga(id).await.unwrap().unwrap().status, "completed");
    }
    coordinator.stop().await;
}
