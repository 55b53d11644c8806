//! Tests of bad days without a crash or a wipe: zombies, cancels at any moment, clients that hang up, late answers.
//!
//! [`docs/SCENARIOS.md`](../docs/SCENARIOS.md) names the test of every scenario.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::support::orders::{Order, Placing};
use crate::support::{SERVICES, World, until};
use futures_util::StreamExt;
use serde_json::{Value, json};
use uuid::Uuid;

/// Orders for which something goes wrong on the way.
const ORDERS: usize = 200;

/// Scenario 20. A coordinator sleeps in the middle of its work, the other one takes its work, and then it wakes up and
/// goes on as if nothing had happened: the revision refuses its late writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn zombie_coordinator_moves_no_saga() {
    let world = World::with(redress::devstack::shared().await, 2, &[&SERVICES]).await;
    let placing = Placing::begin(&world, ORDERS);
    let mut naps_with_work = 0;
    for nap in 1..=5 {
        world.wait_for(ORDERS as i64 * nap / 8).await;
        let asleep = usize::try_from(nap % 2).unwrap();
        world.coordinators[asleep].signal(nix::sys::signal::Signal::SIGSTOP);
        // Longer than the broker waits for its acknowledgements: the messages that it had in hand go to the other
        // coordinator.
        let before = world.observer.redelivered();
        let moved = tokio::time::timeout(Duration::from_secs(6), async {
            until("what it had in hand", async || (world.observer.redelivered() > before).then_some(()))
                .await;
        });
        // At one nap or the other it may have nothing in hand; not at all of them, as is asserted in the end.
        naps_with_work += u32::from(moved.await.is_ok());
        world.coordinators[asleep].signal(nix::sys::signal::Signal::SIGCONT);
    }
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(naps_with_work > 0, "what a sleeper had in hand came to the other: {evidence:?}");
    println!("{naps_with_work} of 5 naps with work in hand: {evidence:?}");
}

/// No saga stops the others: while one service is away, sagas that do not need it go on to their ends.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn trips_end_while_the_order_service_is_away() {
    let groups: [&[&str]; 2] = [&["order"], &["payment", "inventory", "shipping"]];
    let mut world = World::with(redress::devstack::shared().await, 1, &groups).await;
    world.services[0].kill().await;
    let orders = Placing::begin(&world, ORDERS / 4).accepted().await;
    let trip = json!({ "saga": "book-trip", "input": {
        "traveller": "alice", "address": "1 Harbour Street, Reykjavik", "seats": 1, "nights": 2,
    }});
    for number in 0..20 {
        assert_eq!(world.start_saga(&trip, &format!("trip-{number}")).await.status(), 202);
    }
    world.wait_for(20).await;
    let ended: Vec<(String, String, i64)> = sqlx::query_as(
        "SELECT saga, status, count(*) FROM sagas WHERE ended_at IS NOT NULL GROUP BY saga, status",
    )
    .fetch_all(world.journal())
    .await
    .unwrap();
    assert_eq!(ended, [("book-trip".to_owned(), "completed".to_owned(), 20)], "no order, and every trip");
    world.services[0] = world.start_services(&["order"]).await;
    world.wait_for(20 + orders.len() as i64).await;
    world.sound().await;
}

/// Scenario 18. A saga is cancelled at any moment: before, while and after anything happens. The cancel wins or loses,
/// and the saga ends as the answer said.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_at_any_moment_wins_or_loses() {
    let world = World::start().await;
    let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
    let play = async |number: usize| {
        let saga = world.accepted_saga(&body, &format!("order-{number}")).await;
        let id: Uuid = saga["id"].as_str().unwrap().parse().unwrap();
        // Spread over the life of an order: as soon as it has moved so often, or has ended.
        let moves = number as i64 % 8;
        until("its moment", async || {
            let saga = world.http.get(world.url(&format!("/v1/sagas/{id}"))).send().await.ok()?;
            let saga: Value = saga.json().await.ok()?;
            (saga["revision"].as_i64()? > moves || !saga["ended_at"].is_null()).then_some(())
        })
        .await;
        // As every client does, it comes again while the coordinator says that it cannot now.
        let answer = until("the answer to the cancel", async || {
            let cancel = world.http.post(world.url(&format!("/v1/sagas/{id}/cancel"))).send().await.ok()?;
            let status = cancel.status().as_u16();
            (status != 503).then_some(status)
        });
        (id, answer.await)
    };
    let answers: Vec<(Uuid, u16)> =
        futures_util::stream::iter(0..ORDERS).map(play).buffer_unordered(16).collect().await;
    let evidence = world.sound().await;
    let rows: Vec<(Uuid, String)> =
        sqlx::query_as("SELECT id, status FROM sagas").fetch_all(world.journal()).await.unwrap();
    let ends: BTreeMap<Uuid, String> = rows.into_iter().collect();
    let mut counts = BTreeMap::new();
    for (id, answer) in answers {
        let end = ends[&id].as_str();
        assert!(matches!((answer, end), (202, "compensated") | (409, "completed")), "{id}: {answer}, {end}");
        *counts.entry(answer).or_insert(0) += 1;
    }
    println!("{counts:?} {evidence:?}");
    assert_eq!(counts.len(), 2, "some won and some lost: {counts:?}");
    assert!(evidence.settled > 0, "some were cancelled with a command on its way: {evidence:?}");
}

