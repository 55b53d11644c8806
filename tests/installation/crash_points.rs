//! The crash-point matrix: each named point × each step × each direction, on real Postgres and JetStream.
//!
//! A process dies exactly there, another one takes its place, and in the end every order ended as it must and the books
//! agree. Its exit code proves that it died of the injected failure and of nothing else. A coordinator dies with the
//! reply to a command in hand, or with the command itself: the one that a start, a reply, a timer or an operator
//! command sends.

#![expect(clippy::print_stdout, reason = "the table is for whoever runs the test with --nocapture")]

use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::support::check::Evidence;
use crate::support::orders::Order;
use crate::support::{SERVICES, World, until};
use serde_json::{Value, json};
use uuid::Uuid;

/// Exit code of a process that died of an injected failure.
const INJECTED: Option<i32> = Some(86);

/// Every action, and every compensation of a step that has one.
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

/// The order that comes to this place: one that turns back for a compensation.
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
async fn finish(world: &World, who: &str, point: &str, orders: BTreeMap<Uuid, (Order, String)>) -> Evidence {
    let expected = orders.iter().map(|(id, (order, _))| (*id, *order)).collect();
    let evidence = world.check(&expected).await;
    let mut table = String::new();
    for (order, place) in orders.values() {
        writeln!(table, "{who:<12} {point:<22} {place:<32} {}", order.end().0).expect("a text takes lines");
    }
    println!("{table}{evidence:?}");
    evidence
}

/// The coordinator dies at a point of each command, while it handles the reply or sends the command.
async fn coordinator_dies(world: &mut World, point: &str) -> BTreeMap<Uuid, (Order, String)> {
    let mut orders = BTreeMap::new();
    for (step, phase) in PLACES {
        let place_of_death = format!("{point}:{step}:{phase}");
        arm(world, &place_of_death).await;
        let order = order_for(phase);
        let id = place_until_it_dies(world, order, json!([]), &place_of_death).await;
        orders.insert(id, (order, format!("{step} {phase}")));
    }
    orders
}

/// Replaces the coordinator by one that dies at this place.
async fn arm(world: &mut World, place_of_death: &str) {
    // The one before may have died already.
    if world.coordinators[0].is_running() {
        world.coordinators[0].kill().await;
    }
    world.coordinators[0] = world.start_coordinator_with(&["--crash-at", place_of_death]).await;
}

/// Places an order during which the coordinator dies, and starts another coordinator.
async fn place_until_it_dies(world: &mut World, order: Order, faults: Value, key: &str) -> Uuid {
    let (http, url) = (world.http.clone(), world.url("/v1/sagas"));
    // It may die before it has said that it accepts the order: the key makes it one order all the same.
    let accepted = tokio::select! {
        id = place_at(http, url, order, faults.clone(), key.to_owned()) => Some(id),
        code = world.coordinators[0].ended() => {
            assert_eq!(code, INJECTED, "{key}");
            None
        }
    };
    dies(world, key).await;
    world.coordinators[0] = world.start_coordinator().await;
    match accepted {
        Some(id) => id,
        None => place(world, order, faults, key).await,
    }
}

async fn dies(world: &mut World, whereof: &str) {
    assert_eq!(world.coordinators[0].ended().await, INJECTED, "{whereof}");
}

/// The coordinator dies at a point while a start, a timer or an operator command sends a command: the same command
/// twice, at the first sending and then at the one by the timer.
async fn sender_dies(world: &mut World, point: &str) -> [(Uuid, (Order, String)); 2] {
    let (first, settlement) =
        (format!("{point}:create-order:action"), format!("{point}:reserve-inventory:settlement"));
    // Reserved, and the coordinator does not hear of it: the cancel has the outcome settled, and its first reply is
    // lost too.
    let unheard = json!([
        { "step": "reserve-inventory", "kind": "drop-reply" },
        { "step": "reserve-inventory", "phase": "settlement", "kind": "drop-reply", "times": 1 },
    ]);
    let cancelled = place(world, Order::Fine, unheard, "cancelled").await;
    until("the reservation", async || {
        let reserved = "SELECT count(*) FROM reservations WHERE saga_id = $1";
        let reserved = sqlx::query_scalar(reserved).bind(cancelled).fetch_one(&world.books().inventory);
        let reserved: i64 = reserved.await.ok()?;
        (reserved == 1).then_some(())
    })
    .await;
    // The service carries out the first attempt, but only the reply to the repeated one arrives.
    arm(world, &first).await;
    let unheard = json!([{ "step": "create-order", "kind": "drop-reply", "times": 1 }]);
    let started = place_until_it_dies(world, Order::Fine, unheard, "asked-again").await;
    arm(world, &settlement).await;
    let cancel = world.http.post(world.url(&format!("/v1/sagas/{cancelled}/cancel")));
    // The coordinator may die before it has answered.
    let _ = cancel.send().await;
    dies(world, &settlement).await;
    // Both commands or their replies were lost: the timers send them again, and the coordinator whose timer sends dies
    // of it.
    for again in [&first, &settlement] {
        world.coordinators[0] = world.start_coordinator_with(&["--crash-at", again]).await;
        dies(world, again).await;
    }
    world.coordinators[0] = world.start_coordinator().await;
    // All effects are undone, as of an order that cannot be delivered.
    [
        (started, (Order::Fine, "create-order, start and timer".to_owned())),
        (cancelled, (Order::Undeliverable, "settlement, cancel and timer".to_owned())),
    ]
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
    let evidence = finish(&world, "participant", kind, orders).await;
    assert!(evidence.redelivered >= PLACES.len() as u64, "what it had in hand came again: {evidence:?}");
}

