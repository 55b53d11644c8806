//! Lists, searches and pages: every accepted saga is found again, and no page is larger than it should be.

use serde_json::{Value, json};

use crate::fixture::{Fixture, SALE};

fn sale(address: &str) -> String {
    json!({ "saga": "sell", "input": { "payment": 7, "address": address } }).to_string()
}

async fn started(fixture: &Fixture, key: &str, body: String) -> String {
    let answer = fixture.start(key, body).await;
    assert_eq!(answer.status, 202, "{}", answer.text);
    answer.json()["id"].as_str().unwrap().to_owned()
}

/// The ids that a list gives, in its order.
async fn listed(fixture: &Fixture, query: &str) -> Vec<String> {
    let answer = fixture.get(&format!("/v1/sagas?{query}")).await;
    assert_eq!(answer.status, 200, "{query}: {}", answer.text);
    let items = answer.json()["items"].as_array().unwrap().clone();
    items.iter().map(|item| item["id"].as_str().unwrap().to_owned()).collect()
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02x}")).collect()
}

#[tokio::test]
async fn list_omits_input_data_and_replies_unless_included() {
    let fixture = Fixture::new().await;
    let id = started(&fixture, "k", SALE.to_owned()).await;
    let shown = async |query: &str| {
        let item = fixture.get(&format!("/v1/sagas?{query}")).await.json()["items"][0].clone();
        let reply = item["steps"][0].get("reply").is_some();
        [item.get("input").is_some(), item.get("data").is_some(), reply]
    };
    assert_eq!(shown("").await, [false, false, false]);
    assert_eq!(shown("include=input").await, [true, false, false]);
    assert_eq!(shown("include=replies,data").await, [false, true, true]);
    assert_eq!(shown("include=input,data,replies").await, [true, true, true]);
    let whole = fixture.get("/v1/sagas?include=input,data,replies").await.json()["items"][0].clone();
    assert_eq!(fixture.get(&format!("/v1/sagas/{id}")).await.json(), whole);
    assert_eq!(
        fixture.get("/v1/sagas?include=everything").await.problem(),
        "400 invalid-query: include: use some of input, data, replies, with a comma between"
    );
}

#[tokio::test]
async fn large_page_ends_early() {
    let fixture = Fixture::new().await;
    let mut ids = Vec::new();
    for number in 0..12 {
        ids.push(started(&fixture, &format!("k{number}"), sale(&"x".repeat(200_000))).await);
    }
    ids.reverse();
    let narrow = fixture.get("/v1/sagas?limit=200").await;
    assert_eq!(narrow.json()["next"], Value::Null);
    assert!(narrow.text.len() < 64 * 1024, "{}", narrow.text.len());
    for include in ["input", "input,data"] {
        let (mut found, mut cursor, mut pages) = (Vec::new(), String::new(), 0);
        loop {
            let page = fixture.get(&format!("/v1/sagas?limit=200&include={include}{cursor}")).await;
            assert!(page.text.len() < 1_600_000, "{include}: {}", page.text.len());
            let page = page.json();
            let items = page["items"].as_array().unwrap();
            found.extend(items.iter().map(|item| item["id"].as_str().unwrap().to_owned()));
            pages += 1;
            let Some(next) = page["next"].as_str() else { break };
            cursor = format!("&cursor={next}");
        }
        assert_eq!(found, ids);
        assert!(pages > 1, "{include}");
    }
}

#[tokio::test]
async fn search_finds_text_however_json_escapes_it() {
    let fixture = Fixture::new().await;
    let text = "Zoë said \"no\" at C:\\new\\ΟΔΟΣ\n2nd line\t\u{1}東京 100%_É";
    let id = started(&fixture, "k", sale(text)).await;
    started(&fixture, "other", sale("a plain one, n")).await;
    for part in [
        text,
        "ZOË",
        "zoË SAID",
        "said \"NO\"",
        "\"no\"",
        "c:\\NEW",
        "\\new\\",
        "οδος",
        "οδοσ",
        "\n2nd",
        "line\t\u{1}",
        "東京",
        "100%_é",
        "%_",
        "\"address\":\"Zoë",
    ] {
        assert_eq!(listed(&fixture, &format!("q={}", encoded(part))).await, [id.as_str()], "{part:?}");
    }
    assert_eq!(listed(&fixture, &format!("q={}", &id[24..].to_uppercase())).await, [id.as_str()]);
    // The letter of an escape is no letter of the text.
    for part in ["n2nd", "no\\", "%no", ".", "[a-z]", "(", "u0001東"] {
        assert!(listed(&fixture, &format!("q={}", encoded(part))).await.is_empty(), "{part:?}");
    }
    let long = fixture.get(&format!("/v1/sagas?q={}", "x".repeat(201))).await;
    assert_eq!(long.problem(), "400 invalid-query: q: 201 characters are too many; use 200 or less");
}

