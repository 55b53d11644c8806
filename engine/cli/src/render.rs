//! Sagas as text.

use std::io::IsTerminal as _;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use redress_core::Timestamp;
use serde_json::Value;

use crate::args::Output;

/// Prints a value as JSON, or hands it to `text`.
pub(crate) fn print(output: Output, value: &Value, text: impl FnOnce(&Value) -> String) {
    match output {
        Output::Json => emit(&format!("{value:#}")),
        Output::Jsonl => emit(&value.to_string()),
        Output::Text => emit(&text(value)),
    }
}

/// Prints a list: as one JSON value, one per line, or as text.
pub(crate) fn print_list(output: Output, list: &Value, text: impl FnOnce(&[Value]) -> String) {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    match output {
        Output::Json => emit(&format!("{list:#}")),
        Output::Jsonl => items.iter().for_each(|item| emit(&item.to_string())),
        Output::Text => emit(&text(items)),
    }
}

/// Writes to standard output; a reader that has gone away ends the program quietly.
pub(crate) fn emit(text: &str) {
    use std::io::Write as _;
    if writeln!(std::io::stdout(), "{}", text.trim_end()).is_err() {
        std::process::exit(0);
    }
}

/// Colour is for terminals, and for those who want it (<https://no-color.org>).
fn is_coloured() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal()
        && !is_set("NO_COLOR")
        && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Colour and escape code of a status of a saga or a step.
fn colour(status: &str) -> Option<(Color, u8)> {
    match status {
        "completed" | "succeeded" => Some((Color::DarkGreen, 32)),
        "compensated" => Some((Color::DarkYellow, 33)),
        "rejected" | "fenced" | "parked" => Some((Color::DarkRed, 31)),
        "running" | "waiting" | "settling" | "compensating" => Some((Color::DarkCyan, 36)),
        _ => None,
    }
}

fn painted(status: &str) -> String {
    match colour(status).filter(|_| is_coloured()) {
        Some((_, code)) => format!("\x1b[{code}m{status}\x1b[0m"),
        None => status.to_owned(),
    }
}

fn status_cell(status: &str) -> Cell {
    match colour(status).filter(|_| is_coloured()) {
        Some((colour, _)) => Cell::new(status).fg(colour),
        None => Cell::new(status),
    }
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

fn time(value: &Value) -> Option<Timestamp> {
    value.as_str()?.parse().ok()
}

/// How long from one time to another, for people.
fn span(from: &Value, to: &Value) -> String {
    match (time(from), time(to)) {
        (Some(from), Some(to)) => {
            let ms = (to - from).num_milliseconds().max(0);
            if ms < 10_000 { format!("{ms} ms") } else { format!("{:.1} s", ms as f64 / 1_000.0) }
        }
        (Some(_) | None, _) => "-".to_owned(),
    }
}

fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(header.iter().copied());
    table
}

/// A saga with its steps, and with the order in which it was undone if the history is at hand.
pub(crate) fn saga(saga: &Value, history: Option<&[Value]>) -> String {
    let mut lines = vec![format!(
        "{} v{} {}  {}{}",
        text(&saga["saga"]),
        saga["version"],
        text(&saga["id"]),
        painted(text(&saga["status"])),
        match saga["ended_at"].is_null() {
            true => String::new(),
            false => format!(" in {}", span(&saga["started_at"], &saga["ended_at"])),
        }
    )];
    let cause = &saga["cause"];
    if !cause.is_null() {
        lines.push(format!("  because {}", because(cause)));
    }
    if !saga["parked"].is_null() {
        lines.push(format!("  parked: {}", text(&saga["parked"]["message"])));
    }
    for reason in saga["parked_also"].as_array().into_iter().flatten() {
        lines.push(format!("  parked also: {}", text(&reason["message"])));
    }
    lines.push(indented(&steps(saga), "  "));
    if let Some(undone) = history.map(undone).filter(|undone| !undone.is_empty()) {
        lines.push(format!("  undone in this order: {}", undone.join(", ")));
    }
    lines.join("\n")
}

