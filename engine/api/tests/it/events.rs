//! Events over HTTP, as they are refused. What becomes of those that are not is told in `tests/waits`.

use serde_json::json;

use crate::fixture::{Fixture, SALE};

#[tokio::test]
async fn events_that_cannot_be_given_are_refused_in_our_words() {
    let fixture = Fixture::new().await;
    let path = fixture.start("one", SALE).await.header("location").to_owned();
    let nobody = "/v1/sagas/0190163d-8694-739b-aea5-966c26f8ad91";
    let many = "/v1/sagas/events/approval";
    let mut told = String::new();
    for (path, key, body) in [
        (format!("{path}/events/approval"), "idempotency-key: k", "{}"),
        (format!("{path}/events/charge"), "idempotency-key: k", "{}"),
        (format!("{path}/events/Approval"), "idempotency-key: k", "{}"),
        (format!("{path}/events/approval"), "accept: */*", "{}"),
        (format!("{path}/events/approval"), "idempotency-key: a b", "{}"),
        (format!("{path}/events/approval"), "idempotency-key: k", r#"{"by":"ann"}"#),
        (format!("{path}/events/approval"), "idempotency-key: k", r#"{"data":1,"data":2}"#),
        (format!("{path}/events/approval"), "idempotency-key: k", ""),
        (format!("{nobody}/events/approval"), "idempotency-key: k", "{}"),
        ("/v1/sagas/odd/events/approval".to_owned(), "idempotency-key: k", "{}"),
        (many.to_owned(), "idempotency-key: k", "{}"),
        (format!("{many}?tag=odd"), "idempotency-key: k", "{}"),
        (format!("{many}?tag=a:b&saga=sell"), "idempotency-key: k", "{}"),
        (format!("{many}?tag=a:b&cursor=odd"), "idempotency-key: k", "{}"),
        (format!("{many}?tag=a:b"), "accept: */*", "{}"),
    ] {
        let asked = format!("POST {path}\ncontent-type: application/json\n{key}");
        told.push_str(&format!("{}\n", fixture.ask(&asked, body).await.problem()));
    }
    let id = path.rsplit('/').next().unwrap();
    insta::assert_snapshot!(told.replace(id, "ID"), @r#"
    422 unknown-event: the event `approval` for saga ID: its definition awaits no event of this name
    422 unknown-event: the event `charge` for saga ID: its definition awaits no event of this name
    400 invalid-path: `Approval` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens
    400 missing-idempotency-key: send `Idempotency-Key: "<something unique>"`: no saga takes an event with the same key twice, so that it can be sent again
    400 invalid-idempotency-key: the idempotency key must have 1 to 255 visible ASCII characters
    422 invalid-body: unknown field `by`, expected `data` at line 1 column 5
    422 ambiguous-json: at `/data`, this name stands twice in its object: give it once
    400 malformed-json: EOF while parsing a value at line 1 column 0
    404 unknown-saga: there is no saga `0190163d-8694-739b-aea5-966c26f8ad91`
    404 unknown-saga: there is no saga `odd`
    400 invalid-query: tag: say for which sagas the event is, as `tag=name:value`
    400 invalid-query: tag: use `name:value`
    400 invalid-query: Failed to deserialize query string: saga: unknown field `saga`, expected `tag` or `cursor`
    400 invalid-cursor: the cursor is not one that a list gave as `next`; begin again without it
    400 missing-idempotency-key: send `Idempotency-Key: "<something unique>"`: no saga takes an event with the same key twice, so that it can be sent again
    "#);
    let asked = format!("POST {path}/events/approval\nidempotency-key: k");
    assert!(fixture.ask(&asked, "{}").await.problem().starts_with("415 not-json: "));
    let none = fixture
        .ask(&format!("POST {many}?tag=a:b\ncontent-type: application/json\nidempotency-key: k"), "{}")
        .await;
    assert_eq!((none.status.as_u16(), none.json()), (202, json!({ "items": [], "next": null })));
    let history = fixture.get(&format!("{path}/history")).await.json();
    assert_eq!(history["items"].as_array().unwrap().len(), 2, "nothing of it was done: {history}");
}
