//! One saga from its start to its end.

use redress_coordinator::view::SagaView;

use crate::fixture::{Fixture, start, start_with};
use crate::party::{How, sell};

fn statuses(view: &SagaView) -> String {
    view.steps.iter().map(|s| format!("{} {}", s.name, s.status)).collect::<Vec<_>>().join(", ")
}

#[tokio::test(flavor = "multi_thread")]
async fn saga_completes() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start("sell", 7)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    insta::assert_snapshot!(fixture.history(id).await, @r"
    1 started
    2 sent action reserve 1
    3 done action reserve 1
    4 sent action charge 1
    5 done action charge 1
    6 sent action ship 1
    7 done action ship 1
    8 sent action tell 1
    9 done action tell 1
    10 completed
    ");
    let view = coordinator.engine.saga(id).await.unwrap().unwrap();
    insta::assert_snapshot!(statuses(&view), @"reserve succeeded, charge succeeded, ship succeeded, tell succeeded");
    insta::assert_snapshot!(view.data.unwrap(), @r#"{"number":7,"step":"","how":"do","noted":["reserve 7"]}"#);
    assert_eq!(view.steps[1].reply.clone().flatten().unwrap().as_str(), r#"{"note":"charge 7"}"#);
    assert!(view.ended_at >= Some(view.started_at));
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn coordinator_decides_on_states_that_it_has_kept() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let mut ids = Vec::new();
    for number in 0..20 {
        ids.push(coordinator.start(start("sell", number)).await);
    }
    for id in ids {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    assert_eq!(fixture.gaps().await, 0);
    let metrics = coordinator.engine.metrics().encode();
    let kept = metrics.lines().find_map(|line| line.strip_prefix("redress_states_kept_total "));
    let kept: u64 = kept.unwrap().parse().unwrap();
    // However slow the machine is, some reply of the eighty comes within the second.
    assert!((1..=80).contains(&kept), "{kept} decisions on kept states");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejection_compensates_succeeded_steps_in_reverse() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 7, "ship", How::Reject)).await;
    assert_eq!(coordinator.end_of(id).await, "compensated");
    insta::assert_snapshot!(fixture.history(id).await, @r"
    1 started
    2 sent action reserve 1
    3 done action reserve 1
    4 sent action charge 1
    5 done action charge 1
    6 sent action ship 1
    7 rejected action ship 1
    8 plan-frozen
    9 sent compensation charge 1
    10 done compensation charge 1
    11 sent compensation reserve 1
    12 done compensation reserve 1
    13 compensated
    ");
    let view = coordinator.engine.saga(id).await.unwrap().unwrap();
    insta::assert_snapshot!(statuses(&view), @"reserve compensated, charge compensated, ship rejected, tell pending");
    insta::assert_snapshot!(view.cause.unwrap(), @"ship rejected: no (not today)");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ended_saga_keeps_its_status() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start("sell", 7)).await;
    coordinator.end_of(id).await;
    let update = "UPDATE sagas SET status = 'running', ended_at = NULL WHERE id = $1";
    let error = sqlx::query(update).bind(id.0).execute(&fixture.pool).await.unwrap_err().to_string();
    assert!(error.contains("a terminal state has no way out"), "{error}");
    coordinator.stop().await;
}
