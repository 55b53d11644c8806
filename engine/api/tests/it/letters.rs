//! Dead letters over HTTP.

use serde_json::{Value, json};
use sqlx::{Connection as _, PgConnection};

use crate::fixture::Fixture;

/// A dead letter, an error each for what is not one, and the shape of all answers.
#[tokio::test]
async fn dead_letters_are_listed_counted_shown_and_discarded() {
    let fixture = Fixture::new().await;
    let mut connection = PgConnection::connect(&fixture.journal).await.unwrap();
    let letters = "INSERT INTO dead_letters (id, source, code, reason, subject, headers, payload) \
                   SELECT new_letter_id(now() + i * interval '1 second'), 'till', 'unreadable', 'odd', 'elsewhere', '[[\"Odd\", \"x\"]]', convert_to(i::text, 'UTF8') \
                   FROM generate_series(1, 3) AS i";
    sqlx::query(letters).execute(&mut connection).await.unwrap();
    let page = fixture.get("/v1/dead-letters?limit=2&source=till&code=unreadable&status=kept").await.json();
    assert_eq!(page["items"].as_array().unwrap().len(), 2);
    assert!(page["items"][0].get("headers").is_none(), "a list has no messages: {page}");
    let rest = format!("/v1/dead-letters?limit=2&cursor={}", page["next"].as_str().unwrap());
    let rest = fixture.get(&rest).await.json();
    assert_eq!((rest["items"].as_array().unwrap().len(), &rest["next"]), (1, &Value::Null));
    let groups = fixture.get("/v1/dead-letters/groups?status=kept").await.json();
    assert_eq!(groups["items"], json!([{ "source": "till", "code": "unreadable", "count": 3 }]));
    let one = format!("/v1/dead-letters/{}", rest["items"][0]["id"].as_str().unwrap());
    let letter = fixture.get(&one).await.json();
    assert_eq!((&letter["headers"], &letter["payload"]), (&json!([["Odd", "x"]]), &json!(1)));
    let order = r#"{"actor":"ann","reason":"no use"}"#;
    let replayed = fixture.post(&format!("{one}/replay"), order).await;
    assert_eq!(
        (replayed.json()["code"].clone(), replayed.json()["dead_letter"]["status"].clone()),
        (json!("unaddressed"), json!("kept"))
    );
    let discarded = fixture.post(&format!("{one}/discard"), order).await;
    assert_eq!(discarded.status, 202, "{}", discarded.text);
    assert_eq!(discarded.json()["decision"]["reason"], "no use");
    let mut told = String::new();
    for asked in ["?code=odd", "?status=odd", "?saga=odd", "?limit=0", "?cursor=odd", "?odd=1", "/odd"] {
        told.push_str(&format!("{}\n", fixture.get(&format!("/v1/dead-letters{asked}")).await.problem()));
    }
    for (path, body) in [("discard", order), ("replay", r#"{"actor":" ","reason":"x"}"#), ("discard", "{}")] {
        let answer = fixture.post(&format!("{one}/{path}"), body).await.problem();
        told.push_str(&format!("{}\n", answer.replace(&one[17..], "ID")));
    }
    insta::assert_snapshot!(told, @"
    400 invalid-query: code: `odd` is none of unreadable, misaddressed, unknown-command, other-payload, delivery-limit, contradiction, unknown-saga, undecidable, unexplained
    400 invalid-query: status: `odd` is none of kept, replaying, replayed, discarded
    400 invalid-query: saga: give the whole id of a saga
    400 invalid-query: limit: 0 is out of range; use 1 to 200
    400 invalid-cursor: the cursor is not one that a list gave as `next`; begin again without it
    400 invalid-query: Failed to deserialize query string: odd: unknown field `odd`, expected one of `code`, `source`, `saga`, `status`, `since`, `until`, `limit`, `cursor`
    404 unknown-dead-letter: there is no dead letter `odd`
    409 dead-letter-refused: `discard` of dead letter ID: it was discarded before, and stays so
    422 invalid-body: `actor` is empty: say who gives the order; the history and the audit log keep it
    422 invalid-body: missing field `reason` at line 1 column 2
    ");
}
