//! The HTTP API as a client meets it: starts, ends, injected failures, cancels, and every kind of bad request.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use crate::support::orders::Order;
use crate::support::{World, until};
use reqwest::{Method, RequestBuilder, StatusCode};
use serde_json::{Value, json};

impl World {
    fn ask(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    async fn get(&self, path: &str) -> Value {
        self.ask(Method::GET, path).send().await.unwrap().json().await.unwrap()
    }

    /// Starts a saga and waits for its end.
    async fn play(&self, body: &Value, key: &str) -> Value {
        let request = self.ask(Method::POST, "/v1/sagas?wait=30s").header("Idempotency-Key", key);
        let response = request.json(body).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::ACCEPTED);
        response.json().await.unwrap()
    }

    /// The steps whose compensations were done, in the order of the history.
    async fn undone(&self, saga: &Value) -> Vec<String> {
        let history = self.get(&format!("/v1/sagas/{}/history", text(&saga["id"]))).await;
        let rows = history["items"].as_array().unwrap().clone();
        rows.iter()
            .filter(|row| row["event"] == "done" && row["phase"] == "compensation")
            .map(|row| text(&row["step"]).to_owned())
            .collect()
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn order(faults: Value) -> Value {
    json!({ "saga": "place-order", "input": Order::Fine.input(), "faults": faults })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn repeated_idempotency_key_returns_same_saga() {
    let world = World::start().await;
    let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
    let first = world.start_saga(&body, "\"one\"").await;
    assert_eq!(first.status(), StatusCode::ACCEPTED);
    let location = first.headers()["location"].to_str().unwrap().to_owned();
    let first: Value = first.json().await.unwrap();
    assert_eq!(location, format!("/v1/sagas/{}", text(&first["id"])));

    // Quoted or not, it is the same key; and the order of the fields does not matter.
    let again: Value = world.start_saga(&body, "one").await.json().await.unwrap();
    assert_eq!(again["id"], first["id"]);
    let other =
        world.start_saga(&json!({ "saga": "place-order", "input": Order::Unpayable.input() }), "one").await;
    assert_eq!(other.status(), StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(other.json::<Value>().await.unwrap()["type"], "/problems/idempotency-key-reused");

    let ended = world.play(&body, "one").await;
    assert_eq!((text(&ended["status"]), &ended["id"]), ("completed", &first["id"]));
    let steps = ended["steps"].as_array().unwrap();
    assert_eq!(steps.len(), 5);
    assert!(steps.iter().all(|step| step["status"] == "succeeded" && step["attempts"] == 1), "{steps:?}");
    assert!(text(&steps[1]["reply"]["receipt"]).starts_with("receipt-"));
    assert_eq!(ended["data"]["receipt"], steps[1]["reply"]["receipt"]);
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn concurrent_starts_with_one_key_start_one_saga() {
    let world = World::start().await;
    let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
    let starts = (0..50).map(|_| async {
        let saga: Value = world.start_saga(&body, "shared").await.json().await.unwrap();
        text(&saga["id"]).to_owned()
    });
    let mut ids = futures_util::future::join_all(starts).await;
    ids.dedup();
    assert_eq!(ids.len(), 1);
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn rejection_at_each_step_undoes_exactly_the_steps_before() {
    let world = World::start().await;
    let steps = ["create-order", "charge-payment", "reserve-inventory", "ship-order"];
    for (place, step) in steps.iter().enumerate() {
        let saga =
            world.play(&order(json!([{ "step": step, "kind": "reject", "code": "injected" }])), step).await;
        assert_eq!(text(&saga["status"]), "compensated", "{step}");
        assert_eq!((text(&saga["cause"]["step"]), text(&saga["cause"]["code"])), (*step, "injected"));
        let before: Vec<String> = steps[..place].iter().rev().map(ToString::to_string).collect();
        assert_eq!(world.undone(&saga).await, before, "{step}");
    }
    // After the pivot there is no way back: a retriable step that is rejected parks.
    let faults = json!([{ "step": "confirm-order", "kind": "reject", "code": "injected" }]);
    let saga = world.play(&order(faults), "confirm-order").await;
    assert_eq!((text(&saga["status"]), text(&saga["parked"]["code"])), ("parked", "retriable-rejected"));
    let retry =
        world.ask(Method::POST, &format!("/v1/sagas/{}/retry", text(&saga["id"]))).header("If-Match", "*");
    let retried = retry.json(&json!({ "reason": "it opens again", "actor": "ann" })).send().await.unwrap();
    assert_eq!(retried.status(), StatusCode::ACCEPTED);
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn transient_failures_are_survived() {
    let world = World::start().await;
    let faults = json!([
        { "step": "create-order", "kind": "fail", "times": 2 },
        { "step": "charge-payment", "kind": "crash-after-commit" },
        { "step": "reserve-inventory", "kind": "delay", "ms": 300 },
        { "step": "confirm-order", "kind": "fail", "times": 3 },
    ]);
    let body = json!({ "saga": "place-order", "input": Order::Fine.input(), "faults": faults });
    // The crash ends the service's process; the test starts another one.
    let mut world = world;
    let started: Value = world.start_saga(&body, "transient").await.json().await.unwrap();
    assert_eq!(world.services[0].ended().await, Some(86));
    world.services[0] = world.start_services(&crate::support::SERVICES).await;
    let saga = world.play(&body, "transient").await;
    assert_eq!(saga["id"], started["id"]);
    assert_eq!(text(&saga["status"]), "completed", "{saga:#}");
    let attempts: Vec<u64> =
        saga["steps"].as_array().unwrap().iter().map(|step| step["attempts"].as_u64().unwrap()).collect();
    assert_eq!((attempts[0], attempts[4]), (3, 4));
    let history = world.get(&format!("/v1/sagas/{}/history", text(&saga["id"]))).await;
    let faults: Vec<&str> = history["items"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|row| row["detail"]["fault"].as_str())
        .collect();
    assert_eq!(faults, ["fail", "fail", "crash-after-commit", "delay:300", "fail", "fail", "fail"]);
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn standing_faults_strike_as_often_as_they_say() {
    let world = World::start().await;
    let fault = json!({ "service": "payment", "command": "refund", "phase": "compensation", "kind": "fail", "times": 2 });
    let added = world.ask(Method::POST, "/v1/faults").json(&fault).send().await.unwrap();
    assert_eq!(added.status(), StatusCode::CREATED);
    let body = json!({ "saga": "place-order", "input": Order::Undeliverable.input() });
    let saga = world.play(&body, "standing").await;
    assert_eq!(text(&saga["status"]), "compensated");
    assert_eq!(saga["steps"][1]["compensation_attempts"], 3);
    let list = world.get("/v1/faults").await;
    assert_eq!(list["items"][0]["remaining"], 0, "{list}");
    let cleared: Value = world.ask(Method::DELETE, "/v1/faults").send().await.unwrap().json().await.unwrap();
    assert_eq!(cleared["cleared"], 1);
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cancel_is_accepted_until_pivot_and_refused_after() {
    let world = World::start().await;
    let slow = order(json!([{ "step": "reserve-inventory", "kind": "delay", "ms": 2_000 }]));
    let saga: Value = world.start_saga(&slow, "slow").await.json().await.unwrap();
    let path = format!("/v1/sagas/{}", text(&saga["id"]));
    until("the third step", async || {
        let saga = world.get(&path).await;
        (saga["steps"][2]["status"] == "running").then_some(())
    })
    .await;
    let plan = world.get(&format!("{path}/plan")).await;
    let undo: Vec<&str> = plan["undo"].as_array().unwrap().iter().map(|undo| text(&undo["step"])).collect();
    assert_eq!(undo, ["charge-payment", "create-order"]);
    assert_eq!(plan["in_doubt"], json!(["reserve-inventory"]));

    let stale = world.ask(Method::POST, &format!("{path}/cancel")).header("If-Match", "\"1\"");
    assert_eq!(stale.send().await.unwrap().status(), StatusCode::PRECONDITION_FAILED);
    let cancel = world.ask(Method::POST, &format!("{path}/cancel"));
    let cancelled =
        cancel.json(&json!({ "reason": "changed my mind", "actor": "alice" })).send().await.unwrap();
    assert_eq!(cancelled.status(), StatusCode::ACCEPTED);

    let saga = world.play(&slow, "slow").await;
    assert_eq!((text(&saga["status"]), text(&saga["cause"]["kind"])), ("compensated", "cancelled"));
    let undone = world.undone(&saga).await;
    assert!(undone.ends_with(&["charge-payment".to_owned(), "create-order".to_owned()]), "{undone:?}");

    let late = world.ask(Method::POST, &format!("{path}/cancel")).send().await.unwrap();
    assert_eq!(late.status(), StatusCode::CONFLICT);
    assert_eq!(late.json::<Value>().await.unwrap()["code"], "ended");
    world.sound().await;
}

/// Starts that make no sense.
fn bad_starts(world: &World) -> Vec<(&'static str, RequestBuilder)> {
    let sagas = || world.ask(Method::POST, "/v1/sagas").header("Idempotency-Key", "k");
    let json_text = |body: &str| sagas().header("Content-Type", "application/json").body(body.to_owned());
    let input = |patch: &dyn Fn(&mut Value)| {
        let mut input = Order::Fine.input();
        patch(&mut input);
        sagas().json(&json!({ "saga": "place-order", "input": input }))
    };
    vec![
        ("malformed JSON", json_text("{\"saga\":")),
        ("no JSON at all", sagas().header("Content-Type", "text/plain").body("hello")),
        ("unknown field of the body", json_text(r#"{"saga":"place-order","input":{},"colour":"red"}"#)),
        ("wrong type in the body", json_text(r#"{"saga":7,"input":{}}"#)),
        ("unknown field of the input", input(&|i| i["adress"] = json!("x"))),
        ("missing field of the input", input(&|i| drop(i.as_object_mut().unwrap().remove("customer")))),
        ("wrong type in the input", input(&|i| i["lines"][0]["quantity"] = json!("two"))),
        ("NUL in the input", input(&|i| i["customer"] = json!("a\0"))),
        ("unknown saga definition", sagas().json(&json!({ "saga": "no-such", "input": {} }))),
        ("unknown version", sagas().json(&json!({ "saga": "place-order", "version": 9, "input": {} }))),
        ("bad fault", sagas().json(&order(json!([{ "step": "ship-order", "kind": "explode" }])))),
        (
            "rejected undo",
            sagas().json(&order(
                json!([{ "step": "ship-order", "kind": "reject", "code": "x", "phase": "compensation" }]),
            )),
        ),
        ("no key", world.ask(Method::POST, "/v1/sagas").json(&order(json!([])))),
        (
            "unusable key",
            world.ask(Method::POST, "/v1/sagas").header("Idempotency-Key", "a b").json(&order(json!([]))),
        ),
        ("oversize body", json_text(&format!("\"{}\"", "x".repeat(300 * 1024)))),
    ]
}

/// Other requests that make no sense.
fn bad_requests(world: &World) -> Vec<(&'static str, RequestBuilder)> {
    let sagas = || world.ask(Method::POST, "/v1/sagas").header("Idempotency-Key", "k");
    let nobody = "/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91";
    let get = |path: &str| world.ask(Method::GET, path);
    vec![
        ("unknown saga", get(nobody)),
        ("unknown saga's history", get(&format!("{nobody}/history"))),
        ("unknown saga's plan", get(&format!("{nobody}/plan"))),
        ("unknown saga's cancel", world.ask(Method::POST, &format!("{nobody}/cancel"))),
        ("no saga id", get("/v1/sagas/../../etc")),
        ("not an id", get("/v1/sagas/seven")),
        ("bad cursor", get("/v1/sagas?cursor=zzz")),
        ("bad limit", get("/v1/sagas?limit=1000000000")),
        ("limit of no number", get("/v1/sagas?limit=many")),
        ("bad status", get("/v1/sagas?status=happy")),
        ("unknown parameter", get("/v1/sagas?colour=red")),
        (
            "bad wait",
            world
                .ask(Method::POST, "/v1/sagas?wait=soon")
                .header("Idempotency-Key", "k")
                .json(&order(json!([]))),
        ),
        ("wrong method", world.ask(Method::DELETE, "/v1/sagas")),
        ("unknown path", get("/v2/sagas")),
        ("unknown definition", get("/v1/definitions/place-order/9")),
        ("foreign host", get("/v1/sagas").header("Host", "evil.example")),
        ("foreign origin", sagas().header("Origin", "https://evil.example").json(&order(json!([])))),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bad_requests_are_answered_with_their_problem() {
    let world = World::start().await;
    let mut answers = String::new();
    for (case, request) in [bad_starts(&world), bad_requests(&world)].into_iter().flatten() {
        let response = request.send().await.unwrap();
        let status = response.status();
        assert_eq!(response.headers()["content-type"], "application/problem+json", "{case}");
        let problem: Value = response.json().await.unwrap();
        assert_eq!(problem["status"], status.as_u16(), "{case}");
        assert!(
            !text(&problem["title"]).is_empty() && !text(&problem["detail"]).is_empty(),
            "{case}: {problem}"
        );
        answers.push_str(&format!("{} {case}: {}\n", status.as_u16(), text(&problem["type"])));
    }
    insta::assert_snapshot!(answers, @r"
    400 malformed JSON: /problems/malformed-json
    415 no JSON at all: /problems/not-json
    422 unknown field of the body: /problems/invalid-body
    422 wrong type in the body: /problems/invalid-body
    422 unknown field of the input: /problems/invalid-input
    422 missing field of the input: /problems/invalid-input
    422 wrong type in the input: /problems/invalid-input
    422 NUL in the input: /problems/invalid-input
    422 unknown saga definition: /problems/unknown-definition
    422 unknown version: /problems/unknown-definition
    422 bad fault: /problems/invalid-fault
    422 rejected undo: /problems/invalid-fault
    400 no key: /problems/missing-idempotency-key
    400 unusable key: /problems/invalid-idempotency-key
    413 oversize body: /problems/body-too-large
    404 unknown saga: /problems/unknown-saga
    404 unknown saga's history: /problems/unknown-saga
    404 unknown saga's plan: /problems/unknown-saga
    404 unknown saga's cancel: /problems/unknown-saga
    404 no saga id: /problems/unknown-path
    404 not an id: /problems/unknown-saga
    400 bad cursor: /problems/invalid-cursor
    400 bad limit: /problems/invalid-query
    400 limit of no number: /problems/invalid-query
    400 bad status: /problems/invalid-query
    400 unknown parameter: /problems/invalid-query
    400 bad wait: /problems/invalid-query
    405 wrong method: /problems/wrong-method
    404 unknown path: /problems/unknown-path
    404 unknown definition: /problems/unknown-definition
    421 foreign host: /problems/foreign-host
    403 foreign origin: /problems/cross-site
    ");
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn start_without_database_is_refused_and_can_be_repeated() {
    use redress::devstack::StopMode;
    let world = World::on_own_servers().await;
    let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
    world.stack.postgres().stop(StopMode::Fast).await.unwrap();
    let refused = world.start_saga(&body, "patient").await;
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(refused.headers().contains_key("retry-after"));
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let ready = world.ask(Method::GET, "/readyz").send().await.unwrap();
    assert_eq!(ready.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert!(ready.headers().contains_key("retry-after"));
    // The number of open sagas is not known now, and so is not reported as zero.
    let here = [("REDRESS_URL", world.url(""))];
    let live = crate::support::process::run(&["definitions", "--live"], &here).await;
    assert_eq!((live.code, live.stdout.as_str()), (Some(69), ""), "{}", live.stderr);
    assert!(live.stderr.contains("which versions may go is not known"), "{}", live.stderr);
    let own = crate::support::process::run(&["definitions"], &here).await;
    assert!(
        own.stdout.contains("place-order v1") && !own.stdout.contains("safe to delete"),
        "{}",
        own.stdout
    );
    world.stack.postgres().start().await.unwrap();
    let accepted = until("the database", async || {
        let response = world.start_saga(&body, "patient").await;
        (response.status() == StatusCode::ACCEPTED).then_some(response)
    })
    .await;
    let saga: Value = accepted.json().await.unwrap();
    assert_eq!(world.play(&body, "patient").await["id"], saga["id"]);
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sagas_are_listed_newest_first_page_by_page() {
    let world = World::start().await;
    for (number, order) in [Order::Fine, Order::Unpayable, Order::Fine].iter().enumerate() {
        let body =
            json!({ "saga": "place-order", "input": order.input(), "tags": { "n": number.to_string() } });
        world.play(&body, &number.to_string()).await;
    }
    let first = world.get("/v1/sagas?limit=2").await;
    let second = world.get(&format!("/v1/sagas?limit=2&cursor={}", text(&first["next"]))).await;
    let numbers: Vec<&str> = [&first, &second]
        .iter()
        .flat_map(|page| page["items"].as_array().unwrap())
        .map(|saga| text(&saga["tags"]["n"]))
        .collect();
    assert_eq!((numbers, &second["next"]), (vec!["2", "1", "0"], &Value::Null));
    let count =
        async |query: &str| world.get(&format!("/v1/sagas?{query}")).await["items"].as_array().unwrap().len();
    assert_eq!(count("status=compensated").await, 1);
    assert_eq!(count("tag=n:2").await, 1);
    assert_eq!(count("q=Bree").await, 1);
    assert_eq!(count("q=%25").await, 0, "a percent sign means itself");
    assert_eq!(count("saga=book-trip").await, 0);
    let definitions = world.get("/v1/definitions").await;
    assert_eq!(definitions["items"][0]["open"], 0, "{definitions:#}");
    let diagram = world.ask(Method::GET, "/v1/definitions/place-order/1/diagram").send().await.unwrap();
    assert!(diagram.text().await.unwrap().starts_with("flowchart"));
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn book_trip_runs_on_same_engine() {
    let world = World::start().await;
    let trip = |address: &str| {
        let input = json!({ "traveller": "alice", "address": address, "seats": 2, "nights": 3 });
        json!({ "saga": "book-trip", "input": input })
    };
    let booked = world.play(&trip("1 Harbour Street, Reykjavik"), "a").await;
    assert_eq!((text(&booked["status"]), booked["steps"].as_array().unwrap().len()), ("completed", 3));
    let lost = world.play(&trip("Atlantis"), "b").await;
    assert_eq!(text(&lost["status"]), "compensated");
    assert_eq!(world.undone(&lost).await, ["take-payment", "hold-places"]);
    world.sound().await;
}
