//! Monitoring: alerts and dashboard against what coordinators and services export, offline and on real servers.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

mod rules;
mod series;

use crate::support::orders::Order;
use crate::support::process::Process;
use crate::support::{SERVICES, World, until};
use redress::{Command, SagaDefinition, StartRequest, saga};
use reqwest::StatusCode;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use series::{Series, finds, read, selectors};

/// A world whose services show themselves, and where.
async fn world() -> (World, Process, String) {
    let world = World::with(redress::devstack::shared().await, 1, &[]).await;
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = free.to_string();
    let mut arguments = vec!["service", "--until-stdin-ends", "--allow-faults", "--metrics-addr", &address];
    arguments.extend(SERVICES);
    let services = Process::start(&arguments, &world.environment()).await;
    (world, services, format!("http://{address}"))
}

async fn scrape(url: &str) -> Vec<Series> {
    let text = reqwest::get(format!("{url}/metrics")).await.unwrap().text().await.unwrap();
    assert!(text.ends_with("# EOF\n"), "{text}");
    read(&text)
}

/// The sum of the series that a selector finds.
fn sum(series: &[Series], selector: &str) -> f64 {
    let selector = &selectors(selector)[0];
    series.iter().filter(|series| finds(selector, series)).map(|series| series.value).sum()
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Trifle {}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "shipping", name = "polish", crate = ::redress)]
struct Polish {}

/// A saga of a program that ran here once, which the coordinator of the world does not know.
fn forgotten() -> SagaDefinition {
    saga::<Trifle>("forgotten", 1).pivot("polish", |_| Polish {}).build()
}

/// Starts an order with these faults, and waits for its end.
async fn play(world: &World, order: Order, faults: Value) -> String {
    let body = json!({ "saga": "place-order", "input": order.input(), "faults": faults });
    let request = world.http.post(world.url("/v1/sagas?wait=15s")).json(&body);
    let key = uuid::Uuid::now_v7().to_string();
    let answer = request.header("Idempotency-Key", key).send().await.unwrap();
    let text = answer.text().await.unwrap();
    let saga: Value = serde_json::from_str(&text).unwrap();
    saga["status"].as_str().unwrap_or_else(|| panic!("{text}")).to_owned()
}

/// Series that are there before anything has happened: a first increment is seen only if the counter was there before it.
const ZERO_AT_FIRST: [&str; 6] = [
    r#"redress_saga_events_total{saga="place-order",kind="late"}"#,
    r#"redress_compensations_total{saga="place-order",step="charge-payment",reason="rejected"}"#,
    r#"redress_attempts_failed_total{step="charge-payment",phase="action",kind="failed"}"#,
    r#"redress_commands_resent_total{service="payment"}"#,
    r#"redress_service_duplicates_total{service="payment"}"#,
    r#"redress_sagas_parked{saga="place-order",code="in-doubt"}"#,
];

