//! Reads an input: the one place where a client's JSON becomes a saga's data.
//!
//! Strict, since a field that is not understood here would be forgotten silently: an unknown field is refused, a wrong
//! type names its place, a struct is not read from an array, and a NUL is refused because no service could store it. An
//! input that passes is stored as the data with all defaults filled in, and every later reading of it is of our own
//! writing.
//!
//! Inside `#[serde(flatten)]` and untagged or internally tagged enums serde buffers fields without saying which ones
//! it drops, so an unknown field there goes unnoticed unless the type says `#[serde(deny_unknown_fields)]`.

use std::sync::Arc;

use serde_ignored::Path as IgnoredPath;
use serde_json::Value;
use serde_path_to_error::Segment;

use crate::contract::SagaData;
use crate::definition::{InvalidInput, ReadInput};
use crate::json::JsonText;

/// The longest text of a path or problem, in characters: serde quotes what it was given, however long.
const TEXT_CHARS_MAX: usize = 300;

pub(crate) fn reader<D: SagaData>() -> ReadInput {
    Arc::new(|input: &Value| {
        let mut unknown = None;
        let mut note = |path: IgnoredPath<'_>| {
            unknown.get_or_insert_with(|| pointer_to_ignored(&path));
        };
        let strict = serde_ignored::Deserializer::new(input, &mut note);
        let data: D = serde_path_to_error::deserialize(strict)
            .map_err(|error| invalid(pointer(error.path().iter()), error.inner().to_string()))?;
        if let Some(place) = unknown {
            return Err(invalid(place, "this field is unknown".to_owned()));
        }
        if let Some(place) = place_of_nul(input) {
            return Err(invalid(
                place,
                "a text holds a NUL character, which no service can store".to_owned(),
            ));
        }
        let unstorable = |error: serde_json::Error| invalid(String::new(), error.to_string());
        let data = JsonText::of(&data).map_err(unstorable)?;
        match place_of_array_for_object(input, &data.read().map_err(unstorable)?) {
            Some(place) => Err(invalid(place, "an array stands where an object is expected".to_owned())),
            None => Ok(data),
        }
    })
}

fn invalid(place: String, problem: String) -> InvalidInput {
    let at = if place.is_empty() { "/".to_owned() } else { place.chars().take(TEXT_CHARS_MAX).collect() };
    InvalidInput { at, problem: problem.chars().take(TEXT_CHARS_MAX).collect() }
}

fn pointer<'p>(segments: impl Iterator<Item = &'p Segment>) -> String {
    let part = |segment: &Segment| match segment {
        Segment::Seq { index } => format!("/{index}"),
        Segment::Map { key } | Segment::Enum { variant: key } => format!("/{}", escaped(key)),
        Segment::Unknown => "/?".to_owned(),
    };
    segments.map(part).collect()
}

fn pointer_to_ignored(path: &IgnoredPath<'_>) -> String {
    match path {
        IgnoredPath::Root => String::new(),
        IgnoredPath::Seq { parent, index } => format!("{}/{index}", pointer_to_ignored(parent)),
        IgnoredPath::Map { parent, key } => format!("{}/{}", pointer_to_ignored(parent), escaped(key)),
        // These wrap a value in Rust and nothing in JSON.
        IgnoredPath::Some { parent }
        | IgnoredPath::NewtypeStruct { parent }
        | IgnoredPath::NewtypeVariant { parent } => pointer_to_ignored(parent),
    }
}

fn place_of_nul(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => text.contains('\0').then(String::new),
        Value::Array(items) => items
            .iter()
            .enumerate()
            .find_map(|(index, item)| place_of_nul(item).map(|rest| format!("/{index}{rest}"))),
        Value::Object(fields) => fields.iter().find_map(|(key, value)| {
            let rest = if key.contains('\0') { Some(String::new()) } else { place_of_nul(value) };
            rest.map(|rest| format!("/{}{rest}", escaped(key)))
        }),
        Value::Null | Value::Bool(_) | Value::Number(_) => None,
    }
}