#[tokio::test]
async fn search_finds_key_and_value_of_label_first_and_inputs_from_cursor() {
    let fixture = Fixture::new().await;
    let in_input = started(&fixture, "first", sale("up needle lane")).await;
    let by_key = started(&fixture, "needle", sale("x")).await;
    let body =
        json!({ "saga": "sell", "input": { "payment": 7, "address": "x" }, "tags": { "kind": "needle" } });
    let by_label = started(&fixture, "third", body.to_string()).await;
    assert_eq!(listed(&fixture, "q=needle").await, [by_label, by_key]);
    let page = fixture.get("/v1/sagas?q=needle").await.json();
    assert_eq!((&page["next"], &page["searched_back_to"]), (&json!("inputs"), &Value::Null));
    assert_eq!(listed(&fixture, "q=needle&cursor=inputs").await, [in_input.as_str()]);
    assert!(listed(&fixture, &format!("q=needle&cursor=inputs.{in_input}")).await.is_empty());
    let invalid = fixture.get("/v1/sagas?q=needle&cursor=inputs.x").await;
    assert_eq!(
        invalid.problem(),
        "400 invalid-cursor: the cursor is not one that a list gave as `next`; begin again without it"
    );
}

#[tokio::test]
async fn tag_is_found_again_or_refused() {
    let fixture = Fixture::new().await;
    let tagged = |name: &str, value: &str| {
        json!({ "saga": "sell", "input": { "payment": 7, "address": "x" }, "tags": { name: value } })
            .to_string()
    };
    for (number, (name, value)) in
        [("team", "a:b"), ("Order.v1/x_y-z", "Zoë \"quoted\" \\ 100%"), ("empty", "")].iter().enumerate()
    {
        let id = started(&fixture, &format!("k{number}"), tagged(name, value)).await;
        let query = format!("tag={}", encoded(&format!("{name}:{value}")));
        assert_eq!(listed(&fixture, &query).await, [id]);
    }
    let mut refused = Vec::new();
    for (name, value) in
        [("a:b", "c"), ("", "x"), ("ü", "x"), ("a\u{202e}", "x"), ("a", "b\u{1b}[2J"), ("a", "\u{202e}")]
    {
        refused.push(fixture.start("k", tagged(name, value)).await.problem());
    }
    let many: serde_json::Map<_, _> = (0..65).map(|n| (format!("n{n}"), json!(""))).collect();
    let many = json!({ "saga": "sell", "input": { "payment": 7, "address": "x" }, "tags": many });
    refused.push(fixture.start("k", many.to_string()).await.problem());
    insta::assert_snapshot!(refused.join("\n"), @r"
    422 invalid-tag: the tag name `a:b` is unusable: take 1 to 64 ASCII letters, digits, `.`, `_`, `-` or `/`
    422 invalid-tag: the tag name `` is unusable: take 1 to 64 ASCII letters, digits, `.`, `_`, `-` or `/`
    422 invalid-tag: the tag name `ü` is unusable: take 1 to 64 ASCII letters, digits, `.`, `_`, `-` or `/`
    422 invalid-tag: the tag name `a\u{202e}` is unusable: take 1 to 64 ASCII letters, digits, `.`, `_`, `-` or `/`
    422 invalid-tag: the value of the tag `a` is unusable: at most 256 characters, and neither control characters nor marks of direction
    422 invalid-tag: the value of the tag `a` is unusable: at most 256 characters, and neither control characters nor marks of direction
    422 invalid-tag: 65 tags are too many: 64 at the most
    ");
}

#[tokio::test]
async fn duplicate_json_member_is_refused_with_its_place() {
    let fixture = Fixture::new().await;
    let id = started(&fixture, "first", SALE.to_owned()).await;
    let mut refused = Vec::new();
    for (path, body) in [
        ("/v1/sagas", r#"{"saga":"sell","saga":"sell","input":{}}"#),
        ("/v1/sagas", r#"{"saga":"sell","input":{"payment":7,"address":"x","payment":8}}"#),
        ("/v1/sagas", r#"{"saga":"sell","input":{"payment":7,"address":"x","\u0070ayment":8}}"#),
        ("/v1/sagas", r#"{"saga":"sell","input":{"payment":7,"address":"x"},"tags":{"a":"1","a":"2"}}"#),
        ("/v1/sagas", r#"{"saga":"sell","input":{},"faults":[{"step":"ship","kind":"fail","step":"x"}]}"#),
        ("/v1/faults", r#"{"step":"ship","kind":"fail","kind":"reject"}"#),
        ("/v1/sagas/ID/cancel", r#"{"reason":"a","reason":"b"}"#),
        (
            "/v1/sagas/ID/resolve",
            r#"{"actor":"a","reason":"b","step":"ship","resolution":"happened","reply":{"x":{"y":1,"y":2}}}"#,
        ),
    ] {
        let asked = format!(
            "POST {}\ncontent-type: application/json\nif-match: *\nidempotency-key: k",
            path.replace("ID", &id)
        );
        let answer = fixture.ask(&asked, body).await;
        refused.push(format!("{} [{}]", answer.problem(), answer.json()["at"].as_str().unwrap()));
    }
    for asked in [
        "GET /v1/sagas?limit=1&limit=2".to_owned(),
        "GET /readyz?verbose&verbose".to_owned(),
        "POST /v1/sagas\nidempotency-key: a\nidempotency-key: b\ncontent-type: application/json".to_owned(),
        "POST /v1/sagas\nidempotency-key: a\ncontent-type: application/json\ncontent-type: text/plain"
            .to_owned(),
        "GET /v1/sagas\nhost: localhost\nhost: evil.example".to_owned(),
        "GET /v1/sagas\nauthorization: Bearer a\nauthorization: Bearer b".to_owned(),
    ] {
        refused.push(fixture.ask(&asked, SALE).await.problem());
    }
    insta::assert_snapshot!(refused.join("\n"), @r"
    422 ambiguous-json: at `/saga`, this name stands twice in its object: give it once [/saga]
    422 ambiguous-json: at `/input/payment`, this name stands twice in its object: give it once [/input/payment]
    422 ambiguous-json: at `/input/payment`, this name stands twice in its object: give it once [/input/payment]
    422 ambiguous-json: at `/tags/a`, this name stands twice in its object: give it once [/tags/a]
    422 ambiguous-json: at `/faults/0/step`, this name stands twice in its object: give it once [/faults/0/step]
    422 ambiguous-json: at `/kind`, this name stands twice in its object: give it once [/kind]
    422 ambiguous-json: at `/reason`, this name stands twice in its object: give it once [/reason]
    422 ambiguous-json: at `/reply/x/y`, this name stands twice in its object: give it once [/reply/x/y]
    400 ambiguous-query: `limit` is given twice; give it once
    400 ambiguous-query: `verbose` is given twice; give it once
    400 ambiguous-header: the header `idempotency-key` is given twice; send it once
    400 ambiguous-header: the header `content-type` is given twice; send it once
    400 ambiguous-header: the header `host` is given twice; send it once
    400 ambiguous-header: the header `authorization` is given twice; send it once
    ");
    assert_eq!(listed(&fixture, "").await, [id]);
}

#[tokio::test]
async fn operator_command_applies_to_a_revision_named_in_if_match() {
    let fixture = Fixture::new().await;
    for (number, (condition, status)) in [
        ("\"1\"", 202),
        ("\"7\", \"1\"", 202),
        ("\"7\"\nif-match: \"1\"", 202),
        ("*", 202),
        ("W/\"1\"", 412),
        ("\"7\", W/\"1\"", 412),
        ("\"one\"", 412),
        ("\"01\"", 412),
        ("\"1", 400),
        ("1", 400),
        ("1\"", 400),
        ("\"1\", *", 400),
        ("", 400),
    ]
    .iter()
    .enumerate()
    {
        let id = started(&fixture, &format!("k{number}"), SALE.to_owned()).await;
        let asked =
            format!("POST /v1/sagas/{id}/pause\ncontent-type: application/json\nif-match: {condition}");
        let answer = fixture.ask(&asked, r#"{"actor":"ann","reason":"lunch"}"#).await;
        assert_eq!(answer.status, *status, "{condition}: {}", answer.text);
    }
}

#[tokio::test]
async fn probe_tells_a_stranger_one_word() {
    let open = Fixture::new().await;
    let closed = open.behind("secret");
    for (fixture, headers) in [
        (&closed, ""),
        (&closed, "\nauthorization: Bearer wrong"),
        (&open, "\nhost: evil.example"),
        (&open, "\nsec-fetch-site: cross-site"),
    ] {
        let answer = fixture.ask(&format!("GET /readyz?verbose{headers}"), "").await;
        assert_eq!((answer.status.as_u16(), answer.text.as_str()), (200, "ok\n"), "{headers}");
    }
    for (fixture, headers) in [(&closed, "\nauthorization: Bearer secret"), (&open, "")] {
        let answer = fixture.ask(&format!("GET /readyz?verbose{headers}"), "").await;
        assert_eq!(answer.json()["waiting_versions"], json!([]), "{headers}");
    }
}

#[tokio::test]
async fn problem_escapes_invisible_characters() {
    let fixture = Fixture::new().await;
    let body = json!({ "saga": "sell\u{202e}\u{1b}[2J", "input": {} }).to_string();
    assert_eq!(
        fixture.start("k", body).await.problem(),
        r"422 unknown-definition: there is no saga named `sell\u{202e}\u{1b}[2J`; GET /v1/definitions lists what can be started"
    );
}
