//! The headers of a dead letter.
//!
//! A letter keeps all headers that came, but not under their names: one whose name begins with `Nats-` is an order to the
//! server (expect another stream, replace the last message, forget me after a while), and the letter must not carry it
//! out. Such headers are kept as `Redress-Original-…`, and so are those whose names are the letter's own. Reading gives each
//! header its name back.

use async_nats::HeaderMap;
use async_nats::header::HeaderName;
use redress_core::{LetterCode, Name, Timestamp};
use sha2::{Digest as _, Sha256};
use uuid::Uuid;

use crate::headers;
use crate::letter::DeadLetter;
use crate::unreadable;

/// Put before the names of headers that mean something to the server or to us.
const ORIGINAL: &str = "Redress-Original-";
/// Headers that cannot stand on a line of their own, name and value together.
const ORIGINAL_HEADER: &str = "Redress-Original-Header";

const ID: &str = "Redress-Letter-Id";
const CODE: &str = "Redress-Letter-Code";
const SERVICE: &str = "Redress-Letter-Service";
const REASON: &str = "Redress-Reason";
const SUBJECT: &str = "Redress-Subject";
const MISSING: &str = "Redress-Reduced";
/// Headers that a letter adds.
const OWN: [&str; 6] = [ID, CODE, SERVICE, REASON, SUBJECT, MISSING];

/// All headers of a letter, none of which the server obeys.
pub(crate) fn write(letter: &DeadLetter) -> HeaderMap {
    let mut kept = HeaderMap::new();
    for (name, value) in &letter.headers {
        let value = headers::one_line(value);
        let harmless = if is_renamed(name) { format!("{ORIGINAL}{name}") } else { name.clone() };
        match harmless.parse::<HeaderName>() {
            Ok(harmless) if can_be_sent(name) => kept.append(harmless, value),
            // Both are kept as a value.
            _ => kept.append(ORIGINAL_HEADER, headers::one_line(&format!("{name}: {value}"))),
        }
    }
    kept.insert(ID, letter.id.to_string());
    kept.insert(CODE, letter.code.as_str());
    kept.insert(SERVICE, letter.service.as_str());
    kept.insert(REASON, headers::one_line(&letter.reason));
    kept.insert(SUBJECT, headers::one_line(&letter.subject));
    if let Some(missing) = &letter.missing {
        kept.insert(MISSING, headers::one_line(missing));
    }
    kept
}

/// The service that wrote a letter.
///
/// # Errors
/// The reason why it is not known.
pub(crate) fn service(headers: &HeaderMap) -> Result<Name, String> {
    let service = headers.get(SERVICE).ok_or_else(|| format!("the header `{SERVICE}` is missing"))?;
    service.as_str().parse().map_err(|error| format!("the header `{SERVICE}` is unusable: {error}"))
}

/// A letter of this service, whatever its headers are.
pub(crate) fn read(service: Name, kept: Vec<(String, String)>, payload: Vec<u8>) -> DeadLetter {
    let own =
        |name: &str| kept.iter().find(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value);
    let id = own(ID).and_then(|id| id.parse().ok()).unwrap_or_else(|| derived_id(&service, &kept, &payload));
    let code = own(CODE).map_or(LetterCode::Unexplained, |code| LetterCode::read(code));
    let reason = own(REASON).map_or("no reason was given", String::as_str).to_owned();
    let subject = own(SUBJECT).cloned().unwrap_or_default();
    let missing = own(MISSING).cloned();
    let mut headers: Vec<(String, String)> =
        kept.into_iter().filter(|(name, _)| !is_own(name)).map(original).collect();
    // Some have another name now; several values of a name keep their order.
    headers.sort_by(|(one, _), (other, _)| one.cmp(other));
    let missing = missing.or_else(|| unsendable(&headers));
    DeadLetter { id, service, code, subject, reason, headers, payload, missing }
}

/// The headers under which the message of a letter is published again.
pub(crate) fn to_replay(original: &[(String, String)], message_id: &str) -> HeaderMap {
    let mut sent = HeaderMap::new();
    for (name, value) in original.iter().filter(|(name, _)| !is_an_order(name)) {
        if let Ok(name) = name.parse::<HeaderName>() {
            sent.append(name, headers::one_line(value));
        }
    }
    sent.insert(headers::MESSAGE_ID, message_id);
    sent
}

/// A header as it came.
fn original((name, value): (String, String)) -> (String, String) {
    if name.eq_ignore_ascii_case(unreadable::BLOCK) {
        return (name, value);
    }
    if name.eq_ignore_ascii_case(ORIGINAL_HEADER) {
        let (name, value) = value.split_once(": ").unwrap_or((&value, ""));
        return (name.to_owned(), value.to_owned());
    }
    match name.get(ORIGINAL.len()..) {
        Some(rest) if name[..ORIGINAL.len()].eq_ignore_ascii_case(ORIGINAL) && is_renamed(rest) => {
            (rest.to_owned(), value)
        }
        Some(_) | None => (name, value),
    }
}

/// The reason why these headers cannot be sent as they came, if they cannot.
fn unsendable(headers: &[(String, String)]) -> Option<String> {
    let is_block = |(name, _): &(String, String)| name.eq_ignore_ascii_case(unreadable::BLOCK);
    if headers.iter().any(is_block) {
        return Some("its header block, which no client library sends".to_owned());
    }
    let odd = headers.iter().any(|(name, _)| !can_be_sent(name));
    odd.then(|| "a header whose name cannot be sent again".to_owned())
}

