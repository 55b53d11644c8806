//! What is sent, what is sent again and what is not, against a server that answers as it is told.
#![expect(clippy::unwrap_used, reason = "a test may panic, in its helpers too")]

use std::collections::VecDeque;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_client::{
    Client, ClientConfig, ClientError, EndError, EventVerdict, IfMatch, OperatorCommand, SagaContract,
    SagaEnd, SagaId, SagaQuery, SendEventError, StartError, Verb, WaitNews,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
struct Sale {
    customer: String,
    tracking: Option<String>,
}

const SELL: SagaContract<Sale> = SagaContract::new("sell", 3);
const ID: &str = "0190163d-8694-739b-aea5-966c26f8ad91";

/// The answer to one request.
enum Reply {
    /// The connection ends.
    Lost,
    /// A proxy says that nothing is behind it.
    Html,
    Json(u16, Value),
}

/// A server, and the requests that it was sent.
struct Server {
    url: String,
    heard: Arc<Mutex<Vec<String>>>,
}

impl Server {
    /// Answers the requests one after the other; the last reply is for all that come later.
    async fn with(replies: impl IntoIterator<Item = Reply>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let heard = Arc::new(Mutex::new(Vec::new()));
        let (hears, mut replies) = (heard.clone(), replies.into_iter().collect::<VecDeque<_>>());
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let request = whole(&mut stream).await;
                hears.lock().unwrap().push(request);
                let reply = if replies.len() > 1 { replies.pop_front() } else { None };
                answer(&mut stream, reply.as_ref().or(replies.front()).unwrap()).await;
            }
        });
        Self { url, heard }
    }

    fn client(&self) -> Client {
        let mut config = ClientConfig::new(format!("{}/behind/a/proxy/", self.url)).token("secret");
        config.patience = Duration::from_secs(30);
        config.poll_every = Duration::from_millis(1);
        Client::new(config).unwrap()
    }

    /// The requests, without the headers that are not ours.
    fn heard(&self) -> Vec<String> {
        let ours = |line: &&str| {
            let name = line.split(':').next().unwrap_or_default();
            !["host", "content-length", "content-type", "accept"].contains(&name)
        };
        let brief = |request: &String| request.split("\r\n").filter(ours).collect::<Vec<_>>().join("\n");
        self.heard.lock().unwrap().iter().map(brief).collect()
    }
}

async fn answer(stream: &mut TcpStream, reply: &Reply) {
    let (status, kind, body) = match reply {
        Reply::Lost => return,
        Reply::Html => (502, "text/html", "<h1>upstream</h1>".to_owned()),
        Reply::Json(status, body) => (*status, "application/json", body.to_string()),
    };
    let head = format!("HTTP/1.1 {status} Said\r\nContent-Type: {kind}\r\nConnection: close\r\n");
    let answer = format!("{head}Content-Length: {}\r\n\r\n{body}", body.len());
    stream.write_all(answer.as_bytes()).await.unwrap();
}

/// A request with its body.
async fn whole(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        assert!(stream.read_buf(&mut bytes).await.unwrap() > 0, "the request ended early");
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
        let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
        if body.len() >= length.map_or(0, |length| length.parse().unwrap()) {
            return text;
        }
    }
}

fn id() -> SagaId {
    ID.parse().unwrap()
}

/// A saga as the API shows it, with these members beside.
fn saga(status: &str, more: Value) -> Value {
    let mut saga = json!({
        "id": ID, "saga": "sell", "version": 3, "status": status, "revision": 4, "tags": {},
        "data": { "customer": "alice", "tracking": "T1" },
        "started_at": "2026-11-23T10:00:00Z", "ended_at": null, "due_at": null, "cause": null, "parked": null,
        "stalled": false, "steps": [],
    });
    saga.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    saga
}

fn ended(status: &str) -> Value {
    saga(status, json!({ "ended_at": "2026-11-23T10:00:01Z" }))
}

fn unavailable() -> Reply {
    let problem = json!({ "type": "/problems/database-unavailable", "title": "Away", "status": 503, "detail": "later" });
    Reply::Json(503, problem)
}

