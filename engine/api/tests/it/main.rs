//! The routes, asked in-process, on a real engine.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod place;

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use place::{Place, SALE};
use redress_api::{Access, BODY_BYTES_MAX, BindError, bind, serve};
use redress_devstack::{Data, Durability, Stack, StackOptions, StopMode};
use serde_json::json;
use tokio_util::sync::CancellationToken;

#[tokio::test]
async fn a_problem_names_its_type_its_request_and_the_way_out() {
    let place = Place::new().await;
    let problem = place.get("/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/history").await;
    insta::assert_json_snapshot!(problem.json(), @r#"
    {
      "detail": "there is no saga `0190163d-8694-739b-aea5-966c26f8ad91`",
      "instance": "/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/history",
      "status": 404,
      "title": "No such saga",
      "type": "/problems/unknown-saga"
    }
    "#);
    let wrong_method = place.ask("PUT /v1/sagas", "").await;
    assert_eq!(wrong_method.header("allow").replace(' ', ""), "POST,GET,HEAD");
    insta::assert_json_snapshot!(wrong_method.json(), @r#"
    {
      "detail": "`/v1/sagas` takes no PUT",
      "instance": "/v1/sagas",
      "status": 405,
      "title": "The path takes another method",
      "type": "/problems/wrong-method"
    }
    "#);
    assert_eq!(place.ask("HEAD /v1/nowhere", "").await.text, "");
}

#[tokio::test]
async fn hostile_requests_are_refused_in_our_words() {
    let place = Place::new().await;
    let nested = format!(r#"{{"saga":"sell","input":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let exact = format!("{SALE}{}", " ".repeat(BODY_BYTES_MAX - SALE.len()));
    assert_eq!(place.start("exact", exact.clone()).await.status, 202);
    let mut refused = Vec::new();
    for body in [
        Body::from(""),
        Body::from("null"),
        Body::from(r#"["sell", {"payment": 7, "address": "x"}]"#),
        Body::from(r#"[{"#),
        Body::from(format!("{SALE} {SALE}")),
        Body::from(r#"{"saga":"sell","saga":"sell","input":{}}"#),
        Body::from(r#"{"saga":"sell"}"#),
        Body::from(r#"{"saga":"sell","version":-1,"input":{}}"#),
        Body::from(r#"{"saga":"sell\u0000","input":{}}"#),
        Body::from(r#"{"saga":"sell","input":{"payment":1e400,"address":"x"}}"#),
        Body::from(r#"{"saga":"sell","input":{"payment":18446744073709551616,"address":"x"}}"#),
        Body::from(r#"{"saga":"sell","input":{"payment":1,"address":"\ud800"}}"#),
        Body::from(r#"{"saga":"sell","input":[7,"x"]}"#),
        Body::from(r#"{"saga":"sell","input":{"payment":1,"address":"x"},"tags":{"a":7}}"#),
        Body::from(r#"{"saga":"sell","input":{"payment":1,"address":"x"},"tags":{"a":"\u0000"}}"#),
        Body::from(r#"{"saga":"sell","input":{"payment":1,"address":"x"},"faults":{"step":"ship"}}"#),
        Body::from(&b"{\"saga\":\"\xff\"}"[..]),
        Body::from(nested),
        Body::from(format!("{exact} ")),
    ] {
        refused.push(place.start("k", body).await.problem().replace('\0', "\\0"));
    }
    insta::assert_snapshot!(refused.join("\n"), @r"
    400 malformed-json: EOF while parsing a value at line 1 column 0
    422 invalid-body: invalid type: null, expected an object with `saga` and `input` at line 1 column 4
    422 invalid-body: an array stands where an object is expected
    400 malformed-json: EOF while parsing an object at line 1 column 2
    400 malformed-json: trailing characters at line 1 column 68
    422 invalid-body: duplicate field `saga` at line 1 column 21
    422 invalid-body: missing field `input` at line 1 column 15
    422 invalid-body: invalid value: integer `-1`, expected u32 at line 1 column 27
    422 unknown-definition: there is no saga named `sell\0`; GET /v1/definitions lists what can be started
    400 malformed-json: number out of range at line 1 column 39
    422 invalid-input: the input does not fit: at `/payment`, invalid type: floating point `1.8446744073709552e+19`, expected u64
    400 malformed-json: unexpected end of hex escape at line 1 column 54
    422 invalid-input: the input does not fit: at `/`, an array stands where an object is expected
    422 invalid-body: invalid type: integer `7`, expected a string at line 1 column 64
    422 invalid-tag: a tag holds a NUL character, which cannot be stored
    422 invalid-fault: the faults are unusable: invalid type: map, expected a sequence
    400 malformed-json: invalid unicode code point at line 1 column 10
    400 malformed-json: recursion limit exceeded at line 1 column 150
    413 body-too-large: a request takes at most 262144 bytes; keep large things elsewhere and refer to them
    ");
}

#[tokio::test]
async fn hostile_queries_and_paths_are_refused_in_our_words() {
    let place = Place::new().await;
    let mut refused = Vec::new();
    for path in [
        "/v1/sagas?saga=a%00b",
        "/v1/sagas?tag=a:%00",
        "/v1/sagas?tag=a",
        "/v1/sagas?q=x&q=y",
        "/v1/sagas?limit=0",
        "/v1/sagas?limit=-1",
        "/v1/sagas?limit=99999999999999999999",
        "/v1/sagas?since=yesterday",
        "/v1/sagas?since=-262000-01-01T00:00:00Z",
        "/v1/sagas?cursor=0",
        "/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/history?cursor=-1",
        "/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/history?limit=1001",
        "/v1/sagas/%ff",
        "/v1/definitions/%ff/1",
        "/v1/definitions/sell/one/diagram",
        "/v1/sagas/",
    ] {
        refused.push(place.get(path).await.problem());
    }
    insta::assert_snapshot!(refused.join("\n"), @r"
    400 invalid-query: it holds a NUL character, which is in no saga
    400 invalid-query: it holds a NUL character, which is in no saga
    400 invalid-query: tag: use `name:value`
    400 invalid-query: Failed to deserialize query string: duplicate field `q`
    400 invalid-query: limit: 0 is out of range; use 1 to 200
    400 invalid-query: limit: -1 is out of range; use 1 to 200
    400 invalid-query: Failed to deserialize query string: limit: number too large to fit in target type
    400 invalid-query: Failed to deserialize query string: since: input contains invalid characters
    400 invalid-query: since, until: use years 0 to 9999
    400 invalid-cursor: the cursor is not one that a list gave as `next`; begin again without it
    400 invalid-cursor: the cursor is not one that a list gave as `next`; begin again without it
    400 invalid-query: limit: 1001 is out of range; use 1 to 1000
    400 invalid-path: Invalid URL: Invalid UTF-8 in `id`
    400 invalid-path: Invalid URL: Invalid UTF-8 in `saga`
    404 unknown-definition: GET /v1/definitions lists those that are known here
    404 unknown-path: there is nothing at `/v1/sagas/`
    ");
    for path in ["/v1/sagas?q=%25_%27%22", "/v1/sagas?saga=no-such", "/v1/sagas?until=2026-01-01T00:00:00Z"] {
        assert_eq!(place.get(path).await.json(), json!({ "items": [], "next": null }), "{path}");
    }
}

#[tokio::test]
async fn a_saga_is_started_looked_at_and_cancelled() {
    let place = Place::new().await;
    let started = place.start("\"one\"", SALE).await;
    let saga = started.json();
    assert_eq!((started.status.as_u16(), started.header("etag")), (202, "\"1\""));
    let path = started.header("location");
    assert_eq!(path, format!("/v1/sagas/{}", saga["id"].as_str().unwrap()));
    insta::assert_json_snapshot!(saga, { ".id" => "[id]", ".**.started_at" => "[time]", ".due_at" => "[time]" }, @r#"
    {
      "cause": null,
      "data": {
        "address": "1 Harbour Street",
        "payment": 7
      },
      "due_at": "[time]",
      "ended_at": null,
      "id": "[id]",
      "input": {
        "address": "1 Harbour Street",
        "payment": 7
      },
      "parked": null,
      "revision": 1,
      "saga": "sell",
      "stalled": false,
      "started_at": "[time]",
      "status": "running",
      "steps": [
        {
          "attempts": 1,
          "command": "charge",
          "compensation": "refund",
          "compensation_attempts": 0,
          "ended_at": null,
          "error": null,
          "kind": "compensatable",
          "name": "charge",
          "reply": null,
          "service": "till",
          "settlement_attempts": 0,
          "started_at": "[time]",
          "status": "running"
        },
        {
          "attempts": 0,
          "command": "ship",
          "compensation": null,
          "compensation_attempts": 0,
          "ended_at": null,
          "error": null,
          "kind": "pivot",
          "name": "ship",
          "reply": null,
          "service": "truck",
          "settlement_attempts": 0,
          "started_at": "[time]",
          "status": "pending"
        }
      ],
      "tags": {},
      "version": 1
    }
    "#);
    let seen = place.get(path).await;
    assert_eq!((seen.json(), seen.header("etag")), (saga, "\"1\""));

    let reused = place.start("one", SALE.replace('7', "8")).await.json();
    assert_eq!((&reused["status"], &reused["saga_id"]), (&json!(422), &started.json()["id"]));

    let plan = place.get(&format!("{path}/plan")).await.json();
    assert_eq!(plan["remaining"][1]["step"], "ship");
    let stale = place.ask(&format!("POST {path}/cancel\nif-match: \"8\""), "").await;
    assert_eq!((stale.status.as_u16(), &stale.json()["saga"]["revision"]), (412, &json!(1)));
    let bad = place.ask(&format!("POST {path}/cancel\nif-match: W/x"), "").await;
    assert_eq!(bad.problem(), "400 invalid-if-match: use the ETag of the saga, as in `If-Match: \"9\"`");
    let cancelled =
        place.post(&format!("{path}/cancel"), r#"{"reason":"no\u0000 more","actor":"alice"}"#).await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.json()["status"]), (202, &json!("compensating")));
    assert_eq!(cancelled.json()["cause"]["message"], "alice: no more");
    let again = place.post(&format!("{path}/cancel"), "{}").await;
    assert_eq!((again.status.as_u16(), &again.json()["code"]), (409, &json!("already-compensating")));
    assert_eq!(again.json()["saga"]["id"], started.json()["id"]);

    let first = place.get(&format!("{path}/history?limit=1")).await.json();
    let rest = place.get(&format!("{path}/history?cursor={}", first["next"].as_str().unwrap())).await.json();
    let events: Vec<&str> = [&first, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|row| row["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["started", "sent", "cancel-requested", "sent"]);
}

#[tokio::test]
async fn an_order_says_who_and_why() {
    let place = Place::new().await;
    let path = place.start("one", SALE).await.header("location").to_owned();
    let mut refused = Vec::new();
    for (verb, body) in [
        ("cancel", r#"{"reason":"","actor":"ann"}"#),
        ("cancel", r#"{"actor":" \t"}"#),
        ("pause", r#"{"reason":"\u0000","actor":"ann"}"#),
        ("pause", r#"{"reason":"stock-taking","actor":""}"#),
        ("resume", r#"{"reason":"  ","actor":"ann"}"#),
        ("close", r#"{"reason":"","actor":""}"#),
        ("retry", r#"{"reason":"","actor":"ann"}"#),
        ("resolve", r#"{"reason":"seen","actor":"","step":"charge","finding":"never-happened"}"#),
    ] {
        let asked = format!("POST {path}/{verb}\ncontent-type: application/json\nif-match: *");
        refused.push(format!("{verb} {}", place.ask(&asked, body).await.problem()));
    }
    insta::assert_snapshot!(refused.join("\n"), @"
    cancel 422 invalid-body: `reason` is empty: say why the order is given; the history and the audit log keep it
    cancel 422 invalid-body: `actor` is empty: say who gives the order; the history and the audit log keep it
    pause 422 invalid-body: `reason` is empty: say why the order is given; the history and the audit log keep it
    pause 422 invalid-body: `actor` is empty: say who gives the order; the history and the audit log keep it
    resume 422 invalid-body: `reason` is empty: say why the order is given; the history and the audit log keep it
    close 422 invalid-body: `actor` is empty: say who gives the order; the history and the audit log keep it
    retry 422 invalid-body: `reason` is empty: say why the order is given; the history and the audit log keep it
    resolve 422 invalid-body: `actor` is empty: say who gives the order; the history and the audit log keep it
    ");
    let history = place.get(&format!("{path}/history")).await.json();
    assert_eq!(history["items"].as_array().unwrap().len(), 2, "nothing of it was done: {history}");
    // Whoever says nothing at all cancels with the words that the documentation names.
    let cancelled = place.post(&format!("{path}/cancel"), "").await.json();
    assert_eq!(cancelled["cause"]["message"], "http: no reason given");
}

#[tokio::test]
async fn failures_are_injected_only_where_that_is_allowed() {
    let allowed = Place::new().await;
    let fault = r#"{"step":"ship","kind":"reject","code":"no-road"}"#;
    assert_eq!(allowed.post("/v1/faults", fault).await.status, 201);
    let undo = r#"{"step":"ship","kind":"reject","code":"x","phase":"settlement"}"#;
    assert_eq!(
        allowed.post("/v1/faults", undo).await.problem(),
        "422 invalid-body: a settlement cannot be rejected: no such answer exists; use `fail` instead"
    );
    assert_eq!(allowed.get("/v1/faults").await.json()["items"][0]["fault"]["code"], "no-road");
    assert_eq!(allowed.ask("DELETE /v1/faults", "").await.json(), json!({ "cleared": 1 }));

    let place = Place::on(redress_devstack::shared().await, |_| {}).await;
    let own = SALE.replace("}}", r#"},"faults":[{"step":"ship","kind":"fail"}]}"#);
    for refused in [place.post("/v1/faults", fault).await, place.start("k", own).await] {
        assert!(refused.problem().starts_with("403 faults-not-allowed: "), "{}", refused.text);
    }
}

#[tokio::test]
async fn a_fault_that_would_strike_nothing_is_refused() {
    let place = Place::new().await;
    let mut told = Vec::new();
    for fault in [
        r#"{"saga":"sel","kind":"fail"}"#,
        r#"{"saga":"sell","step":"shipp","kind":"fail"}"#,
        r#"{"service":"till","step":"ship","kind":"fail"}"#,
        r#"{"command":"refund","kind":"fail"}"#,
        r#"{"step":"ship","phase":"compensation","kind":"fail"}"#,
    ] {
        told.push(place.post("/v1/faults", fault).await.problem());
    }
    let own = SALE.replace("}}", r#"},"faults":[{"step":"shipp","kind":"fail"}]}"#);
    told.push(place.start("k", own).await.problem());
    insta::assert_snapshot!(told.join("\n"), @"
    422 invalid-fault: the fault would strike nothing: there is no saga `sel` here, only sell
    422 invalid-fault: the fault would strike nothing: it fits no action; there are charge (till charge), ship (truck ship)
    422 invalid-fault: the fault would strike nothing: it fits no action; there are charge (till charge), ship (truck ship)
    422 invalid-fault: the fault would strike nothing: it fits no action; there are charge (till charge), ship (truck ship)
    422 invalid-fault: the fault would strike nothing: it fits no compensation; there are charge (till refund)
    422 invalid-fault: the faults are unusable: the fault would strike nothing: it fits no action; there are charge (till charge), ship (truck ship)
    ");
    assert_eq!(place.get("/v1/faults").await.json()["items"], json!([]));
    let refund = r#"{"command":"refund","phase":"compensation","kind":"fail"}"#;
    assert_eq!(place.post("/v1/faults", refund).await.status, 201);
    assert_eq!(place.ask("DELETE /v1/faults", "").await.json(), json!({ "cleared": 1 }));
}

#[tokio::test]
async fn definitions_probes_and_metrics_are_there() {
    let place = Place::new().await;
    place.start("k", SALE).await;
    let list = place.get("/v1/definitions").await.json();
    assert_eq!(list["items"][0]["sagas"], json!({ "running": 1 }));
    let one = place.get("/v1/definitions/sell/1").await.json();
    assert_eq!(one["input_schema"]["required"], json!(["payment", "address"]));
    let diagram = place.get("/v1/definitions/sell/1/diagram").await;
    assert_eq!(diagram.header("content-type"), "text/plain; charset=utf-8");
    assert!(diagram.text.starts_with("flowchart"), "{}", diagram.text);
    assert_eq!(
        (place.get("/livez").await.text, place.get("/readyz").await.text),
        ("ok\n".into(), "ok\n".into())
    );
    assert_eq!(
        place.get("/readyz?verbose").await.json(),
        json!({ "ready": true, "database": "ok", "broker": "ok", "mode": "serving", "waiting_versions": [] })
    );
    let metrics = place.get("/metrics").await;
    assert_eq!(metrics.header("content-type"), "application/openmetrics-text; version=1.0.0; charset=utf-8");
    assert!(
        metrics.text.contains("redress_sagas_started_total{saga=\"sell\",kind=\"start\"} 1\n"),
        "{}",
        metrics.text
    );
    assert!(metrics.text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn with_a_token_only_the_probes_are_open() {
    let place = Place::new().await.behind("secret");
    let refused = place.get("/v1/sagas").await;
    assert_eq!(refused.header("www-authenticate"), "Bearer");
    assert!(refused.problem().starts_with("401 unauthorized: "));
    assert!(place.get("/metrics").await.problem().starts_with("401 "));
    assert_eq!(
        place.ask("GET /v1/sagas\nauthorization: Bearer secret\nhost: redress.example", "").await.status,
        200
    );
    assert_eq!(place.get("/livez").await.status, 200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_database_every_route_says_so() {
    let options =
        StackOptions { durability: Durability::Relaxed, data: Data::Ephemeral, postgres: true, nats: true };
    let stack = Arc::new(Stack::start(options, &|_| {}).await.unwrap());
    let place = Place::on(stack.clone(), |config| config.allow_faults = true).await;
    let started = place.start("before", SALE).await;
    let path = started.header("location");
    stack.postgres().stop(StopMode::Immediate).await.unwrap();
    for answer in [
        place.start("during", SALE).await,
        place.get("/v1/sagas").await,
        place.get(path).await,
        place.get(&format!("{path}/history")).await,
        place.get(&format!("{path}/plan")).await,
        place.post(&format!("{path}/cancel"), "").await,
        place.get("/v1/faults").await,
        place.post("/v1/faults", r#"{"step":"ship","kind":"fail"}"#).await,
        place.ask("DELETE /v1/faults", "").await,
    ] {
        assert!(answer.problem().starts_with("503 database-unavailable: "), "{}", answer.text);
        assert_eq!(answer.header("retry-after"), "1");
    }
    let ready = place.get("/readyz").await;
    assert!(ready.problem().starts_with("503 not-ready: "), "{}", ready.text);
    assert_eq!(ready.header("retry-after"), "1");
    assert_eq!(ready.json()["broker"], "ok");
    assert_eq!(place.get("/livez").await.status, 200);
    // What can be started is told all the same; how many are open is not known, and is not zero.
    let definitions = place.get("/v1/definitions").await;
    assert_eq!(definitions.status, 200);
    let sell = &definitions.json()["items"][0];
    assert_eq!(
        (&sell["saga"], sell.get("open"), sell.get("sagas")),
        (&json!("sell"), Some(&json!(null)), None)
    );
    stack.postgres().start().await.unwrap();
    let back = async { while place.start("during", SALE).await.status != 202 {} };
    tokio::time::timeout(Duration::from_secs(30), back).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn over_a_socket_whoever_waits_is_answered_when_the_coordinator_stops() {
    let everywhere = "0.0.0.0:0".parse().unwrap();
    assert!(matches!(bind(everywhere, &Access::Loopback).await, Err(BindError::NeedsToken(_))));
    assert!(bind(everywhere, &Access::Token("t".to_owned())).await.is_ok());
    let listener = bind("127.0.0.1:0".parse().unwrap(), &Access::Loopback).await.unwrap();
    let address = listener.local_addr().unwrap();
    assert!(matches!(bind(address, &Access::Loopback).await, Err(BindError::Taken { .. })));

    let place = Place::new().await;
    let shutdown = CancellationToken::new();
    let serving = tokio::spawn(serve(listener, place.engine.clone(), Access::Loopback, shutdown.clone()));
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let start = |query: &str| {
        let request = http.post(format!("http://{address}/v1/sagas{query}")).header("Idempotency-Key", "k");
        request.header("Content-Type", "application/json").body(SALE).send()
    };
    assert_eq!(start("?wait=10ms").await.unwrap().status(), 202);
    let oversize = http.post(format!("http://{address}/v1/sagas")).header("Idempotency-Key", "k");
    let oversize = oversize.header("Content-Type", "application/json").body(vec![b' '; 2 * BODY_BYTES_MAX]);
    assert_eq!(oversize.send().await.unwrap().status(), 413);

    let waiting = tokio::spawn(start("?wait=60s"));
    // The request is in the server's hands when the shutdown comes.
    let accepted = async {
        while place.engine.waiting() == 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), accepted).await.unwrap();
    shutdown.cancel();
    let answer = tokio::time::timeout(Duration::from_secs(30), waiting).await.unwrap().unwrap().unwrap();
    assert_eq!(answer.status(), 202);
    assert_eq!(answer.json::<serde_json::Value>().await.unwrap()["status"], "running");
    serving.await.unwrap().unwrap();
    assert_eq!(place.engine.waiting(), 0, "whoever stops waiting is forgotten");
}
