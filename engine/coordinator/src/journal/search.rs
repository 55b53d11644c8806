//! The text that a person types into a search, as a pattern over stored JSON.
//!
//! Inputs are stored as `serde_json` prints them, so it is known how each character of a text is written there: a quote
//! with a backslash, a line end as `\n`, everything else that is not ASCII as itself. The pattern spells the text like
//! that, and takes each letter in both cases, whatever the locale of the database: under `C` Postgres itself would fold
//! ASCII only. Nothing in it repeats but pairs of backslashes, so the cost of a row grows with its length alone.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::LazyLock;

/// The beginning of a match, before the text itself: it begins with a character, and not in the middle of `\n` or `\\`.
const AT_A_CHARACTER: &str = r"(?:^|[^\\])(?:\\\\)*";

/// An advanced regular expression that finds this text in stored JSON.
pub(crate) fn pattern(text: &str) -> String {
    let mut pattern = AT_A_CHARACTER.to_owned();
    for c in text.chars() {
        match c {
            // Escaped within a text; bare around one, which finds `"name":"value"` too.
            '"' => pattern.push_str(r#"\\?""#),
            '\\' => pattern.push_str(r"\\\\"),
            '\n' => pattern.push_str(r"\\n"),
            '\r' => pattern.push_str(r"\\r"),
            '\t' => pattern.push_str(r"\\t"),
            '\u{8}' => pattern.push_str(r"\\b"),
            '\u{c}' => pattern.push_str(r"\\f"),
            '\0'..='\u{1f}' => {
                let _ = write!(pattern, r"\\u{:04x}", u32::from(c));
            }
            _ => push_in_each_case(&mut pattern, c),
        }
    }
    pattern
}

/// A pattern for ids, in which there is nothing but hexadecimal digits and dashes.
pub(super) fn part_of_an_id(text: &str) -> String {
    let text = text.to_ascii_lowercase();
    let may_be = text.bytes().all(|byte| byte == b'-' || byte.is_ascii_hexdigit());
    if may_be { format!("%{text}%") } else { String::new() }
}

fn push_in_each_case(pattern: &mut String, c: char) {
    match CASES.get(&folded(c)) {
        Some(same) => {
            pattern.push('[');
            pattern.extend(same);
            pattern.push(']');
        }
        None => {
            // A backslash before anything but letters and digits takes its meaning away.
            if c.is_ascii() && !c.is_ascii_alphanumeric() {
                pattern.push('\\');
            }
            pattern.push(c);
        }
    }
}

/// The form that characters share if they differ in case only: by way of the upper case, where both small sigmas meet.
fn folded(c: char) -> String {
    c.to_lowercase().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect()
}

/// Characters that differ from others in case only, by the form that they share. Made once, in some milliseconds.
static CASES: LazyLock<HashMap<String, Vec<char>>> = LazyLock::new(|| {
    let mut cases = HashMap::<String, Vec<char>>::new();
    let has_case = |c: &char| !c.to_uppercase().eq([*c]) || !c.to_lowercase().eq([*c]);
    for c in ('\0'..=char::MAX).filter(has_case) {
        cases.entry(folded(c)).or_default().push(c);
    }
    cases.retain(|_, same| same.len() > 1);
    cases
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_pattern_spells_text_as_json_and_in_both_cases() {
        for (text, spelled) in [
            ("a1", "[Aa]1"),
            ("ä", "[Ää]"),
            ("ς", "[Σςσ]"),
            ("k", "[Kk\u{212a}]"),
            ("ß", "[ßẞ]"),
            ("東", "東"),
            ("\"", r#"\\?""#),
            ("\\", r"\\\\"),
            ("\n\u{1f}", r"\\n\\u001f"),
            ("%_.*[(^$", r"\%\_\.\*\[\(\^\$"),
            ("\u{7f}", "\\\u{7f}"),
        ] {
            assert_eq!(pattern(text), format!("{AT_A_CHARACTER}{spelled}"), "{text:?}");
        }
        assert!(
            CASES.values().flatten().all(|c| c.is_alphabetic() || !c.is_ascii()),
            "no class needs an escape"
        );
    }
}
