//! What is in a payload stays there: no log line of coordinator or service says it, at any level that an operator would
//! ask for, no metric has it, and no answer to another request.

use crate::support::process::Process;
use crate::support::{SERVICES, World, until};
use serde_json::{Value, json};

/// Stands in the payload of every command of its order.
const CANARY: &str = "swordfish-7391";
/// All that the programs themselves say, and what the libraries below them say of more than their own traffic.
const LEVEL: &str = "debug,async_nats=info,sqlx=debug,hyper=info,h2=info";

fn order(customer: &str, place: &str) -> Value {
    json!({ "saga": "place-order", "input": {
        "customer": customer, "currency": "EUR", "address": format!("1 {CANARY} Street, {place}"),
        "lines": [{ "sku": "book", "quantity": 2, "unit_price": 1500 }],
    } })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payload_is_in_no_log_no_metric_and_no_answer_to_others() {
    let mut world = World::with(redress::devstack::shared().await, 0, &[]).await;
    let logs = tempfile::tempdir().unwrap();
    let (of_coordinator, of_services) = (logs.path().join("coordinator"), logs.path().join("services"));
    let mut environment = world.environment();
    environment.push(("REDRESS_LOG", LEVEL.to_owned()));
    let mut arguments = vec!["service", "--until-stdin-ends", "--allow-faults"];
    arguments.extend(SERVICES);
    let mut services = Process::start_with_log(&of_services, &arguments, &environment).await;
    let arguments = ["serve", "--http", "127.0.0.1:0", "--allow-faults", "--until-stdin-ends"];
    world.coordinators.push(Process::start_with_log(&of_coordinator, &arguments, &environment).await);

    let ends = [
        ("alice", "Reykjavik", "completed"),
        ("bob", "Bree", "compensated"),
        ("alice", "Atlantis", "compensated"),
    ];
    for (number, (customer, place, end)) in ends.into_iter().enumerate() {
        let mut body = order(customer, place);
        let fails = json!([{ "step": "create-order", "kind": "fail", "times": 2 }]);
        body["faults"] = if number == 0 { fails } else { json!([]) };
        let started: Value = world.start_saga(&body, &format!("secret-{number}")).await.json().await.unwrap();
        let id = started["id"].as_str().unwrap().to_owned();
        until(end, async || {
            let saga = world.http.get(world.url(&format!("/v1/sagas/{id}"))).send().await.ok()?;
            (saga.json::<Value>().await.ok()?["status"] == end).then_some(())
        })
        .await;
    }
    // Bad input, and poison that names no order.
    let mut wrong = order("alice", "Reykjavik");
    wrong["input"]["lines"] = json!(CANARY);
    assert_eq!(world.start_saga(&wrong, "wrong").await.status(), 422);
    let prefix = &world.prefix;
    let poison = format!("{{\"broken\": \"{CANARY}\"");
    world.nats().await.publish(format!("{prefix}.command.order.create"), poison.into()).await.unwrap();
    until("the poison is given up", async || {
        std::fs::read_to_string(&of_services).unwrap().contains("dead letter").then_some(())
    })
    .await;

    let metrics = world.http.get(world.url("/metrics")).send().await.unwrap().text().await.unwrap();
    let ready = world.http.get(world.url("/readyz?verbose")).send().await.unwrap().text().await.unwrap();
    let conflict = world.start_saga(&order("carol", "Bree"), "secret-0").await;
    assert_eq!(conflict.status(), 422);
    let conflict = conflict.text().await.unwrap();
    services.kill().await;
    let log = |path| std::fs::read_to_string(path).unwrap();
    let (coordinator, services) = (log(&of_coordinator), log(&of_services));
    assert!(coordinator.lines().count() > 5 && services.lines().count() > 5, "they do log");
    for (place, text) in [
        ("the coordinator's log", coordinator),
        ("the services' log", services),
        ("the metrics", metrics),
        ("the probe", ready),
        ("the answer to another start", conflict),
    ] {
        let said: Vec<&str> = text.lines().filter(|line| line.contains(CANARY)).collect();
        assert!(said.is_empty(), "{place}: {said:#?}");
    }
}
