//! JSON that is kept byte for byte.
//!
//! A command's payload is computed once and every retry sends the very same bytes; a stored reply comes back
//! unchanged. [`JsonText`] is such a text: known to be JSON, cheap to clone, never parsed and printed again.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;

/// A text that is known to be one JSON value, kept byte for byte.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct JsonText(Arc<str>);

impl JsonText {
    /// The JSON of `value`.
    ///
    /// # Errors
    /// Those of `value`'s own `Serialize`.
    pub fn of<T: Serialize + ?Sized>(value: &T) -> Result<Self, serde_json::Error> {
        serde_json::to_string(value).map(|text| Self(text.into()))
    }

    /// Takes bytes that must be one JSON value.
    ///
    /// # Errors
    /// If they are not UTF-8 or not one JSON value.
    pub fn parse(bytes: &[u8]) -> Result<Self, serde_json::Error> {
        let raw: &RawValue = serde_json::from_slice(bytes)?;
        Ok(Self(raw.get().into()))
    }

    /// The JSON value `null`.
    pub fn null() -> Self {
        Self("null".into())
    }

    /// Reads the value.
    ///
    /// # Errors
    /// If the JSON is not a `T`.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(&self.0)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The text's bytes, as they go on the wire and into the journal.
    pub fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }

    /// Whether a string inside holds a NUL, which Postgres cannot store as text.
    pub fn has_nul(&self) -> bool {
        has_nul_escape(self.0.as_bytes())
    }
}

/// Finds `\u0000` that is an escape and not an escaped backslash before `u0000`.
fn has_nul_escape(bytes: &[u8]) -> bool {
    let mut at = 0;
    while at < bytes.len() {
        if bytes[at] == b'\\' {
            if bytes[at + 1..].starts_with(b"u0000") {
                return true;
            }
            at += 2;
        } else {
            at += 1;
        }
    }
    false
}

impl fmt::Debug for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for JsonText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Serialize for JsonText {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(serde::ser::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for JsonText {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Ok(Self(raw.get().into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_survive_storage() {
        let text = JsonText::parse(br#"{"b": 1,   "a":[1.0, 2e3]}"#).unwrap();
        let stored = serde_json::to_string(&vec![text.clone()]).unwrap();
        assert_eq!(stored, r#"[{"b": 1,   "a":[1.0, 2e3]}]"#);
        assert_eq!(serde_json::from_str::<Vec<JsonText>>(&stored).unwrap(), [text]);
    }

    #[test]
    fn nul_is_found_only_where_it_is_one() {
        for (json, nul) in [
            (r#""a""#, false),
            (r#""\u0000""#, true),
            (r#""\\u0000""#, false),
            (r#""\\\u0000""#, true),
            (r#"{"k\u0000":1}"#, true),
            (r#""\u00001""#, true),
            (r#""\u0001""#, false),
        ] {
            assert_eq!(JsonText::parse(json.as_bytes()).unwrap().has_nul(), nul, "{json}");
        }
    }
}
