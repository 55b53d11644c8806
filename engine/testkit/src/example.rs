//! An example of a JSON Schema: the smallest value that fits it.
//!
//! So that a definition can be proven without its author writing an input for it. Knows what `schemars` writes for
//! Rust types; whatever it cannot guess (a pattern, a rule between fields) is told by hand.

use serde_json::{Map, Value, json};

/// How deep schemas may nest: deeper than any that is not endless.
const DEPTH_MAX: u32 = 16;

/// The smallest value that fits the schema.
pub(crate) fn of(schema: &Value) -> Value {
    value(schema, schema, DEPTH_MAX)
}

fn value(root: &Value, schema: &Value, depth: u32) -> Value {
    let Value::Object(keywords) = schema else { return Value::Null };
    if depth == 0 {
        return Value::Null;
    }
    for sure in ["const", "default"] {
        if let Some(value) = keywords.get(sure) {
            return value.clone();
        }
    }
    let first = |keyword: &str| keywords.get(keyword)?.as_array()?.first();
    if let Some(value) = first("enum").or_else(|| first("examples")) {
        return value.clone();
    }
    let mut base = match keywords.get("$ref").and_then(Value::as_str) {
        Some(reference) => {
            value(root, root.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null), depth - 1)
        }
        None => Value::Null,
    };
    if let Some(choice) = first("oneOf").or_else(|| first("anyOf")) {
        merge(&mut base, value(root, choice, depth - 1));
    }
    for part in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
        merge(&mut base, value(root, part, depth - 1));
    }
    merge(&mut base, of_type(root, keywords, depth));
    base
}

fn of_type(root: &Value, keywords: &Map<String, Value>, depth: u32) -> Value {
    let kind = match keywords.get("type") {
        Some(Value::Array(kinds)) => {
            kinds.iter().find_map(|kind| kind.as_str().filter(|kind| *kind != "null"))
        }
        Some(kind) => kind.as_str(),
        None => None,
    };
    match kind {
        Some("object") => object(root, keywords, depth),
        Some("array") => array(root, keywords, depth),
        Some("string") => text(keywords),
        Some("integer" | "number") => number(keywords),
        Some("boolean") => json!(false),
        Some(_) | None => Value::Null,
    }
}

fn object(root: &Value, keywords: &Map<String, Value>, depth: u32) -> Value {
    let required = keywords.get("required").and_then(Value::as_array);
    let names = required.into_iter().flatten().filter_map(Value::as_str);
    let properties = keywords.get("properties");
    let field =
        |name: &str| value(root, properties.and_then(|p| p.get(name)).unwrap_or(&Value::Null), depth - 1);
    names.map(|name| (name.to_owned(), field(name))).collect::<Map<_, _>>().into()
}

fn array(root: &Value, keywords: &Map<String, Value>, depth: u32) -> Value {
    if let Some(members) = keywords.get("prefixItems").and_then(Value::as_array) {
        return members.iter().map(|member| value(root, member, depth - 1)).collect();
    }
    // One, also where none would do: most sagas have nothing to do for an empty list.
    let count = keywords.get("minItems").and_then(Value::as_u64).unwrap_or(1).max(1);
    let item = keywords.get("items").map_or(Value::Null, |item| value(root, item, depth - 1));
    (0..count).map(|_| item.clone()).collect()
}

fn text(keywords: &Map<String, Value>) -> Value {
    match keywords.get("format").and_then(Value::as_str) {
        Some("uuid") => json!("0190163d-8694-739b-aea5-966c26f8ad91"),
        Some("date-time") => json!("2026-11-23T10:11:12Z"),
        Some("date") => json!("2026-11-23"),
        Some(_) | None => {
            let length = keywords.get("minLength").and_then(Value::as_u64).unwrap_or(1).max(1);
            json!("x".repeat(usize::try_from(length).unwrap_or(1)))
        }
    }
}

fn number(keywords: &Map<String, Value>) -> Value {
    let least = ["minimum", "exclusiveMinimum"].iter().find_map(|keyword| keywords.get(*keyword)?.as_i64());
    json!(least.map_or(1, |least| least + 1))
}

/// Adds what `more` knows to what is there.
fn merge(base: &mut Value, more: Value) {
    match (base, more) {
        (Value::Object(base), Value::Object(more)) => base.extend(more),
        (_, Value::Null) => {}
        (base, more) => *base = more,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use schemars::{JsonSchema, schema_for};
    use serde::{Deserialize, Serialize};

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Line {
        sku: String,
        quantity: std::num::NonZeroU32,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(rename_all = "kebab-case")]
    enum Way {
        Sea { port: String },
        Air,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Order {
        id: uuid::Uuid,
        lines: Vec<Line>,
        way: Way,
        pair: (bool, i64),
        gift: Option<String>,
        #[serde(default)]
        receipt: Option<u64>,
    }

    #[test]
    fn an_example_can_be_read() {
        let example = of(schema_for!(Order).as_value());
        insta::assert_snapshot!(example, @r#"{"id":"0190163d-8694-739b-aea5-966c26f8ad91","lines":[{"quantity":2,"sku":"x"}],"pair":[false,1],"way":"air"}"#);
        serde_json::from_value::<Order>(example).unwrap();
    }
}
