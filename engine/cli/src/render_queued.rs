//! Says where a step waits in the order of a key.

use serde_json::Value;

use crate::legible::{json, legible};

/// A line about a step that is queued; nothing about any other.
pub(crate) fn queued(step: &Value) -> Option<String> {
    let queued = &step["queued"];
    let text = |value: &Value| legible(value.as_str().unwrap_or_default()).into_owned();
    let key = json(&Value::from(queued["key"].as_str()?).to_string()).into_owned();
    let (name, since) = (text(&step["name"]), text(&queued["since"]));
    Some(match queued["behind"].as_str() {
        Some(id) => {
            format!("  {name} waits behind saga {}, which holds key {key}, since {since}", legible(id))
        }
        None => format!("  {name} is the next of key {key}, and waits since {since}"),
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn queued_step_names_the_saga_that_holds_its_key() {
        let since = "2026-11-27T08:00:00Z";
        let line = |queued: Value| queued_line(&json!({ "name": "book", "queued": queued }));
        let held = line(json!({ "key": "7", "since": since, "behind": "0190" }));
        insta::assert_snapshot!(held, @r#"  book waits behind saga 0190, which holds key "7", since 2026-11-27T08:00:00Z"#);
        let next = line(json!({ "key": "a\u{1b}b", "since": since }));
        insta::assert_snapshot!(next, @r#"  book is the next of key "a\u001bb", and waits since 2026-11-27T08:00:00Z"#);
        assert_eq!(queued(&json!({ "name": "book" })), None);
    }

    fn queued_line(step: &Value) -> String {
        queued(step).unwrap_or_default()
    }
}
