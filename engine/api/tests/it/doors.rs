//! Every route with every method, asked by clients that may not: generated from the table from which the router is
//! built.

use axum::http::Method;
use redress_api::{Effect, ROUTES};
use sqlx::{Connection as _, PgConnection};

use crate::fixture::{Fixture, SALE};

const METHODS: [Method; 8] = [
    Method::GET,
    Method::HEAD,
    Method::POST,
    Method::PUT,
    Method::PATCH,
    Method::DELETE,
    Method::OPTIONS,
    Method::TRACE,
];
/// Paths that are nowhere, some of which look as if they were.
const NOWHERE: [&str; 8] = [
    "/",
    "/v1",
    "/v1/nowhere",
    "/v1/sagas/",
    "//v1/sagas",
    "/v1/sagas/%2e%2e/sagas",
    "/metrics/",
    "/livez/x",
];
/// A dead letter that every journal here holds.
const LETTER: &str = "01900000-0000-7000-8000-000000000001";
/// A standing fault that every journal here has.
const FAULT: &str = "1";
const TOKEN: &str = "authorization: Bearer secret";

/// Everything in the journal, table by table.
async fn everything(fixture: &Fixture) -> String {
    let mut connection = PgConnection::connect(&fixture.journal).await.unwrap();
    let tables: Vec<String> =
        sqlx::query_scalar("SELECT tablename::text FROM pg_tables WHERE schemaname = 'public' ORDER BY 1")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert!(tables.iter().any(|table| table == "sagas"), "{tables:?}");
    let mut all = format!("{:?}\n", fixture.engine.readiness().await.mode);
    for table in tables {
        let rows = format!("SELECT string_agg(t::text, E'\\n' ORDER BY t::text) FROM {table} AS t");
        let rows: Option<String> =
            sqlx::query_scalar(sqlx::AssertSqlSafe(rows)).fetch_one(&mut connection).await.unwrap();
        all.push_str(&format!("{table}\n{}\n", rows.unwrap_or_default()));
    }
    all
}

async fn keep_a_letter_and_a_fault(fixture: &Fixture) {
    let mut connection = PgConnection::connect(&fixture.journal).await.unwrap();
    let letter = "INSERT INTO dead_letters (id, reason, subject, headers, payload) VALUES ($1, 'Harbour', 'x', '[]', '')";
    sqlx::query(letter).bind(LETTER.parse::<uuid::Uuid>().unwrap()).execute(&mut connection).await.unwrap();
    let fault = r#"INSERT INTO faults (fault) VALUES ('{"step":"ship","kind":"fail"}')"#;
    sqlx::query(fault).execute(&mut connection).await.unwrap();
}

/// A body with which the request would be carried out, if it were allowed.
fn body(path: &str) -> &'static str {
    match path {
        "/v1/sagas" => SALE,
        "/v1/faults" => r#"{"step":"ship","kind":"fail"}"#,
        "/v1/sagas/{id}/resolve" => {
            r#"{"actor":"mallory","reason":"x","step":"charge","resolution":"never-happened"}"#
        }
        "/v1/sagas/{id}/steps/{step}/answer" => {
            r#"{"actor":"mallory","reason":"x","answer":{"rejected":{"code":"no","message":"no"}}}"#
        }
        "/v1/sagas/{id}/events/{name}" | "/v1/sagas/events/{name}" => r#"{"data":null}"#,
        _ => r#"{"actor":"mallory","reason":"x"}"#,
    }
}

fn asked(method: &Method, path: &str, id: &str, headers: &str) -> String {
    let path = path.replace("{id}", id).replace("{saga}", "sell").replace("{version}", "1");
    let path = path.replace("{letter}", LETTER).replace("{fault}", FAULT).replace("{step}", "charge");
    // An event that is for no single saga is for those with a label.
    let path =
        path.replace("/sagas/events/{name}", "/sagas/events/{name}?tag=a:b").replace("{name}", "approval");
    format!("{method} {path}\ncontent-type: application/json\nidempotency-key: k\nif-match: *\n{headers}")
}

