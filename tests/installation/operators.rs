//! The operator commands over HTTP, on the whole installation: their conditions, their effects, and their traces.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use crate::support::orders::Order;
use crate::support::{World, until};
use reqwest::StatusCode;
use serde_json::{Value, json};

/// Status and problem type, or status of the saga.
async fn give(world: &World, id: &str, verb: &str, if_match: Option<&str>, body: Value) -> (u16, String) {
    let request = world.http.post(world.url(&format!("/v1/sagas/{id}/{verb}"))).json(&body);
    let request = match if_match {
        Some(revision) => request.header("If-Match", revision),
        None => request,
    };
    let response = request.send().await.unwrap();
    let status = response.status();
    let answer: Value = response.json().await.unwrap();
    let word = if status.is_success() { &answer["status"] } else { &answer["type"] };
    (status.as_u16(), word.as_str().unwrap().to_owned())
}

async fn saga(world: &World, id: &str) -> Value {
    let response = world.http.get(world.url(&format!("/v1/sagas/{id}"))).send().await.unwrap();
    response.json().await.unwrap()
}

async fn begin(world: &World, faults: Value, key: &str) -> String {
    let body = json!({ "saga": "place-order", "input": Order::Fine.input(), "faults": faults });
    let started: Value = world.start_saga(&body, key).await.json().await.unwrap();
    started["id"].as_str().unwrap().to_owned()
}

async fn comes_to(world: &World, id: &str, status: &str) {
    until(status, async || (saga(world, id).await["status"] == status).then_some(())).await;
}

fn who() -> Value {
    json!({ "actor": "ann", "reason": "to be looked at" })
}

/// The answer to an operator command, as one line.
async fn answer(world: &World, id: &str, verb: &str, if_match: Option<&str>, body: Value) -> String {
    match give(world, id, verb, if_match, body).await {
        // The saga may have gone on already.
        (202, _) => format!("{verb}: 202\n"),
        (status, problem) => format!("{verb}: {status} {problem}\n"),
    }
}