/// Scenario 33. Clients hang up in the middle of a start: the order exists once or not at all, and the key finds out
/// which.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn clients_that_hang_up_leave_one_order_or_none() {
    let world = World::start().await;
    let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
    let hang_up = async |number: usize| {
        let key = format!("order-{number}");
        let start = world.start_saga(&body, &key);
        // Cut off after a moment that grows from next to nothing to the time that a start takes.
        let patience = Duration::from_micros(250 * (1 + number as u64 % 100));
        let hung_up = tokio::time::timeout(patience, start).await.is_err();
        hung_up.then_some(key)
    };
    let hung_up: Vec<Option<String>> =
        futures_util::stream::iter(0..ORDERS).map(hang_up).buffer_unordered(8).collect().await;
    let hung_up: Vec<String> = hung_up.into_iter().flatten().collect();
    // A client that hung up in the middle got no answer; the order exists all the same.
    let in_the_middle = until("an order whose client has hung up", async || {
        let kept = sqlx::query_scalar("SELECT count(*) FROM idempotency_keys WHERE key = ANY($1)")
            .bind(&hung_up)
            .fetch_one(world.journal());
        let kept: i64 = kept.await.ok()?;
        (kept > 0).then_some(kept)
    })
    .await;
    println!("{} hung up, {in_the_middle} of them in the middle", hung_up.len());
    // Every client repeats its start with the same key.
    let mut orders = BTreeMap::new();
    for number in 0..ORDERS {
        let saga: Value = world.start_saga(&body, &format!("order-{number}")).await.json().await.unwrap();
        orders.insert(saga["id"].as_str().unwrap().parse().unwrap(), Order::Fine);
    }
    assert_eq!(orders.len(), ORDERS);
    world.check(&orders).await;
}

/// Scenario 12. A success that comes while the saga goes back does not revive it, and is undone.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn late_success_does_not_revive_compensating_saga() {
    let world = World::start().await;
    let late = json!([{ "step": "reserve-inventory", "kind": "delay-reply", "ms": 1500 }]);
    let body = json!({ "saga": "place-order", "input": Order::Fine.input(), "faults": late });
    let saga: Value = world.start_saga(&body, "late").await.json().await.unwrap();
    let path = format!("/v1/sagas/{}", saga["id"].as_str().unwrap());
    until("the reservation", async || {
        let reserved: i64 = sqlx::query_scalar("SELECT count(*) FROM reservations")
            .fetch_one(&world.books().inventory)
            .await
            .ok()?;
        (reserved == 1).then_some(())
    })
    .await;
    let cancel = world.http.post(world.url(&format!("{path}/cancel"))).send().await.unwrap();
    assert_eq!(cancel.status(), 202);
    until("the late answer", async || {
        let history: Value =
            world.http.get(world.url(&format!("{path}/history"))).send().await.ok()?.json().await.ok()?;
        let is_late = |row: &Value| row["event"] == "late" && row["step"] == "reserve-inventory";
        history["items"].as_array()?.iter().any(is_late).then_some(())
    })
    .await;
    let order = BTreeMap::from([(saga["id"].as_str().unwrap().parse().unwrap(), Order::Undeliverable)]);
    let evidence = world.check(&order).await;
    assert!(evidence.late > 0 && evidence.settled > 0, "settled, and answered late: {evidence:?}");
}
