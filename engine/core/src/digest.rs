//! The graph of a definition and its digest: the part of it that may not change under a version.
//!
//! The digest covers names, order, kinds, policies and the JSON Schemas of data, commands and replies; what closures
//! make is covered apart, by trying them ([`behaviour`](crate::behaviour)). Doc comments, titles and
//! examples stand in the schemas of the graph, for people, and are no part of the digest: a corrected comment must
//! not keep a coordinator from starting.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::definition::{
    ANSWER_WITHIN_MS_DEFAULT, AnswersFrom, Delivery, InDoubt, LateSuccess, SagaDefinition, Step, StepKind,
};

impl SagaDefinition {
    /// The definition as plain JSON, which the journal keeps and HTTP shows.
    pub fn graph(&self) -> Value {
        let steps: Vec<Value> = self.steps.iter().map(|step| self.node(step)).collect();
        json!({
            "saga": self.name,
            "version": self.version,
            "deadline_ms": self.deadline_ms,
            "steps": steps,
            "input_schema": self.input_schema,
        })
    }

    /// A step of the graph. A later addition to the language of definitions stands there only where it is used, so that
    /// a newer engine does not change what was deployed.
    fn node(&self, step: &Step) -> Value {
        let mut node = match &step.kind {
            StepKind::Wait(wait) => json!({ "name": step.name, "kind": "wait", "ends": wait.as_str() }),
            StepKind::Event(event) => json!({
                "name": step.name,
                "kind": "event",
                "timeout_ms": event.timeout_ms,
                "on_timeout": event.on_timeout,
                "schema": step.schemas.reply,
            }),
            StepKind::Compensatable { .. }
            | StepKind::Pivot
            | StepKind::Retriable
            | StepKind::Notification => node_of_command(step),
        };
        if self.steps.iter().filter(|other| other.stage == step.stage).count() > 1 {
            node["stage"] = json!(step.stage);
        }
        if step.is_conditional() {
            node["conditional"] = json!(true);
        }
        if step.is_ordered() {
            node["ordered"] = json!(true);
        }
        node
    }
}

/// A step of the graph for which something is sent.
fn node_of_command(step: &Step) -> Value {
    let compensation = step.compensation().map(|compensation| {
        let mut node = json!({
            "command": compensation.command,
            "retry": compensation.retry,
            "schema": step.schemas.compensation,
        });
        if compensation.late_success != LateSuccess::default() {
            node["late_success"] = json!(compensation.late_success);
        }
        if compensation.in_doubt != InDoubt::default() {
            node["in_doubt"] = json!(compensation.in_doubt);
        }
        if let Some(timeout_ms) = compensation.timeout_ms {
            node["timeout_ms"] = json!(timeout_ms);
        }
        node
    });
    let mut node = json!({
        "name": step.name,
        "kind": step.kind.as_str(),
        "service": step.service,
        "command": step.command,
        "timeout_ms": step.timeout_ms,
        "retry": step.retry,
        "schema": step.schemas.command,
        "reply_schema": step.schemas.reply,
        "compensation": compensation,
    });
    if step.answer_within_ms != ANSWER_WITHIN_MS_DEFAULT {
        node["answer_within_ms"] = json!(step.answer_within_ms);
    }
    if step.answers_from != AnswersFrom::default() {
        node["answers_from"] = json!(step.answers_from);
    }
    if step.delivery != Delivery::default() {
        node["delivery"] = json!(step.delivery);
    }
    node
}

/// Keywords of JSON Schema that only people read.
const ANNOTATIONS: [&str; 5] = ["$schema", "$comment", "title", "description", "examples"];

/// How many lines of difference are worth reading.
const DIFFERENCES_MAX: usize = 10;

/// SHA-256, in hex, of the part of a graph to which its version is bound.
pub fn of(graph: &Value) -> String {
    hex::encode(Sha256::digest(canonical(&binding(graph)).as_bytes()))
}

/// A graph without the annotations of its schemas.
fn binding(graph: &Value) -> Value {
    match graph {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let is_schema = matches!(key.as_str(), "schema" | "reply_schema" | "input_schema");
                (key.clone(), if is_schema { binding_schema(value) } else { binding(value) })
            })
            .collect(),
        Value::Array(items) => items.iter().map(binding).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => graph.clone(),
    }
}