/// A resolution of the second step, with these members more.
fn resolve(more: Value) -> Value {
    let mut body = json!({ "actor": "ann", "reason": "looked at", "step": "charge-payment" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    body
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_command_needs_actor_reason_and_revision() {
    let world = World::start().await;
    let id = begin(&world, json!([{ "step": "charge-payment", "kind": "delay", "ms": 10_000 }]), "one").await;
    until("the second step", async || {
        (saga(&world, &id).await["steps"][1]["status"] == "running").then_some(())
    })
    .await;
    let ok = Some("*");
    let told = async |verb: &str, if_match: Option<&str>, body: Value| {
        answer(&world, &id, verb, if_match, body).await
    };
    let mut story = String::new();
    story += &told("pause", None, who()).await;
    story += &told("pause", Some("\"1\""), who()).await;
    story += &told("pause", Some("seven"), who()).await;
    story += &told("pause", ok, json!({ "actor": "ann" })).await;
    story += &told("pause", ok, json!({ "actor": "ann", "reason": "looked at", "colour": "red" })).await;
    story += &told("resume", ok, who()).await;
    story += &told("close", ok, who()).await;
    story += &told("retry", ok, json!({ "actor": "ann", "reason": "looked at", "step": "Fly" })).await;
    story += &told("retry", ok, json!({ "actor": "ann", "reason": "looked at", "step": "fly" })).await;
    story += &told("resolve", ok, resolve(json!({ "resolution": "perhaps" }))).await;
    story += &told("resolve", ok, resolve(json!({ "resolution": "never-happened", "reply": 1 }))).await;
    story +=
        &told("resolve", ok, resolve(json!({ "resolution": "happened", "reply": { "colour": 1 } }))).await;
    story += &told("resolve", ok, resolve(json!({ "resolution": "compensated" }))).await;
    story += &told("pause", ok, who()).await;
    story += &told("pause", ok, who()).await;
    story += &told("retry", ok, who()).await;
    story += &told("resume", ok, who()).await;
    insta::assert_snapshot!(story, @"
    pause: 428 /problems/if-match-required
    pause: 412 /problems/stale-revision
    pause: 400 /problems/invalid-if-match
    pause: 422 /problems/invalid-body
    pause: 422 /problems/invalid-body
    resume: 409 /problems/command-refused
    close: 409 /problems/command-refused
    retry: 422 /problems/invalid-body
    retry: 422 /problems/unknown-step
    resolve: 422 /problems/invalid-body
    resolve: 422 /problems/invalid-body
    resolve: 422 /problems/invalid-reply
    resolve: 409 /problems/command-refused
    pause: 202
    pause: 409 /problems/command-refused
    retry: 409 /problems/command-refused
    resume: 202
    ");
    assert_eq!(give(&world, &id, "cancel", None, who()).await.0, 202);
    comes_to(&world, &id, "compensated").await;
    let (status, word) = give(&world, &id, "pause", ok, who()).await;
    assert_eq!((status, word.as_str()), (409, "/problems/command-refused"));
    let log = "SELECT string_agg(actor || ' ' || verb || ': ' || reason, ', ' ORDER BY id) FROM audit_log";
    let log: String = sqlx::query_scalar(log).fetch_one(world.journal()).await.unwrap();
    assert_eq!(log, "ann pause: to be looked at, ann resume: to be looked at, ann cancel: to be looked at");
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn resolve_as_happened_completes_saga_and_participant_verifies_it() {
    let world = World::start().await;
    // Charged, and the coordinator does not hear of it for a long time.
    let lost = json!([{ "step": "charge-payment", "kind": "delay-reply", "ms": 9_000 }]);
    let id = begin(&world, lost, "doubt").await;
    until("the effect", async || {
        let charged: i64 = sqlx::query_scalar("SELECT count(*) FROM payments")
            .fetch_one(&world.books().payment)
            .await
            .ok()?;
        (charged == 1).then_some(())
    })
    .await;
    let resolution = json!({
        "actor": "ann", "reason": "the ledger has it", "step": "charge-payment", "resolution": "happened",
        "reply": { "receipt": "seen in the ledger" },
    });
    assert_eq!(give(&world, &id, "resolve", Some("*"), resolution).await.0, 202);
    comes_to(&world, &id, "completed").await;
    assert_eq!(saga(&world, &id).await["data"]["receipt"], "seen in the ledger");
    until("the participant's word", async || {
        let history = world.http.get(world.url(&format!("/v1/sagas/{id}/history"))).send().await.ok()?;
        let history: Value = history.json().await.ok()?;
        history["items"].as_array()?.iter().any(|row| row["event"] == "verified").then_some(())
    })
    .await;
    world.sound().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readyz_and_definitions_show_mode_and_waiting_versions() {
    let world = World::start().await;
    let get = async |path: &str| -> (StatusCode, Value) {
        let response = world.http.get(world.url(path)).send().await.unwrap();
        (response.status(), response.json().await.unwrap())
    };
    let (status, ready) = get("/readyz?verbose").await;
    assert_eq!(
        (status, &ready["mode"], &ready["waiting_versions"]),
        (StatusCode::OK, &json!("serving"), &json!([]))
    );
    // A saga of a version that this coordinator does not know.
    sqlx::query(
        "INSERT INTO sagas (id, saga, version, status, revision, state, data, input, started_at) \
         VALUES ('018f0000-0000-7000-8000-000000000001', 'place-order', 9, 'running', 1, '{}', '{}', '{}', now())",
    )
    .execute(world.journal())
    .await
    .unwrap();
    let (_, ready) = get("/readyz?verbose").await;
    let waiting = json!([{ "saga": "place-order", "version": 9, "open": 1, "known_here": false }]);
    assert_eq!(ready["waiting_versions"], waiting);
    let (_, definitions) = get("/v1/definitions").await;
    let items = definitions["items"].as_array().unwrap();
    let open: Vec<String> = items
        .iter()
        .map(|item| format!("{} v{} {} {}", item["saga"], item["version"], item["open"], item["known_here"]))
        .collect();
    insta::assert_snapshot!(open.join("\n"), @r#"
    "place-order" v1 0 true
    "book-trip" v1 0 true
    "order-by-card" v1 0 true
    "expense" v1 0 true
    "place-order" v9 1 false
    "#);
    let begun = world.http.post(world.url("/v1/begin")).send().await.unwrap().json::<Value>().await.unwrap();
    assert_eq!(begun, json!({ "was_paused": false }));
    // No coordinator here can carry it on; the rest must be sound.
    sqlx::query("DELETE FROM sagas WHERE version = 9").execute(world.journal()).await.unwrap();
    world.sound().await;
}

/// Waits until a service has one such row for the saga.
async fn comes_to_be(books: &sqlx::PgPool, rows: &'static str, saga: &str) {
    let saga: uuid::Uuid = saga.parse().unwrap();
    until(rows, async || {
        let found: i64 = sqlx::query_scalar(rows).bind(saga).fetch_one(books).await.ok()?;
        (found == 1).then_some(())
    })
    .await;
}

/// Closed with its effects as they stand; resolved as never happened; resolved as compensated: the books add up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn close_and_resolve_leave_books_that_add_up() {
    let world = World::start().await;
    let charged = "SELECT count(*) FROM payments WHERE saga_id = $1 AND status = 'charged'";
    let refunded = "SELECT count(*) FROM payments WHERE saga_id = $1 AND status = 'refunded'";
    let found = |step: &str, resolution: &str| {
        let reason = "the ledger says so";
        json!({ "actor": "ann", "reason": reason, "step": step, "resolution": resolution })
    };

    // Charged, and the coordinator does not hear of it: closed while that is in doubt, which is settled all the same.
    let closed = begin(&world, json!([{ "step": "charge-payment", "kind": "drop-reply" }]), "closed").await;
    comes_to_be(&world.books().payment, charged, &closed).await;
    assert_eq!(give(&world, &closed, "pause", Some("*"), who()).await.0, 202);
    assert_eq!(give(&world, &closed, "close", Some("*"), who()).await, (202, "closed".to_owned()));

    // The command is lost, and an operator sees in the ledger that nothing was charged.
    let never = begin(&world, json!([{ "step": "charge-payment", "kind": "drop-command" }]), "never").await;
    until("the second step", async || {
        (saga(&world, &never).await["steps"][1]["status"] == "running").then_some(())
    })
    .await;
    let resolution = found("charge-payment", "never-happened");
    assert_eq!(give(&world, &never, "resolve", Some("*"), resolution).await.0, 202);
    comes_to(&world, &never, "compensated").await;

    // Refunded, and the coordinator does not hear of it: an operator sees that, too.
    let undone = begin(
        &world,
        json!([
            { "step": "ship-order", "kind": "reject", "code": "address-undeliverable" },
            { "step": "charge-payment", "phase": "compensation", "kind": "drop-reply" },
        ]),
        "undone",
    )
    .await;
    comes_to_be(&world.books().payment, refunded, &undone).await;
    let resolution = found("charge-payment", "compensated");
    assert_eq!(give(&world, &undone, "resolve", Some("*"), resolution).await.0, 202);
    comes_to(&world, &undone, "compensated").await;

    until("the words of the payment service", async || {
        let verified =
            "SELECT count(*) FROM saga_history WHERE event = 'verified' AND step = 'charge-payment'";
        let verified: i64 = sqlx::query_scalar(verified).fetch_one(world.journal()).await.ok()?;
        (verified == 2).then_some(())
    })
    .await;
    world.sound().await;
    // The effects with which it was closed stand.
    comes_to_be(&world.books().payment, charged, &closed).await;
}

/// Runs a command as a person would; gives its exit code and its output.
async fn redress(world: &World, arguments: &[&str]) -> (i32, String) {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_redress"))
        .args(arguments)
        .env("REDRESS_URL", world.url(""))
        .env("REDRESS_ACTOR", "ann")
        .output()
        .await
        .unwrap();
    let said =
        String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
    (output.status.code().unwrap(), said)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn operator_verbs_on_command_line_report_refusals() {
    let world = World::start().await;
    let id =
        begin(&world, json!([{ "step": "confirm-order", "kind": "reject", "code": "closed" }]), "cli").await;
    comes_to(&world, &id, "parked").await;
    let why = ["--reason", "it opens again"];
    let mut story = String::new();
    for arguments in [
        &["pause", &id][..],
        &["resume", &id],
        &["retry", &id, "--step", "create-order"],
        &["retry", &id, "--revision", "1"],
        &["resolve", &id, "--step", "confirm-order", "--never-happened"],
        &["resolve", &id, "--step", "confirm-order"],
        &["resolve", &id, "--step", "confirm-order", "--happened", "--reply", "{"],
        &["resolve", &id, "--step", "confirm-order", "--never-happened", "--compensated"],
        &["retry", "seven"],
        &["retry", &id],
        &["begin"],
    ] {
        let with_why: Vec<&str> =
            if arguments[0] == "begin" { arguments.to_vec() } else { [arguments, &why[..]].concat() };
        let (code, said) = redress(&world, &with_why).await;
        let words: Vec<&str> = arguments.iter().copied().filter(|word| *word != id).collect();
        let detail =
            said.lines().find(|line| line.contains(": ") && code != 0).unwrap_or("ok").replace(&id, "ID");
        let brief: String = detail.trim().chars().take(60).collect();
        story.push_str(&format!("{} → {code} {brief}\n", words.join(" ")));
    }
    insta::assert_snapshot!(story, @"
    pause → 6 error: The command does not fit the saga
    resume → 6 error: The command does not fit the saga
    retry --step create-order → 6 error: The command does not fit the saga
    retry --revision 1 → 6 error: The saga has moved on
    resolve --step confirm-order --never-happened → 6 error: The command does not fit the saga
    resolve --step confirm-order → 2 error: the following required arguments were not provided:
    resolve --step confirm-order --happened --reply { → 2 error: --reply is not JSON: EOF while parsing an object at l
    resolve --step confirm-order --never-happened --compensated → 2 error: the argument '--never-happened' cannot be used with '
    retry seven → 2 error: invalid value 'seven' for '[ID]': an id is 32 hexadec
    retry → 0 ok
    begin → 0 ok
    ");
    comes_to(&world, &id, "completed").await;
    world.sound().await;
}

/// A night's worth of parked sagas: retried by a filter, page by page, each by an operator command of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn retry_by_filter_retries_every_matching_saga() {
    let world = World::start().await;
    let rejected = json!([{ "step": "confirm-order", "kind": "reject", "code": "closed", "times": 1, "phase": "action" }]);
    let mut parked = Vec::new();
    for number in 0..5 {
        parked.push(begin(&world, rejected.clone(), &format!("all-{number}")).await);
    }
    for id in &parked {
        comes_to(&world, id, "parked").await;
    }
    let retry = async |query: &str, body: Value| -> (u16, Value) {
        let request = world.http.post(world.url(&format!("/v1/sagas/retry?{query}"))).json(&body);
        let response = request.send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    };
    let nothing = json!({ "matched": 0, "retried": 0, "refused": {}, "next": null });
    assert_eq!(retry("code=compensation-failed", who()).await, (200, nothing.clone()));
    assert_eq!(retry("code=tired", who()).await.0, 400);
    assert_eq!(retry("code=expired", json!({ "actor": "ann" })).await.0, 422);
    let (status, page) = retry("code=retriable-rejected&limit=2", who()).await;
    assert_eq!((status, page["matched"].clone(), page["retried"].clone()), (200, json!(2), json!(2)));
    assert!(page["next"].is_string(), "{page}");
    // The rest by the command line, which goes on to the end; a saga that is not parked is refused, and no other.
    let filter = ["retry", "--status", "parked", "--code", "retriable-rejected", "--reason", "open again"];
    let (code, output) = redress(&world, &filter).await;
    assert_eq!(code, 0, "{output}");
    assert!(output.contains("3 found, 3 tried again"), "{output}");
    for id in &parked {
        comes_to(&world, id, "completed").await;
    }
    assert_eq!(retry("code=retriable-rejected", who()).await, (200, nothing));
    let audited: i64 = sqlx::query_scalar("SELECT count(*) FROM audit_log WHERE verb = 'retry'")
        .fetch_one(world.journal())
        .await
        .unwrap();
    assert_eq!(audited, 5, "each is audited");
    world.sound().await;
}
