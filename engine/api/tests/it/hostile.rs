//! Every request is answered in our words and not with an error of ours: properties, with a bounded number of cases
//! each.

use axum::body::Body;
use axum::http::Request;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};
use serde_json::{Value, json};
use tokio::runtime::Handle;

use crate::fixture::{Answer, Fixture, SALE};

/// Cases of a property: some seconds each, on a busy machine.
const CASES: u32 = 300;

/// Checks a property of the answer to a request.
fn check<S: Strategy>(
    cases: u32,
    strategy: S,
    property: impl AsyncFn(S::Value) -> Result<(), TestCaseError>,
) {
    // No file of failures: the values that failed are printed, and belong in a test by their own name.
    let mut runner = TestRunner::new(Config { cases, failure_persistence: None, ..Config::default() });
    let run = |value| tokio::task::block_in_place(|| Handle::current().block_on(property(value)));
    runner.run(&strategy, run).unwrap_or_else(|failure| panic!("{failure}"));
}

/// No error of ours, and each refusal in our words.
fn is_sound(answer: &Answer) -> Result<(), TestCaseError> {
    prop_assert!(answer.status.as_u16() < 500, "{} {}", answer.status, answer.text);
    if answer.status.is_client_error() && !answer.text.is_empty() {
        answer.problem();
    }
    Ok(())
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

/// JSON, and texts that almost are.
fn json_text() -> impl Strategy<Value = String> {
    let name = prop_oneof![
        Just("saga"),
        Just("input"),
        Just("payment"),
        Just("address"),
        Just("tags"),
        Just("faults"),
        Just("step"),
        Just("kind"),
        Just("reason"),
        Just("actor"),
        Just("reply"),
        Just("resolution"),
        Just("a\\u0000"),
        Just("é"),
    ];
    let leaf = prop_oneof![
        Just("null".to_owned()),
        Just("true".to_owned()),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| json!(number).to_string()),
        "[-0-9.eE+]{1,8}",
        any::<String>().prop_map(|text| json!(text).to_string()),
        prop_oneof![Just(r#""sell""#), Just(r#""fail""#), Just(r#""ship""#), Just(r#""\ud800""#)]
            .prop_map(str::to_owned),
    ];
    leaf.prop_recursive(6, 40, 5, move |inner| {
        let member = (name.clone(), inner.clone()).prop_map(|(name, value)| format!("\"{name}\":{value}"));
        prop_oneof![
            prop::collection::vec(inner, 0..5).prop_map(|items| format!("[{}]", items.join(","))),
            prop::collection::vec(member, 0..5).prop_map(|members| format!("{{{}}}", members.join(","))),
        ]
    })
}

/// A body: any bytes, JSON, a start around JSON, or a good start in which something is changed.
fn body() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        prop::collection::vec(any::<u8>(), 0..200),
        json_text().prop_map(String::into_bytes),
        (json_text(), json_text()).prop_map(|(input, tags)| {
            format!(r#"{{"saga":"sell","input":{input},"tags":{tags}}}"#).into_bytes()
        }),
        json_text()
            .prop_map(|faults| SALE.replace("}}", &format!("}},\"faults\":[{faults}]}}")).into_bytes()),
        (0..SALE.len(), any::<u8>()).prop_map(|(at, byte)| {
            let mut bytes = SALE.as_bytes().to_vec();
            bytes[at] = byte;
            bytes
        }),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_body_never_causes_an_internal_error() {
    let fixture = Fixture::new().await;
    let saga = fixture.start("first", SALE).await.header("location").to_owned();
    let paths = ["/v1/sagas".to_owned(), "/v1/faults".to_owned()].into_iter();
    let verbs = ["cancel", "retry", "resolve", "close", "pause", "resume"];
    let paths: Vec<String> = paths.chain(verbs.map(|verb| format!("{saga}/{verb}"))).collect();
    let asked = (prop::sample::select(paths), body(), any::<u64>());
    check(CASES, asked, async |(path, body, key)| {
        let request =
            Request::post(path).header("host", "localhost").header("content-type", "application/json");
        let request = request.header("if-match", "*").header("idempotency-key", key.to_string());
        is_sound(&fixture.send(request.body(Body::from(body)).unwrap()).await)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_query_and_path_never_cause_an_internal_error() {
    let fixture = Fixture::new().await;
    let saga = fixture.start("first", SALE).await.header("location").to_owned();
    let names = [
        "status", "saga", "q", "tag", "since", "until", "stalled", "limit", "cursor", "include", "wait",
        "verbose", "x",
    ];
    let value = prop_oneof![
        any::<String>(),
        "[0-9TZ:+.-]{1,30}",
        "-?[0-9]{1,25}",
        "[a-f0-9-]{36}",
        "[\\\\\"'%_\\[\\](){}*+?|^$.]{1,20}",
    ];
    let pair = (prop::sample::select(names.to_vec()), value)
        .prop_map(|(name, value)| format!("{name}={}", encoded(&value)));
    let query = prop_oneof![
        prop::collection::vec(pair, 0..4).prop_map(|pairs| pairs.join("&")),
        "[!$-;=?-Z_a-z~%&]{0,40}",
    ];
    let paths = vec![
        "/v1/sagas".to_owned(),
        saga.clone(),
        format!("{saga}/history"),
        format!("{saga}/plan"),
        "/v1/definitions".to_owned(),
        "/v1/faults".to_owned(),
        "/readyz".to_owned(),
        "/metrics".to_owned(),
    ];
    let path = prop_oneof![
        4 => prop::sample::select(paths),
        1 => any::<String>().prop_map(|text| format!("/v1/sagas/{}", encoded(&text))),
        1 => any::<String>().prop_map(|text| format!("/v1/definitions/{}/1", encoded(&text))),
        1 => any::<String>().prop_map(|text| format!("/{}", encoded(&text))),
    ];
    check(CASES, (path, query), async |(path, query)| {
        let request = Request::get(format!("{path}?{query}")).header("host", "localhost");
        // A text that is no URI never reaches the router.
        let Ok(request) = request.body(Body::empty()) else { return Ok(()) };
        is_sound(&fixture.send(request).await)
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn random_header_never_causes_an_internal_error() {
    let fixture = Fixture::new().await;
    let saga = fixture.start("first", SALE).await.header("location").to_owned();
    let bytes = prop::collection::vec(prop_oneof![Just(b'\t'), 32..=126_u8, 128..=255_u8], 0..60);
    let tags = "[W/\"*, 0-9x]{0,24}".prop_map(String::into_bytes);
    let value = prop_oneof![bytes, tags];
    let names = [
        "if-match",
        "idempotency-key",
        "authorization",
        "host",
        "origin",
        "sec-fetch-site",
        "content-type",
        "traceparent",
    ];
    let headers = prop::collection::vec((prop::sample::select(names.to_vec()), value), 1..4);
    let path =
        prop::sample::select(vec!["/v1/sagas".to_owned(), format!("{saga}/cancel"), format!("{saga}/pause")]);
    let body = prop_oneof![Just(SALE), Just(r#"{"actor":"ann","reason":"lunch"}"#)];
    for fixture in [&fixture, &fixture.behind("secret")] {
        check(CASES, (&path, &headers, &body), async |(path, headers, body)| {
            let mut request = Request::post(path).header("content-type", "application/json");
            for (name, value) in headers {
                request = request.header(name, value);
            }
            is_sound(&fixture.send(request.body(Body::from(body)).unwrap()).await)
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn accepted_saga_is_found_by_its_text_and_tag() {
    let fixture = Fixture::new().await;
    let text = prop_oneof![any::<String>(), "[\\\\\"/nrtu0-9a-zA-ZäÄßσς\n\t\u{1}]{1,30}"];
    let tag = (prop_oneof!["[a-zA-Z0-9._/-]{1,20}", any::<String>()], any::<String>());
    let cases = (text, tag, any::<[prop::sample::Index; 2]>(), any::<bool>());
    check(CASES / 3, cases, async |(text, (name, value), cut, upper)| {
        let body =
            json!({ "saga": "sell", "input": { "payment": 7, "address": text }, "tags": { &name: &value } });
        let answer = fixture.start(&fresh_key(), body.to_string()).await;
        is_sound(&answer)?;
        if answer.status != 202 {
            return Ok(());
        }
        let id = answer.json()["id"].clone();
        let chars: Vec<char> = text.chars().collect();
        let mut ends = cut.map(|index| index.index(chars.len() + 1));
        ends.sort_unstable();
        let part: String = chars[ends[0]..ends[1]].iter().take(200).collect();
        // Some characters become two in the other case, and are then others.
        let other: String = part.chars().flat_map(char::to_uppercase).collect();
        let part = if upper && other.chars().count() == part.chars().count() { other } else { part };
        for query in [format!("q={}", encoded(&part)), format!("tag={}", encoded(&format!("{name}:{value}")))]
        {
            prop_assert!(is_listed(&fixture, &query, &id).await, "{query}: {part:?} of {text:?}");
        }
        Ok(())
    });
}

/// Whether a page has the saga: sagas whose key or label *is* the text come before those whose input holds it.
async fn is_listed(fixture: &Fixture, query: &str, id: &Value) -> bool {
    let mut cursor = String::new();
    loop {
        let page = fixture.get(&format!("/v1/sagas?limit=200&{query}{cursor}")).await.json();
        if page["items"].as_array().unwrap().iter().any(|item| item["id"] == *id) {
            return true;
        }
        let Some(next) = page["next"].as_str() else { return false };
        cursor = format!("&cursor={}", encoded(next));
    }
}

fn fresh_key() -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static KEYS: AtomicU32 = AtomicU32::new(0);
    format!("f{}", KEYS.fetch_add(1, Ordering::Relaxed))
}