fn because(cause: &Value) -> String {
    let (code, message) = (text(&cause["code"]), text(&cause["message"]));
    match (text(&cause["kind"]), cause["step"].as_str()) {
        ("cancelled", _) => format!("it was cancelled ({message})"),
        ("deadline", _) => format!("its deadline passed ({message})"),
        ("late-success", Some(step)) => format!("{step} succeeded too late ({message})"),
        (kind, Some(step)) => format!("{step} was {kind}: {code} ({message})"),
        (kind, None) => format!("it was {kind}: {code} ({message})"),
    }
}

fn steps(saga: &Value) -> Table {
    let mut table = table(&["step", "kind", "status", "attempts", "took", "error"]);
    for step in saga["steps"].as_array().map_or(&[][..], Vec::as_slice) {
        let attempts = match step["compensation_attempts"].as_u64() {
            Some(undo) if undo > 0 => format!("{}, undo {undo}", step["attempts"]),
            Some(_) | None => step["attempts"].to_string(),
        };
        table.add_row([
            Cell::new(text(&step["name"])),
            Cell::new(text(&step["kind"])),
            status_cell(text(&step["status"])),
            Cell::new(attempts),
            Cell::new(span(&step["started_at"], &step["ended_at"])),
            Cell::new(text(&step["error"]["code"])),
        ]);
    }
    table
}

/// The steps whose compensations were done, in the order in which they were.
pub(crate) fn undone(history: &[Value]) -> Vec<&str> {
    history
        .iter()
        .filter(|row| text(&row["phase"]) == "compensation" && text(&row["event"]) == "done")
        .map(|row| text(&row["step"]))
        .collect()
}

fn indented(table: &Table, indent: &str) -> String {
    table.lines().map(|line| format!("{indent}{}", line.trim_end())).collect::<Vec<_>>().join("\n")
}

/// A list of sagas.
pub(crate) fn sagas(items: &[Value]) -> String {
    if items.is_empty() {
        return "no sagas; start one with `redress start`".to_owned();
    }
    let mut table = table(&["id", "saga", "status", "started", "took", "cause"]);
    for saga in items {
        let name = format!("{} v{}", text(&saga["saga"]), saga["version"]);
        let cause = text(&saga["cause"]["code"]);
        table.add_row([
            Cell::new(text(&saga["id"])),
            Cell::new(name),
            status_cell(text(&saga["status"])),
            Cell::new(text(&saga["started_at"]).get(..19).unwrap_or_default()),
            Cell::new(span(&saga["started_at"], &saga["ended_at"])),
            Cell::new(cause),
        ]);
    }
    indented(&table, "")
}

/// A history.
pub(crate) fn history(items: &[Value]) -> String {
    let mut table = table(&["seq", "at", "event", "step", "phase", "attempt", "detail"]);
    for row in items {
        let attempt = row["attempt"].as_u64().map_or(String::new(), |n| n.to_string());
        table.add_row([
            row["seq"].to_string(),
            text(&row["at"]).get(11..23).unwrap_or_default().to_owned(),
            text(&row["event"]).to_owned(),
            text(&row["step"]).to_owned(),
            text(&row["phase"]).to_owned(),
            attempt,
            row["detail"].to_string().chars().take(100).collect(),
        ]);
    }
    indented(&table, "")
}

/// A plan.
pub(crate) fn plan(plan: &Value) -> String {
    let names = |list: &Value| {
        let name = |item: &Value| item["step"].as_str().or(item.as_str()).unwrap_or_default().to_owned();
        let names: Vec<String> = list.as_array().into_iter().flatten().map(name).collect();
        if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
    };
    let mut lines = vec![format!("  still to do: {}", names(&plan["remaining"]))];
    if plan["in_doubt"].as_array().is_some_and(|steps| !steps.is_empty()) {
        lines.push(format!("  to be settled first: {}", names(&plan["in_doubt"])));
    }
    lines.push(format!("  would be undone now: {}", names(&plan["undo"])));
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_saga_reads_as_a_small_table() {
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
        id                                    saga            status       started              took   cause
        0190163d-8694-739b-aea5-966c26f8ad91  place-order v1  compensated  2026-11-23T10:00:00  84 ms  no-road
        ");
        assert_eq!(sagas(&[]), "no sagas; start one with `redress start`");
    }

    #[test]
    fn every_reason_to_be_parked_is_told() {
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
    fn a_history_and_a_plan_read_line_by_line() {
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
}
