//! The timers when no participant answers.

use redress_core::SagaDefinition;

use crate::fixture::{Fixture, start_with, until};
use crate::party::{How, rush, sell};

#[tokio::test(flavor = "multi_thread")]
async fn unanswered_command_is_sent_again_and_then_settled() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![rush()]).await;
    let id = coordinator.start(start_with("rush", 7, "charge", How::Ignore)).await;
    assert_eq!(coordinator.end_of(id).await, "compensated");
    insta::assert_snapshot!(fixture.history(id).await, @r"
    1 started
    2 sent action reserve 1
    3 done action reserve 1
    4 sent action charge 1
    5 timed-out action charge 1
    6 sent action charge 2
    7 timed-out action charge 2
    8 sent settlement charge 1
    9 fenced settlement charge 1
    10 plan-frozen
    11 sent compensation reserve 1
    12 done compensation reserve 1
    13 compensated
    ");
    let payloads: Vec<_> = fixture.party.seen().into_iter().filter(|c| c.command == *"charge").collect();
    assert_eq!(payloads[0].payload, payloads[1].payload, "the same bytes in every attempt");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timer_fires_once_among_two_coordinators() {
    let fixture = Fixture::new().await;
    let (one, other) = (fixture.coordinator(vec![rush()]).await, fixture.coordinator(vec![rush()]).await);
    for number in 0..100 {
        one.start(start_with("rush", number, "charge", How::Ignore)).await;
    }
    let ended = "SELECT count(*) FROM sagas WHERE status = 'compensated'";
    until("100 ends", async || (fixture.count(ended).await == 100).then_some(())).await;
    assert_eq!(fixture.gaps().await, 0);
    let twice = "SELECT count(*) FROM (SELECT 1 FROM saga_history WHERE event = 'timed-out' \
                 GROUP BY saga_id, step, phase, attempt HAVING count(*) > 1) AS twice";
    assert_eq!(fixture.count(twice).await, 0);
    let settled =
        fixture.party.seen().iter().filter(|c| c.key.phase == redress_core::Phase::Settlement).count();
    assert!(settled >= 100, "{settled}");
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn timer_mark_moves_only_when_it_must() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "ship", How::Hold)).await;
    fixture.party.holds(1).await;
    let lower = "SELECT count(*) FROM sagas WHERE wake_at < due_at AND wake_at > started_at";
    assert_eq!(fixture.count(lower).await, 1, "the mark of the first step still stands");
    fixture.execute("UPDATE sagas SET wake_at = now() WHERE id = $1", id).await;
    let exact = "SELECT count(*) FROM sagas WHERE wake_at = due_at";
    until("the mark moves", async || (fixture.count(exact).await == 1).then_some(())).await;
    fixture.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert_eq!(fixture.count("SELECT count(*) FROM sagas WHERE wake_at IS NULL AND due_at IS NULL").await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM saga_history WHERE event = 'timed-out'").await, 0);
    coordinator.stop().await;
}

fn brief() -> SagaDefinition {
    let mut definition = sell();
    definition.deadline_ms = Some(300);
    definition.name = crate::fixture::name("brief");
    definition
}

#[tokio::test(flavor = "multi_thread")]
async fn deadline_turns_saga_back() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![brief()]).await;
    let id = coordinator.start(start_with("brief", 7, "charge", How::Hold)).await;
    assert_eq!(coordinator.end_of(id).await, "compensated");
    let view = coordinator.engine.saga(id).await.unwrap().unwrap();
    insta::assert_snapshot!(view.cause.unwrap(), @"deadline: the saga took longer than its deadline allows");
    assert!((view.ended_at.unwrap() - view.started_at).num_milliseconds() >= 300);
    coordinator.stop().await;
}
