//! Renders what became of events as text.

use comfy_table::Cell;
use serde_json::Value;

use crate::render::{indented, saga, table, text};

/// An event that a saga did not refuse, and the saga as it is then.
pub(crate) fn sent(name: &str, sent: &Value) -> String {
    let became = match sent["verdict"].as_str() {
        Some("taken") => "was awaited, and is taken".to_owned(),
        Some("kept") => "came before its step, and is kept for it".to_owned(),
        Some("repeated") => "had come before with this key; nothing is done twice".to_owned(),
        Some(_) | None => text(&sent["verdict"]).into_owned(),
    };
    format!("the event {name} {became}\n{}", saga(&sent["saga"], None))
}

/// What each of several sagas made of an event.
pub(crate) fn delivered(items: &[Value]) -> String {
    if items.is_empty() {
        return "no saga".to_owned();
    }
    let mut table = table(&["saga", "verdict", "code", "why"]);
    for item in items {
        table.add_row([
            Cell::new(text(&item["saga_id"])),
            Cell::new(text(&item["verdict"])),
            Cell::new(text(&item["code"])),
            Cell::new(text(&item["detail"])),
        ]);
    }
    indented(&table, "")
}
