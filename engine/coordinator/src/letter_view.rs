//! A dead letter as people and programs see it over HTTP.

use std::str::FromStr as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use redress_core::dead_letter::{Contents, LetterCode, LetterStatus};
use redress_core::{IdempotencyKey, JsonText, SagaId, Timestamp};
use serde::Serialize;
use uuid::Uuid;

use crate::ports::{DeadLetter, LetterDecision, LetterRow};

/// The header by which step and phase of a message are known.
const KEY: &str = "Idempotency-Key";

/// A dead letter as it is now.
#[derive(Clone, Debug, Serialize)]
pub struct LetterView {
    /// The letter.
    pub id: Uuid,
    /// When the journal took it.
    pub at: Timestamp,
    /// The service that gave the message up, or `coordinator`.
    pub source: String,
    /// The kind of reason.
    pub code: LetterCode,
    /// Why the message could not be used.
    pub reason: String,
    /// The saga that it was about, if that is known.
    pub saga_id: Option<SagaId>,
    /// The step that it was about, if that is known.
    pub step: Option<String>,
    /// The phase of the step.
    pub phase: Option<&'static str>,
    /// The subject on which it came.
    pub subject: String,
    /// The length of its body, in bytes.
    pub payload_bytes: u64,
    /// What came and is not in the letter; nothing if all of it is.
    pub missing: Option<String>,
    /// What became of it, as one word.
    pub status: LetterStatus,
    /// Who decided on it, and why.
    pub decision: Option<LetterDecision>,
    /// Headers and body; not in a list.
    #[serde(flatten)]
    pub message: Option<MessageView>,
}

/// The message of a letter, as it came.
#[derive(Clone, Debug, Serialize)]
pub struct MessageView {
    /// Its headers, each a name and a value.
    pub headers: Vec<(String, String)>,
    /// Its body, if that is JSON.
    pub payload: Option<JsonText>,
    /// Its body in base64, if it is not.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_base64: Option<String>,
    /// Its body as text, as far as it is text, if it is no JSON.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub payload_text: Option<String>,
}

impl LetterView {
    /// A letter of a list.
    pub(crate) fn listed(row: LetterRow) -> Self {
        let LetterRow { letter, at, payload_bytes, state } = row;
        let key = letter.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case(KEY));
        let key = key.and_then(|(_, value)| IdempotencyKey::from_str(value).ok());
        Self {
            id: letter.id,
            at,
            source: letter.source,
            code: letter.code,
            reason: letter.reason,
            saga_id: letter.saga_id,
            step: key.as_ref().map(|key| key.step.to_string()),
            phase: key.as_ref().map(|key| key.phase.as_str()),
            subject: letter.subject,
            payload_bytes,
            missing: letter.missing,
            status: state.status(),
            decision: state.decision().cloned(),
            message: None,
        }
    }

    /// A letter with its message.
    pub(crate) fn whole(row: LetterRow) -> Self {
        let (headers, payload) = (row.letter.headers.clone(), &row.letter.payload);
        let json = JsonText::parse(payload).ok();
        let is_json = json.is_some();
        let message = MessageView {
            headers,
            payload_base64: (!is_json).then(|| STANDARD.encode(payload)),
            payload_text: (!is_json).then(|| String::from_utf8_lossy(payload).into_owned()),
            payload: json,
        };
        Self { message: Some(message), ..Self::listed(row) }
    }
}

/// How much of its message a letter holds; `carries` tells if anything travels on a subject.
pub(crate) fn contents(letter: &DeadLetter, carries: impl FnOnce(&str) -> bool) -> Contents {
    if letter.missing.is_some() {
        Contents::Part
    } else if carries(&letter.subject) {
        Contents::Message
    } else {
        Contents::Stray
    }
}
