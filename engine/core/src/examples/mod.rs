//! Example values for a JSON Schema, the same in every process.
//!
//! They stand in for data and replies where the closures of a definition are tried ([`behaviour`](crate::behaviour)).
//! The first example says as little as the schema allows; the others say everything, each with other variants of the
//! enums and other lengths of the lists, so that conditions and loops go several ways. No two numbers of an example are
//! the same, so that arithmetic shows.
//!
//! Schemas can say more than this understands (`pattern`, `not`, `if`); such an example may not be readable, and then
//! it is left out.

mod scalar;

use serde_json::{Map, Value, json};

use scalar::{fraction, text, whole};

/// Examples in all, at least: the least one and three full ones, for lists of one, two and no elements.
const EXAMPLES_MIN: usize = 4;
/// Examples in all, at most: enough for each variant of the enums that people write.
const EXAMPLES_MAX: usize = 16;
/// How deep an example is filled in; below that only what must be there is.
const DEPTH_MAX: usize = 8;
/// Depth at which a type that contains itself is given up.
const DEPTH_END: usize = 24;
/// How far the numbers of two places are apart: more than most examples use up.
const PLACE_NUMBERS: usize = 1_001;
/// Values in one example, at most; beyond that only what must be there is filled in.
const VALUES_MAX: usize = 2_000;

/// Examples of this schema, of which no two are the same.
pub(crate) fn of(schema: &Value) -> Vec<Value> {
    let mut examples: Vec<Value> = Vec::new();
    for number in 0..count(schema) {
        let example = numbered(schema, number);
        if !examples.contains(&example) {
            examples.push(example);
        }
    }
    examples
}

/// How many examples go through every variant of this schema.
pub(crate) fn count(schema: &Value) -> usize {
    (widest(schema) + 1).clamp(EXAMPLES_MIN, EXAMPLES_MAX)
}

/// One of the examples of this schema: 0 says the least, the others say everything in different ways.
pub(crate) fn numbered(schema: &Value, number: usize) -> Value {
    apart(schema, number, 0)
}

/// As [`numbered`], with numbers of its own: what belongs to one place is never equal to what belongs to another.
pub(crate) fn apart(schema: &Value, number: usize, spot: usize) -> Value {
    let first = u32::try_from(3 + 2 * number + PLACE_NUMBERS * spot).unwrap_or(3);
    let mut maker = Maker { root: schema, variant: number.checked_sub(1), made: 0, next: first };
    maker.value(schema, 0)
}

/// The greatest number of alternatives at one place.
fn widest(schema: &Value) -> usize {
    match schema {
        Value::Object(keywords) => {
            let alternatives =
                ["enum", "oneOf", "anyOf"].iter().filter_map(|word| keywords.get(*word)?.as_array());
            let here = alternatives.map(Vec::len).max().unwrap_or_default();
            keywords.values().map(widest).max().unwrap_or_default().max(here)
        }
        Value::Array(items) => items.iter().map(widest).max().unwrap_or_default(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => 0,
    }
}

struct Maker<'s> {
    root: &'s Value,
    /// Which of the full examples it is; `None` says as little as it may.
    variant: Option<usize>,
    made: usize,
    /// The number that is given out next.
    next: u32,
}

impl<'s> Maker<'s> {
    /// Returns true if only what must be there is filled in.
    fn is_least(&self, depth: usize) -> bool {
        self.variant.is_none() || depth > DEPTH_MAX || self.made > VALUES_MAX
    }

    /// A number that this example has not given out yet.
    fn next(&mut self) -> u32 {
        let next = self.next;
        self.next = next.saturating_add(7);
        next
    }

    fn value(&mut self, schema: &'s Value, depth: usize) -> Value {
        self.made += 1;
        let Some(schema) = self.resolved(schema).filter(|_| depth < DEPTH_END) else {
            return match schema {
                Value::Bool(true) => json!(format!("any{}", self.next())),
                _ => Value::Null,
            };
        };
        if let Some(value) = schema.get("const") {
            return value.clone();
        }
        if let Some(values) = schema.get("enum").and_then(Value::as_array) {
            return self.pick(values, depth).cloned().unwrap_or_default();
        }
        let mut parts = Vec::new();
        for word in ["oneOf", "anyOf"] {
            let alternatives = schema.get(word).and_then(Value::as_array);
            if let Some(alternative) = alternatives.and_then(|among| self.pick(among, depth)) {
                parts.push(self.value(alternative, depth + 1));
            }
        }
        for part in schema.get("allOf").and_then(Value::as_array).into_iter().flatten() {
            parts.push(self.value(part, depth + 1));
        }
        if schema.contains_key("type") || schema.contains_key("properties") || parts.is_empty() {
            parts.push(self.typed(schema, depth));
        }
        joined(parts)
    }