/// serde also reads a struct from an array, by position; here only names count.
fn place_of_array_for_object(input: &Value, data: &Value) -> Option<String> {
    match (input, data) {
        (Value::Array(_), Value::Object(_)) => Some(String::new()),
        (Value::Array(input), Value::Array(data)) => {
            input.iter().zip(data).enumerate().find_map(|(index, (a, b))| {
                place_of_array_for_object(a, b).map(|rest| format!("/{index}{rest}"))
            })
        }
        (Value::Object(input), Value::Object(data)) => input.iter().find_map(|(key, value)| {
            let rest = place_of_array_for_object(value, data.get(key)?)?;
            Some(format!("/{}{rest}", escaped(key)))
        }),
        (_, _) => None,
    }
}

/// A key as part of a JSON pointer; a NUL in it becomes visible.
fn escaped(key: &str) -> String {
    key.replace('~', "~0").replace('/', "~1").replace('\0', "\\u0000")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use schemars::JsonSchema;
    use serde::{Deserialize, Serialize};
    use serde_json::json;

    use super::*;

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Basket {
        customer: String,
        #[serde(default)]
        currency: Option<String>,
        #[serde(default)]
        lines: Vec<Line>,
        #[serde(default)]
        notes: BTreeMap<String, String>,
        #[serde(default)]
        wrapping: Option<Wrapping>,
        #[serde(default = "seven")]
        payment: u64,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Line {
        sku: String,
        quantity: u32,
    }

    #[derive(Serialize, Deserialize, JsonSchema)]
    struct Wrapping {
        colour: String,
    }

    fn seven() -> u64 {
        7
    }

    fn read(input: Value) -> String {
        match reader::<Basket>()(&input) {
            Ok(data) => data.to_string(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn input_defaults_are_filled_in() {
        insta::assert_snapshot!(
            read(json!({"customer": "alice"})),
            @r#"{"customer":"alice","currency":null,"lines":[],"notes":{},"wrapping":null,"payment":7}"#
        );
    }

    #[test]
    fn unfit_input_is_refused_with_its_json_pointer() {
        let line = |line: Value| json!({"customer": "a", "lines": [{"sku": "x", "quantity": 1}, line]});
        let refusals = [
            json!({}),
            json!({"customer": 5}),
            json!({"customer": "a", "cutsomer": 1, "zzz": 2}),
            line(json!({"sku": "x"})),
            line(json!({"sku": "x", "quantity": -1})),
            line(json!({"sku": "x", "quantity": 1, "pric/e~": 1})),
            json!({"customer": "a", "wrapping": {"colour": "red", "bow": true}}),
            json!({"customer": "a\0"}),
            json!({"customer": "a", "notes": {"n": "\0"}}),
            json!({"customer": "a", "notes": {"n\0": ""}}),
            json!([]),
            json!(["a", "EUR", []]),
            json!({"customer": "a", "lines": [["x", 1]]}),
            json!(null),
            json!("a"),
        ]
        .map(read)
        .join("\n");
        insta::assert_snapshot!(refusals, @r#"
        the input does not fit: at `/`, missing field `customer`
        the input does not fit: at `/customer`, invalid type: integer `5`, expected a string
        the input does not fit: at `/cutsomer`, this field is unknown
        the input does not fit: at `/lines/1`, missing field `quantity`
        the input does not fit: at `/lines/1/quantity`, invalid value: integer `-1`, expected u32
        the input does not fit: at `/lines/1/pric~1e~0`, this field is unknown
        the input does not fit: at `/wrapping/bow`, this field is unknown
        the input does not fit: at `/customer`, a text holds a NUL character, which no service can store
        the input does not fit: at `/notes/n`, a text holds a NUL character, which no service can store
        the input does not fit: at `/notes/n\u0000`, a text holds a NUL character, which no service can store
        the input does not fit: at `/`, invalid length 0, expected struct Basket with 6 elements
        the input does not fit: at `/`, an array stands where an object is expected
        the input does not fit: at `/lines/0`, an array stands where an object is expected
        the input does not fit: at `/`, invalid type: null, expected struct Basket
        the input does not fit: at `/`, invalid type: string "a", expected struct Basket
        "#);
    }

    #[test]
    fn long_input_text_is_cut_in_the_error() {
        let error = reader::<Basket>()(&json!({"customer": "a", "payment": "x".repeat(10_000)}));
        let Err(InvalidInput { at, problem }) = error else { panic!("accepted") };
        assert_eq!(at, "/payment");
        assert_eq!(problem.chars().count(), TEXT_CHARS_MAX);
    }
}