/// The id of a letter that has none: the same whenever it is delivered. As far as can be told, it begins with the time of
/// the message, as other ids do with theirs.
fn derived_id(service: &Name, kept: &[(String, String)], payload: &[u8]) -> Uuid {
    let mut sorted: Vec<_> = kept.iter().collect();
    sorted.sort();
    let mut hash = Sha256::new();
    hash.update(service.as_bytes());
    for (name, value) in &sorted {
        hash.update([0]);
        hash.update(name.as_bytes());
        hash.update([0]);
        hash.update(value.as_bytes());
    }
    hash.update([0]);
    hash.update(payload);
    let sent_at = sorted.iter().find(|(name, _)| name.eq_ignore_ascii_case(headers::ACTION_SENT_AT));
    let sent_at = sent_at.and_then(|(_, at)| at.parse::<Timestamp>().ok());
    let milliseconds = sent_at.map_or(0, |at| at.timestamp_millis().max(0));
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.finalize()[..16]);
    bytes[..6].copy_from_slice(&milliseconds.to_be_bytes()[2..]);
    uuid::Builder::from_custom_bytes(bytes).into_uuid()
}

/// Returns true if a header of this name is kept under another one.
fn is_renamed(name: &str) -> bool {
    is_an_order(name) || is_own(name)
}

fn is_own(name: &str) -> bool {
    OWN.iter().any(|own| own.eq_ignore_ascii_case(name))
}

/// Returns true if a header of this name stands on a line of its own and is read as it was written.
fn can_be_sent(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// Returns true if the server obeys a header of this name; it may not look at the case one day.
fn is_an_order(name: &str) -> bool {
    name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("nats-"))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter(headers: Vec<(String, String)>) -> DeadLetter {
        DeadLetter {
            id: Uuid::now_v7(),
            service: Name::new("till").unwrap(),
            code: LetterCode::Unreadable,
            subject: "redress.command.till.charge".to_owned(),
            reason: "odd".to_owned(),
            headers,
            payload: vec![b'x'; 100_000],
            missing: None,
        }
    }

    #[test]
    fn header_obeyed_by_server_is_kept_under_harmless_name() {
        let orders = [
            "Nats-Expected-Stream",
            "nats-rollup",
            "NATS-TTL",
            "Nats-Msg-Id",
            "Nats-Schedule",
            "Redress-Reason",
        ];
        let letter = letter(orders.map(|name| (name.to_owned(), "x".to_owned())).to_vec());
        let kept = write(&letter);
        for name in orders {
            assert_eq!(kept.get(format!("{ORIGINAL}{name}").as_str()).unwrap().as_str(), "x");
        }
        assert_eq!(kept.get("Redress-Reason").unwrap().as_str(), "odd");
    }

    /// Every header has its name again, also those that the letter kept under another one.
    #[test]
    fn letter_is_read_as_it_was_written() {
        let came = [
            ("Idempotency-Key", "k"),
            ("Nats-Msg-Id", "k#1"),
            ("Odd", "one"),
            ("Odd", "another"),
            ("Redress-Letter-Id", "of an earlier letter"),
            ("Redress-Original-Of-Theirs", "x"),
            ("Redress-Reason", "theirs"),
        ];
        let came = came.map(|(name, value)| (name.to_owned(), value.to_owned())).to_vec();
        let letter = letter(came);
        let kept = headers::to_text(&write(&letter));
        assert_eq!(read(letter.service.clone(), kept, letter.payload.clone()), letter);
        let sent = to_replay(&letter.headers, "this");
        assert_eq!(sent.get("Nats-Msg-Id").unwrap().as_str(), "this");
        assert_eq!(sent.get("Redress-Reason").unwrap().as_str(), "theirs");
        assert!(sent.get("Redress-Letter-Code").is_none());
    }

    #[test]
    fn letter_of_older_version_has_the_same_id_each_time() {
        let header = |name: &str, value: &str| (name.to_owned(), value.to_owned());
        let mut kept = vec![
            header("Redress-Reason", "odd"),
            header("Redress-Action-Sent-At", "2026-11-23T10:00:00.000000Z"),
        ];
        let service = Name::new("till").unwrap();
        let once = read(service.clone(), kept.clone(), b"{}".to_vec());
        kept.reverse();
        assert_eq!(read(service.clone(), kept.clone(), b"{}".to_vec()), once);
        assert_ne!(read(service, kept, b"[]".to_vec()).id, once.id);
        assert_eq!(once.code, LetterCode::Unexplained);
        assert!(once.id.to_string().starts_with("01a207d9-2100"), "it begins with its time: {}", once.id);
    }

    /// Such a message could not be sent again as it came.
    #[test]
    fn letter_says_that_a_header_of_it_cannot_be_sent() {
        for (name, missing) in [
            ("no:name", "a header whose name cannot be sent again"),
            (unreadable::BLOCK, "its header block, which no client library sends"),
        ] {
            let letter = letter(vec![(name.to_owned(), "x".to_owned())]);
            let kept = headers::to_text(&write(&letter));
            let read = read(letter.service.clone(), kept, letter.payload.clone());
            assert_eq!((read.headers, read.missing.as_deref()), (letter.headers, Some(missing)));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        /// Nothing is lost, nothing is an order, and nothing panics.
        #[test]
        fn letters_keep_all_headers_and_payload(
            headers in proptest::collection::vec(("(?s)(Nats-|nats-|)[\\x00-\\x7fé ]{0,12}", "(?s).{0,40}"), 0..8),
            subject in "(?s).{0,40}",
            reason in "(?s).{0,40}",
        ) {
            let letter = DeadLetter { subject, reason, ..letter(headers.clone()) };
            let kept = write(&letter);
            let values: usize = kept.iter().map(|(_, values)| values.len()).sum();
            prop_assert_eq!(values, headers.len() + OWN.len() - 1);
            for (name, _) in kept.iter() {
                prop_assert!(!is_an_order(name.as_ref()), "{}", name);
            }
            write(&letter.reduced());
        }
    }
}
