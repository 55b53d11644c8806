//! The journal's primary is demoted under load, and the address that all clients use goes on pointing at it for a
//! while.

use std::time::Duration;

use crate::support::orders::{Order, Placing};
use crate::support::replicas::{Door, Pair};
use crate::support::{SERVICES, World, until};
use serde_json::json;
use tokio::time::{Instant, MissedTickBehavior, interval};

/// How long the address points at the old primary, as a DNS record or a proxy does.
const POINTS_AT_THE_OLD_ONE: Duration = Duration::from_secs(20);
/// How long it may take from then on until a start is accepted.
const BACK_AFTER_MAX: Duration = Duration::from_secs(5);
/// Orders before the demotion, and as many from then on.
const ORDERS: usize = 150;

/// Every answer of `/readyz` until then.
async fn readiness(world: &World, until: Instant) -> Vec<u16> {
    let mut answers = Vec::new();
    let mut ticks = interval(Duration::from_millis(200));
    // A tick that was missed is not made up for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while Instant::now() < until {
        ticks.tick().await;
        let answer = world.http.get(world.url("/readyz")).send().await.expect("the coordinator answers");
        answers.push(answer.status().as_u16());
    }
    answers
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failover_to_standby_restores_starts_soon_after_address_moves() {
    let stack = redress::devstack::shared().await;
    let Some(mut pair) = Pair::new(stack.postgres().binary()).await else {
        return println!("skipped: there is no pg_basebackup beside {}", stack.postgres().binary().display());
    };
    let door = Door::before(pair.first.port).await;
    let mut world = World::with(stack, 0, &[&SERVICES]).await;
    let database = "journal";
    let through_door = pair.first.url(database).replace(&pair.first.port.to_string(), &door.port.to_string());
    // The checks read from the server that is the primary in the end.
    world.journal_is_at(through_door, pair.second.pool(database));
    let coordinator = world.start_coordinator().await;
    world.coordinators.push(coordinator);
    world.announce();
    let mut orders = Placing::begin(&world, ORDERS).accepted().await;

    // The orders that were placed before are placed again, and are the same.
    let placing = Placing::begin(&world, 2 * ORDERS);
    pair.fail_over().await;
    let meanwhile = readiness(&world, Instant::now() + POINTS_AT_THE_OLD_ONE).await;
    assert!(meanwhile.len() > 3, "it was asked again and again: {meanwhile:?}");
    assert!(meanwhile.iter().all(|status| *status == 503), "a standby takes no sagas: {meanwhile:?}");
    let numbers = |sql: &'static str| sqlx::query_scalar::<_, i64>(sql).fetch_one(world.journal());
    let before = numbers("SELECT count(*) FROM sagas").await.expect("the new primary answers");

    door.move_before(pair.second.port);
    let moved = Instant::now();
    let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
    let canary = until("an accepted start", async || {
        let response = world.start_saga(&body, "canary").await;
        if response.status() != 202 {
            return None;
        }
        let saga = response.json::<serde_json::Value>().await.ok()?;
        saga["id"].as_str()?.parse().ok()
    });
    orders.insert(canary.await, Order::Fine);
    let back_after = moved.elapsed();
    assert!(back_after <= BACK_AFTER_MAX, "the first start was accepted after {back_after:?}");
    until("readiness", async || {
        let ready = world.http.get(world.url("/readyz")).send().await.ok()?;
        (ready.status() == 200).then_some(())
    })
    .await;
    orders.extend(placing.accepted().await);
    let evidence = world.check(&orders).await;
    println!("back after {back_after:?}, {before} sagas before, {} in the end: {evidence:?}", orders.len());
    assert!(before < orders.len() as i64, "some starts had to wait");
}
