//! A hundred thousand sagas that wait for an event: they are found by their time and by their label, and cost nothing else.

use std::time::Duration;

use redress_core::decide::{EventVerdict, GivenEvent};
use redress_core::{JsonText, SagaDefinition, SagaId, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::AssertSqlSafe;

use crate::fixture::{Fixture, name, start, until};
use crate::party::{Sale, Ship};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Approval {
    by: String,
}

/// Waits for a day, and then turns back.
fn patient() -> SagaDefinition {
    saga::<Sale>("patient", 1)
        .await_event::<Approval>("approval", Duration::from_secs(86_400))
        .on_event(|sale, approval| sale.noted.push(approval.by))
        .pivot("ship", |s| Ship::of(s, "ship"))
        .build()
}

/// All that wait are copies of one; every fiftieth is due. Each bears a label of its own.
const COPIES: &str = "INSERT INTO sagas (id, saga, version, status, revision, state, state_format, data, input, tags, started_at, \
                      due_at, wake_at, awaiting) \
     SELECT gen_random_uuid(), saga, version, status, revision, \
            CASE WHEN is_due THEN convert_to(regexp_replace(convert_from(state, 'UTF8'), \
                '\"until\":[0-9]+', '\"until\":1577836800000000'), 'UTF8') ELSE state END, \
            state_format, data, input, jsonb_build_object('form', number::text), started_at, \
            CASE WHEN is_due THEN timestamptz '2020-01-01 00:00:00Z' ELSE due_at END, \
            CASE WHEN is_due THEN timestamptz '2020-01-01 00:00:00Z' ELSE due_at END, awaiting \
     FROM sagas, generate_series(1, 100000) AS number, LATERAL (SELECT number % 50 = 0 AS is_due) AS due WHERE id = $1";

/// As the timers look for what is due.
const DUE: &str = "SELECT due.* FROM unnest(array['patient'], array[1]) AS known (saga, version), LATERAL ( \
     SELECT id, state FROM sagas WHERE sagas.saga = known.saga AND sagas.version = known.version AND wake_at <= now() \
     AND state_format <= 1000 ORDER BY wake_at LIMIT 500 FOR UPDATE SKIP LOCKED) AS due";

/// As an event finds the sagas with a label.
const BY_TAG: &str = "SELECT id, saga, version FROM sagas WHERE ended_at IS NULL AND tags <> '{}' \
     AND tags @> '{\"form\": \"77\"}' ORDER BY id DESC LIMIT 51";

/// The node of a plan that reads the table, and the index by which it does.
fn scan(plan: &Value) -> Option<&Value> {
    if plan["Index Name"].is_string() {
        return Some(plan);
    }
    plan["Plans"].as_array().into_iter().flatten().find_map(scan)
}

async fn explained(fixture: &Fixture, sql: &str) -> Value {
    let explain = format!("EXPLAIN (ANALYZE, FORMAT JSON) {sql}");
    let plan: Value = sqlx::query_scalar(AssertSqlSafe(explain)).fetch_one(&fixture.pool).await.unwrap();
    scan(&plan[0]["Plan"]).cloned().unwrap_or_else(|| panic!("no index: {plan:#}"))
}

async fn waiting(fixture: &Fixture) -> SagaId {
    let coordinator = fixture.coordinator(vec![patient()]).await;
    let id = coordinator.start(start("patient", 1)).await;
    let awaits = "SELECT count(*) FROM sagas WHERE awaiting AND wake_at = due_at";
    until("it waits", async || (fixture.count(awaits).await == 1).then_some(())).await;
    coordinator.stop().await;
    id
}

#[tokio::test(flavor = "multi_thread")]
async fn hundred_thousand_waiting_sagas_are_read_only_when_they_are_due_or_meant() {
    let fixture = Fixture::new().await;
    let id = waiting(&fixture).await;
    let copies = sqlx::query(COPIES).bind(id.0).execute(&fixture.pool).await.unwrap();
    assert_eq!(copies.rows_affected(), 100_000);
    sqlx::raw_sql("ANALYZE sagas").execute(&fixture.pool).await.unwrap();

    let due = explained(&fixture, DUE).await;
    assert_eq!((&due["Index Name"], &due["Actual Rows"]), (&json!("sagas_due"), &json!(500)), "{due:#}");
    assert_eq!(due["Rows Removed by Filter"].as_i64().unwrap_or(0), 0, "{due:#}");
    let meant = explained(&fixture, BY_TAG).await;
    assert_eq!(
        (&meant["Index Name"], &meant["Actual Rows"]),
        (&json!("sagas_open_tags"), &json!(1)),
        "{meant:#}"
    );

    let coordinator = fixture.coordinator(vec![patient()]).await;
    let ended = "SELECT count(*) FROM sagas WHERE status = 'compensated'";
    until("all that are due turn back", async || (fixture.count(ended).await == 2_000).then_some(())).await;
    let units = "SELECT count(DISTINCT xmin::text) FROM sagas WHERE status = 'compensated'";
    let units = fixture.count(units).await;
    assert!(units <= 20, "2,000 sagas took {units} units of work");
    assert_eq!(fixture.count("SELECT count(*) FROM sagas WHERE awaiting AND due_at > now()").await, 98_001);
    let written = "SELECT count(*) FROM sagas WHERE awaiting AND xmin <> (SELECT xmin FROM sagas WHERE tags @> '{\"form\": \"1\"}') \
                   AND tags <> '{}'";
    assert_eq!(fixture.count(written).await, 0, "no other saga was written");

    let due = explained(&fixture, DUE).await;
    assert_eq!((&due["Index Name"], &due["Actual Rows"]), (&json!("sagas_due"), &json!(0)), "{due:#}");
    let event = GivenEvent {
        name: name("approval"),
        key: "form-77".to_owned(),
        payload: JsonText::of(&Approval { by: "ann".to_owned() }).unwrap(),
    };
    let tag = ("form".to_owned(), "77".to_owned());
    let page = coordinator.engine.send_event_by_tag(&tag, &event, None).await.unwrap();
    let verdicts: Vec<_> = page.items.iter().map(|item| item.verdict).collect();
    assert_eq!(verdicts, [EventVerdict::Taken.as_str()]);
    assert_eq!(coordinator.end_of(page.items[0].saga_id).await, "completed");
    coordinator.stop().await;
}
