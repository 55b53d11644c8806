//! Definitions, probes, metrics, and a coordinator that lacks its servers or stops.

use std::sync::Arc;
use std::time::Duration;

use redress_api::{Access, BindError, bind, serve};
use redress_devstack::{Data, Durability, Stack, StackConfig, StopMode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, SALE};

#[tokio::test]
async fn definitions_probes_and_metrics_are_there() {
    let fixture = Fixture::new().await;
    fixture.start("k", SALE).await;
    let list = fixture.get("/v1/definitions").await.json();
    assert_eq!(list["items"][0]["sagas"], json!({ "running": 1 }));
    let one = fixture.get("/v1/definitions/sell/1").await.json();
    assert_eq!(one["input_schema"]["required"], json!(["payment", "address"]));
    let diagram = fixture.get("/v1/definitions/sell/1/diagram").await;
    assert_eq!(diagram.header("content-type"), "text/plain; charset=utf-8");
    assert!(diagram.text.starts_with("flowchart"), "{}", diagram.text);
    assert_eq!(
        (fixture.get("/livez").await.text, fixture.get("/readyz").await.text),
        ("ok\n".into(), "ok\n".into())
    );
    assert_eq!(
        fixture.get("/readyz?verbose").await.json(),
        json!({ "ready": true, "database": "ok", "broker": "ok", "mode": "serving", "waiting_versions": [] })
    );
    let metrics = fixture.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(
        metrics.text.contains("redress_sagas_started_total{saga=\"sell\",kind=\"start\"} 1\n"),
        "{}",
        metrics.text
    );
    assert!(metrics.text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn only_probes_are_open_without_the_token() {
    let fixture = Fixture::new().await.behind("secret");
    let refused = fixture.get("/v1/sagas").await;
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    assert!(refused.problem().starts_with("401 unauthorized: "));
    assert!(fixture.get("/metrics").await.problem().starts_with("401 "));
    assert_eq!(
        fixture.ask("GET /v1/sagas\nauthorization: Bearer secret\nhost: redress.example", "").await.status,
        200
    );
    assert_eq!(fixture.get("/livez").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_route_reports_a_missing_database() {
    let options =
        StackConfig { durability: Durability::Relaxed, data: Data::Ephemeral, postgres: true, nats: true };
    let stack = Arc::new(Stack::start(options, &|_| {}).await.unwrap());
    let acquire = Duration::from_millis(500);
    let fixture =
        Fixture::on(stack.clone(), |config| (config.allow_faults, config.acquire_timeout) = (true, acquire));
    let fixture = fixture.await;
    let started = fixture.start("before", SALE).await;
    let path = started.header("location");
    stack.postgres().stop(StopMode::Immediate).await.unwrap();
    for answer in [
        fixture.start("during", SALE).await,
        fixture.get("/v1/sagas").await,
        fixture.get(path).await,
        fixture.get(&format!("{path}/history")).await,
        fixture.get(&format!("{path}/plan")).await,
        fixture.post(&format!("{path}/cancel"), "").await,
        fixture.get("/v1/faults").await,
        fixture.post("/v1/faults", r#"{"step":"ship","kind":"fail"}"#).await,
        fixture.ask("DELETE /v1/faults", "").await,
    ] {
        assert!(answer.problem().starts_with("503 database-unavailable: "), "{}", answer.text);
        assert_eq!(answer.header("retry-after"), "1");
    }
    let ready = fixture.get("/readyz").await;
    assert!(ready.problem().starts_with("503 not-ready: "), "{}", ready.text);
    assert_eq!(ready.header("retry-after"), "1");
    assert_eq!(ready.json()["broker"], "ok");
    assert_eq!(fixture.get("/livez").await.status, 200);
    // The definitions that can be started are told all the same; the number of open sagas is not known, and is not
    // zero.
    let definitions = fixture.get("/v1/definitions").await;
    assert_eq!(definitions.status, 200);
    let sell = &definitions.json()["items"][0];
    assert_eq!(
        (&sell["saga"], sell.get("open"), sell.get("sagas")),
        (&json!("sell"), Some(&json!(null)), None)
    );
    stack.postgres().start().await.unwrap();
    let back = async { while fixture.start("during", SALE).await.status != 202 {} };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn waiting_client_is_answered_when_the_coordinator_stops() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(bind(everywhere, &Access::Loopback).await, Err(BindError::NeedsToken(_))));
    assert!(bind(everywhere, &Access::Token("t".to_owned())).await.is_ok());
    let listener = bind("127.0.0.1:0".parse().unwrap(), &Access::Loopback).await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(matches!(bind(address, &Access::Loopback).await, Err(BindError::Taken { .. })));

    let fixture = Fixture::new().await;
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, fixture.engine.clone(), Access::Loopback, shutdown.clone()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let start = |query: &str| {
        let request = http.post(format!("http://{address}/v1/sagas{query}")).header("Idempotency-Key", "k");
        request.header("Content-Type", "application/json").body(SALE).send()
    };
    assert_eq!(start("?wait=10ms").await.unwrap().status(), 202);
    let oversize = http.post(format!("http://{address}/v1/sagas")).header("Idempotency-Key", "k");
    let oversize =
        oversize.header("Content-Type", "application/json").body(vec![b' '; 2 * redress_api::BODY_BYTES_MAX]);
    assert_eq!(oversize.send().await.unwrap().status(), 413);

    let mut waiting = tokio::spawn(start("?wait=60s"));
    // The request is in the server's hands when the shutdown comes.
    let accepted = async {
        while fixture.engine.waiting() == 0 {
            // A busy machine may have refused it for now; a client asks again.
            if waiting.is_finished() {
                assert_eq!((&mut waiting).await.unwrap().unwrap().status(), 503);
                waiting = tokio::spawn(start("?wait=60s"));
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), accepted).await.unwrap();
    shutdown.cancel();
    let answer = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["status"], "running");
    serving.await.unwrap().unwrap();
    assert_eq!(fixture.engine.waiting(), 0, "whoever stops waiting is forgotten");
}
