//! Makes text from outside safe to print on a terminal.
//!
//! Inputs, replies, reasons, names and messages come from users, participants and databases, and may hold characters
//! that a terminal obeys or that a reader does not see: control characters of both sets, marks that turn the direction
//! of what follows, and signs without a width. All of them are shown by their number, as `\u{202e}`, and so is a line
//! break within a value: no value can look like something else that the program says.
//!
//! Everything that is printed passes here: values through [`legible`] when they are put into a sentence or a table, and
//! once more the whole through [`lines`] or [`json`] on its way out, so that no command can forget it. A legible text
//! stays as it is, so twice is once.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Characters that are not seen, or change how others are seen: the controls (`Cc`), the separators of lines and
/// paragraphs, the characters that Unicode lets a renderer ignore, and the marks of direction and annotation.
const HIDDEN: &[(u32, u32)] = &[
    (0x00, 0x1f),
    (0x7f, 0x9f),
    (0xad, 0xad),
    (0x034f, 0x034f),
    (0x061c, 0x061c),
    (0x115f, 0x1160),
    (0x17b4, 0x17b5),
    (0x180b, 0x180f),
    (0x200b, 0x200f),
    (0x2028, 0x202e),
    (0x2060, 0x206f),
    (0x3164, 0x3164),
    (0xfe00, 0xfe0f),
    (0xfeff, 0xfeff),
    (0xffa0, 0xffa0),
    (0xfff0, 0xfffb),
    (0x1_bca0, 0x1_bca3),
    (0x1_d173, 0x1_d17a),
    (0xe_0000, 0xe_0fff),
];

/// Returns true if a character must not reach a terminal as it is.
pub(crate) fn is_hidden(c: char) -> bool {
    // Most text is ASCII, and this is asked for each character that is printed.
    !matches!(c, ' '..='~') && HIDDEN.iter().any(|(from, to)| (*from..=*to).contains(&u32::from(c)))
}

/// A value in one line, as it goes into a sentence or a table.
pub(crate) fn legible(text: &str) -> Cow<'_, str> {
    replaced(text, is_hidden, |out, c| out.extend(c.escape_default()))
}

/// A whole text, with its line breaks, and with the colours that this program gives itself.
pub(crate) fn lines(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\x1b') {
        out.push_str(&plain_lines(&rest[..at]));
        let colour = colour_at(&rest[at..]);
        match colour {
            0 => out.push_str("\\u{1b}"),
            _ => out.push_str(&rest[at..at + colour]),
        }
        rest = &rest[at + colour.max(1)..];
    }
    out.push_str(&plain_lines(rest));
    out
}

/// The same JSON value with escapes: no less valid, and no less said. Line breaks stand between values only.
pub(crate) fn json(text: &str) -> Cow<'_, str> {
    replaced(
        text,
        |c| c != '\n' && is_hidden(c),
        |out, c| {
            for unit in c.encode_utf16(&mut [0; 2]) {
                write!(out, "\\u{unit:04x}").expect("writing to a string");
            }
        },
    )
}

/// Says something on standard error.
pub(crate) fn say(text: &str) {
    eprintln!("{}", plain_lines(text));
}

fn plain_lines(text: &str) -> Cow<'_, str> {
    replaced(text, |c| c != '\n' && is_hidden(c), |out, c| out.extend(c.escape_default()))
}

/// The length of a colour (`\x1b[31m`) at the start of this text, if there is one.
fn colour_at(text: &str) -> usize {
    let Some(parameters) = text.strip_prefix("\x1b[") else { return 0 };
    let digits = parameters.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b';').count();
    if parameters[digits..].starts_with('m') { 2 + digits + 1 } else { 0 }
}

fn replaced(
    text: &str,
    is_replaced: impl Fn(char) -> bool,
    replace: impl Fn(&mut String, char),
) -> Cow<'_, str> {
    if !text.chars().any(&is_replaced) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    for c in text.chars() {
        if is_replaced(c) { replace(&mut out, c) } else { out.push(c) }
    }
    Cow::Owned(out)
}

/// The characters that must not reach a terminal, for tests; of the many tags, those that were ever given a meaning.
#[cfg(test)]
pub(crate) fn all_hidden() -> String {
    let numbers = HIDDEN.iter().flat_map(|(from, to)| *from..=(*to).min(0xe_007f));
    numbers.filter_map(char::from_u32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_and_invisible_characters_are_shown_by_number() {
        assert_eq!(
            legible(
                "paid\u{202e}01.00\u{2066}\u{9b}2J\x1b[2J\u{7f}\0\r\n\t\u{feff}\u{e0041}\u{2028}\u{200d}"
            ),
            r"paid\u{202e}01.00\u{2066}\u{9b}2J\u{1b}[2J\u{7f}\u{0}\r\n\t\u{feff}\u{e0041}\u{2028}\u{200d}"
        );
        let plain = "Zoë Łukasz 東京 עברית العربية €\u{a0}10 😀 C:\\new";
        assert!(matches!(legible(plain), Cow::Borrowed(text) if text == plain));
        let hidden = all_hidden();
        let twice = legible(&legible(&hidden)).into_owned();
        assert_eq!(twice, legible(&hidden));
        assert!(!twice.chars().any(is_hidden));
    }

    /// The classes that the Unicode database gives them; ranges of ours hold them all.
    #[test]
    fn both_sets_of_controls_and_all_marks_of_direction_are_hidden() {
        assert!(('\0'..=char::MAX).filter(|c| c.is_control()).all(is_hidden));
        let marks =
            "\u{200e}\u{200f}\u{61c}\u{202a}\u{202b}\u{202c}\u{202d}\u{202e}\u{2066}\u{2067}\u{2068}\u{2069}";
        let unseen =
            "\u{200b}\u{200c}\u{200d}\u{2060}\u{2028}\u{2029}\u{feff}\u{ad}\u{e0001}\u{e007f}\u{fe0f}";
        assert!(marks.chars().chain(unseen.chars()).all(is_hidden));
    }

    #[test]
    fn text_keeps_line_breaks_and_own_colours_only() {
        assert_eq!(lines("a\n\x1b[31mparked\x1b[0m\n"), "a\n\x1b[31mparked\x1b[0m\n");
        assert_eq!(lines("\x1b]0;title\x07 \x1b[2J \x1b"), r"\u{1b}]0;title\u{7} \u{1b}[2J \u{1b}");
    }

    #[test]
    fn escaped_json_has_same_value() {
        let value = serde_json::json!({ "note": format!("{}😀", all_hidden()), "more": ["\u{e0041}"] });
        for text in [value.to_string(), format!("{value:#}")] {
            let escaped = json(&text);
            assert!(!escaped.chars().any(|c| c != '\n' && is_hidden(c)));
            assert_eq!(serde_json::from_str::<serde_json::Value>(&escaped).unwrap(), value);
        }
        assert_eq!(json("\"\u{9b}\u{e0041}\""), r#""\u009b\udb40\udc41""#);
    }
}
