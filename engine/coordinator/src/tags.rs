//! Labels: each one that is accepted can be found again with `tag=name:value`, and read safely.

use std::collections::BTreeMap;

use redress_core::json::is_mark;
use thiserror::Error;

/// Labels of one saga: each page of a list carries them.
pub const TAGS_MAX: usize = 64;
/// The longest name, in characters.
pub const TAG_NAME_CHARS_MAX: usize = 64;
/// The longest value, in characters.
pub const TAG_VALUE_CHARS_MAX: usize = 256;

/// A label cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum InvalidTag {
    /// More than a list can carry.
    #[error("{0} tags are too many: {TAGS_MAX} at the most")]
    TooMany(usize),
    /// A filter could not say it: the first colon of `tag=name:value` ends the name.
    #[error(
        "the tag name `{0}` is unusable: take 1 to {TAG_NAME_CHARS_MAX} ASCII letters, digits, `.`, `_`, `-` or `/`"
    )]
    Name(String),
    /// It would be hard to find, or to look at.
    #[error(
        "the value of the tag `{0}` is unusable: at most {TAG_VALUE_CHARS_MAX} characters, and neither control \
         characters nor marks of direction"
    )]
    Value(String),
}

/// Checks that each label can be found again.
pub(crate) fn check(tags: &BTreeMap<String, String>) -> Result<(), InvalidTag> {
    if tags.len() > TAGS_MAX {
        return Err(InvalidTag::TooMany(tags.len()));
    }
    for (name, value) in tags {
        let is_addressable = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-' | '/');
        if name.is_empty() || name.len() > TAG_NAME_CHARS_MAX || !name.chars().all(is_addressable) {
            return Err(InvalidTag::Name(name.chars().take(TAG_NAME_CHARS_MAX).collect()));
        }
        let is_hidden = |c: char| c.is_control() || is_mark(c);
        if value.chars().count() > TAG_VALUE_CHARS_MAX || value.chars().any(is_hidden) {
            return Err(InvalidTag::Value(name.clone()));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(name: &str, value: &str) -> Result<(), InvalidTag> {
        check(&BTreeMap::from([(name.to_owned(), value.to_owned())]))
    }

    #[test]
    fn unfindable_or_unreadable_tag_is_refused() {
        let long = |length| "n".repeat(length);
        for (name, value) in
            [("a", ""), ("team/Order.v1_x-2", "a:b: ü\"\\ שלום"), (&long(64), &"ü".repeat(256))]
        {
            assert_eq!(checked(name, value), Ok(()), "{name} {value}");
        }
        for name in ["", "a:b", "a b", "ü", "a\0", "a\n", &long(65)] {
            let told: String = name.chars().take(64).collect();
            assert_eq!(checked(name, "x"), Err(InvalidTag::Name(told)), "{name:?}");
        }
        for value in ["\0", "\x1b[2J", "a\nb", "\u{85}", "\u{202e}abc", "\u{200f}", &"x".repeat(257)] {
            assert_eq!(checked("a", value), Err(InvalidTag::Value("a".to_owned())), "{value:?}");
        }
        let many: BTreeMap<_, _> = (0..65).map(|n| (format!("n{n}"), String::new())).collect();
        assert_eq!(check(&many), Err(InvalidTag::TooMany(65)));
    }
}
