//! Renders sagas, lists, histories and plans as text.
//!
//! A table is as wide as its content: an id that is broken over two lines cannot be copied, and a terminal wraps long
//! lines by itself. All that comes from others goes through [`legible`](mod@crate::legible).

use std::borrow::Cow;
use std::io::IsTerminal as _;

use comfy_table::{Cell, Color, ContentArrangement, Table, presets};
use redress_core::Timestamp;
use serde_json::Value;

use crate::args::Output;
use crate::legible::{json, legible, lines};
use crate::render_queued::queued;

/// How much of the detail of a row of history a table shows, in characters: the rest is in the JSON.
const DETAIL_CHARS_MAX: usize = 100;

/// Prints a value as JSON, or hands it to `text`.
pub(crate) fn print(output: Output, value: &Value, text: impl FnOnce(&Value) -> String) {
    match output {
        Output::Json => emit(&json(&format!("{value:#}"))),
        Output::Jsonl => emit(&json(&value.to_string())),
        Output::Text => emit(&text(value)),
    }
}

/// Prints a list: as one JSON value, one per line, or as text.
pub(crate) fn print_list(output: Output, list: &Value, text: impl FnOnce(&[Value]) -> String) {
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    match output {
        Output::Json => emit(&json(&format!("{list:#}"))),
        Output::Jsonl => items.iter().for_each(|item| emit(&json(&item.to_string()))),
        Output::Text => emit(&text(items)),
    }
}

/// Writes to standard output; a reader that has gone away ends the program quietly.
pub(crate) fn emit(text: &str) {
    use std::io::Write as _;
    if writeln!(std::io::stdout(), "{}", lines(text.trim_end())).is_err() {
        std::process::exit(0);
    }
}

/// Colour is for terminals, and for users who want it (<https://no-color.org>).
fn is_coloured() -> bool {
    std::io::stdout().is_terminal() && wants_colour()
}

/// Returns true if the environment wants colour on a terminal.
pub(crate) fn wants_colour() -> bool {
    let is_set = |name| std::env::var_os(name).is_some_and(|value| !value.is_empty());
    !is_set("NO_COLOR") && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}

/// Colour and escape code of a status of a saga or a step.
fn colour(status: &str) -> Option<(Color, u8)> {
    match status {
        "completed" | "succeeded" => Some((Color::DarkGreen, 32)),
        "compensated" => Some((Color::DarkYellow, 33)),
        "rejected" | "fenced" | "parked" => Some((Color::DarkRed, 31)),
        "running" | "waiting" | "queued" | "settling" | "compensating" => Some((Color::DarkCyan, 36)),
        _ => None,
    }
}

fn painted(status: &Value) -> String {
    let status = text(status);
    match colour(&status).filter(|_| is_coloured()) {
        Some((_, code)) => format!("\x1b[{code}m{status}\x1b[0m"),
        None => status.into_owned(),
    }
}

fn status_cell(status: &Value) -> Cell {
    let status = text(status);
    match colour(&status).filter(|_| is_coloured()) {
        Some((colour, _)) => Cell::new(status).fg(colour),
        None => Cell::new(status),
    }
}

/// A text as it is, to be compared.
fn word(value: &Value) -> &str {
    value.as_str().unwrap_or_default()
}

/// A text as it can be printed in a line.
pub(crate) fn text(value: &Value) -> Cow<'_, str> {
    legible(word(value))
}

