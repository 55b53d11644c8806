//! `redress bench` as a user runs it, on the servers that it starts.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use std::process::Stdio;
use std::time::Duration;

use crate::support::PATIENCE;
use crate::support::process::{bare, run};
use redress::client::{Client, ClientConfig, Page, Saga, SagaQuery};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};

const PRELOADED: usize = 1_000;

/// Runs a small bench and gives its report.
async fn report(arguments: &[&str]) -> Value {
    let small =
        ["bench", "--participants", "echo", "--sagas", "50", "--concurrency", "10", "--output", "json"];
    run(&[&small[..], arguments].concat(), &[]).await.json()
}

fn names(value: &Value) -> String {
    value.as_object().unwrap().keys().cloned().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench_over_http_ends_with_one_json_object() {
    let report = report(&[]).await;
    // The fields that the brief names, and those that identify the run.
    assert_eq!(
        names(&report),
        "client_cpu_seconds_per_1000_sagas compensated completed concurrency cpu_seconds_per_1000_sagas \
         durability latency_from latency_ms loop parked participants preloaded rate rss_mib runs sagas \
         sagas_per_second seconds versions via"
    );
    assert_eq!(names(&report["latency_ms"]), "max p50 p90 p99");
    assert_eq!(names(&report["cpu_seconds_per_1000_sagas"]), "coordinator nats participants postgres total");
    assert_eq!(names(&report["rss_mib"]), "coordinator nats participants postgres");
    assert_eq!(
        (&report["sagas"], &report["completed"], &report["compensated"]),
        (&json!(50), &json!(45), &json!(5))
    );
    assert!(report["sagas_per_second"].as_f64().unwrap() > 0.0 && report["seconds"].as_f64().unwrap() > 0.0);
    assert!(report["latency_ms"]["p50"].as_f64().unwrap() > 0.0);
    assert_eq!(report["durability"]["fsync"], "on");
    assert!(report["versions"]["postgres"].is_string() && report["versions"]["nats"].is_string());
    assert_eq!(
        (&report["via"], &report["loop"], &report["rate"]),
        (&json!("http"), &json!("closed"), &Value::Null)
    );
    assert_eq!((&report["latency_from"], &report["preloaded"]), (&json!("start"), &json!(0)));
    assert!(report["client_cpu_seconds_per_1000_sagas"].is_number());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bench_in_process_keeps_the_timetable_of_its_rate() {
    let report = report(&["--via", "engine", "--rate", "50"]).await;
    assert_eq!(
        (&report["via"], &report["loop"], &report["rate"]),
        (&json!("engine"), &json!("open"), &json!(50.0))
    );
    assert_eq!((&report["completed"], &report["compensated"]), (&json!(45), &json!(5)));
    assert_eq!(report["latency_from"], "intended-start");
    // The last one was to be started 980 ms after the first.
    assert!(report["seconds"].as_f64().unwrap() >= 0.98, "{report}");
    // The client is counted as coordinator.
    assert_eq!(report["client_cpu_seconds_per_1000_sagas"], Value::Null);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn preloaded_sagas_are_listed_and_those_of_the_bench_end() {
    let arguments =
        ["--sagas", "60", "--concurrency", "10", "--rate", "5", "--preload", "1000", "--output", "json"];
    let mut bench = bare();
    bench.arg("bench").args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut bench = bench.spawn().unwrap();
    let (mut stderr, mut address) = (BufReader::new(bench.stderr.take().unwrap()).lines(), None);
    while address.is_none() {
        let line = tokio::time::timeout(PATIENCE, stderr.next_line()).await.unwrap().unwrap();
        let line = line.expect("it tells where its API is");
        address = line.split_whitespace().find(|word| word.starts_with("http://")).map(str::to_owned);
    }
    let client = Client::new(ClientConfig::new(address.unwrap())).unwrap();

    let old = preloaded(&client).await;
    assert_eq!(old.len(), PRELOADED);
    let with_status = |status: &str| old.iter().filter(|saga| saga.status.as_str() == status).count();
    assert_eq!((with_status("completed"), with_status("compensated")), (900, 100));
    let (newest, oldest) = (&old[0], &old[PRELOADED - 1]);
    assert!((newest.started_at - oldest.started_at).num_days() >= 19, "{oldest:?} {newest:?}");
    for saga in [newest, oldest] {
        let by_id = client.saga(saga.id).await.unwrap();
        assert!(by_id.ended_at.is_some_and(|end| end > by_id.started_at), "{by_id:?}");
        assert_eq!(by_id.steps.len(), 4);
        let history = client.history(saga.id).await.unwrap();
        assert!(history.len() >= 9, "{history:?}");
        assert_eq!(history[0].at, by_id.started_at);
        assert_eq!(Some(history[history.len() - 1].at), by_id.ended_at);
    }

    let mut said = String::new();
    let mut stdout = bench.stdout.take().unwrap();
    tokio::time::timeout(PATIENCE, stdout.read_to_string(&mut said)).await.unwrap().unwrap();
    assert_eq!(bench.wait().await.unwrap().code(), Some(0));
    let report: Value = serde_json::from_str(&said).unwrap();
    assert_eq!(
        (&report["preloaded"], &report["completed"], &report["compensated"]),
        (&json!(1_000), &json!(54), &json!(6))
    );
}

/// The ended sagas that were started an hour ago or earlier, the newest first.
async fn preloaded(client: &Client) -> Vec<Saga> {
    let now = client.sagas(&SagaQuery { limit: Some(1), ..SagaQuery::default() }).await.unwrap().items[0]
        .started_at;
    let until = Some(now - Duration::from_secs(1_800));
    let (mut found, mut cursor) = (Vec::new(), None);
    loop {
        let query = SagaQuery { until, limit: Some(200), cursor, ..SagaQuery::default() };
        let page: Page<Saga> = client.sagas(&query).await.unwrap();
        found.extend(page.items);
        cursor = page.next;
        if cursor.is_none() {
            return found;
        }
    }
}
