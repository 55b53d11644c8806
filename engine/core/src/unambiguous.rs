//! JSON objects whose names are unique.
//!
//! Of two members with one name most readers take the last, some the first, and a person who looks sees both: an
//! amount that is checked as one and charged as the other. So a text in which a name stands twice is refused, with its
//! place, before anything reads it as a value.

use std::borrow::Cow;
use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use thiserror::Error;

/// The longest place that is told, in characters: names can be long.
const PLACE_CHARS_MAX: usize = 300;

/// A name stands twice in an object.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("at `{at}`, this name stands twice in its object: give it once")]
pub struct Ambiguous {
    /// Where, as a JSON pointer.
    pub at: String,
}

/// Reads the text and looks for names that stand twice in one object.
///
/// A text that is no JSON, or nested deeper than `serde_json` follows (128), is not judged: no reader takes it as a
/// value.
///
/// # Errors
/// [`Ambiguous`] names the first one.
pub fn check_unambiguous(text: &[u8]) -> Result<(), Ambiguous> {
    let mut walk = Walk { path: Vec::new(), twice: None };
    let mut reader = serde_json::Deserializer::from_slice(text);
    let _ = (&mut walk).deserialize(&mut reader);
    walk.twice.map_or(Ok(()), |at| Err(Ambiguous { at }))
}

/// Where the reading stands.
struct Walk<'t> {
    path: Vec<Segment<'t>>,
    twice: Option<String>,
}

enum Segment<'t> {
    Name(Cow<'t, str>),
    Index(usize),
}

impl fmt::Display for Segment<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(&name.replace('~', "~0").replace('/', "~1")),
            Self::Index(index) => index.fmt(f),
        }
    }
}

impl Walk<'_> {
    fn place(&self) -> String {
        let path: String = self.path.iter().map(|segment| format!("/{segment}")).collect();
        path.chars().take(PLACE_CHARS_MAX).collect()
    }
}

/// A name of an object; borrowed from the text where nothing in it is escaped.
struct Name;

impl<'t> DeserializeSeed<'t> for Name {
    type Value = Cow<'t, str>;

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'t> Visitor<'t> for Name {
    type Value = Cow<'t, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_borrowed_str<E>(self, name: &'t str) -> Result<Self::Value, E> {
        Ok(Cow::Borrowed(name))
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(Cow::Owned(name.to_owned()))
    }
}

impl<'t> DeserializeSeed<'t> for &mut Walk<'t> {
    type Value = ();

    fn deserialize<D: Deserializer<'t>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'t> Visitor<'t> for &mut Walk<'t> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_map<A: MapAccess<'t>>(self, mut members: A) -> Result<(), A::Error> {
        let mut names = HashSet::new();
        while let Some(name) = members.next_key_seed(Name)? {
            let is_new = names.insert(name.clone());
            self.path.push(Segment::Name(name));
            if !is_new {
                self.twice = Some(self.place());
                return Err(A::Error::custom("a name stands twice"));
            }
            members.next_value_seed(&mut *self)?;
            self.path.pop();
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'t>>(self, mut items: A) -> Result<(), A::Error> {
        for index in 0.. {
            self.path.push(Segment::Index(index));
            if items.next_element_seed(&mut *self)?.is_none() {
                self.path.pop();
                return Ok(());
            }
            self.path.pop();
        }
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_bool<E>(self, _: bool) -> Result<(), E> {
        Ok(())
    }

    fn visit_i64<E>(self, _: i64) -> Result<(), E> {
        Ok(())
    }

    fn visit_u64<E>(self, _: u64) -> Result<(), E> {
        Ok(())
    }

    fn visit_f64<E>(self, _: f64) -> Result<(), E> {
        Ok(())
    }

    fn visit_str<E>(self, _: &str) -> Result<(), E> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn duplicate_json_name_is_found_with_its_json_pointer() {
        let deep = format!("{}{{\"a\":1,\"a\":2}}{}", "[".repeat(90), "]".repeat(90));
        let deep_place = format!("{}/a", "/0".repeat(90));
        for (text, at) in [
            (r#"{"a":1,"b":{"a":1},"c":[{"a":1},{"a":1}]}"#, None),
            (r#"{"a":1,"a":1}"#, Some("/a")),
            (r#"{"a":{"b":[0,{"c":1,"d":2,"c":3}]}}"#, Some("/a/b/1/c")),
            (r#"{"a":1,"\u0061":2}"#, Some("/a")),
            (r#"{"x/y~z":1,"x/y~z":2}"#, Some("/x~1y~0z")),
            (r#"[{"":1,"":2}]"#, Some("/0/")),
            (r#"{"A":1,"a":2}"#, None),
            (r#"[1,-1,1.5,"x",null,true,[],{}]"#, None),
            // A text that is no JSON is refused elsewhere, and a name that stands twice before that is told all the
            // same.
            (r#"{"a":1,"a":2"#, Some("/a")),
            (r#"{"a":1,"b":"#, None),
            ("", None),
            (&deep, Some(deep_place.as_str())),
        ] {
            assert_eq!(
                check_unambiguous(text.as_bytes()).err().map(|error| error.at).as_deref(),
                at,
                "{text}"
            );
        }
        assert_eq!(check_unambiguous(&b"[".repeat(200_000)), Ok(()));
        let long = format!("{{\"{0}\":1,\"{0}\":2}}", "é".repeat(5_000));
        let told = check_unambiguous(long.as_bytes()).unwrap_err().at;
        assert_eq!(told.chars().count(), PLACE_CHARS_MAX);
    }
}
