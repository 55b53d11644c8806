//! Numbers and texts that keep to the bounds and formats of their schema.

use serde_json::{Map, Value, json};

/// Characters to which a text is filled up, at most, whatever its schema wants.
const TEXT_CHARS_MAX: usize = 2_000;

/// A whole number within the bounds of its schema.
pub(super) fn whole(schema: &Map<String, Value>, number: u32) -> Value {
    let bound = |word: &str| schema.get(word).and_then(as_whole);
    let least = bound("minimum").or_else(|| Some(bound("exclusiveMinimum")? + 1)).unwrap_or(0);
    let most = bound("maximum").or_else(|| Some(bound("exclusiveMaximum")? - 1));
    let least = if most.is_some_and(|most| most < least) { most.unwrap_or(least) } else { least };
    let step = bound("multipleOf").filter(|step| *step > 0).unwrap_or(1);
    let first = -(-least).div_euclid(step) * step;
    let mut value = first.max(0) + i128::from(number) * step;
    if let Some(most) = most.filter(|most| value > *most) {
        let steps = ((most - first).max(0) / step + 1).max(1);
        value = first + (i128::from(number) % steps) * step;
    }
    i64::try_from(value)
        .map(Value::from)
        .or_else(|_| u64::try_from(value).map(Value::from))
        .unwrap_or(json!(0))
}

fn as_whole(value: &Value) -> Option<i128> {
    let exact = value.as_i64().map(i128::from).or_else(|| value.as_u64().map(i128::from));
    #[expect(
        clippy::cast_possible_truncation,
        reason = "bounds of whole numbers that are written as fractions"
    )]
    exact.or_else(|| value.as_f64().map(|fraction| fraction as i128))
}

/// A number with a fraction within the bounds of its schema.
pub(super) fn fraction(schema: &Map<String, Value>, number: u32) -> Value {
    let bound = |word: &str| schema.get(word).and_then(Value::as_f64);
    let least = bound("minimum").or_else(|| bound("exclusiveMinimum"));
    let most = bound("maximum").or_else(|| bound("exclusiveMaximum"));
    let plain = f64::from(number) + 0.5;
    let fits = least.is_none_or(|least| plain > least) && most.is_none_or(|most| plain < most);
    let value = match (least, most) {
        _ if fits => plain,
        (Some(least), Some(most)) => least + (most - least) * (f64::from(number % 7) + 1.0) / 8.0,
        (Some(least), None) => least + plain,
        (None, Some(most)) => most - plain,
        (None, None) => plain,
    };
    json!(value)
}

/// A text of the schema's format and length.
pub(super) fn text(schema: &Map<String, Value>, number: u32) -> String {
    let (day, hour) = (number % 28 + 1, number % 24);
    let format = schema.get("format").and_then(Value::as_str).unwrap_or_default();
    let text = match format {
        "uuid" => format!("00000000-0000-7000-8000-{number:012x}"),
        "date-time" => format!("2026-01-{day:02}T{hour:02}:00:00Z"),
        "partial-date-time" => format!("2026-01-{day:02}T{hour:02}:00:00"),
        "date" => format!("2026-01-{day:02}"),
        "time" => format!("{hour:02}:00:00Z"),
        "partial-time" => format!("{hour:02}:00:00"),
        "duration" => format!("PT{number}S"),
        "email" => format!("a{number}@example.com"),
        "uri" | "url" | "iri" => format!("https://example.com/{number}"),
        "hostname" => format!("h{number}.example.com"),
        "ipv4" | "ip" => format!("192.0.2.{}", number % 250 + 1),
        "ipv6" => format!("2001:db8::{number:x}"),
        _ => {
            let letter = char::from(b'a' + u8::try_from(number % 26).unwrap_or_default());
            format!("{letter}{number}")
        }
    };
    let bound = |word: &str| schema.get(word).and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
    let missing =
        bound("minLength").unwrap_or_default().min(TEXT_CHARS_MAX).saturating_sub(text.chars().count());
    let text: String = text.chars().chain(std::iter::repeat_n('x', missing)).collect();
    text.chars().take(bound("maxLength").unwrap_or(usize::MAX)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_keep_to_the_bounds_of_their_schema() {
        for schema in [
            json!({ "type": "integer", "minimum": 1, "maximum": 2 }),
            json!({ "type": "integer", "exclusiveMinimum": 41, "exclusiveMaximum": 43 }),
            json!({ "type": "integer", "minimum": -9, "maximum": -7 }),
            json!({ "type": "integer", "minimum": 10, "multipleOf": 25 }),
            json!({ "type": "number", "minimum": 0, "maximum": 1 }),
            json!({ "type": "number", "minimum": 1e9 }),
        ] {
            let bound = |word: &str, otherwise| schema.get(word).and_then(Value::as_f64).unwrap_or(otherwise);
            let least = bound("minimum", bound("exclusiveMinimum", f64::MIN));
            let most = bound("maximum", bound("exclusiveMaximum", f64::MAX));
            let step = bound("multipleOf", 0.0);
            for number in 0..8 {
                let example = super::super::numbered(&schema, number).as_f64().unwrap();
                assert!((least..=most).contains(&example), "{schema}: {example}");
                assert!(step == 0.0 || example % step == 0.0, "{schema}: {example}");
            }
        }
    }
}
