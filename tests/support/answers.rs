//! The replies in a message, as an observer reads them who knows the protocol and none of our code: one, or a bundle.

use async_nats::Message;
use serde::Deserialize;
use serde_json::value::RawValue;

/// A reply as it travels.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answered {
    pub(crate) key: String,
    pub(crate) outcome: String,
    pub(crate) body: Vec<u8>,
}

/// One of a bundle.
#[derive(Deserialize)]
struct Entry {
    key: String,
    outcome: String,
    body: Option<Box<RawValue>>,
}

/// The replies of a message; none if it is no reply of ours.
pub(crate) fn answers(message: &Message) -> Vec<Answered> {
    let header = |name: &str| Some(message.headers.as_ref()?.get(name)?.to_string());
    if let (Some(key), Some(outcome)) = (header("Idempotency-Key"), header("Redress-Outcome")) {
        return vec![Answered { key, outcome, body: message.payload.to_vec() }];
    }
    if header("Redress-Replies").is_none() {
        return Vec::new();
    }
    let entries: Vec<Entry> = serde_json::from_slice(&message.payload).unwrap_or_default();
    let answered = |Entry { key, outcome, body }: Entry| {
        // `null` is read as no body: only what is done has one.
        let body = match (body, outcome.as_str()) {
            (Some(body), _) => body.get().as_bytes().to_vec(),
            (None, "done") => b"null".to_vec(),
            (None, _) => Vec::new(),
        };
        Answered { key, outcome, body }
    };
    entries.into_iter().map(answered).collect()
}
