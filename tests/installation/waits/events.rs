//! Events in time, early, twice, late and unfit, over HTTP, the client and the command line.

use redress::client::{Client, ClientConfig, EventVerdict, SagaId};
use serde_json::{Value, json};

use super::house::{Approval, House};

fn said(status: u16, word: &str) -> (u16, String) {
    (status, word.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_before_its_step_is_kept_and_taken_when_the_saga_comes_there() {
    let mut house = House::open().await;
    house.run();
    let early = house.start("expense", "early", json!({})).await;
    house.comes_to(&early, "reserve", "running").await;
    assert_eq!(house.approve(&early, "form-1", "ann").await, said(202, "kept"));
    assert_eq!(house.step(&early, "approval").await["event_kept"], true);
    assert_eq!(house.approve(&early, "form-1", "ann").await, said(202, "repeated"));
    assert_eq!(house.approve(&early, "form-2", "bob").await, said(409, "event-refused already-given"));
    house.call_the_cashier().await;
    assert_eq!(house.end_of(&early).await, ("completed".to_owned(), json!("ann")));
    assert_eq!(house.approve(&early, "form-1", "ann").await, said(202, "repeated"));
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn first_event_of_its_name_counts_and_what_does_not_fit_is_refused() {
    let house = House::busy().await;
    let id = house.awaiting("in-time").await;
    let awaits = house.step(&id, "approval").await["awaits"].clone();
    assert_eq!((&awaits["event"], &awaits["on_timeout"]), (&json!("approval"), &json!("turn-back")));
    assert!(awaits["until"].is_string() && awaits["schema"]["properties"]["by"].is_object(), "{awaits}");
    assert_eq!(house.step(&id, "approval").await["service"], Value::Null, "nothing is sent for it");

    assert_eq!(house.send(&id, "applause", "a", json!(null)).await, said(422, "unknown-event not-awaited"));
    assert_eq!(house.send(&id, "reserve", "a", json!(null)).await, said(422, "unknown-event not-awaited"));
    for unfit in [json!(null), json!({}), json!({ "by": 7 }), json!({ "by": "ann", "from": "rome" })] {
        let refused = house.send(&id, "approval", "b", unfit).await;
        assert_eq!(refused, said(422, "invalid-event does-not-fit"));
    }
    assert_eq!(house.approve(&id, "", "ann").await, said(400, "invalid-idempotency-key"));
    let stranger = "0190163d-8694-739b-aea5-966c26f8ad91";
    assert_eq!(house.approve(stranger, "a", "ann").await, said(404, "unknown-saga"));

    assert_eq!(house.approve(&id, "form-1", "ann").await, said(202, "taken"));
    assert_eq!(house.end_of(&id).await, ("completed".to_owned(), json!("ann")));
    assert_eq!(house.approve(&id, "form-1", "ann").await, said(202, "repeated"));
    assert_eq!(house.approve(&id, "form-2", "bob").await, said(409, "event-refused already-given"));
    assert_eq!(house.end_of(&id).await, ("completed".to_owned(), json!("ann")), "the first counts");
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn same_event_sent_by_many_at_once_is_taken_once() {
    let house = House::busy().await;
    let id = house.awaiting("race").await;
    let senders =
        (0..8).map(|sender| house.approve(&id, if sender % 2 == 0 { "even" } else { "odd" }, "ann"));
    let mut said: Vec<_> =
        futures_util::future::join_all(senders).await.into_iter().map(|(_, said)| said).collect();
    said.sort();
    let expected = [["event-refused already-given"; 4].as_slice(), &["repeated"; 3], &["taken"]].concat();
    assert_eq!(said, expected);
    assert_eq!(house.end_of(&id).await.0, "completed");
    let taken = house.history(&id).await.iter().filter(|event| *event == "event-taken").count();
    assert_eq!(taken, 1);
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_by_tag_reaches_the_open_sagas_that_await_it_and_says_what_each_made_of_it() {
    let house = House::busy().await;
    let tag = Some(("order", "7"));
    let awaits = house.start_with_tag("expense", "awaits", json!({}), tag).await;
    house.comes_to(&awaits, "approval", "awaiting").await;
    // Its approval did not come in time, and it went on.
    let late = house.start_with_tag("relaxed", "late", json!({}), tag).await;
    house.comes_to(&late, "receipt", "awaiting").await;
    let ended = house.start_with_tag("hasty", "ended", json!({}), tag).await;
    assert_eq!(house.end_of(&ended).await.0, "compensated");
    let other = house.start_with_tag("expense", "other", json!({}), Some(("order", "8"))).await;
    house.comes_to(&other, "approval", "awaiting").await;

    let path = "/v1/sagas/events/approval?tag=order:7";
    let (status, page) = house.post(path, "form-1", json!({ "by": "ann" })).await;
    assert_eq!((status, &page["next"]), (202, &Value::Null), "{page}");
    let verdicts: Vec<_> = page["items"].as_array().unwrap().iter().collect();
    let of = |id: &str| verdicts.iter().find(|item| item["saga_id"] == id).map(|item| (*item).clone());
    assert_eq!(verdicts.len(), 2, "{page}");
    assert_eq!(of(&awaits).unwrap()["verdict"], "taken");
    let refused = of(&late).unwrap();
    assert_eq!((&refused["verdict"], &refused["code"]), (&json!("refused"), &json!("timed-out")));
    assert!(refused["detail"].as_str().unwrap().contains("too late"), "{refused}");
    assert_eq!(house.end_of(&awaits).await, ("completed".to_owned(), json!("ann")));
    assert_eq!(house.step(&other, "approval").await["status"], "awaiting");

    let (code, told) =
        house.redress(&["event", "approval", "--tag", "order:7", "--data", r#"{"by":"ann"}"#]).await;
    assert!(code == Some(6) && told.contains("1 of 1 sagas refused it"), "{code:?} {told}");
    let (code, told) = house.redress(&["event", "approval", "--tag", "order:9"]).await;
    assert!(code == Some(5) && told.contains("no open saga with this label"), "{code:?} {told}");
    assert_eq!(house.approve(&other, "form-2", "bob").await, said(202, "taken"));
    assert_eq!(house.send(&late, "receipt", "form-3", json!({ "by": "post" })).await, said(202, "taken"));
    house.end_of(&late).await;
    house.end_of(&other).await;
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_by_tag_goes_page_by_page() {
    let house = House::busy().await;
    let keys: Vec<String> = (0..53).map(|number| format!("many-{number}")).collect();
    let starts = keys.iter().map(|key| house.start_with_tag("expense", key, json!({}), Some(("lot", "a/1"))));
    let ids = futures_util::future::join_all(starts).await;
    let (_, first) = house.post("/v1/sagas/events/approval?tag=lot:a/1", "one", json!({ "by": "ann" })).await;
    assert_eq!(first["items"].as_array().unwrap().len(), 50);
    assert!(first["next"].is_string());
    let client = Client::new(ClientConfig::new(&house.url)).unwrap();
    let sent = client.send_event_by_tag("lot:a/1", "approval", &Approval { by: "ann".to_owned() }).key("one");
    let delivered = sent.await.unwrap();
    assert!(delivered.iter().all(|one| one.verdict != EventVerdict::Refused), "{delivered:?}");
    for id in ids {
        assert_eq!(house.end_of(&id).await, ("completed".to_owned(), json!("ann")));
    }
    house.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn event_is_sent_by_client_and_command_line() {
    let house = House::busy().await;
    let (of_client, of_command) = (house.awaiting("client").await, house.awaiting("command").await);
    let client = Client::new(ClientConfig::new(&house.url)).unwrap();
    let id: SagaId = of_client.parse().unwrap();
    let sent =
        client.send_event(id, "approval", &Approval { by: "ann".to_owned() }).key("form-1").await.unwrap();
    assert_eq!(sent.verdict, EventVerdict::Taken);
    let sent =
        client.send_event(id, "approval", &Approval { by: "ann".to_owned() }).key("form-1").await.unwrap();
    assert_eq!(sent.verdict, EventVerdict::Repeated);

    let (code, told) = house.redress(&["show", &of_command]).await;
    let remedy = format!("try: redress event {of_command} approval --data JSON");
    assert!(code == Some(0) && told.contains("approval awaits the event approval until "), "{told}");
    assert!(told.contains(", then the saga turns back") && told.contains(&remedy), "{told}");
    let send = ["event", &of_command, "approval", "--data", r#"{"by":"bob"}"#];
    let (code, told) = house.redress(&send).await;
    assert!(code == Some(0) && told.contains("was awaited, and is taken") && told.contains("key "), "{told}");
    let (code, told) = house.redress(&send).await;
    assert!(code == Some(6) && told.contains("the first counts"), "{code:?} {told}");
    let (code, told) = house.redress(&["event", &of_command, "applause"]).await;
    assert!(code == Some(1) && told.contains("No such event"), "{code:?} {told}");
    assert_eq!(house.end_of(&of_command).await, ("completed".to_owned(), json!("bob")));
    house.end_of(&of_client).await;
    house.close().await;
}
