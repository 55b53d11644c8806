//! A message that could not be used, as a value.

use redress_core::{LetterCode, Name};
use uuid::Uuid;

use crate::headers::{self, Malformed};

/// The bytes of the body that a reduced letter keeps: enough to recognise it.
const REDUCED_PAYLOAD_BYTES_MAX: usize = 4 << 10;
/// The bytes of a text that a reduced letter keeps.
const REDUCED_TEXT_BYTES_MAX: usize = 1 << 10;

/// A message that could not be used, on its way to where it is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// The letter: a UUID of version 7.
    pub id: Uuid,
    /// The service that gave it up.
    pub service: Name,
    /// The kind of reason.
    pub code: LetterCode,
    /// The subject on which it came.
    pub subject: String,
    /// Why it was given up, for people.
    pub reason: String,
    /// The headers that it had.
    pub headers: Vec<(String, String)>,
    /// The body that it had.
    pub payload: Vec<u8>,
    /// What came and is not in the letter, for people; nothing if all of it is.
    pub missing: Option<String>,
}

impl DeadLetter {
    /// The letter about a message that came to this service.
    pub fn new(service: Name, malformed: Malformed) -> Self {
        let Malformed { code, reason, address: _, subject, headers, payload } = malformed;
        Self { id: Uuid::now_v7(), service, code, subject, reason, headers, payload, missing: None }
    }

    /// The letter that is kept if the whole is refused.
    #[must_use]
    pub fn reduced(&self) -> Self {
        let beginning = |text: &str| text[..text.floor_char_boundary(REDUCED_TEXT_BYTES_MAX)].to_owned();
        let key = self.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(headers::KEY));
        let size = format!("{} headers and {} bytes came", self.headers.len(), self.payload.len());
        let mut payload = self.payload.clone();
        payload.truncate(REDUCED_PAYLOAD_BYTES_MAX);
        Self {
            id: self.id,
            service: self.service.clone(),
            code: self.code,
            subject: beginning(&self.subject),
            reason: beginning(&self.reason),
            headers: key.map(|(name, value)| (name.clone(), beginning(value))).into_iter().collect(),
            payload,
            missing: Some(self.missing.clone().unwrap_or(size)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn letter(headers: Vec<(String, String)>) -> DeadLetter {
        let malformed = Malformed {
            code: LetterCode::Unreadable,
            reason: "odd".to_owned(),
            address: None,
            subject: "redress.command.till.charge".to_owned(),
            headers,
            payload: vec![b'x'; 100_000],
        };
        DeadLetter::new(Name::new("till").unwrap(), malformed)
    }

    #[test]
    fn reduced_letter_keeps_key_and_beginning_of_body() {
        let letter = letter(vec![
            ("Big".to_owned(), "x".repeat(60_000)),
            (headers::KEY.to_owned(), "é".repeat(2_000)),
        ]);
        let reduced = letter.reduced();
        assert_eq!(reduced.payload.len(), REDUCED_PAYLOAD_BYTES_MAX);
        assert_eq!(reduced.missing.as_deref(), Some("2 headers and 100000 bytes came"));
        assert_eq!(reduced.headers.len(), 1, "of the headers it keeps the key");
        assert_eq!(reduced.headers[0].1.len(), REDUCED_TEXT_BYTES_MAX);
    }
}
