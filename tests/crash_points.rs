//! The crash-point matrix: each named point × each step × each direction, on real Postgres and JetStream.
//!
//! A process dies exactly there, another one takes its place, and in the end every order ended as it must and the books
//! agree. Its exit code proves that it died of the injected failure and of nothing else.

#![expect(clippy::print_stdout, reason = "the table is for whoever runs the test with --nocapture")]

mod support;

use std::collections::BTreeMap;
use std::fmt::Write as _;

use serde_json::{Value, json};
use support::orders::Order;
use support::{SERVICES, World, until};
use uuid::Uuid;

/// Exit code of a process that died of an injected failure.
const INJECTED: Option<i32> = Some(86);

/// Every step forward, and every one that has an undo backward.
const PLACES: [(&str, &str); 8] = [
    ("create-order", "action"),
    ("charge-payment", "action"),
    ("reserve-inventory", "action"),
    ("ship-order", "action"),
    ("confirm-order", "action"),
    ("reserve-inventory", "compensation"),
    ("charge-payment", "compensation"),
    ("create-order", "compensation"),
];

/// The order that comes to this place: one that is undone for a compensation.
fn order_for(phase: &str) -> Order {
    if phase == "compensation" { Order::Undeliverable } else { Order::Fine }
}

/// Places an order, again and again until it is accepted.
async fn place(world: &World, order: Order, faults: Value, key: &str) -> Uuid {
    let (http, url) = (world.http.clone(), world.url("/v1/sagas"));
    place_at(http, url, order, faults, key.to_owned()).await
}

async fn place_at(http: reqwest::Client, url: String, order: Order, faults: Value, key: String) -> Uuid {
    let body = json!({ "saga": "place-order", "input": order.input(), "faults": faults });
    until(&format!("the acceptance of {key}"), async || {
        let request = http.post(&url).header("Idempotency-Key", &key).json(&body);
        let response = request.send().await.ok()?;
        let saga: Value = response.json().await.ok()?;
        saga["id"].as_str()?.parse().ok()
    })
    .await
}

/// Writes the table and checks the ends.
async fn finish(world: &World, who: &str, point: &str, orders: BTreeMap<Uuid, (Order, String)>) {
    let expected = orders.iter().map(|(id, (order, _))| (*id, *order)).collect();
    let evidence = world.check(&expected).await;
    let mut table = String::new();
    for (order, place) in orders.values() {
        writeln!(table, "{who:<12} {point:<22} {place:<32} {}", order.end().0).expect("a text takes lines");
    }
    println!("{table}{evidence:?}");
}

/// The coordinator dies at a point while it handles the answer to each question.
async fn coordinator_dies(point: &str) {
    let mut world = World::start().await;
    let mut orders = BTreeMap::new();
    for (step, phase) in PLACES {
        world.coordinators[0].kill().await;
        let place_of_death = format!("{point}:{step}:{phase}");
        world.coordinators[0] = world.start_coordinator_with(&["--crash-at", &place_of_death]).await;
        let (http, url, order) = (world.http.clone(), world.url("/v1/sagas"), order_for(phase));
        // It may die of the order before, and accept this one no more: the key makes it one order all the same.
        let accepted = tokio::select! {
            id = place_at(http, url, order, json!([]), place_of_death.clone()) => Some(id),
            code = world.coordinators[0].ended() => {
                assert_eq!(code, INJECTED, "{place_of_death}");
                None
            }
        };
        assert_eq!(world.coordinators[0].ended().await, INJECTED, "{place_of_death}");
        world.coordinators[0] = world.start_coordinator().await;
        let id = match accepted {
            Some(id) => id,
            None => place(&world, order, json!([]), &place_of_death).await,
        };
        orders.insert(id, (order, format!("{step} {phase}")));
    }
    finish(&world, "coordinator", point, orders).await;
}

/// The services die at a point while they carry out each command.
async fn participant_dies(kind: &str) {
    let mut world = World::start().await;
    let mut orders = BTreeMap::new();
    for (step, phase) in PLACES {
        let order = order_for(phase);
        let fault = json!([{ "step": step, "phase": phase, "kind": kind }]);
        let id = place(&world, order, fault, &format!("{kind}:{step}:{phase}")).await;
        assert_eq!(world.services[0].ended().await, INJECTED, "{kind} {step} {phase}");
        world.services[0] = world.start_services(&SERVICES).await;
        orders.insert(id, (order, format!("{step} {phase}")));
    }
    finish(&world, "participant", kind, orders).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_dies_before_its_commit() {
    coordinator_dies("before-commit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_dies_between_commit_and_acknowledgement() {
    coordinator_dies("after-commit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_dies_between_acknowledgement_and_publish() {
    coordinator_dies("after-acknowledgement").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_coordinator_dies_after_its_publish() {
    coordinator_dies("after-publish").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_dies_inside_its_inbox_transaction() {
    participant_dies("crash-before-commit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_dies_between_commit_and_reply() {
    participant_dies("crash-after-commit").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_participant_dies_between_reply_and_acknowledgement() {
    participant_dies("crash-after-reply").await;
}
