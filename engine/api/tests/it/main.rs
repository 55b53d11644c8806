//! The routes, asked in-process, on a real engine.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

mod client;
mod connections;
mod doors;
mod events;
mod fixture;
mod hostile;
mod letters;
mod lists;
mod ops;

use axum::body::Body;
use fixture::{Fixture, SALE};
use redress_api::BODY_BYTES_MAX;
use serde_json::json;

#[tokio::test]
async fn problem_names_its_type_its_request_and_the_way_out() {
    let fixture = Fixture::new().await;
    let problem = fixture.get("/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/history").await;
    insta::assert_json_snapshot!(problem.json(), @r#"
    {
      "detail": "there is no saga `0190163d-8694-739b-aea5-966c26f8ad91`",
      "instance": "/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/history",
      "status": 404,
      "title": "No such saga",
      "type": "/problems/unknown-saga"
    }
    "#);
    let wrong_method = fixture.ask("PUT /v1/sagas", "").await;
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
    assert_eq!(fixture.ask("HEAD /v1/nowhere", "").await.text, "");
}

#[tokio::test]
async fn hostile_requests_are_refused_in_our_words() {
    let fixture = Fixture::new().await;
    let nested = format!(r#"{{"saga":"sell","input":{}1{}}}"#, "[".repeat(200), "]".repeat(200));
    let exact = format!("{SALE}{}", " ".repeat(BODY_BYTES_MAX - SALE.len()));
    assert_eq!(fixture.start("exact", exact.clone()).await.status, 202);
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
        refused.push(fixture.start("k", body).await.problem());
    }
    insta::assert_snapshot!(refused.join("\n"), @r"
    400 malformed-json: EOF while parsing a value at line 1 column 0
    422 invalid-body: invalid type: null, expected an object with `saga` and `input` at line 1 column 4
    422 invalid-body: an array stands where an object is expected
    400 malformed-json: EOF while parsing an object at line 1 column 2
    400 malformed-json: trailing characters at line 1 column 68
    422 ambiguous-json: at `/saga`, this name stands twice in its object: give it once
    422 invalid-body: missing field `input` at line 1 column 15
    422 invalid-body: invalid value: integer `-1`, expected u32 at line 1 column 27
    422 unknown-definition: there is no saga named `sell\u{0}`; GET /v1/definitions lists what can be started
    400 malformed-json: number out of range at line 1 column 39
    422 invalid-input: the input does not fit: at `/payment`, invalid type: floating point `1.8446744073709552e+19`, expected u64
    400 malformed-json: unexpected end of hex escape at line 1 column 54
    422 invalid-input: the input does not fit: at `/`, an array stands where an object is expected
    422 invalid-body: invalid type: integer `7`, expected a string at line 1 column 64
    422 invalid-tag: the value of the tag `a` is unusable: at most 256 characters, and neither control characters nor marks of direction
    422 invalid-fault: the faults are unusable: invalid type: map, expected a sequence
    400 malformed-json: invalid unicode code point at line 1 column 10
    400 malformed-json: recursion limit exceeded at line 1 column 150
    413 body-too-large: a request takes at most 262144 bytes; keep large things elsewhere and refer to them
    ");
}

#[tokio::test]
async fn hostile_queries_and_paths_are_refused_in_our_words() {
    let fixture = Fixture::new().await;
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
        refused.push(fixture.get(path).await.problem());
    }
    insta::assert_snapshot!(refused.join("\n"), @r"
    400 invalid-query: it holds a NUL character, which is in no saga
    400 invalid-query: it holds a NUL character, which is in no saga
    400 invalid-query: tag: use `name:value`
    400 ambiguous-query: `q` is given twice; give it once
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
        assert_eq!(fixture.get(path).await.json(), json!({ "items": [], "next": null }), "{path}");
    }
}

#[tokio::test]
async fn started_saga_is_shown_whole() {
    let fixture = Fixture::new().await;
    let started = fixture.start("\"one\"", SALE).await;
    let saga = started.json();
    assert_eq!((started.status.as_u16(), started.header("etag")), (202, "\"1\""));
    let path = started.header("location");
    assert_eq!(path, format!("/v1/sagas/{}", saga["id"].as_str().unwrap()));
    let mut shown = saga.clone();
    for (field, kind) in
        [("id", "[id]"), ("started_at", "[time]"), ("due_at", "[time]"), ("steps", "[steps]")]
    {
        shown[field] = json!(kind);
    }
    insta::assert_json_snapshot!(shown, @r#"
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
      "steps": "[steps]",
      "tags": {},
      "version": 1
    }
    "#);
    let seen = fixture.get(path).await;
    assert_eq!((seen.json(), seen.header("etag")), (saga, "\"1\""));
}

#[tokio::test]
async fn steps_of_a_started_saga_are_shown_whole() {
    let fixture = Fixture::new().await;
    let mut saga = fixture.start("one", SALE).await.json();
    saga["steps"][0]["started_at"] = json!("[time]");
    insta::assert_json_snapshot!(saga["steps"], @r#"
    [
      {
        "attempts": 1,
        "command": "charge",
        "compensation": "refund",
        "compensation_attempts": 0,
        "delivery": "exactly-once",
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
        "delivery": "exactly-once",
        "ended_at": null,
        "error": null,
        "kind": "pivot",
        "name": "ship",
        "reply": null,
        "service": "truck",
        "settlement_attempts": 0,
        "started_at": null,
        "status": "pending"
      }
    ]
    "#);
}

#[tokio::test]
async fn saga_is_started_read_and_cancelled() {
    let fixture = Fixture::new().await;
    let started = fixture.start("\"one\"", SALE).await;
    let path = started.header("location");

    let reused = fixture.start("one", SALE.replace('7', "8")).await.json();
    assert_eq!((&reused["status"], &reused["saga_id"]), (&json!(422), &started.json()["id"]));

    let plan = fixture.get(&format!("{path}/plan")).await.json();
    assert_eq!(plan["remaining"][1]["step"], "ship");
    let stale = fixture.ask(&format!("POST {path}/cancel\nif-match: \"8\""), "").await;
    assert_eq!((stale.status.as_u16(), &stale.json()["saga"]["revision"]), (412, &json!(1)));
    let bad = fixture.ask(&format!("POST {path}/cancel\nif-match: W/x"), "").await;
    assert_eq!(bad.problem(), "400 invalid-if-match: use the ETag of the saga, as in `If-Match: \"9\"`");
    let cancelled =
        fixture.post(&format!("{path}/cancel"), r#"{"reason":"no\u0000 more","actor":"alice"}"#).await;
    assert_eq!((cancelled.status.as_u16(), &cancelled.json()["status"]), (202, &json!("compensating")));
    assert_eq!(cancelled.json()["cause"]["message"], "alice: no more");
    let again = fixture.post(&format!("{path}/cancel"), "{}").await;
    assert_eq!((again.status.as_u16(), &again.json()["code"]), (409, &json!("already-compensating")));
    assert_eq!(again.json()["saga"]["id"], started.json()["id"]);

    let first = fixture.get(&format!("{path}/history?limit=1")).await.json();
    let rest =
        fixture.get(&format!("{path}/history?cursor={}", first["next"].as_str().unwrap())).await.json();
    let events: Vec<&str> = [&first, &rest]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|row| row["event"].as_str().unwrap())
        .collect();
    assert_eq!(events, ["started", "sent", "cancel-requested", "sent"]);
}

#[tokio::test]
async fn operator_command_names_its_actor_and_reason() {
    let fixture = Fixture::new().await;
    let path = fixture.start("one", SALE).await.header("location").to_owned();
    let mut refused = Vec::new();
    for (verb, body) in [
        ("cancel", r#"{"reason":"","actor":"ann"}"#),
        ("cancel", r#"{"actor":" \t"}"#),
        ("pause", r#"{"reason":"\u0000","actor":"ann"}"#),
        ("pause", r#"{"reason":"stock-taking","actor":""}"#),
        ("resume", r#"{"reason":"  ","actor":"ann"}"#),
        ("close", r#"{"reason":"","actor":""}"#),
        ("retry", r#"{"reason":"","actor":"ann"}"#),
        ("resolve", r#"{"reason":"seen","actor":"","step":"charge","resolution":"never-happened"}"#),
    ] {
        let asked = format!("POST {path}/{verb}\ncontent-type: application/json\nif-match: *");
        refused.push(format!("{verb} {}", fixture.ask(&asked, body).await.problem()));
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
    let history = fixture.get(&format!("{path}/history")).await.json();
    assert_eq!(history["items"].as_array().unwrap().len(), 2, "nothing of it was done: {history}");
    // A client that says nothing at all cancels with the words that the documentation names.
    let cancelled = fixture.post(&format!("{path}/cancel"), "").await.json();
    assert_eq!(cancelled["cause"]["message"], "http: no reason given");
}

#[tokio::test]
async fn faults_are_injected_only_where_allowed() {
    let allowed = Fixture::new().await;
    let fault = r#"{"step":"ship","kind":"reject","code":"no-road"}"#;
    assert_eq!(allowed.post("/v1/faults", fault).await.status, 201);
    let undo = r#"{"step":"ship","kind":"reject","code":"x","phase":"settlement"}"#;
    assert_eq!(
        allowed.post("/v1/faults", undo).await.problem(),
        "422 invalid-body: a settlement cannot be rejected: no such answer exists; use `fail` instead"
    );
    assert_eq!(allowed.get("/v1/faults").await.json()["items"][0]["fault"]["code"], "no-road");
    assert_eq!(allowed.ask("DELETE /v1/faults", "").await.json(), json!({ "cleared": 1 }));

    let fixture = Fixture::on(redress_devstack::shared().await, |_| {}).await;
    let own = SALE.replace("}}", r#"},"faults":[{"step":"ship","kind":"fail"}]}"#);
    for refused in [fixture.post("/v1/faults", fault).await, fixture.start("k", own).await] {
        assert!(refused.problem().starts_with("403 faults-not-allowed: "), "{}", refused.text);
    }
}

#[tokio::test]
async fn unmatched_fault_is_refused() {
    let fixture = Fixture::new().await;
    let mut told = Vec::new();
    for fault in [
        r#"{"saga":"sel","kind":"fail"}"#,
        r#"{"saga":"sell","step":"shipp","kind":"fail"}"#,
        // The step is named first, though the number is wrong, too.
        r#"{"step":"shipp","kind":"reject","times":-1}"#,
        r#"{"service":"till","step":"ship","kind":"fail"}"#,
        r#"{"command":"refund","kind":"fail"}"#,
        r#"{"step":"ship","phase":"compensation","kind":"fail"}"#,
    ] {
        told.push(fixture.post("/v1/faults", fault).await.problem());
    }
    let own = SALE.replace("}}", r#"},"faults":[{"step":"shipp","kind":"fail"}]}"#);
    told.push(fixture.start("k", own).await.problem());
    insta::assert_snapshot!(told.join("\n"), @"
    422 invalid-fault: the fault would strike nothing: there is no saga `sel` here, only sell
    422 invalid-fault: the fault would strike nothing: no step is named `shipp`, only charge, ship
    422 invalid-fault: the fault would strike nothing: no step is named `shipp`, only charge, ship
    422 invalid-fault: the fault would strike nothing: it fits no action; there are charge (till charge), ship (truck ship)
    422 invalid-fault: the fault would strike nothing: it fits no action; there are charge (till charge), ship (truck ship)
    422 invalid-fault: the fault would strike nothing: it fits no compensation; there are charge (till refund)
    422 invalid-fault: the faults are unusable: the fault would strike nothing: no step is named `shipp`, only charge, ship
    ");
    assert_eq!(fixture.get("/v1/faults").await.json()["items"], json!([]));
    let refund = r#"{"command":"refund","phase":"compensation","kind":"fail"}"#;
    assert_eq!(fixture.post("/v1/faults", refund).await.status, 201);
    assert_eq!(fixture.ask("DELETE /v1/faults", "").await.json(), json!({ "cleared": 1 }));
}
