//! JSON that is kept byte for byte.
//!
//! A command's payload is computed once and every retry sends the very same bytes; a stored reply comes back
//! unchanged. [`JsonText`] is such a text: known to be JSON, cheap to clone, never parsed and printed again.

use std::fmt;
use std::sync::Arc;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use thiserror::Error;

/// The largest payload of a command or a reply, in bytes: below the broker's 1 MiB with room for headers.
pub const PAYLOAD_BYTES_MAX: usize = 256 * 1024;

pub use crate::unambiguous::{Ambiguous, check_unambiguous};

/// How deep arrays and objects may be nested in each other: common readers follow 128 levels, and a view of the
/// history wraps a reply in a few of its own.
pub const DEPTH_MAX: usize = 100;

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

    /// Checks that every reader that it may reach can store and read it.
    ///
    /// # Errors
    /// [`Unfit`] if not; no caller should accept it then, because a later hop would trip over it again and again.
    pub fn check_storable(&self) -> Result<(), Unfit> {
        let traits = scan(self.0.as_bytes());
        if traits.has_nul {
            return Err(Unfit::Nul);
        }
        if traits.depth > DEPTH_MAX {
            return Err(Unfit::TooDeep { depth: traits.depth });
        }
        if traits.is_plain {
            return Ok(());
        }
        self.read::<serde_json::Value>().map(drop).map_err(|problem| Unfit::OutOfRange(problem.to_string()))
    }

    /// As [`check_storable`](Self::check_storable), and that it is small enough to be the payload of a message.
    ///
    /// # Errors
    /// [`Unfit`] if not.
    pub fn check_sendable(&self) -> Result<(), Unfit> {
        if self.0.len() > PAYLOAD_BYTES_MAX {
            return Err(Unfit::TooLarge { bytes: self.0.len() });
        }
        self.check_storable()
    }
}

/// JSON that cannot be used, though it is JSON.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Unfit {
    /// More than a message carries.
    #[error("it has {bytes} bytes, more than {PAYLOAD_BYTES_MAX}")]
    TooLarge {
        /// Its size.
        bytes: usize,
    },
    /// Postgres cannot store it as text.
    #[error("a text in it holds a NUL character")]
    Nul,
    /// More than common readers follow.
    #[error("it is nested {depth} deep, more than {DEPTH_MAX}")]
    TooDeep {
        /// Arrays and objects inside of each other.
        depth: usize,
    },
    /// A number that is none, such as 1e400.
    #[error("it is not readable ({0})")]
    OutOfRange(String),
}

/// Returns true if a character is invisible and changes the order or place in which others are shown: marks of
/// direction, line and paragraph separators, and the byte order mark.
pub const fn is_mark(c: char) -> bool {
    matches!(c, '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

struct Traits {
    has_nul: bool,
    depth: usize,
    /// True if nothing in it can keep it from being read as a value: no escape, which may be half of a character, no
    /// exponent and no number of many digits, which may be out of range. Almost all JSON is so, and each message is
    /// checked.
    is_plain: bool,
}

/// Digits of a number that no reader finds too large: the greatest `f64` has 309.
const PLAIN_DIGITS_MAX: usize = 300;

/// Reads valid JSON once. `\u0000` counts where it is an escape, not after an escaped backslash.
fn scan(bytes: &[u8]) -> Traits {
    let mut traits = Traits { has_nul: false, depth: 0, is_plain: true };
    let (mut depth, mut digits, mut in_text) = (0_usize, 0_usize, false);
    let mut at = 0;
    while at < bytes.len() {
        let byte = bytes[at];
        match byte {
            b'"' => in_text = !in_text,
            b'\\' => {
                traits.has_nul |= bytes[at + 1..].starts_with(b"u0000");
                traits.is_plain = false;
                at += 1;
            }
            b'e' | b'E' if digits > 0 => traits.is_plain = false,
            b'[' | b'{' if !in_text => {
                depth += 1;
                traits.depth = traits.depth.max(depth);
            }
            b']' | b'}' if !in_text => depth = depth.saturating_sub(1),
            _ => {}
        }
        digits = if byte.is_ascii_digit() && !in_text { digits + 1 } else { 0 };
        traits.is_plain &= digits <= PLAIN_DIGITS_MAX;
        at += 1;
    }
    traits
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
    fn json_text_keeps_its_bytes_in_storage() {
        let text = JsonText::parse(br#"{"b": 1,   "a":[1.0, 2e3]}"#).unwrap();
        let stored = serde_json::to_string(&vec![text.clone()]).unwrap();
        assert_eq!(stored, r#"[{"b": 1,   "a":[1.0, 2e3]}]"#);
        assert_eq!(serde_json::from_str::<Vec<JsonText>>(&stored).unwrap(), [text]);
    }

    #[test]
    fn unreadable_or_unstorable_json_is_unfit() {
        let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        let large = |bytes: usize| format!("\"{}\"", "x".repeat(bytes - 2));
        let out_of_range = |problem: &str| Some(Unfit::OutOfRange(problem.to_owned()));
        for (json, unfit) in [
            (r#""a""#.to_owned(), None),
            (r#""\u0000""#.to_owned(), Some(Unfit::Nul)),
            (r#""\\u0000""#.to_owned(), None),
            (r#""\\\u0000""#.to_owned(), Some(Unfit::Nul)),
            (r#"{"k\u0000":1}"#.to_owned(), Some(Unfit::Nul)),
            (r#""\u00001""#.to_owned(), Some(Unfit::Nul)),
            (r#""\u0001""#.to_owned(), None),
            (deep(100), None),
            (deep(101), Some(Unfit::TooDeep { depth: 101 })),
            (deep(100_000), Some(Unfit::TooDeep { depth: 100_000 })),
            (format!("[{},{}]", deep(60), deep(60)), None),
            (format!("[\"{}\"]", "[{".repeat(200)), None),
            (format!(r#"["\"",{}]"#, deep(100)), Some(Unfit::TooDeep { depth: 101 })),
            ("[1e400]".to_owned(), out_of_range("number out of range at line 1 column 6")),
            ("-1.5E400".to_owned(), out_of_range("number out of range at line 1 column 8")),
            ("[true,false,1e4,\"1e400\"]".to_owned(), None),
            ("9".repeat(300), None),
            ("9".repeat(400), out_of_range("number out of range at line 1 column 400")),
            (format!("0.{}", "9".repeat(400)), None),
            (r#""\ud800""#.to_owned(), out_of_range("unexpected end of hex escape at line 1 column 8")),
            (r#""\ud83d\ude00""#.to_owned(), None),
            (large(PAYLOAD_BYTES_MAX), None),
            (large(PAYLOAD_BYTES_MAX + 1), Some(Unfit::TooLarge { bytes: PAYLOAD_BYTES_MAX + 1 })),
        ] {
            let text = JsonText::parse(json.as_bytes()).unwrap();
            let shown = &json[..json.len().min(40)];
            assert_eq!(text.check_sendable().err(), unfit, "{shown}");
            let plain = scan(text.as_bytes()).is_plain && unfit.is_none();
            assert!(!plain || text.read::<serde_json::Value>().is_ok(), "{shown}");
        }
        assert_eq!(
            JsonText::parse(large(PAYLOAD_BYTES_MAX + 1).as_bytes()).unwrap().check_storable(),
            Ok(())
        );
    }
}