#[tokio::test]
async fn start_is_repeated_with_its_key_until_it_is_answered() {
    let replies = [Reply::Lost, unavailable(), Reply::Html, Reply::Json(202, saga("running", json!({})))];
    let server = Server::with(replies).await;
    let sale = Sale { customer: "alice".to_owned(), tracking: None };
    let started = server.client().start(&SELL, &sale).key("order-1").tag("customer", "alice").await.unwrap();
    assert_eq!(started.id(), id());
    let heard = server.heard();
    assert_eq!(heard.len(), 4);
    assert!(heard.iter().all(|request| *request == heard[0]), "{heard:#?}");
    insta::assert_snapshot!(heard[0], @r#"
    POST /behind/a/proxy/v1/sagas HTTP/1.1
    authorization: Bearer secret
    idempotency-key: "order-1"

    {"input":{"customer":"alice","tracking":null},"saga":"sell","tags":{"customer":"alice"},"version":3}
    "#);

    // A key that is made up stays the same, too, and is known before anything is sent.
    let server = Server::with([Reply::Lost, Reply::Json(202, saga("running", json!({})))]).await;
    let start = server.client().start("sell", &json!({ "customer": "alice" }));
    let key = format!("idempotency-key: \"{}\"", start.idempotency_key());
    start.await.unwrap();
    assert!(server.heard().iter().all(|request| request.contains(&key)), "{:#?}", server.heard());
}

#[tokio::test]
async fn start_that_is_refused_is_not_repeated() {
    let problem = json!({ "type": "/problems/invalid-input", "title": "No", "status": 422, "detail": "why", "at": "/customer" });
    let server = Server::with([Reply::Json(422, problem)]).await;
    let refused = server.client().start("sell", &json!({})).key("one").await.unwrap_err();
    let StartError::Request { key, source } = refused else { panic!("{refused}") };
    let problem = source.problem().unwrap();
    let told = (problem.word(), problem.status, &*problem.title, &*problem.detail, &problem.more["at"]);
    assert_eq!(told, ("invalid-input", 422, "No", "why", &json!("/customer")));
    assert_eq!((&*key, server.heard().len()), ("one", 1));
}

#[tokio::test]
async fn request_that_is_not_safe_to_repeat_is_sent_once() {
    let server = Server::with([Reply::Lost]).await;
    let client = server.client();
    let command = |verb| OperatorCommand { verb, actor: "alice".to_owned(), reason: "why not".to_owned() };
    let verbs = [Verb::Cancel, Verb::Retry { step: None }, Verb::Close, Verb::Pause, Verb::Resume];
    for verb in verbs {
        let lost = client.operate(id(), &command(verb), IfMatch::Revision(4)).await.unwrap_err();
        assert!(matches!(lost, ClientError::NoAnswer { .. }) && lost.may_pass(), "{lost}");
    }
    client.retry_all(&SagaQuery::default(), "alice", "why not").await.unwrap_err();
    client.add_fault(&json!({ "step": "ship", "kind": "fail" })).await.unwrap_err();
    client.clear_faults().await.unwrap_err();
    client.begin().await.unwrap_err();
    client.readyz().await.unwrap_err();
    let heard = server.heard();
    let lines: Vec<&str> = heard.iter().map(|request| request.split(" HTTP").next().unwrap()).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    POST /behind/a/proxy/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/cancel
    POST /behind/a/proxy/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/retry
    POST /behind/a/proxy/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/close
    POST /behind/a/proxy/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/pause
    POST /behind/a/proxy/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/resume
    POST /behind/a/proxy/v1/sagas/retry
    POST /behind/a/proxy/v1/faults
    DELETE /behind/a/proxy/v1/faults
    POST /behind/a/proxy/v1/begin
    GET /behind/a/proxy/readyz
    ");
    insta::assert_snapshot!(heard[0], @r#"
    POST /behind/a/proxy/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/cancel HTTP/1.1
    authorization: Bearer secret
    if-match: "4"

    {"actor":"alice","reason":"why not"}
    "#);
}

#[tokio::test]
async fn query_is_repeated_until_its_time_is_over() {
    let server =
        Server::with([unavailable(), Reply::Lost, Reply::Json(200, saga("running", json!({})))]).await;
    let saga = server.client().saga(id()).await.unwrap();
    assert_eq!((saga.revision, server.heard().len()), (4, 3));

    let server = Server::with([unavailable()]).await;
    let client = Client::new(ClientConfig::new(&server.url).patience(Duration::ZERO)).unwrap();
    let away = client.saga(id()).await.unwrap_err();
    assert_eq!((away.problem().unwrap().word(), server.heard().len()), ("database-unavailable", 1));
}

#[tokio::test]
async fn wait_survives_failed_looks_and_gives_the_typed_end() {
    let running = || Reply::Json(200, saga("running", json!({})));
    let replies =
        [running(), Reply::Lost, unavailable(), running(), Reply::Html, Reply::Json(200, ended("completed"))];
    let server = Server::with(replies).await;
    let ended = server.client().handle::<Sale>(id()).ended().await.unwrap();
    let sale = Sale { customer: "alice".to_owned(), tracking: Some("T1".to_owned()) };
    assert_eq!((ended.end, ended.data), (SagaEnd::Completed, sale));
    assert_eq!(server.heard().len(), 6);

    // A saga that is parked is told from one that goes on, and from one that is not there.
    let reason = json!({ "step": "ship", "phase": "action", "code": "expired", "message": "long ago" });
    let server =
        Server::with([running(), Reply::Json(200, saga("parked", json!({ "parked": reason })))]).await;
    let parked = server.client().handle::<Sale>(id()).ended().await.unwrap_err();
    assert!(matches!(&parked, EndError::Parked { reason, .. } if reason.message == "long ago"), "{parked}");
    let server = Server::with([running()]).await;
    let open = server.client().handle::<Sale>(id()).ended_within(Duration::ZERO).await.unwrap_err();
    assert!(matches!(&open, EndError::StillOpen { .. }), "{open}");
    let server = Server::with([Reply::Json(404, json!({ "type": "/problems/unknown-saga" }))]).await;
    let absent = server.client().handle::<Sale>(id()).ended().await.unwrap_err();
    let EndError::Client(absent) = absent else { panic!("{absent}") };
    assert_eq!((absent.problem().unwrap().word(), server.heard().len()), ("unknown-saga", 1));
}

#[tokio::test]
async fn wait_tells_its_looks_and_its_silence() {
    let running = || Reply::Json(200, saga("running", json!({})));
    let replies = [Reply::Lost, Reply::Lost, running(), Reply::Json(200, ended("closed"))];
    let server = Server::with(replies).await;
    let told = Arc::new(Mutex::new(Vec::new()));
    let tells = told.clone();
    let waiting = server.client().wait(id()).within(Duration::from_secs(60)).news(move |news| {
        tells.lock().unwrap().push(match news {
            WaitNews::Look(saga) => saga.status.to_string(),
            WaitNews::Silence(error) => error.may_pass().to_string(),
        });
    });
    assert_eq!(waiting.await.unwrap().status.as_str(), "closed");
    assert_eq!(*told.lock().unwrap(), ["true", "running"]);
}

#[tokio::test]
async fn answer_of_a_newer_coordinator_is_read_and_kept() {
    let mut newer = saga("hibernating", json!({ "mood": "calm" }));
    newer["steps"] = json!([{
        "name": "ship", "kind": null, "service": null, "command": null, "compensation": null, "status": "dreaming",
        "attempts": 1, "compensation_attempts": 0, "settlement_attempts": 0, "reply": null, "error": null,
        "started_at": null, "ended_at": null, "dream": 7,
    }]);
    let server = Server::with([Reply::Json(200, newer.clone())]).await;
    let saga = server.client().saga(id()).await.unwrap();
    assert_eq!(saga.status.as_str(), "hibernating");
    assert_eq!(saga.steps[0].reply, Some(None));
    assert_eq!(serde_json::to_value(&saga).unwrap(), newer, "nothing of the answer is lost");
    assert_eq!(saga.data_as::<Sale>().unwrap().customer, "alice");

    let server = Server::with([Reply::Json(200, json!({ "id": 7 }))]).await;
    let strange = server.client().saga(id()).await.unwrap_err();
    assert!(matches!(strange, ClientError::Unreadable { status: 200, .. }), "{strange}");
    assert_eq!(server.heard().len(), 1);
}

#[test]
fn address_and_token_that_cannot_be_used_are_refused() {
    for url in ["", "localhost:8080", "ftp://localhost", "http://", "http://localhost?x=1"] {
        assert!(matches!(Client::new(ClientConfig::new(url)), Err(ClientError::Unsendable(_))), "{url}");
    }
    let config = ClientConfig::new("http://localhost").token("two\nlines");
    assert!(!format!("{config:?}").contains("two"), "{config:?}");
    assert!(matches!(Client::new(config), Err(ClientError::Unsendable(_))));
}

#[tokio::test]
async fn event_is_repeated_with_its_key_until_it_is_answered() {
    let sent = || Reply::Json(202, json!({ "verdict": "taken", "saga": saga("running", json!({})) }));
    let server = Server::with([Reply::Lost, unavailable(), Reply::Html, sent()]).await;
    let sale = Sale { customer: "alice".to_owned(), tracking: None };
    let taken = server.client().send_event(id(), "approval", &sale).key("form-1").await.unwrap();
    assert_eq!((taken.verdict, taken.saga.id), (EventVerdict::Taken, id()));
    let heard = server.heard();
    assert_eq!(heard.len(), 4);
    assert!(heard.iter().all(|request| *request == heard[0]), "{heard:#?}");
    insta::assert_snapshot!(heard[0], @r#"
    POST /behind/a/proxy/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91/events/approval HTTP/1.1
    authorization: Bearer secret
    idempotency-key: "form-1"

    {"data":{"customer":"alice","tracking":null}}
    "#);

    // A key that is made up stays the same, too, and is known before anything is sent.
    let server = Server::with([Reply::Lost, sent()]).await;
    let event = server.client().send_event(id(), "approval", &sale);
    let key = format!("idempotency-key: \"{}\"", event.idempotency_key());
    event.await.unwrap();
    assert!(server.heard().iter().all(|request| request.contains(&key)), "{:#?}", server.heard());

    let problem =
        json!({ "type": "/problems/event-refused", "status": 409, "code": "already-given", "detail": "no" });
    let server = Server::with([Reply::Json(409, problem)]).await;
    let refused = server.client().send_event(id(), "approval", &sale).key("form-2").await.unwrap_err();
    let SendEventError::Request { key, source } = refused else { panic!("{refused}") };
    assert_eq!(
        (&*key, source.problem().unwrap().word(), server.heard().len()),
        ("form-2", "event-refused", 1)
    );
}

#[tokio::test]
async fn event_by_tag_is_sent_page_by_page_with_one_key() {
    let page = |verdict: &str, next: Value| {
        let item =
            json!({ "saga_id": ID, "verdict": verdict, "code": "already-given", "detail": "no", "new": 7 });
        Reply::Json(202, json!({ "items": [item], "next": next }))
    };
    let replies =
        [page("kept", json!(ID)), Reply::Lost, page("refused", json!(ID)), page("pondered", Value::Null)];
    let server = Server::with(replies).await;
    let all = server.client().send_event_by_tag("order:7 a", "approval", &7).key("one").await.unwrap();
    let verdicts: Vec<&str> = all.iter().map(|one| one.verdict.as_str()).collect();
    assert_eq!(verdicts, ["kept", "refused", "pondered"]);
    assert_eq!((all[1].code.as_deref(), &all[1].more["new"]), (Some("already-given"), &json!(7)));
    let heard = server.heard();
    let lines: Vec<&str> = heard.iter().map(|request| request.split(" HTTP").next().unwrap()).collect();
    insta::assert_snapshot!(lines.join("\n"), @"
    POST /behind/a/proxy/v1/sagas/events/approval?tag=order%3A7+a
    POST /behind/a/proxy/v1/sagas/events/approval?tag=order%3A7+a&cursor=0190163d-8694-739b-aea5-966c26f8ad91
    POST /behind/a/proxy/v1/sagas/events/approval?tag=order%3A7+a&cursor=0190163d-8694-739b-aea5-966c26f8ad91
    POST /behind/a/proxy/v1/sagas/events/approval?tag=order%3A7+a&cursor=0190163d-8694-739b-aea5-966c26f8ad91
    ");
    assert!(heard.iter().all(|request| request.contains("idempotency-key: \"one\"")), "{heard:#?}");
}