/// Any value as it can be printed in a line, as JSON.
pub(crate) fn inline(value: &Value) -> String {
    json(&value.to_string()).into_owned()
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

pub(crate) fn table(header: &[&str]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header(header.iter().copied());
    table
}

/// A saga with its steps, and with the order in which it was undone if the history is at hand.
pub(crate) fn saga(saga: &Value, history: Option<&[Value]>) -> String {
    let mut lines = vec![format!(
        "{} v{} {}  {}{}",
        text(&saga["saga"]),
        inline(&saga["version"]),
        text(&saga["id"]),
        painted(&saga["status"]),
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
    lines.extend(saga["steps"].as_array().into_iter().flatten().filter_map(queued));
    lines.push(indented(&steps(saga), "  "));
    lines.extend(waits(saga));
    if let Some(undone) = history.map(undone).filter(|undone| !undone.is_empty()) {
        lines.push(format!("  undone in this order: {}", legible(&undone.join(", "))));
    }
    lines.join("\n")
}

fn because(cause: &Value) -> String {
    let (code, message) = (text(&cause["code"]), text(&cause["message"]));
    let (kind, step) = (text(&cause["kind"]), cause["step"].as_str().map(legible));
    match (&*kind, step) {
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
            Some(undo) if undo > 0 => format!("{}, undo {undo}", inline(&step["attempts"])),
            Some(_) | None => inline(&step["attempts"]),
        };
        let kind = match step["delivery"].as_str() {
            Some("at-least-once") => format!("{}, at-least-once", text(&step["kind"])),
            Some(_) | None => text(&step["kind"]).into_owned(),
        };
        table.add_row([
            Cell::new(text(&step["name"])),
            Cell::new(kind),
            status_cell(&step["status"]),
            Cell::new(attempts),
            Cell::new(span(&step["started_at"], &step["ended_at"])),
            Cell::new(text(&step["error"]["code"])),
        ]);
    }
    table
}

/// What the steps wait for that can only go on by themselves or by an event, and how it is sent.
fn waits(saga: &Value) -> impl Iterator<Item = String> {
    let steps = saga["steps"].as_array().into_iter().flatten();
    steps.filter(|step| !step["awaits"]["until"].is_null()).map(|step| {
        let (name, awaits) = (text(&step["name"]), &step["awaits"]);
        let until = text(&awaits["until"]);
        let Some(event) = awaits["event"].as_str().map(legible) else {
            return format!("  {name} waits until {until}");
        };
        let then = match awaits["on_timeout"].as_str() {
            Some("turn-back") => ", then the saga turns back",
            Some("go-on") => ", then the saga goes on without it",
            Some(_) | None => "",
        };
        let id = text(&saga["id"]);
        format!(
            "  {name} awaits the event {event} until {until}{then}\n    try: redress event {id} {event} --data JSON"
        )
    })
}

/// The steps whose compensations were done, in the order of the compensations.
pub(crate) fn undone(history: &[Value]) -> Vec<&str> {
    history
        .iter()
        .filter(|row| word(&row["phase"]) == "compensation" && word(&row["event"]) == "done")
        .map(|row| word(&row["step"]))
        .collect()
}

pub(crate) fn indented(table: &Table, indent: &str) -> String {
    table.lines().map(|line| format!("{indent}{}", line.trim_end())).collect::<Vec<_>>().join("\n")
}

/// A list of sagas.
pub(crate) fn sagas(items: &[Value]) -> String {
    if items.is_empty() {
        return "no sagas; start one with `redress start`".to_owned();
    }
    let mut table = table(&["id", "saga", "status", "started", "took", "why"]);
    for saga in items {
        let name = format!("{} v{}", text(&saga["saga"]), inline(&saga["version"]));
        // The reason to stand still comes before the reason to turn back.
        let reasons = [&saga["parked"]["code"], &saga["cause"]["code"]];
        let why = reasons.into_iter().find(|code| !code.is_null()).map(text).unwrap_or_default();
        table.add_row([
            Cell::new(text(&saga["id"])),
            Cell::new(name),
            status_cell(&saga["status"]),
            Cell::new(text(&saga["started_at"]).get(..19).unwrap_or_default()),
            Cell::new(span(&saga["started_at"], &saga["ended_at"])),
            Cell::new(why),
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
            inline(&row["seq"]),
            text(&row["at"]).get(11..23).unwrap_or_default().to_owned(),
            text(&row["event"]).into_owned(),
            text(&row["step"]).into_owned(),
            text(&row["phase"]).into_owned(),
            attempt,
            inline(&row["detail"]).chars().take(DETAIL_CHARS_MAX).collect(),
        ]);
    }
    indented(&table, "")
}

/// A plan.
pub(crate) fn plan(plan: &Value) -> String {
    let names = |list: &Value| {
        let name = |item: &Value| item["step"].as_str().or(item.as_str()).unwrap_or_default().to_owned();
        let names: Vec<String> = list.as_array().into_iter().flatten().map(name).collect();
        if names.is_empty() { "nothing".to_owned() } else { legible(&names.join(", ")).into_owned() }
    };
    let mut lines = vec![format!("  still to do: {}", names(&plan["remaining"]))];
    if plan["in_doubt"].as_array().is_some_and(|steps| !steps.is_empty()) {
        lines.push(format!("  to be settled first: {}", names(&plan["in_doubt"])));
    }
    lines.push(format!("  would be undone now: {}", names(&plan["undo"])));
    lines.join("\n")
}

#[cfg(test)]
mod tests;