#[tokio::test]
async fn stranger_is_refused_on_every_route_and_changes_nothing() {
    let stack = redress_devstack::shared().await;
    // Paused, so that nothing moves by itself while the journal is compared.
    let open = Fixture::on(stack, |config| (config.allow_faults, config.start_paused) = (true, true)).await;
    keep_a_letter_and_a_fault(&open).await;
    let closed = open.behind("secret");
    let id = open.start("first", SALE).await.json()["id"].as_str().unwrap().to_owned();
    let paths = ROUTES.iter().map(|route| (route.path, route.effect));
    let paths: Vec<_> = paths.chain(NOWHERE.map(|path| (path, Effect::Reads))).collect();
    let before = everything(&open).await;
    for (fixture, headers, status) in [
        (&closed, "accept: */*", 401),
        (&closed, "authorization: Bearer wrong", 401),
        (&closed, "authorization: Bearer secret\nsec-fetch-site: cross-site", 403),
        (&open, "sec-fetch-site: cross-site", 403),
        (&open, "sec-fetch-site: same-site\nsec-fetch-mode: navigate\nsec-fetch-dest: iframe", 403),
        (&open, "origin: https://evil.example", 403),
        (&open, "origin: null", 403),
        (&open, "host: evil.example", 421),
    ] {
        for (path, effect) in &paths {
            for method in METHODS {
                let answer = fixture.ask(&asked(&method, path, &id, headers), body(path)).await;
                let told = format!("{method} {path} with {headers}: {} {}", answer.status, answer.text);
                match effect {
                    Effect::Probes if matches!(method, Method::GET | Method::HEAD) => {
                        assert_eq!(answer.status, 200, "{told}");
                        assert!(matches!(answer.text.as_str(), "" | "ok\n"), "{told}");
                    }
                    Effect::Probes => assert_eq!(answer.status, 405, "{told}"),
                    Effect::Reads | Effect::Writes => assert_eq!(answer.status, status, "{told}"),
                }
                assert!(
                    !answer.text.contains("waiting_versions") && !answer.text.contains("Harbour"),
                    "{told}"
                );
            }
        }
    }
    assert_eq!(everything(&open).await, before);
}

#[tokio::test]
async fn every_route_of_the_table_is_reached_with_the_token() {
    let stack = redress_devstack::shared().await;
    let open = Fixture::on(stack, |config| (config.allow_faults, config.start_paused) = (true, true)).await;
    keep_a_letter_and_a_fault(&open).await;
    let fixture = open.behind("secret");
    for (number, route) in ROUTES.iter().enumerate() {
        let id = open.start(&format!("k{number}"), SALE).await.json()["id"].as_str().unwrap().to_owned();
        let asked = asked(&route.method, route.path, &id, TOKEN);
        let answer = fixture.ask(&asked, body(route.path)).await;
        let told = format!("{} {}: {} {}", route.method, route.path, answer.status, answer.text);
        // An order may be refused as the saga stands, and an event as its definition does; it was heard.
        let is_unknown_event = answer.text.contains("/problems/unknown-event");
        assert!(matches!(answer.status.as_u16(), 200 | 201 | 202 | 409) || is_unknown_event, "{told}");
        // A HEAD is a GET without its body, and other methods are not there.
        let head = fixture.ask(&asked.replacen(route.method.as_str(), "HEAD", 1), "").await;
        assert_eq!(head.status, if has(route.path, &Method::GET) { 200 } else { 405 }, "{told}");
        for method in METHODS.iter().filter(|method| !has(route.path, method) && *method != Method::HEAD) {
            let asked = asked.replacen(route.method.as_str(), method.as_str(), 1);
            let answer = fixture.ask(&asked, body(route.path)).await;
            assert!(answer.problem().starts_with("405 wrong-method: "), "{method} {told}");
        }
    }
    for path in NOWHERE {
        let answer = fixture.ask(&format!("GET {path}\n{TOKEN}"), "").await;
        assert!(answer.problem().starts_with("404 unknown-path: "), "{path}: {}", answer.text);
    }
}

fn has(path: &str, method: &Method) -> bool {
    ROUTES.iter().any(|route| route.path == path && route.method == *method)
}