/// What a run with faults leaves at least.
const AT_LEAST: [(&str, f64); 12] = [
    (r#"redress_service_redeliveries_total{service="payment"}"#, 1.0),
    (r#"redress_service_commands_answered_total{service="payment",outcome="done"}"#, 5.0),
    (r#"redress_attempts_failed_total{saga="place-order",step="charge-payment",kind="failed"}"#, 1.0),
    (r#"redress_commands_resent_total{service="payment"}"#, 1.0),
    (r#"redress_compensations_total{step="charge-payment",reason="rejected"}"#, 1.0),
    (r#"redress_saga_duration_seconds_count{saga="place-order",status="completed"}"#, 3.0),
    (r#"redress_saga_duration_seconds_count{saga="place-order",status="compensated"}"#, 1.0),
    (r#"redress_step_duration_seconds_count{step="charge-payment",phase="action"}"#, 4.0),
    (r#"redress_step_duration_seconds_count{step="charge-payment",phase="compensation"}"#, 1.0),
    ("redress_service_inbox_up", 4.0),
    ("redress_service_broker_connected", 4.0),
    ("redress_journal_up", 1.0),
];

#[tokio::test(flavor = "multi_thread")]
async fn every_expression_returns_series_from_a_run_with_faults() {
    let (world, _services, of_services) = world().await;
    let of_coordinator = world.url("");
    let idle = [scrape(&of_coordinator).await, scrape(&of_services).await].concat();
    for zero in ZERO_AT_FIRST {
        let selector = &selectors(zero)[0];
        let found: Vec<_> = idle.iter().filter(|series| finds(selector, series)).collect();
        assert!(matches!(&found[..], [one] if one.value == 0.0), "{zero}: {found:?}");
    }
    let engine = world.engine(vec![forgotten()]).await;
    let request = StartRequest {
        saga: "forgotten".to_owned(),
        input: json!({}),
        key: "forgotten".to_owned(),
        ..StartRequest::default()
    };
    engine.start_request(request).await.unwrap();
    assert_eq!(play(&world, Order::Fine, json!([])).await, "completed");
    assert_eq!(play(&world, Order::Undeliverable, json!([])).await, "compensated");
    let fails = json!([{ "step": "charge-payment", "phase": "action", "kind": "fail", "times": 1 }]);
    assert_eq!(play(&world, Order::Fine, fails).await, "completed");
    let twice = json!([{ "step": "charge-payment", "phase": "action", "kind": "duplicate", "times": 1 }]);
    assert_eq!(play(&world, Order::Fine, twice).await, "completed");
    let (mut coordinator, mut services) = (Vec::new(), Vec::new());
    until("what was injected is counted, and what the coordinator looks for is found", async || {
        coordinator = scrape(&of_coordinator).await;
        services = scrape(&of_services).await;
        let unknown = sum(&coordinator, r#"redress_sagas_open{saga="forgotten",known="false"}"#);
        let listening = sum(&coordinator, "redress_service_listening");
        let duplicates = sum(&services, r#"redress_service_duplicates_total{service="payment"}"#);
        let counted = (unknown, listening) == (1.0, 4.0) && duplicates >= 1.0;
        counted.then_some(())
    })
    .await;
    let all = [coordinator, services].concat();
    for (whose, expression) in rules::expressions() {
        for selector in selectors(&expression) {
            let found = all.iter().any(|series| finds(&selector, series));
            assert!(found, "{whose}: nothing returns from {selector}");
        }
    }
    for (selector, least) in AT_LEAST {
        assert!(sum(&all, selector) >= least, "{selector}: {}", sum(&all, selector));
    }
    assert_eq!(sum(&all, "redress_commands_lost_total"), 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn services_answer_probes_and_scrapes_as_a_coordinator_does() {
    let (world, _services, url) = world().await;
    let ask = async |path: &str, header: Option<(&str, &str)>| {
        let mut request = world.http.get(format!("{url}{path}"));
        if let Some((name, value)) = header {
            request = request.header(name, value);
        }
        let answer = request.send().await.unwrap();
        let kind = answer.headers()["content-type"].to_str().unwrap().to_owned();
        (answer.status(), kind, answer.text().await.unwrap())
    };
    let word = "text/plain; charset=utf-8".to_owned();
    assert_eq!(ask("/livez", None).await, (StatusCode::OK, word.clone(), "ok\n".to_owned()));
    assert_eq!(ask("/readyz", None).await, (StatusCode::OK, word.clone(), "ok\n".to_owned()));
    let ready: Value = serde_json::from_str(&ask("/readyz?verbose", None).await.2).unwrap();
    assert_eq!(
        (&ready["ready"], &ready["database"], &ready["broker"]),
        (&json!(true), &json!("ok"), &json!("ok"))
    );
    let mut names: Vec<&str> =
        ready["services"].as_array().unwrap().iter().filter_map(|it| it["service"].as_str()).collect();
    names.sort_unstable();
    assert_eq!(names, ["inventory", "order", "payment", "shipping"]);
    let (_, kind, text) = ask("/metrics", None).await;
    assert_eq!(kind, "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(
        text.ends_with("# EOF\n") && text.contains("# TYPE redress_service_duplicates counter\n"),
        "{text}"
    );
    let (_, kind, text) = ask("/metrics", Some(("accept", "text/plain"))).await;
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(text.contains("# TYPE redress_service_duplicates_total counter\n"), "{text}");
    // The guard is the coordinator's: a page that was led here by a name of its own learns one word.
    let foreign = Some(("host", "evil.example"));
    assert_eq!(ask("/metrics", foreign).await.0, StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(ask("/readyz?verbose", foreign).await, (StatusCode::OK, word, "ok\n".to_owned()));
    let (status, kind, _) = ask("/v1/sagas", None).await;
    assert_eq!((status, &*kind), (StatusCode::NOT_FOUND, "application/problem+json"));
}