fn binding_schema(schema: &Value) -> Value {
    match schema {
        Value::Object(keywords) => keywords
            .iter()
            .filter(|(keyword, _)| !ANNOTATIONS.contains(&keyword.as_str()))
            .map(|(keyword, value)| {
                let value = match (keyword.as_str(), value) {
                    // Below these stand the user's own names, of which `title` may be one.
                    (
                        "properties" | "patternProperties" | "$defs" | "dependentSchemas",
                        Value::Object(named),
                    ) => named.iter().map(|(name, schema)| (name.clone(), binding_schema(schema))).collect(),
                    // Below these stand values.
                    ("const" | "enum" | "default", value) => value.clone(),
                    (_, value) => binding_schema(value),
                };
                (keyword.clone(), value)
            })
            .collect(),
        Value::Array(items) => items.iter().map(binding_schema).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => schema.clone(),
    }
}

/// JSON with sorted keys and no white space: equal values have equal texts.
pub fn canonical(value: &Value) -> String {
    let mut text = String::new();
    write_canonical(value, &mut text);
    text
}

fn write_canonical(value: &Value, text: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_by_key(|(key, _)| key.as_str());
            text.push('{');
            for (place, (key, value)) in fields.into_iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                text.push_str(&Value::from(key.as_str()).to_string());
                text.push(':');
                write_canonical(value, text);
            }
            text.push('}');
        }
        Value::Array(items) => {
            text.push('[');
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    text.push(',');
                }
                write_canonical(item, text);
            }
            text.push(']');
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            text.push_str(&value.to_string());
        }
    }
}

/// Where two graphs differ, one line each; past ten, how many more there are.
///
/// Steps are compared by name, so that one step put in front does not make all others look changed. Parts that the
/// digest does not cover are left out.
pub fn describe_difference(stored: &Value, built: &Value) -> Vec<String> {
    differences_at("", &binding(stored), &binding(built))
}

/// Where two values differ, below this path; past ten, how many more there are.
pub(crate) fn differences_at(path: &str, stored: &Value, built: &Value) -> Vec<String> {
    let mut lines = Vec::new();
    differ(path, stored, built, &mut lines);
    let more = lines.len().saturating_sub(DIFFERENCES_MAX);
    if more > 0 {
        lines.truncate(DIFFERENCES_MAX);
        lines.push(format!("and {more} more"));
    }
    lines
}

fn differ(path: &str, stored: &Value, built: &Value, lines: &mut Vec<String>) {
    match (stored, built) {
        (stored, built) if stored == built => {}
        (Value::Object(old), Value::Object(new)) => {
            let old = old.iter().map(|(key, value)| (key.as_str(), value)).collect();
            let new = new.iter().map(|(key, value)| (key.as_str(), value)).collect();
            differ_by_key(path, &old, &new, lines);
        }
        (Value::Array(old), Value::Array(new)) => match (names(old), names(new)) {
            (Some(old_names), Some(new_names)) => {
                let stored = old_names.iter().copied().zip(old).collect();
                let built = new_names.iter().copied().zip(new).collect();
                differ_by_key(path, &stored, &built, lines);
                differ_in_order(path, old_names, new_names, lines);
            }
            (_, _) => {
                for place in 0..old.len().max(new.len()) {
                    differ_maybe(&format!("{path}/{place}"), old.get(place), new.get(place), lines);
                }
            }
        },
        (old, new) => lines.push(format!("{path}: stored {}, now {}", brief(old), brief(new))),
    }
}

fn differ_by_key(
    path: &str,
    stored: &BTreeMap<&str, &Value>,
    built: &BTreeMap<&str, &Value>,
    lines: &mut Vec<String>,
) {
    let added = built.keys().filter(|key| !stored.contains_key(*key));
    let mut keys: Vec<_> = stored.keys().chain(added).collect();
    keys.sort();
    for key in keys {
        differ_maybe(&format!("{path}/{key}"), stored.get(key).copied(), built.get(key).copied(), lines);
    }
}

