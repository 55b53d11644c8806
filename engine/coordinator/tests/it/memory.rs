//! The memory of a coordinator is bounded by bytes, however many sagas are due together.

use std::io::Read as _;
use std::process::{Child, Command, Stdio};

use futures_util::future::join_all;
use redress_coordinator::{Config, Engine, StartRequest};
use redress_core::{SagaDefinition, saga};
use redress_wire::{Topology, Wire, WireConfig};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, start, start_with, until};
use crate::party::{How, rush, sell};

/// Sagas that are due together.
const SAGAS: usize = 600;
/// The data of each, in bytes; the same again is in the payload of its open command.
const DATA_BYTES: usize = 240_000;
/// The most that a coordinator may hold resident in its memory, in KiB. All of the sagas' rows are 280,000 KiB, and are
/// held several times over in a process that reads them all.
const RESIDENT_KIB_MAX: u64 = 250_000;

#[derive(Serialize, Deserialize, JsonSchema)]
struct Freight {
    goods: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Load {
    goods: String,
}

impl redress_core::Command for Load {
    const SERVICE: &'static str = "truck";
    const NAME: &'static str = "load";
    type Reply = ();
}

fn haul() -> SagaDefinition {
    saga::<Freight>("haul", 1).pivot("load", |f| Load { goods: f.goods.clone() }).build()
}

/// A coordinator in a process of its own, until its standard input is closed: the test beside it starts it. For all
/// others there is nothing to do here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn coordinator_process_for_memory_test() {
    let Ok(prefix) = std::env::var("REDRESS_TEST_PREFIX") else { return };
    let variable = |name: &str| std::env::var(name).expect("the test beside it sets it");
    let topology = Topology::new(&prefix).unwrap();
    let settings = WireConfig { stream_bytes_max: 16 << 20, ..WireConfig::for_tests() };
    let wire = Wire::connect(&variable("REDRESS_TEST_NATS"), topology, settings).await.unwrap();
    let engine =
        Engine::open(Config::new(variable("REDRESS_TEST_DATABASE")), vec![haul()], wire).await.unwrap();
    let shutdown = CancellationToken::new();
    let running = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { engine.run(shutdown).await }
    });
    let closed = tokio::task::spawn_blocking(|| std::io::stdin().read_to_end(&mut Vec::new()));
    closed.await.unwrap().unwrap();
    shutdown.cancel();
    running.await.unwrap();
}

fn coordinator_process(fixture: &Fixture) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "memory::coordinator_process_for_memory_test"])
        .env("REDRESS_TEST_DATABASE", fixture.stack.postgres().url(&fixture.database))
        .env("REDRESS_TEST_NATS", fixture.stack.nats().url())
        .env("REDRESS_TEST_PREFIX", fixture.database.replace('_', "-"))
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap()
}

/// The most that a process has held resident in its memory so far, in KiB.
fn resident_kib_max(process: &Child) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn large_due_sagas_do_not_fill_memory() {
    let fixture = Fixture::new().await;
    let asleep = Engine::open(fixture.config(), vec![haul()], fixture.wire.clone()).await.unwrap();
    let goods = "x".repeat(DATA_BYTES);
    for number in 0..SAGAS {
        // First sent by the timer: all are due at once.
        let mut transaction = fixture.pool.begin().await.unwrap();
        let request = StartRequest {
            saga: "haul".to_owned(),
            input: json!({ "goods": goods }),
            key: format!("haul-{number}"),
            ..StartRequest::default()
        };
        asleep.start_in(&mut transaction, request).await.unwrap();
        transaction.commit().await.unwrap();
    }
    let mut process = coordinator_process(&fixture);
    let ended = "SELECT count(*) FROM sagas WHERE status = 'completed'";
    until("all of them end", async || {
        assert!(process.try_wait().unwrap().is_none(), "the coordinator is gone");
        (fixture.count(ended).await == i64::try_from(SAGAS).unwrap()).then_some(())
    })
    .await;
    let resident_kib = resident_kib_max(&process);
    drop(process.stdin.take());
    assert!(process.wait().unwrap().success());
    assert!(resident_kib < RESIDENT_KIB_MAX, "{resident_kib} KiB");
}

/// A reply, timer or start that a unit of work leaves for want of room has its turn in the next one.
#[tokio::test(flavor = "multi_thread")]
async fn sagas_complete_with_room_for_one_at_a_time() {
    let fixture = Fixture::new().await;
    let config =
        Config { batch_bytes_max: 1, starts_waiting_bytes_max: 1, outgoing_bytes_max: 1, ..fixture.config() };
    let coordinator = fixture.coordinator_with(config, vec![sell(), rush()]).await;
    let starts = (0..20).map(|number| coordinator.start(start("sell", number)));
    let silent = (0..10).map(|number| coordinator.start(start_with("rush", number, "charge", How::Ignore)));
    let (fine, silent) = (join_all(starts).await, join_all(silent).await);
    for id in fine {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    for id in silent {
        assert_eq!(coordinator.end_of(id).await, "compensated");
    }
    assert_eq!(fixture.dead_letters().await, Vec::<String>::new());
    assert_eq!(fixture.gaps().await, 0);
    coordinator.stop().await;
}
