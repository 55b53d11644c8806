//! Injected failures: exact with any number of coordinators, and absent unless they are allowed.

use redress_coordinator::{FaultError, StartRequest};
use redress_core::Phase;
use redress_core::fault::{Fault, FaultKind};
use serde_json::json;

use crate::fixture::{Fixture, name, start, until};
use crate::party::sell;

fn fails_ten_times() -> Fault {
    Fault {
        saga: None,
        service: Some(name("till")),
        step: None,
        command: None,
        phase: Phase::Action,
        kind: FaultKind::Fail,
        times: Some(10),
        probability: 1.0,
        seed: 0,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn standing_fault_strikes_as_often_as_its_times_say() {
    let fixture = Fixture::new().await;
    let mut config = fixture.config();
    config.allow_faults = true;
    let one = fixture.coordinator_with(config.clone(), vec![sell()]).await;
    let other = fixture.coordinator_with(config, vec![sell()]).await;
    one.engine.add_fault(&fails_ten_times()).await.unwrap();
    for number in 0..50 {
        other.start(start("sell", number)).await;
    }
    let ended = "SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL";
    until("50 ends", async || (fixture.count(ended).await == 50).then_some(())).await;
    let struck = fixture.party.seen().iter().filter(|command| command.fault.is_some()).count();
    let listed = other.engine.faults().await.unwrap();
    let left = listed[0].remaining.unwrap();
    // The other coordinator learns of it at its next look; from then on every strike counts.
    assert_eq!(u32::try_from(struck).unwrap() + left, 10);
    assert!(struck > 0);
    assert_eq!(
        fixture.count("SELECT count(*) FROM saga_history WHERE event = 'failed'").await,
        struck as i64
    );
    assert_eq!(one.engine.clear_faults().await.unwrap(), 1);
    assert!(one.engine.faults().await.unwrap().is_empty());
    one.stop().await;
    other.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_of_saga_is_recorded_with_its_command() {
    let fixture = Fixture::new().await;
    let mut config = fixture.config();
    config.allow_faults = true;
    let coordinator = fixture.coordinator_with(config, vec![sell()]).await;
    let faults = Some(json!([{ "step": "charge", "kind": "fail", "times": 2 }]));
    let id = coordinator.start(StartRequest { faults, ..start("sell", 7) }).await;
    // Two attempts are allowed and both fail; the settlement finds that nothing happened.
    assert_eq!(coordinator.end_of(id).await, "compensated");
    let faults = "SELECT count(*) FROM saga_history_readable WHERE detail ->> 'fault' = 'fail'";
    assert_eq!(fixture.count(faults).await, 2);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_refused_where_they_are_not_allowed() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let refused = coordinator.engine.add_fault(&fails_ten_times()).await.unwrap_err();
    assert!(matches!(refused, FaultError::NotAllowed), "{refused:?}");
    // One that another coordinator was told.
    let row = "INSERT INTO faults (fault) VALUES ('{\"service\":\"till\",\"kind\":\"fail\"}')";
    sqlx::query(row).execute(&fixture.pool).await.unwrap();
    let id = coordinator.start(start("sell", 7)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    assert!(fixture.party.seen().iter().all(|command| command.fault.is_none()));
    coordinator.stop().await;
}