fn differ_maybe(path: &str, stored: Option<&Value>, built: Option<&Value>, lines: &mut Vec<String>) {
    match (stored, built) {
        (Some(stored), Some(built)) => differ(path, stored, built, lines),
        (Some(stored), None) => lines.push(format!("{path}: stored {}, now gone", brief(stored))),
        (None, Some(built)) => lines.push(format!("{path}: new, {}", brief(built))),
        (None, None) => {}
    }
}

/// The names of named things, in their order; `None` if one has none.
fn names(items: &[Value]) -> Option<Vec<&str>> {
    items.iter().map(|item| item.get("name")?.as_str()).collect()
}

fn differ_in_order(path: &str, mut stored: Vec<&str>, mut built: Vec<&str>, lines: &mut Vec<String>) {
    let before = stored.clone();
    stored.retain(|name| built.contains(name));
    built.retain(|name| before.contains(name));
    if stored != built {
        lines.push(format!("{path}: stored order {}, now {}", stored.join(", "), built.join(", ")));
    }
}

fn brief(value: &Value) -> String {
    let text = value.to_string();
    if text.chars().count() <= 60 { text } else { text.chars().take(57).chain("...".chars()).collect() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_ignores_key_order_and_nothing_else() {
        let a = json!({"a": 1, "b": [1, 2]});
        let b: Value = serde_json::from_str(r#"{"b":[1,2],"a":1}"#).unwrap();
        assert_eq!(of(&a), of(&b));
        assert_ne!(of(&a), of(&json!({"a": 1, "b": [2, 1]})));
        insta::assert_snapshot!(describe_difference(&a, &json!({"a": 2, "b": [1]})).join("\n"), @r"
        /a: stored 1, now 2
        /b/1: stored 2, now gone
        ");
    }

    #[test]
    fn digest_ignores_schema_annotations_but_not_fields_of_that_name() {
        let graph = |schema: Value| json!({"steps": [{"name": "a", "schema": schema}]});
        let bare = graph(json!({"type": "object", "properties": {"title": {"type": "string"}}}));
        let told = graph(json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema", "title": "Book", "type": "object",
            "properties": {"title": {"type": "string", "description": "As printed."}},
        }));
        let narrowed = graph(json!({"type": "object", "properties": {"title": {"const": {"title": 1}}}}));
        let widened = graph(json!({"type": "object", "properties": {}}));
        assert_eq!(of(&bare), of(&told));
        assert_eq!(describe_difference(&bare, &told), [""; 0]);
        insta::assert_snapshot!(describe_difference(&told, &narrowed).join("\n"), @r#"
        /steps/a/schema/properties/title/const: new, {"title":1}
        /steps/a/schema/properties/title/type: stored "string", now gone
        "#);
        insta::assert_snapshot!(describe_difference(&told, &widened).join("\n"), @r#"/steps/a/schema/properties/title: stored {"type":"string"}, now gone"#);
    }

    #[test]
    fn difference_compares_steps_by_name() {
        let steps = |steps: &[(&str, u32)]| {
            let steps: Vec<Value> = steps
                .iter()
                .map(|(name, timeout_ms)| json!({"name": name, "timeout_ms": timeout_ms}))
                .collect();
            json!({ "steps": steps })
        };
        let stored = steps(&[("create", 1), ("charge", 1), ("ship", 1)]);
        let built = steps(&[("reserve", 1), ("charge", 1), ("create", 2)]);
        insta::assert_snapshot!(describe_difference(&stored, &built).join("\n"), @r#"
        /steps/create/timeout_ms: stored 1, now 2
        /steps/reserve: new, {"name":"reserve","timeout_ms":1}
        /steps/ship: stored {"name":"ship","timeout_ms":1}, now gone
        /steps: stored order create, charge, now charge, create
        "#);
    }

    #[test]
    fn long_difference_is_cut() {
        let stored = Value::from((0..100).collect::<Vec<u32>>());
        let lines = describe_difference(&stored, &json!([]));
        assert_eq!(lines.len(), DIFFERENCES_MAX + 1);
        assert_eq!(lines.last().map(String::as_str), Some("and 90 more"));
    }
}
