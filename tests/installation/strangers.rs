//! Silent clients hold sockets of a coordinator that has few descriptors: sagas go on meanwhile.

use crate::support::orders::Order;
use crate::support::{Process, SERVICES, World, until};
use serde_json::{Value, json};
use tokio::net::TcpStream;

/// Descriptors of the coordinator: room for its pools and its connections, and for no crowd.
const DESCRIPTORS: u32 = 200;
/// Sockets that say nothing: twice as many.
const SOCKETS: usize = 420;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_sockets_take_no_descriptor_of_the_engine() {
    let mut world = World::with(redress::devstack::shared().await, 0, &[&SERVICES]).await;
    let arguments = ["serve", "--http", "127.0.0.1:0", "--until-stdin-ends", "--timer-poll-ms", "50"];
    let coordinator = Process::start_within(DESCRIPTORS, &arguments, &world.environment()).await;
    world.coordinators.push(coordinator);
    let url = world.url("");
    let address = url.trim_start_matches("http://");
    let mut silent = Vec::new();
    for _ in 0..SOCKETS {
        silent.push(TcpStream::connect(address).await.unwrap());
    }
    // The database has let go of every connection, so that the engine needs new ones.
    sqlx::query(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
         WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )
    .execute(world.journal())
    .await
    .unwrap();
    let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
    let id = until("an accepted start", async || {
        let request = world.http.post(world.url("/v1/sagas")).header("Idempotency-Key", "k").json(&body);
        let saga: Value = request.send().await.ok()?.json().await.ok()?;
        saga["id"].as_str().map(str::to_owned)
    })
    .await;
    until("the end of the saga", async || {
        let saga = world.http.get(world.url(&format!("/v1/sagas/{id}"))).send().await.ok()?;
        let saga: Value = saga.json().await.ok()?;
        (saga["status"] == "completed").then_some(())
    })
    .await;
    drop(silent);
    world.sound().await;
}
