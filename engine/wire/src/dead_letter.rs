//! Letters about messages that could not be used.
//!
//! A letter keeps everything that came, but not as it came: a header whose name begins with `Nats-` is an order to the
//! server (expect another stream, replace the last message, forget me after a while), and the letter must not carry it
//! out. Such headers are kept as `Redress-Original-…`. A letter that the server does not take even so is kept reduced:
//! reason, subject, key, and the beginning of the body. A letter that the broker does not store is for the caller to
//! keep elsewhere.

use async_nats::HeaderMap;
use async_nats::header::HeaderName;
use bytes::Bytes;
use redress_core::Name;

use crate::headers;
use crate::publish::{Outgoing, PublishError};
use crate::topology::Topology;
use crate::wire::Wire;

/// The bytes of the body that a reduced letter keeps: enough to recognise it.
const REDUCED_PAYLOAD_BYTES_MAX: usize = 4 << 10;
/// The bytes of a text that a reduced letter keeps.
const REDUCED_TEXT_BYTES_MAX: usize = 1 << 10;
/// Put before the names of headers that mean something to the server or to us.
const ORIGINAL: &str = "Redress-Original-";
/// Headers that a letter adds.
const OWN: [&str; 2] = ["Redress-Reason", "Redress-Subject"];

/// A message that could not be used, on its way to where it is kept.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The service that gave it up.
    pub service: Name,
    /// The subject on which it came.
    pub subject: String,
    /// Why it was given up.
    pub reason: String,
    /// The headers that it had.
    pub headers: Vec<(String, String)>,
    /// The body that it had.
    pub payload: Vec<u8>,
}

/// How much of a letter was kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kept {
    /// All of it.
    Whole,
    /// Its subject, its reason and its beginning; the rest was refused.
    Reduced,
}

impl DeadLetter {
    /// The letter that is kept if the whole is refused.
    #[must_use]
    pub fn reduced(&self) -> Self {
        let beginning = |text: &str| text[..text.floor_char_boundary(REDUCED_TEXT_BYTES_MAX)].to_owned();
        let key = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(headers::KEY));
        let size = format!("{} headers and {} bytes came", self.headers.len(), self.payload.len());
        let mut payload = self.payload.clone();
        payload.truncate(REDUCED_PAYLOAD_BYTES_MAX);
        Self {
            service: self.service.clone(),
            subject: beginning(&self.subject),
            reason: beginning(&self.reason),
            headers: key
                .map(|(name, value)| (name.clone(), beginning(value)))
                .into_iter()
                .chain([("Redress-Reduced".to_owned(), size)])
                .collect(),
            payload,
        }
    }

    /// Its headers, none of which the server obeys.
    pub fn to_headers(&self) -> HeaderMap {
        let mut kept = HeaderMap::new();
        for (name, value) in &self.headers {
            let value = headers::one_line(value);
            let is_own = OWN.iter().any(|own| own.eq_ignore_ascii_case(name));
            let harmless =
                if is_an_order(name) || is_own { format!("{ORIGINAL}{name}") } else { name.clone() };
            match harmless.parse::<HeaderName>() {
                Ok(harmless) if can_be_sent(name) => kept.append(harmless, value),
                // Both are kept as a value.
                _ => kept.append(format!("{ORIGINAL}Header"), headers::one_line(&format!("{name}: {value}"))),
            }
        }
        kept.insert("Redress-Reason", headers::one_line(&self.reason));
        kept.insert("Redress-Subject", headers::one_line(&self.subject));
        kept
    }
}

/// Returns true if a header of this name stands on a line of its own and is read as it was written.
fn can_be_sent(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

/// Returns true if the server obeys a header of this name; it may not look at the case one day.
fn is_an_order(name: &str) -> bool {
    name.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("nats-"))
}

impl Outgoing for DeadLetter {
    fn outgoing(&self, topology: &Topology) -> (String, HeaderMap, Bytes) {
        (topology.dead_letters_of(&self.service), self.to_headers(), self.payload.clone().into())
    }

    fn payload_bytes(&self) -> usize {
        self.payload.len()
    }

    fn anchor(_: &Wire) -> Option<&crate::anchor::Anchor> {
        None
    }
}

impl Wire {
    /// Keeps a message that could not be used: whole, or reduced if the broker refuses the whole.
    ///
    /// # Errors
    /// [`PublishError`] if the broker does not store it even so.
    pub async fn publish_dead_letter(&self, letter: &DeadLetter) -> Result<Kept, PublishError> {
        match self.publish_letter(letter).await {
            Ok(()) => Ok(Kept::Whole),
            Err(PublishError::Refused(_) | PublishError::TooLarge { .. }) => {
                self.publish_letter(&letter.reduced()).await.map(|()| Kept::Reduced)
            }
            Err(error @ (PublishError::TimedOut | PublishError::StreamFull | PublishError::NoStream)) => {
                Err(error)
            }
        }
    }

    async fn publish_letter(&self, letter: &DeadLetter) -> Result<(), PublishError> {
        let mut results = self.publish_all(std::slice::from_ref(letter)).await;
        results.pop().expect("one letter, one result")
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter(headers: Vec<(String, String)>) -> DeadLetter {
        DeadLetter {
            service: Name::new("till").unwrap(),
            subject: "redress.command.till.charge".to_owned(),
            reason: "odd".to_owned(),
            headers,
            payload: vec![b'x'; 100_000],
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
        let kept = letter.to_headers();
        for name in orders {
            assert_eq!(kept.get(format!("{ORIGINAL}{name}").as_str()).unwrap().as_str(), "x");
        }
        assert_eq!(kept.get("Redress-Reason").unwrap().as_str(), "odd");
    }

    #[test]
    fn reduced_letter_keeps_key_and_beginning_of_body() {
        let reduced = letter(vec![
            ("Big".to_owned(), "x".repeat(60_000)),
            (headers::KEY.to_owned(), "é".repeat(2_000)),
        ]);
        let reduced = reduced.reduced();
        assert_eq!(reduced.payload.len(), REDUCED_PAYLOAD_BYTES_MAX);
        let kept = reduced.to_headers();
        assert_eq!(kept.get("Redress-Reduced").unwrap().as_str(), "2 headers and 100000 bytes came");
        assert_eq!(kept.get(headers::KEY).unwrap().as_str().len(), REDUCED_TEXT_BYTES_MAX);
        assert!(kept.get("Big").is_none());
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
            let kept = letter.to_headers();
            let values: usize = kept.iter().map(|(_, values)| values.len()).sum();
            prop_assert_eq!(values, headers.len() + 2);
            for (name, _) in kept.iter() {
                prop_assert!(!is_an_order(name.as_ref()), "{}", name);
            }
            letter.reduced().to_headers();
        }
    }
}
