//! Names of services and commands, checked while the user's program is compiled.
//!
//! The rule is that of `redress_core::Name`, which checks it again when a program starts; this crate cannot ask the core,
//! because macros are built for the machine that compiles. `names.txt` holds both to one rule.

use proc_macro2::Span;
use syn::{Error, LitStr, Result};

/// The longest name, in bytes, as in the core.
const NAME_BYTES_MAX: usize = 63;

/// The text of the name, if it is one; `thing` is what it names.
pub(crate) fn checked(thing: &str, literal: &LitStr) -> Result<String> {
    let text = literal.value();
    match problem(&text) {
        None => Ok(text),
        Some(problem) => Err(Error::new(literal.span(), sentence(thing, &text, &problem))),
    }
}

/// A name that is missing is said at the place where it should stand.
pub(crate) fn missing(key: &str, example: &str, span: Span) -> Error {
    Error::new(span, format!("a command needs its {key}: add `{key} = \"{example}\"`"))
}

fn sentence(thing: &str, text: &str, problem: &str) -> String {
    let proposal = proposal(text).map(|name| format!("; write `\"{name}\"`")).unwrap_or_default();
    format!(
        "`{text:?}` cannot name a {thing}, because {problem}: a name is a lowercase letter and up to {} lowercase \
         letters, digits and hyphens{proposal}",
        NAME_BYTES_MAX - 1
    )
}

fn problem(text: &str) -> Option<String> {
    let first = text.chars().next();
    let strange = |c: &char| !(c.is_ascii_lowercase() || c.is_ascii_digit() || *c == '-');
    match (first, text.chars().find(strange)) {
        (None, _) => Some("it is empty".to_owned()),
        (Some(first), _) if !first.is_ascii_lowercase() => Some(format!("it begins with `{first}`")),
        (_, Some(strange)) => Some(format!("it has `{strange}` in it")),
        (_, None) if text.len() > NAME_BYTES_MAX => Some(format!("it is {} characters long", text.len())),
        (_, None) => None,
    }
}

/// The name that was probably meant: `ChargeCard`, `charge_card` and `charge card` are `charge-card`.
fn proposal(text: &str) -> Option<String> {
    let mut name = String::new();
    for c in text.trim().chars() {
        if c.is_ascii_uppercase() && name.ends_with(|last: char| last.is_ascii_lowercase()) {
            name.push('-');
        }
        match c {
            '_' | ' ' | '.' | '/' => name.push('-'),
            _ => name.push(c.to_ascii_lowercase()),
        }
    }
    problem(&name).is_none().then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The core reads the same table.
    #[test]
    fn names_are_those_of_the_table() {
        for line in include_str!("names.txt").lines() {
            let (is_name, text) = line.split_once(' ').expect("an answer and a text");
            let problem = problem(text.trim_matches('"'));
            assert_eq!(problem.is_none(), is_name == "yes", "{line}: {problem:?}");
        }
    }

    #[test]
    fn name_that_was_probably_meant_is_proposed() {
        for text in ["ChargeCard", "charge_card", "Charge Card", "charge.card"] {
            assert_eq!(proposal(text).as_deref(), Some("charge-card"), "{text}");
        }
        for hopeless in ["", "é", "2"] {
            assert_eq!(proposal(hopeless), None, "{hopeless}");
        }
    }
}