/// Commands that follow from the replies of [`PLACES`]: not from the last one of each direction.
const FOLLOWING: i64 = PLACES.len() as i64 - 2;

/// Scenario 3.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_dies_before_commit() {
    let mut world = World::start().await;
    let orders = coordinator_dies(&mut world, "before-commit").await;
    let evidence = finish(&world, "coordinator", "before-commit", orders).await;
    assert!(evidence.redelivered >= PLACES.len() as u64, "the answers came again: {evidence:?}");
}

/// Scenarios 1 and 4.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_dies_between_commit_and_acknowledgement() {
    let mut world = World::start().await;
    let orders = coordinator_dies(&mut world, "after-commit").await;
    let evidence = finish(&world, "coordinator", "after-commit", orders).await;
    assert!(evidence.redelivered >= PLACES.len() as u64, "the answers came again: {evidence:?}");
}

/// Scenario 1: nothing comes again by itself, so only the timers can heal.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_dies_between_acknowledgement_and_publish() {
    let mut world = World::start().await;
    let orders = coordinator_dies(&mut world, "after-acknowledgement").await;
    let evidence = finish(&world, "coordinator", "after-acknowledgement", orders).await;
    assert!(evidence.resent >= FOLLOWING, "what was never published was sent again: {evidence:?}");
}

/// Scenario 2.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_dies_after_publish() {
    let mut world = World::start().await;
    let orders = coordinator_dies(&mut world, "after-publish").await;
    let evidence = finish(&world, "coordinator", "after-publish", orders).await;
    // Except for the messages that the previous coordinator had in hand when it was killed.
    assert!(evidence.resent < FOLLOWING, "what was published was not lost: {evidence:?}");
}

/// Scenario 1, of each command and each sender: a start, a reply, a timer, an operator command.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_dies_before_sending_command() {
    let mut world = World::start().await;
    let mut orders = coordinator_dies(&mut world, "before-sending").await;
    orders.extend(sender_dies(&mut world, "before-sending").await);
    let evidence = finish(&world, "coordinator", "before-sending", orders).await;
    // Each command of the matrix once, and the two that were lost twice.
    assert!(evidence.resent >= PLACES.len() as i64 + 4, "what was lost was sent again: {evidence:?}");
    assert!(evidence.settled >= 3, "also a settlement: {evidence:?}");
}

/// Scenario 2, of each command and each sender.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_dies_after_sending_command() {
    let mut world = World::start().await;
    let mut orders = coordinator_dies(&mut world, "after-sending").await;
    let senders = sender_dies(&mut world, "after-sending").await;
    let asked_again = senders[0].0;
    orders.extend(senders);
    let evidence = finish(&world, "coordinator", "after-sending", orders).await;
    assert!(evidence.resent >= 1, "what was not answered was sent again: {evidence:?}");
    // Created by the first attempt, and the same reply from the inbox to the second one.
    let answered =
        "SELECT attempt FROM saga_history WHERE saga_id = $1 AND step = 'create-order' AND event = 'done'";
    let answered: i32 =
        sqlx::query_scalar(answered).bind(asked_again).fetch_one(world.journal()).await.unwrap();
    let created_at_once = "SELECT count(*) FROM inbox WHERE key LIKE $1 || '/create-order/action/%'";
    let effects: i64 = sqlx::query_scalar(created_at_once)
        .bind(asked_again.to_string())
        .fetch_one(&world.books().order)
        .await
        .unwrap();
    assert_eq!((answered, effects), (2, 1), "asked twice, done once, answered the second time");
}

/// Scenario 5.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_dies_inside_inbox_transaction() {
    participant_dies("crash-before-commit").await;
}

/// Scenario 6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_dies_between_commit_and_reply() {
    participant_dies("crash-after-commit").await;
}

/// Scenario 6.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn participant_dies_between_reply_and_acknowledgement() {
    participant_dies("crash-after-reply").await;
}
