//! The tag that a saga must bear for a fault to strike it.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::fault::kind::InvalidFault;

/// The longest text of a tag, in characters: a name of 64, a colon and a value of 256.
const TAG_CHARS_MAX: usize = 321;
/// So much of a text that is refused is shown, in characters.
const SHOWN_CHARS: usize = 80;

/// A tag and its value, said as `name:value`; the first colon ends the name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TagCondition {
    name: String,
    value: String,
}

impl TagCondition {
    /// Returns true if a saga with these tags bears it.
    pub fn fits(&self, tags: &BTreeMap<String, String>) -> bool {
        tags.get(&self.name) == Some(&self.value)
    }
}

impl fmt::Display for TagCondition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.name, self.value)
    }
}

impl FromStr for TagCondition {
    type Err = InvalidFault;

    fn from_str(text: &str) -> Result<Self, InvalidFault> {
        let refused = || InvalidFault::Tag(text.chars().take(SHOWN_CHARS).collect());
        let (name, value) = text.split_once(':').ok_or_else(refused)?;
        let is_too_long = text.chars().count() > TAG_CHARS_MAX;
        if name.is_empty() || is_too_long || text.chars().any(char::is_control) {
            return Err(refused());
        }
        Ok(Self { name: name.to_owned(), value: value.to_owned() })
    }
}
