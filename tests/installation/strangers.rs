//! Crowds at the door: silent clients hold sockets of a coordinator that has few descriptors, and more than a thousand
//! callers wait for their sagas at the same time.

use crate::support::orders::Order;
use crate::support::{Process, SERVICES, World, until};
use futures_util::future::join_all;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
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

/// Callers who wait at the same time, each on a connection of its own: more than a process has descriptors that has
/// not asked for any.
const CALLERS: usize = 1_300;

/// A caller who has asked for a saga and waits for its end.
async fn ask(address: &str, number: usize) -> BufReader<TcpStream> {
    let mut caller = TcpStream::connect(address).await.expect("the coordinator listens");
    let body = json!({ "saga": "place-order", "input": Order::Fine.input() }).to_string();
    let request = format!(
        "POST /v1/sagas?wait=60s HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\
         Idempotency-Key: caller-{number}\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    caller.write_all(request.as_bytes()).await.expect("the coordinator reads");
    BufReader::new(caller)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_by_the_thousand_wait_at_once() {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(4_096)), hard).unwrap();
    let world = World::with(redress::devstack::shared().await, 1, &[&SERVICES]).await;
    let url = world.url("");
    let address = url.trim_start_matches("http://");
    world.services[0].signal(Signal::SIGSTOP);
    let mut callers = join_all((0..CALLERS).map(|number| ask(address, number))).await;
    let open = "SELECT count(*) FROM sagas WHERE ended_at IS NULL";
    until("a saga for each of them", async || {
        let open: i64 = sqlx::query_scalar(open).fetch_one(world.journal()).await.ok()?;
        (open == CALLERS as i64).then_some(())
    })
    .await;
    world.services[0].signal(Signal::SIGCONT);
    for caller in &mut callers {
        let mut status = String::new();
        caller.read_line(&mut status).await.unwrap();
        assert_eq!(status, "HTTP/1.1 202 Accepted\r\n");
    }
    let ended = "SELECT count(*) FROM sagas WHERE status = 'completed'";
    let ended: i64 = sqlx::query_scalar(ended).fetch_one(world.journal()).await.unwrap();
    assert_eq!(ended, CALLERS as i64, "none was answered before its end");
    world.sound().await;
}
