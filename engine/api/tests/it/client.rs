//! The client against the API, each of its methods: the two agree on paths, bodies and answers.

use redress_api::{Access, bind, serve};
use redress_client::{
    Client, ClientConfig, ClientError, IfMatch, OperatorCommand, Problem, SagaContract, SagaEnd, SagaQuery,
    SagaStatus, Verb,
};
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Sale};

const SELL: SagaContract<Sale> = SagaContract::new("sell", 1);
const TOKEN: &str = "let me in";

fn sale(payment: u64) -> Sale {
    Sale { payment, address: "1 Harbour Street".to_owned() }
}

fn command(verb: Verb) -> OperatorCommand {
    OperatorCommand { verb, actor: "alice".to_owned(), reason: "a test".to_owned() }
}

/// A client of an API that asks for a token, with an engine behind it on which no participant answers.
async fn client_of(fixture: &Fixture, token: &str) -> Client {
    let access = Access::Token(TOKEN.to_owned());
    let listener = bind("127.0.0.1:0".parse().unwrap(), &access).await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(serve(listener, fixture.engine.clone(), access, CancellationToken::new()));
    Client::new(ClientConfig::new(url).token(token)).unwrap()
}

fn problem(error: ClientError) -> Problem {
    match error {
        ClientError::Problem(problem) => *problem,
        other => panic!("{other}"),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_starts_finds_operates_and_reads_the_end_of_a_saga() {
    let fixture = Fixture::new().await;
    let client = client_of(&fixture, TOKEN).await;
    let started = client.start(&SELL, &sale(7)).key("one").tag("kind", "gift").await.unwrap();
    let again =
        client.start("sell", &json!(sale(7))).version(1).key("one").tag("kind", "gift").await.unwrap();
    assert_eq!(again.id(), started.id());
    let id = started.id();

    let seen = started.view().await.unwrap();
    assert_eq!(
        (&seen.status, seen.version, seen.data_as::<Sale>().unwrap()),
        (&SagaStatus::Running, 1, sale(7))
    );
    let shown = fixture.get(&format!("/v1/sagas/{id}")).await.json();
    assert_eq!(json!(seen), shown, "all members are known to the client");
    assert!(seen.more.is_empty() && seen.steps.iter().all(|step| step.more.is_empty()), "{seen:?}");

    let query = SagaQuery {
        status: Some(SagaStatus::Running),
        tag: Some("kind:gift".to_owned()),
        since: Some(seen.started_at),
        limit: Some(1),
        ..SagaQuery::default()
    };
    let page = client.sagas(&query).await.unwrap();
    assert_eq!(page.items.iter().map(|saga| saga.id).collect::<Vec<_>>(), [id]);
    let before = SagaQuery { until: Some(seen.started_at), ..query.clone() };
    assert_eq!(client.sagas(&before).await.unwrap().items, []);
    let events: Vec<&str> = client.history(id).await.unwrap().iter().map(|row| row.event.as_str()).collect();
    assert_eq!(events, ["started", "sent"]);
    let plan = client.plan(id).await.unwrap();
    assert_eq!((plan.remaining.len(), plan.in_doubt.len(), plan.undo.len()), (2, 1, 0));

    let paused = client.operate(id, &command(Verb::Pause), IfMatch::Revision(seen.revision)).await.unwrap();
    assert_eq!(paused.status, SagaStatus::Paused);
    let stale =
        client.operate(id, &command(Verb::Close), IfMatch::Revision(seen.revision)).await.unwrap_err();
    let stale = problem(stale);
    assert_eq!((stale.status, stale.word()), (412, "stale-revision"));
    let refused = client.operate(id, &command(Verb::Retry { step: None }), IfMatch::Any).await.unwrap_err();
    assert_eq!(problem(refused).more["code"], "paused");
    client.operate(id, &command(Verb::Close), IfMatch::Any).await.unwrap();
    let ended = started.ended().await.unwrap();
    assert_eq!((ended.end, ended.data), (SagaEnd::Closed { cause: None }, sale(7)));
    let late = problem(started.cancel("alice", "too late").await.unwrap_err());
    assert_eq!((late.status, late.word(), &late.more["code"]), (409, "cancel-too-late", &json!("ended")));
    let retried = client.retry_all(&SagaQuery::default(), "alice", "a test").await.unwrap();
    assert_eq!((retried.matched, retried.next), (0, None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn client_reads_definitions_faults_and_probes() {
    let fixture = Fixture::new().await;
    let client = client_of(&fixture, TOKEN).await;
    let page = client.definitions().await.unwrap();
    let sell = &page.items[0];
    assert_eq!(
        (sell.saga.as_str(), sell.version, sell.open, sell.known_here),
        ("sell", 1, Some(0), Some(true))
    );
    assert_eq!(client.definition("sell", 1).await.unwrap().more["steps"], sell.more["steps"]);
    assert_eq!(sell.more["steps"][0]["policy"], "tried for at most 2 min, then settled");
    assert!(client.diagram("sell", 1).await.unwrap().contains("charge"));
    assert_eq!(problem(client.definition("se/ll", 1).await.unwrap_err()).word(), "unknown-definition");

    let added = client.add_fault(&json!({ "step": "charge", "kind": "fail", "times": 2 })).await.unwrap();
    let faults = client.faults().await.unwrap();
    assert_eq!((&faults.items[0].id, faults.items[0].remaining), (&added.id, Some(2)));
    assert_eq!(faults.items[0].struck.as_ref().map(|struck| (struck.count, struck.last.len())), Some((0, 0)));
    let id = added.id.as_i64().unwrap();
    client.remove_fault(id).await.unwrap();
    let gone = problem(client.remove_fault(id).await.unwrap_err());
    assert_eq!((gone.status, gone.word()), (404, "unknown-fault"));
    for fault in [
        json!({ "everything": true, "kind": "delay", "ms": 5, "probability": 0.5, "seed": 7 }),
        json!({ "phase": "any", "service": "till", "kind": "call-failed" }),
    ] {
        let refused = client.add_fault(&fault).await;
        assert!(refused.as_ref().is_ok_and(|added| added.fault["kind"] == fault["kind"]), "{refused:?}");
    }
    client.remove_fault(id + 1).await.unwrap();
    assert_eq!(client.clear_faults().await.unwrap(), 1);
    assert_eq!(problem(client.add_fault(&json!({ "kind": "fail" })).await.unwrap_err()).status, 422);

    assert!(!client.begin().await.unwrap());
    client.livez().await.unwrap();
    client.readyz().await.unwrap();
    assert!(client.metrics().await.unwrap().ends_with("# EOF\n"));

    let stranger = client_of(&fixture, "open sesame").await;
    let refused = problem(stranger.definitions().await.unwrap_err());
    assert_eq!((refused.status, refused.word()), (401, "unauthorized"));
}
