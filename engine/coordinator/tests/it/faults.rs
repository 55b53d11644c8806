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
        saga_id: None,
        tag: None,
        service: Some(name("till")),
        step: None,
        command: None,
        phase: Some(Phase::Action),
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
    // Each strike was counted once, by whichever coordinator.
    let told = &listed[0].struck;
    assert_eq!(told.count, struck as u64);
    assert_eq!(told.last.len(), struck);
    assert!(told.first_at.is_some() && told.first_at <= told.last_at, "{told:?}");
    let struck_sagas: std::collections::BTreeSet<_> = told.last.iter().map(|strike| strike.saga_id).collect();
    let seen: std::collections::BTreeSet<_> = fixture
        .party
        .seen()
        .iter()
        .filter(|command| command.fault.is_some())
        .map(|command| command.key.saga_id)
        .collect();
    assert_eq!(struck_sagas, seen);
    assert_eq!(
        fixture.count("SELECT count(*) FROM saga_history WHERE event = 'failed'").await,
        struck as i64
    );
    assert_eq!(one.engine.clear_faults().await.unwrap(), 1);
    assert!(one.engine.faults().await.unwrap().is_empty());
    one.stop().await;
    other.stop().await;
}

fn fault(json: serde_json::Value) -> Fault {
    serde_json::from_value(json).unwrap()
}

/// Of one fault twenty strikes are kept, and all are counted; a start that is made again strikes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn strikes_are_counted_once_and_the_last_are_kept() {
    let fixture = Fixture::new().await;
    let mut config = fixture.config();
    config.allow_faults = true;
    let coordinator = fixture.coordinator_with(config, vec![sell()]).await;
    let everything = fault(json!({ "everything": true, "kind": "delay", "ms": 1, "times": 1000 }));
    let id = coordinator.engine.add_fault(&everything).await.unwrap();
    for number in (0..25).chain(0..25) {
        coordinator.start(start("sell", number)).await;
    }
    let ended = "SELECT count(*) FROM sagas WHERE ended_at IS NOT NULL";
    until("25 ends", async || (fixture.count(ended).await == 25).then_some(())).await;
    let sent =
        "SELECT count(*) FROM saga_history_readable WHERE event = 'sent' AND detail ->> 'fault' = 'delay:1'";
    let listed = coordinator.engine.faults().await.unwrap().remove(0);
    assert_eq!((listed.id, listed.struck.count as i64), (id, fixture.count(sent).await));
    assert_eq!(listed.remaining.map(i64::from), Some(1000 - listed.struck.count as i64));
    assert_eq!(listed.struck.last.len(), 20);
    assert!(listed.struck.last.is_sorted_by_key(|strike| strike.at));
    assert_eq!(listed.struck.last.last().map(|strike| strike.at), listed.struck.last_at);
    assert!(coordinator.engine.remove_fault(id).await.unwrap());
    assert!(!coordinator.engine.remove_fault(id).await.unwrap());
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn fault_strikes_the_sagas_of_a_tag_or_one_saga_alone() {
    let fixture = Fixture::new().await;
    let mut config = fixture.config();
    (config.allow_faults, config.start_paused) = (true, true);
    let coordinator = fixture.coordinator_with(config, vec![sell()]).await;
    let tagged = |number, region: &str| StartRequest {
        tags: [("region".to_owned(), region.to_owned())].into(),
        ..start("sell", number)
    };
    let north = coordinator.start(tagged(1, "north")).await;
    let south = coordinator.start(tagged(2, "south")).await;
    let other = coordinator.start(start("sell", 3)).await;
    let engine = &coordinator.engine;
    let fail = |mut conditions: serde_json::Value| {
        (conditions["kind"], conditions["step"]) = (json!("fail"), json!("charge"));
        fault(conditions)
    };
    engine.add_fault(&fail(json!({ "tag": "region:north" }))).await.unwrap();
    engine.add_fault(&fail(json!({ "saga_id": other }))).await.unwrap();
    let nobody = fail(json!({ "saga_id": "0190163d-8694-739b-aea5-966c26f8ad91" }));
    let refused = engine.add_fault(&nobody).await.unwrap_err().to_string();
    assert_eq!(
        refused,
        "the fault would strike nothing: there is no saga 0190163d-8694-739b-aea5-966c26f8ad91"
    );
    engine.begin();
    // One that begins while the fault stands is struck as well.
    let late = coordinator.start(tagged(4, "north")).await;
    for id in [north, south, other, late] {
        coordinator.end_of(id).await;
    }
    let struck = engine.faults().await.unwrap();
    let sagas =
        |place: usize| struck[place].struck.last.iter().map(|strike| strike.saga_id).collect::<Vec<_>>();
    assert_eq!((sagas(0).len(), sagas(1)), (1, vec![other]));
    assert!([north, late].contains(&sagas(0)[0]));
    assert_eq!(fixture.count("SELECT count(*) FROM saga_history WHERE event = 'failed'").await, 2);
    for given in [json!([{ "saga_id": other, "kind": "fail" }]), json!([{ "tag": "a:b", "kind": "fail" }])] {
        let refused = engine.start_request(StartRequest { faults: Some(given), ..start("sell", 9) }).await;
        let refused = refused.unwrap_err().to_string();
        assert!(
            refused.contains("a fault that is given with a start strikes that saga alone: leave `"),
            "{refused}"
        );
    }
    coordinator.stop().await;
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
