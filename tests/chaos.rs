//! Five hundred orders while something dies: every saga ends as it must, and the books agree.
//!
//! Each test also proves that its fault happened.

mod support;

use std::time::Duration;

use futures_util::StreamExt;
use redress::devstack::StopMode;
use sqlx::Row;
use support::orders::{Order, Placing};
use support::{SERVICES, World, until};

/// Orders per test.
const ORDERS: usize = 500;
/// Kills per test.
const KILLS: i64 = 20;

/// Waits until the next kill is due: so many more sagas have ended, spread over the first nine tenths of the run.
async fn next_moment(world: &World, kill: i64, kills: i64) {
    world.wait_for(ORDERS as i64 * 9 / 10 * kill / kills).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_coordinator_is_killed_twenty_times() {
    let mut world = World::start().await;
    let placing = Placing::begin(&world, ORDERS);
    for kill in 0..KILLS {
        next_moment(&world, kill, KILLS).await;
        world.replace_coordinator(0).await;
        world.announce();
    }
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.redelivered > 0, "what the killed had in hand came again: {evidence:?}");
    println!("{KILLS} kills: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_service_is_killed_again_and_again() {
    let groups: Vec<&[&str]> = SERVICES.iter().map(std::slice::from_ref).collect();
    let mut world = World::with(redress::devstack::shared().await, 1, &groups).await;
    let placing = Placing::begin(&world, ORDERS);
    for kill in 0..KILLS {
        next_moment(&world, kill, KILLS).await;
        let place = usize::try_from(kill).unwrap() % SERVICES.len();
        world.replace_services(place, &[SERVICES[place]]).await;
    }
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.redelivered > 0, "what the killed had in hand came again: {evidence:?}");
    println!("{KILLS} kills: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nats_is_killed_and_comes_back() {
    let world = World::on_own_servers().await;
    let placing = Placing::begin(&world, ORDERS);
    for kill in 1..=5 {
        next_moment(&world, kill, 6).await;
        world.stack.nats().restart(StopMode::Kill).await.expect("NATS comes back");
    }
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.redelivered > 0, "what was in flight came again: {evidence:?}");
    println!("5 restarts: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_jetstream_store_is_wiped_in_the_middle_of_the_run() {
    let world = World::on_own_servers().await;
    let placing = Placing::begin(&world, ORDERS);
    world.wait_for(ORDERS as i64 / 5).await;
    world.stack.nats().wipe_store().await.expect("the store is wiped");
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.resent > 0, "commands were lost with the store and sent again: {evidence:?}");
    println!("1 wipe: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn postgres_is_restarted_at_once() {
    let world = World::on_own_servers().await;
    let placing = Placing::begin(&world, ORDERS);
    for restart in 1..=3 {
        next_moment(&world, restart, 4).await;
        world.stack.postgres().restart(StopMode::Immediate).await.expect("Postgres comes back");
        world.wait_for_journal().await;
    }
    let orders = placing.accepted().await;
    let evidence = world.check(&orders).await;
    assert!(evidence.redelivered > 0, "what could not be written came again: {evidence:?}");
    println!("3 restarts: {evidence:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_coordinators_share_the_work() {
    let world = World::with(redress::devstack::shared().await, 2, &[&SERVICES]).await;
    let placing = Placing::begin(&world, ORDERS);
    let orders = placing.accepted().await;
    world.check(&orders).await;
    for coordinator in 0..2 {
        let url = world.coordinators[coordinator].says.trim_start_matches("listening on ");
        let metrics = world.http.get(format!("{url}/metrics")).send().await.unwrap().text().await.unwrap();
        let ended = metrics.lines().filter(|line| line.starts_with("redress_sagas_ended_total{"));
        assert!(ended.count() > 0, "coordinator {coordinator} ended no saga:\n{metrics}");
    }
}

/// Copies every command and every reply of a world, with another message id, until it is dropped.
async fn deliver_everything_twice(world: &World) -> tokio::task::JoinHandle<u64> {
    let client = world.nats().await;
    let mut messages = client.subscribe(format!("{}.*.>", world.prefix)).await.expect("NATS answers");
    client.flush().await.expect("NATS answers");
    tokio::spawn(async move {
        let mut copies = 0;
        // Nothing more for so long: the run is over.
        while let Ok(Some(message)) = tokio::time::timeout(Duration::from_secs(8), messages.next()).await {
            let mut headers = message.headers.unwrap_or_default();
            if headers.get("Test-Copy").is_some() {
                continue;
            }
            if let Some(id) = headers.get("Nats-Msg-Id").map(ToString::to_string) {
                headers.insert("Nats-Msg-Id", format!("{id}-copy"));
            }
            headers.insert("Test-Copy", "1");
            client
                .publish_with_headers(message.subject, headers, message.payload)
                .await
                .expect("NATS answers");
            copies += 1;
        }
        copies
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_delivered_twice_is_done_once() {
    let world = World::start().await;
    let copying = deliver_everything_twice(&world).await;
    let placing = Placing::begin(&world, ORDERS);
    let orders = placing.accepted().await;
    world.check(&orders).await;
    let copies = copying.await.unwrap();
    assert!(copies > ORDERS as u64 * 10, "every command and every reply came twice: {copies} copies");
    let kinds = (0..ORDERS).map(Order::number).filter(|order| *order == Order::Undeliverable).count();
    assert!(kinds > 0, "compensations were doubled too");
    // Late copies may still be noted; the books stay as they are.
    until("the quiet after the copies", async || {
        let row = sqlx::query("SELECT count(*) AS open FROM sagas WHERE ended_at IS NULL")
            .fetch_one(world.journal());
        (row.await.ok()?.get::<i64, _>("open") == 0).then_some(())
    })
    .await;
    world.check(&orders).await;
}
