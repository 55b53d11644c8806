//! Reads `If-Match` as RFC 9110 has it: `*`, or a list of entity tags, in one line or in several.
//!
//! Tags are compared strongly: a weak one matches nothing, and neither does one that is not ours. A text that is no tag
//! at all is an error of the client's and not a condition.

use axum::http::{HeaderMap, header};

use crate::problem::Problem;
use crate::problem_type::ProblemType;

/// The condition on which an operator command is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// Any revision.
    Any,
    /// One of these revisions; none, if no tag can match.
    OneOf(Vec<i64>),
}

impl Condition {
    /// The revisions of which it must be one, if that matters.
    pub(crate) fn revisions(self) -> Option<Vec<i64>> {
        match self {
            Self::Any => None,
            Self::OneOf(revisions) => Some(revisions),
        }
    }
}

/// `If-Match` of an operator command that must have one; `*` says that any revision will do.
pub(crate) fn required(headers: &HeaderMap) -> Result<Condition, Problem> {
    if_match(headers)?.ok_or_else(|| {
        Problem::new(
            ProblemType::IfMatchRequired,
            "look at the saga first and send its ETag, as in `If-Match: \"9\"`; `*` if any revision will do",
        )
    })
}

/// `If-Match`, if there is one.
pub(crate) fn if_match(headers: &HeaderMap) -> Result<Option<Condition>, Problem> {
    let mut lines = headers.get_all(header::IF_MATCH).iter().peekable();
    if lines.peek().is_none() {
        return Ok(None);
    }
    let mut text = Vec::new();
    for line in lines {
        text.extend_from_slice(line.as_bytes());
        text.push(b',');
    }
    read(&text).map(Some).ok_or_else(|| {
        let detail = "use the ETag of the saga, as in `If-Match: \"9\"`";
        Problem::new(ProblemType::InvalidIfMatch, detail)
    })
}

/// Nothing if it is neither `*` nor a list of at least one tag.
fn read(text: &[u8]) -> Option<Condition> {
    if text.strip_suffix(b",").is_some_and(|text| text.trim_ascii() == b"*") {
        return Some(Condition::Any);
    }
    let (mut rest, mut tags, mut revisions) = (text, 0_u32, Vec::new());
    loop {
        // A list may have empty places.
        while let [b' ' | b'\t' | b',', after @ ..] = rest {
            rest = after;
        }
        if rest.is_empty() {
            break;
        }
        let (is_weak, quoted) = match rest {
            [b'W', b'/', b'"', after @ ..] => (true, after),
            [b'"', after @ ..] => (false, after),
            _ => return None,
        };
        let end = quoted.iter().position(|byte| *byte == b'"')?;
        let (tag, after) = (&quoted[..end], &quoted[end + 1..]);
        if !tag.iter().all(|byte| matches!(byte, 0x21..=0x7e | 0x80..)) {
            return None;
        }
        tags += 1;
        if !is_weak {
            revisions.extend(revision(tag));
        }
        rest = after.trim_ascii_start();
        if !rest.starts_with(b",") {
            return None;
        }
    }
    (tags > 0).then_some(Condition::OneOf(revisions))
}

/// The revision that we would write like this, and no other spelling of it.
fn revision(tag: &[u8]) -> Option<i64> {
    let text = std::str::from_utf8(tag).ok()?;
    text.parse::<i64>().ok().filter(|revision| revision.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::http::HeaderValue;

    fn condition(lines: &[&str]) -> Option<Option<Condition>> {
        let mut headers = HeaderMap::new();
        for line in lines {
            headers.append(header::IF_MATCH, HeaderValue::from_bytes(line.as_bytes()).unwrap());
        }
        if_match(&headers).ok()
    }

    #[test]
    fn header_if_match_is_read_as_rfc_9110_has_it() {
        let one_of = |revisions: &[i64]| Some(Some(Condition::OneOf(revisions.to_vec())));
        assert_eq!(condition(&[]), Some(None));
        for (lines, read) in [
            (&["*"][..], Some(Some(Condition::Any))),
            (&[" * "], Some(Some(Condition::Any))),
            (&["\"5\""], one_of(&[5])),
            (&["\"4\", \"5\""], one_of(&[4, 5])),
            (&["\"4\",\"5\" ,, \t\"6\","], one_of(&[4, 5, 6])),
            (&["\"4\"", "\"5\""], one_of(&[4, 5])),
            (&["W/\"5\""], one_of(&[])),
            (&["W/\"4\", \"5\""], one_of(&[5])),
            (&["\"\""], one_of(&[])),
            (&["\"x,y\", \"5\""], one_of(&[5])),
            (&["\"05\", \"+5\", \"é\", \"99999999999999999999\""], one_of(&[])),
            // Broken ones.
            (&[""], None),
            (&[" , "], None),
            (&["5"], None),
            (&["\"5"], None),
            (&["5\""], None),
            (&["\"5\"\"6\""], None),
            (&["\"5\" \"6\""], None),
            (&["w/\"5\""], None),
            (&["W/5"], None),
            (&["\"4 5\""], None),
            (&["*, \"5\""], None),
            (&["\"5\"", "*"], None),
            (&["*", "*"], None),
        ] {
            assert_eq!(condition(lines), read, "{lines:?}");
        }
    }
}
