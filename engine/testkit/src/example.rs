//! Examples of a JSON Schema: the smallest value that fits it, and one in which all is said.
//!
//! So that a definition can be proven without its author writing an input for it. Knows what `schemars` writes for Rust
//! types; anything that it cannot guess (a pattern, a rule between fields) is told by hand.

use serde_json::{Map, Value, json};

/// How deep schemas may nest: deeper than any that is not endless.
const DEPTH_MAX: u32 = 16;

/// How much an example says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Extent {
    /// Every part that must be said, and the first of several choices.
    Least,
    /// Every part that can be said, every flag set, and the last of several choices: the parts that `Least` leaves out.
    Most,
}

/// A value that fits the schema.
pub(crate) fn of(schema: &Value, extent: Extent) -> Value {
    Example { root: schema, extent }.value(schema, DEPTH_MAX)
}

struct Example<'s> {
    /// Where references lead.
    root: &'s Value,
    extent: Extent,
}

impl Example<'_> {
    fn value(&self, schema: &Value, depth: u32) -> Value {
        let Value::Object(keywords) = schema else { return Value::Null };
        if depth == 0 {
            return Value::Null;
        }
        let is_least = self.extent == Extent::Least;
        let given = keywords.get("const").or_else(|| keywords.get("default").filter(|_| is_least));
        if let Some(value) = given {
            return value.clone();
        }
        let chosen = |keyword: &str| {
            let choices = keywords.get(keyword)?.as_array()?;
            // The `null` of an `Option` comes last.
            let says_something = |choice: &&Value| choice.get("type").is_none_or(|kind| kind != "null");
            if is_least { choices.first() } else { choices.iter().rfind(says_something) }
        };
        if let Some(value) = chosen("enum").or_else(|| chosen("examples")) {
            return value.clone();
        }
        let mut base = match keywords.get("$ref").and_then(Value::as_str) {
            Some(reference) => self.value(
                self.root.pointer(reference.trim_start_matches('#')).unwrap_or(&Value::Null),
                depth - 1,
            ),
            None => Value::Null,
        };
        if let Some(choice) = chosen("oneOf").or_else(|| chosen("anyOf")) {
            merge(&mut base, self.value(choice, depth - 1));
        }
        for part in keywords.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            merge(&mut base, self.value(part, depth - 1));
        }
        merge(&mut base, self.of_type(keywords, depth));
        base
    }

    fn of_type(&self, keywords: &Map<String, Value>, depth: u32) -> Value {
        let kind = match keywords.get("type") {
            Some(Value::Array(kinds)) => {
                kinds.iter().find_map(|kind| kind.as_str().filter(|kind| *kind != "null"))
            }
            Some(kind) => kind.as_str(),
            None => None,
        };
        match kind {
            Some("object") => self.object(keywords, depth),
            Some("array") => self.array(keywords, depth),
            Some("string") => text(keywords),
            Some("integer" | "number") => number(keywords),
            Some("boolean") => json!(self.extent == Extent::Most),
            Some(_) | None => Value::Null,
        }
    }

    fn object(&self, keywords: &Map<String, Value>, depth: u32) -> Value {
        let properties = keywords.get("properties").and_then(Value::as_object);
        let required = keywords.get("required").and_then(Value::as_array);
        let names: Vec<&str> = match (self.extent, properties) {
            (Extent::Most, Some(properties)) => properties.keys().map(String::as_str).collect(),
            (Extent::Most, None) | (Extent::Least, _) => {
                required.into_iter().flatten().filter_map(Value::as_str).collect()
            }
        };
        let field =
            |name: &str| self.value(properties.and_then(|p| p.get(name)).unwrap_or(&Value::Null), depth - 1);
        names.into_iter().map(|name| (name.to_owned(), field(name))).collect::<Map<_, _>>().into()
    }

    fn array(&self, keywords: &Map<String, Value>, depth: u32) -> Value {
        if let Some(members) = keywords.get("prefixItems").and_then(Value::as_array) {
            return members.iter().map(|member| self.value(member, depth - 1)).collect();
        }
        // One, also where none would do: most sagas have nothing to do for an empty list.
        let count = keywords.get("minItems").and_then(Value::as_u64).unwrap_or(1).max(1);
        let item = keywords.get("items").map_or(Value::Null, |item| self.value(item, depth - 1));
        (0..count).map(|_| item.clone()).collect()
    }
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
    fn least_example_can_be_read() {
        let example = of(schema_for!(Order).as_value(), Extent::Least);
        insta::assert_snapshot!(example, @r#"{"id":"0190163d-8694-739b-aea5-966c26f8ad91","lines":[{"quantity":2,"sku":"x"}],"pair":[false,1],"way":"air"}"#);
        serde_json::from_value::<Order>(example).unwrap();
    }

    #[test]
    fn fullest_example_fills_in_every_field() {
        let example = of(schema_for!(Order).as_value(), Extent::Most);
        insta::assert_snapshot!(example, @r#"{"gift":"x","id":"0190163d-8694-739b-aea5-966c26f8ad91","lines":[{"quantity":2,"sku":"x"}],"pair":[true,1],"receipt":1,"way":{"sea":{"port":"x"}}}"#);
        serde_json::from_value::<Order>(example).unwrap();
    }
}
