//! Renders dead letters as text.

use comfy_table::Cell;
use serde_json::Value;

use crate::render::{indented, inline, table, text};

/// How much of a body that is no JSON is shown, in characters: the JSON output has all of it.
const BODY_CHARS_MAX: usize = 2_000;

/// A list of dead letters.
pub(crate) fn dead_letters(items: &[Value]) -> String {
    if items.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut table = table(&["id", "arrived", "source", "code", "status", "saga", "step", "reason"]);
    for letter in items {
        table.add_row([
            Cell::new(text(&letter["id"])),
            Cell::new(text(&letter["at"]).get(..19).unwrap_or_default()),
            Cell::new(text(&letter["source"])),
            Cell::new(text(&letter["code"])),
            Cell::new(text(&letter["status"])),
            Cell::new(text(&letter["saga_id"])),
            Cell::new(text(&letter["step"])),
            Cell::new(text(&letter["reason"])),
        ]);
    }
    indented(&table, "")
}

/// The numbers of dead letters.
pub(crate) fn dead_letter_groups(items: &[Value]) -> String {
    if items.is_empty() {
        return "no dead letters".to_owned();
    }
    let mut table = table(&["source", "code", "letters"]);
    for group in items {
        table.add_row([
            Cell::new(text(&group["source"])),
            Cell::new(text(&group["code"])),
            Cell::new(inline(&group["count"])),
        ]);
    }
    indented(&table, "")
}

/// A dead letter, with its message if that is there.
pub(crate) fn dead_letter(letter: &Value) -> String {
    let mut lines = vec![
        format!(
            "{}  {} of {}, {}",
            text(&letter["id"]),
            text(&letter["code"]),
            text(&letter["source"]),
            text(&letter["status"])
        ),
        format!("  {}", text(&letter["reason"])),
        format!("  arrived {} on {}", text(&letter["at"]), text(&letter["subject"])),
    ];
    if !letter["saga_id"].is_null() {
        let (saga, step, phase) = (text(&letter["saga_id"]), text(&letter["step"]), text(&letter["phase"]));
        lines.push(format!("  saga {saga} {step} {phase}"));
    }
    if !letter["missing"].is_null() {
        lines.push(format!("  not in it: {}", text(&letter["missing"])));
    }
    let decision = &letter["decision"];
    if !decision.is_null() {
        let (at, actor, reason) =
            (text(&decision["at"]), text(&decision["actor"]), text(&decision["reason"]));
        lines.push(format!("  {} by {actor} at {at}: {reason}", text(&letter["status"])));
    }
    for header in letter["headers"].as_array().into_iter().flatten() {
        lines.push(format!("  {}: {}", text(&header[0]), text(&header[1])));
    }
    if letter["payload_text"].is_string() {
        lines.push(format!(
            "  {}",
            text(&letter["payload_text"]).chars().take(BODY_CHARS_MAX).collect::<String>()
        ));
    } else if letter["headers"].is_array() {
        lines.push(format!("  {}", inline(&letter["payload"])));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn dead_letter_is_shown_with_its_message_and_obeys_nothing_in_it() {
        let letter = json!({
            "id": "0190163d-8694-739b-aea5-966c26f8ad91", "at": "2026-11-23T10:00:00.5Z", "source": "payment",
            "code": "unreadable", "reason": "the payload is not JSON\u{1b}[2J", "saga_id": null, "step": null,
            "phase": null, "subject": "redress.command.payment.charge", "payload_bytes": 3, "missing": "2 headers",
            "status": "discarded", "decision": { "at": "2026-11-23T11:00:00Z", "actor": "ann", "reason": "odd" },
            "headers": [["Odd", "one\u{202e}"]], "payload": null, "payload_base64": "/wA=", "payload_text": "\u{fffd}\u{0}",
        });
        insta::assert_snapshot!(dead_letter(&letter), @r"
        0190163d-8694-739b-aea5-966c26f8ad91  unreadable of payment, discarded
          the payload is not JSON\u{1b}[2J
          arrived 2026-11-23T10:00:00.5Z on redress.command.payment.charge
          not in it: 2 headers
          discarded by ann at 2026-11-23T11:00:00Z: odd
          Odd: one\u{202e}
          �\u{0}
        ");
    }
}
