//! The renderings of sagas, lists, histories and plans, as they are printed.

use super::*;
use serde_json::json;

#[test]
fn saga_renders_as_table() {
    let value = json!({
        "id": "0190163d-8694-739b-aea5-966c26f8ad91", "saga": "place-order", "version": 1,
        "status": "compensated", "started_at": "2026-11-23T10:00:00Z", "ended_at": "2026-11-23T10:00:00.084Z",
        "cause": { "step": "ship-order", "kind": "rejected", "code": "no-road", "message": "no road" },
        "parked": null,
        "steps": [
            { "name": "charge", "kind": "compensatable", "status": "compensated", "attempts": 2,
              "compensation_attempts": 1, "started_at": "2026-11-23T10:00:00Z",
              "ended_at": "2026-11-23T10:00:00.080Z", "error": null },
            { "name": "ship-order", "kind": "pivot", "status": "rejected", "attempts": 1,
              "compensation_attempts": 0, "started_at": null, "ended_at": null, "error": { "code": "no-road" } },
        ],
    });
    let rows = [json!({ "event": "done", "phase": "compensation", "step": "charge" })];
    insta::assert_snapshot!(saga(&value, Some(&rows)), @r"
    place-order v1 0190163d-8694-739b-aea5-966c26f8ad91  compensated in 84 ms
      because ship-order was rejected: no-road (no road)
       step        kind           status       attempts   took   error
       charge      compensatable  compensated  2, undo 1  80 ms
       ship-order  pivot          rejected     1          -      no-road
      undone in this order: charge
    ");
    insta::assert_snapshot!(sagas(&[value]), @r"
    id                                    saga            status       started              took   why
    0190163d-8694-739b-aea5-966c26f8ad91  place-order v1  compensated  2026-11-23T10:00:00  84 ms  no-road
    ");
    assert_eq!(sagas(&[]), "no sagas; start one with `redress start`");
}

#[test]
fn saga_list_shows_parked_reason_and_unbroken_ids() {
    let parked = json!({
        "id": "0190163d-8694-739b-aea5-966c26f8ad91", "saga": "place-order-of-a-customer-with-a-long-name",
        "version": 1, "status": "parked", "started_at": "2026-11-23T10:00:00Z", "ended_at": null,
        "cause": { "code": "no-road" }, "parked": { "code": "compensation-failed", "message": "asked 5 times" },
    });
    let told = sagas(&[parked.clone(), parked]);
    assert_eq!(told.lines().count(), 3, "{told}");
    for line in told.lines().skip(1) {
        assert!(line.trim_start().starts_with("0190163d-8694-739b-aea5-966c26f8ad91  "), "{told}");
        assert!(line.ends_with("  compensation-failed"), "{told}");
    }
}

/// The same value, with every text in it made hostile.
fn hostile(value: &Value) -> Value {
    match value {
        Value::String(text) => json!(format!("{text}{}", crate::legible::all_hidden())),
        Value::Array(items) => items.iter().map(hostile).collect(),
        Value::Object(fields) => fields.iter().map(|(name, value)| (name.clone(), hostile(value))).collect(),
        other => other.clone(),
    }
}

#[test]
fn hostile_text_is_escaped_in_every_rendering() {
    let told = json!({
        "id": "0190163d", "saga": "place-order", "version": "1", "status": "compensated",
        "started_at": "2026-11-23T10:00:00Z", "ended_at": "2026-11-23T10:00:00.084Z",
        "cause": { "step": "ship", "kind": "rejected", "code": "no-road", "message": "no road" },
        "parked": { "code": "expired", "message": "why" }, "parked_also": [{ "message": "why else" }],
        "steps": [{ "name": "ship", "kind": "pivot", "status": "rejected", "attempts": "1",
                    "compensation_attempts": 1, "error": { "code": "no-road" },
                    "awaits": { "event": "approval", "until": "2026-11-30T10:00:00Z", "on_timeout": "go-on" } }],
        "saga_id": "0190163d", "verdict": "refused", "code": "ended",
        "step": "ship", "phase": "compensation", "event": "done", "at": "2026-11-23T10:00:00.012345Z",
        "seq": "1", "detail": { "reply": "no" },
        "remaining": [{ "step": "ship" }], "in_doubt": ["reserve"], "undo": [{ "step": "charge" }],
    });
    let value = hostile(&told);
    let mut rows = vec![value.clone()];
    rows.push(
        json!({ "event": "done", "phase": "compensation", "step": value["step"], "saga_id": "0190163d" }),
    );
    let delivered = crate::render_events::delivered(&rows);
    let texts =
        [saga(&value, Some(&rows)), sagas(&rows), history(&rows), plan(&value), inline(&value), delivered];
    let lines = [9, 3, 3, 3, 1, 3];
    for (text, lines) in texts.into_iter().zip(lines) {
        let raw: Vec<char> = text.chars().filter(|c| *c != '\n' && crate::legible::is_hidden(*c)).collect();
        assert!(raw.is_empty(), "{raw:?}: {text}");
        assert_eq!(text.lines().count(), lines, "a line break of others makes no line: {text}");
    }
}

#[test]
fn every_parked_reason_is_rendered() {
    let value = json!({
        "id": "0190163d-8694-739b-aea5-966c26f8ad91", "saga": "place-order", "version": 1, "status": "parked",
        "ended_at": null, "parked": { "message": "charge contradicts" },
        "parked_also": [{ "message": "reserve contradicts" }], "steps": [],
    });
    let told = saga(&value, None);
    let told: Vec<_> = told.lines().filter(|line| line.contains("parked")).collect();
    assert_eq!(told[1..], ["  parked: charge contradicts", "  parked also: reserve contradicts"]);
}

#[test]
fn waits_are_rendered_with_their_ends_and_the_way_to_end_them() {
    let awaits = |name: &str, awaits: Value| json!({ "name": name, "kind": "event", "status": "awaiting", "attempts": 0, "awaits": awaits });
    let until = "2026-11-30T10:00:00Z";
    let value = json!({
        "id": "0190163d-8694-739b-aea5-966c26f8ad91", "saga": "expense", "version": 1, "status": "running",
        "started_at": "2026-11-23T10:00:00Z", "ended_at": null, "cause": null, "parked": null,
        "steps": [
            awaits("approval", json!({ "event": "approval", "until": until, "on_timeout": "turn-back" })),
            awaits("receipt", json!({ "event": "receipt", "until": until, "on_timeout": "go-on" })),
            awaits("cool-off", json!({ "until": until })),
            awaits("strange", json!({ "event": "strange", "until": until, "on_timeout": "dream" })),
            awaits("done", Value::Null),
        ],
    });
    let told = saga(&value, None);
    let waits: Vec<&str> = told.lines().skip(7).map(|line| &line[2..]).collect();
    insta::assert_snapshot!(waits.join("\n"), @"
    approval awaits the event approval until 2026-11-30T10:00:00Z, then the saga turns back
      try: redress event 0190163d-8694-739b-aea5-966c26f8ad91 approval --data JSON
    receipt awaits the event receipt until 2026-11-30T10:00:00Z, then the saga goes on without it
      try: redress event 0190163d-8694-739b-aea5-966c26f8ad91 receipt --data JSON
    cool-off waits until 2026-11-30T10:00:00Z
    strange awaits the event strange until 2026-11-30T10:00:00Z
      try: redress event 0190163d-8694-739b-aea5-966c26f8ad91 strange --data JSON
    ");
}

#[test]
fn history_and_plan_render_line_by_line() {
    let rows = [
        json!({ "seq": 1, "at": "2026-11-23T10:00:00.012345Z", "event": "started", "step": null, "phase": null,
                "attempt": null, "detail": {} }),
        json!({ "seq": 2, "at": "2026-11-23T10:00:00.012345Z", "event": "sent", "step": "charge",
                "phase": "action", "attempt": 1, "detail": { "service": "payment" } }),
    ];
    insta::assert_snapshot!(history(&rows), @r#"
    seq  at            event    step    phase   attempt  detail
    1    10:00:00.012  started                           {}
    2    10:00:00.012  sent     charge  action  1        {"service":"payment"}
    "#);
    let value = json!({
        "remaining": [{ "step": "ship" }], "in_doubt": ["reserve"],
        "undo": [{ "step": "charge" }, { "step": "create" }],
    });
    insta::assert_snapshot!(plan(&value), @r"
    still to do: ship
    to be settled first: reserve
    would be undone now: charge, create
    ");
    let value = json!({ "remaining": [], "in_doubt": [], "undo": [] });
    insta::assert_snapshot!(plan(&value), @r"
    still to do: nothing
    would be undone now: nothing
    ");
}