    /// The keywords of a schema, with those of the definition to which it points.
    fn resolved(&self, schema: &'s Value) -> Option<&'s Map<String, Value>> {
        let mut keywords = schema.as_object()?;
        // A chain of references is short; a circle of them ends here.
        for _ in 0..DEPTH_END {
            let Some(pointer) = keywords.get("$ref").and_then(Value::as_str) else { break };
            let target = self.root.pointer(pointer.trim_start_matches('#')).and_then(Value::as_object);
            keywords = target?;
        }
        Some(keywords)
    }

    /// One of several alternatives; `null` is for the least example.
    fn pick(&self, among: &'s [Value], depth: usize) -> Option<&'s Value> {
        let is_null = |value: &&Value| value.is_null() || value.get("type") == Some(&json!("null"));
        if self.is_least(depth) {
            let plain = |value: &&Value| !value.to_string().contains("\"$ref\"");
            let null = among.iter().find(is_null);
            return null.or_else(|| among.iter().find(plain)).or_else(|| among.first());
        }
        let full: Vec<&Value> = among.iter().filter(|value| !is_null(value)).collect();
        let variant = self.variant.unwrap_or_default();
        full.get(variant % full.len().max(1)).copied().or_else(|| among.first())
    }

    fn typed(&mut self, schema: &'s Map<String, Value>, depth: usize) -> Value {
        match self.type_of(schema, depth) {
            "object" => self.object(schema, depth),
            "array" => self.array(schema, depth),
            "integer" => whole(schema, self.next()),
            "number" => fraction(schema, self.next()),
            "boolean" => json!(self.variant.is_some_and(|variant| variant % 2 == 0)),
            "null" => Value::Null,
            _ => json!(text(schema, self.next())),
        }
    }

    fn type_of(&self, schema: &'s Map<String, Value>, depth: usize) -> &'s str {
        match schema.get("type") {
            Some(Value::String(one)) => one,
            Some(Value::Array(several)) => {
                let names = || several.iter().filter_map(Value::as_str);
                let null = names().find(|name| *name == "null" && self.is_least(depth));
                null.or_else(|| names().find(|name| *name != "null")).unwrap_or("null")
            }
            _ if schema.contains_key("properties") => "object",
            _ if schema.contains_key("items") || schema.contains_key("prefixItems") => "array",
            _ => "string",
        }
    }

    fn object(&mut self, schema: &'s Map<String, Value>, depth: usize) -> Value {
        let mut object = Map::new();
        let required = schema.get("required").and_then(Value::as_array);
        let must = |name: &str| required.is_some_and(|required| required.iter().any(|other| other == name));
        for (name, property) in schema.get("properties").and_then(Value::as_object).into_iter().flatten() {
            if must(name) || !self.is_least(depth) {
                let value = self.value(property, depth + 1);
                object.insert(name.clone(), value);
            }
        }
        let entries = if self.is_least(depth) { 0 } else { self.length() };
        let keyed_by_text =
            schema.get("additionalProperties").filter(|values| **values != Value::Bool(false));
        let by_number = schema.get("patternProperties").and_then(Value::as_object);
        let by_number = by_number.and_then(|patterns| patterns.values().next());
        for place in 1..=entries {
            if let Some(values) = by_number.or(keyed_by_text) {
                let key = if by_number.is_some() { place.to_string() } else { format!("key{place}") };
                let value = self.value(values, depth + 1);
                object.insert(key, value);
            }
        }
        Value::Object(object)
    }

    fn array(&mut self, schema: &'s Map<String, Value>, depth: usize) -> Value {
        let first = schema.get("prefixItems").and_then(Value::as_array);
        let mut items: Vec<Value> = Vec::new();
        for item in first.into_iter().flatten() {
            items.push(self.value(item, depth + 1));
        }
        let bound =
            |word: &str| schema.get(word).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        let wanted = if self.is_least(depth) { 0 } else { self.length() };
        let wanted = wanted.max(bound("minItems").unwrap_or_default().min(VALUES_MAX));
        let wanted = wanted.min(bound("maxItems").unwrap_or(usize::MAX));
        if let Some(item) = schema.get("items").filter(|items| **items != Value::Bool(false)) {
            while items.len() < wanted {
                items.push(self.value(item, depth + 1));
            }
        }
        Value::Array(items)
    }

    /// How many elements the lists of this example have: one, two, none, and so on.
    fn length(&self) -> usize {
        [1, 2, 0][self.variant.unwrap_or_default() % 3]
    }
}

/// Objects become one object; of other parts the last one counts.
fn joined(parts: Vec<Value>) -> Value {
    parts
        .into_iter()
        .reduce(|before, part| match (before, part) {
            (Value::Object(mut before), Value::Object(part)) => {
                before.extend(part);
                Value::Object(before)
            }
            (object @ Value::Object(_), _) => object,
            (_, part) => part,
        })
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::num::NonZeroU8;

    use schemars::JsonSchema;
    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};
    use uuid::Uuid;

    use super::*;

    fn all<T: JsonSchema + DeserializeOwned>() -> Vec<String> {
        let examples = of(&crate::schema::of::<T>());
        for example in &examples {
            let read = serde_json::from_value::<T>(example.clone());
            assert!(read.is_ok(), "{example}: {:?}", read.err());
        }
        examples.iter().map(Value::to_string).collect()
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Line {
        sku: String,
        quantity: u8,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    #[serde(tag = "by", rename_all = "kebab-case")]
    enum Payment {
        Card { number: String },
        Invoice { days: NonZeroU8 },
        Cash,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Order {
        id: Uuid,
        lines: Vec<Line>,
        payment: Payment,
        gift: bool,
        note: Option<String>,
        #[serde(default)]
        weight: f64,
    }

    #[test]
    fn examples_are_minimal_first_then_full_in_every_variant() {
        insta::assert_snapshot!(all::<Order>().join("\n"), @r#"
        {"gift":false,"id":"00000000-0000-7000-8000-000000000003","lines":[],"payment":{"by":"card","number":"k10"}}
        {"gift":true,"id":"00000000-0000-7000-8000-000000000005","lines":[{"quantity":12,"sku":"t19"}],"note":"a26","payment":{"by":"card","number":"h33"},"weight":40.5}
        {"gift":false,"id":"00000000-0000-7000-8000-000000000007","lines":[{"quantity":14,"sku":"v21"},{"quantity":28,"sku":"j35"}],"note":"q42","payment":{"by":"invoice","days":50},"weight":56.5}
        {"gift":true,"id":"00000000-0000-7000-8000-000000000009","lines":[],"note":"q16","payment":{"by":"cash"},"weight":23.5}
        "#);
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Tree {
        name: String,
        children: Vec<Tree>,
        parent: Option<Box<Tree>>,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    enum Sum {
        Of(Box<Sum>, Box<Sum>),
        One(i64),
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Odd {
        byte: i8,
        wide: u64,
        pair: (u16, String),
        three: [u32; 3],
        letter: char,
        any: Value,
        by_name: HashMap<String, u32>,
        by_number: BTreeMap<u32, String>,
        unit: (),
        #[serde(flatten)]
        line: Line,
        maybe: Option<Payment>,
    }

    #[test]
    fn generated_examples_of_any_type_can_be_read() {
        assert!(all::<Tree>().len() > 2);
        assert!(all::<Odd>().len() > 2);
        assert!(all::<Vec<Order>>().len() > 2);
        assert_eq!(all::<()>(), ["null"]);
        assert!(of(&crate::schema::of::<Sum>()).iter().all(|example| example.to_string().len() < 100_000));
        assert_eq!(of(&json!({ "$ref": "#/$defs/nowhere" })), [Value::Null]);
        // A type that is nothing but itself comes to an end.
        assert!(!of(&json!({ "$ref": "#" })).is_empty());
    }
}
