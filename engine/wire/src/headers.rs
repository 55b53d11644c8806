//! The envelope of a message, as NATS headers.
//!
//! Reading is total: every message becomes a value or a [`Malformed`] that gives the reason and the address for an
//! answer, and keeps the bytes that came, so that poison never blocks the message behind it and can be looked at later.
//!
//! A header block that the client library itself cannot parse comes another way (`unreadable.rs`).

use std::num::NonZeroU32;

use async_nats::header::HeaderName;
use async_nats::{HeaderMap, HeaderValue};
use redress_core::fault::FaultKind;
use redress_core::ids::IdempotencyKey;
use redress_core::message::{NotificationMessage, PAYLOAD_BYTES_MAX};
use redress_core::{
    CommandMessage, JsonText, LetterCode, Name, Outcome, Rejection, ReplyMessage, Timestamp, Unfit,
};

use crate::topology::Topology;

/// The longest reason that is kept, in characters: a sentence, since the text that is quoted in it came from outside.
const REASON_CHARS_MAX: usize = 400;

pub(crate) const KEY: &str = "Idempotency-Key";
pub(crate) const MESSAGE_ID: &str = "Nats-Msg-Id";
const SAGA_ID: &str = "Redress-Saga-Id";
pub(crate) const SAGA: &str = "Redress-Saga";
pub(crate) const VERSION: &str = "Redress-Version";
const STEP: &str = "Redress-Step";
const PHASE: &str = "Redress-Phase";
const GENERATION: &str = "Redress-Generation";
const ATTEMPT: &str = "Redress-Attempt";
pub(crate) const SERVICE: &str = "Redress-Service";
const COMMAND: &str = "Redress-Command";
const REPLY_TO: &str = "Redress-Reply-To";
pub(crate) const ACTION_SENT_AT: &str = "Redress-Action-Sent-At";
pub(crate) const OUTCOME: &str = "Redress-Outcome";
/// The number of replies in a bundle.
pub(crate) const REPLIES: &str = "Redress-Replies";
const FAULT: &str = "Redress-Fault";
const TRACE: &str = "traceparent";

/// The coordinator that can be told about a message that could not be read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyAddress {
    /// The command.
    pub key: IdempotencyKey,
    /// The attempt that carried it.
    pub attempt: u32,
    /// The saga definition's name.
    pub saga: Name,
    /// The saga definition's version.
    pub version: u32,
}

/// A message that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Malformed {
    /// The kind of fault.
    pub code: LetterCode,
    /// The fault, for people.
    pub reason: String,
    /// The coordinator that can be told.
    pub address: Option<ReplyAddress>,
    /// The subject on which it came.
    pub subject: String,
    /// The headers that it had.
    pub headers: Vec<(String, String)>,
    /// The body that it had.
    pub payload: Vec<u8>,
}

/// One of the messages that travelled in one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unpacked<M> {
    /// The message, or the reason why it is none and the coordinator that can be told.
    pub message: Result<M, (String, Option<ReplyAddress>)>,
    /// What would be sent for it alone, if it cannot be read and others came with it.
    pub payload: Option<Vec<u8>>,
}

/// A message that travels: how it becomes headers and body and back.
pub trait Envelope: Sized + Send + 'static {
    /// The subject on which it travels.
    fn subject(&self, topology: &Topology) -> String;

    /// Reads a message.
    ///
    /// # Errors
    /// The reason, and the coordinator that can be told.
    fn read(headers: &HeaderMap, payload: &[u8]) -> Result<Self, (String, Option<ReplyAddress>)>;

    /// Reads all that travels in one message: one, as a rule.
    fn unpack(headers: &HeaderMap, payload: &[u8]) -> Vec<Unpacked<Self>> {
        vec![Unpacked { message: Self::read(headers, payload), payload: None }]
    }

    /// The coordinator that can be told about it, if there is one.
    fn address(&self) -> Option<ReplyAddress>;
}

/// The headers of a command; `reply_to` is the subject on which its answer is expected.
pub fn of_command(command: &CommandMessage, reply_to: &str) -> HeaderMap {
    let mut headers = shared_headers(&command.key, command.attempt, &command.saga, command.version);
    headers.insert(MESSAGE_ID, format!("{}#{}", command.key, command.attempt));
    headers.insert(SAGA_ID, command.key.saga_id.to_string());
    headers.insert(STEP, command.key.step.as_str());
    headers.insert(PHASE, command.key.phase.as_str());
    headers.insert(GENERATION, command.key.generation.to_string());
    headers.insert(SERVICE, command.service.as_str());
    headers.insert(COMMAND, command.command.as_str());
    headers.insert(REPLY_TO, reply_to);
    headers
        .insert(ACTION_SENT_AT, command.action_sent_at.to_rfc3339_opts(chrono::SecondsFormat::Micros, true));
    if let Some(fault) = &command.fault {
        headers.insert(FAULT, fault.to_string());
    }
    if let Some(trace) = &command.traceparent {
        headers.insert(TRACE, one_line(trace));
    }
    headers
}

/// The headers of a notification.
pub(crate) fn of_notification(notification: &NotificationMessage) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(SAGA_ID, notification.saga_id.to_string());
    headers.insert(SAGA, notification.saga.as_str());
    headers.insert(VERSION, notification.version.to_string());
    headers.insert(STEP, notification.step.as_str());
    headers.insert(SERVICE, notification.service.as_str());
    headers.insert(COMMAND, notification.command.as_str());
    if let Some(trace) = &notification.traceparent {
        headers.insert(TRACE, one_line(trace));
    }
    headers
}

/// Reads a notification, or returns the reason why it cannot.
pub(crate) fn read_notification(headers: &HeaderMap, payload: &[u8]) -> Result<NotificationMessage, String> {
    Ok(NotificationMessage {
        saga_id: parsed(headers, SAGA_ID)?,
        saga: parsed(headers, SAGA)?,
        version: parsed(headers, VERSION)?,
        step: parsed(headers, STEP)?,
        service: parsed(headers, SERVICE)?,
        command: parsed(headers, COMMAND)?,
        traceparent: headers.get(TRACE).map(|value| value.as_str().to_owned()),
        payload: body(payload)?,
    })
}

/// The headers and the body of a reply.
pub fn of_reply(reply: &ReplyMessage) -> (HeaderMap, Vec<u8>) {
    let mut headers = shared_headers(&reply.key, reply.attempt, &reply.saga, reply.version);
    headers.insert(SERVICE, reply.service.as_str());
    headers.insert(OUTCOME, reply.outcome.as_str());
    (headers, body_of_reply(reply))
}

/// The body of a reply: JSON, or nothing.
pub(crate) fn body_of_reply(reply: &ReplyMessage) -> Vec<u8> {
    match &reply.outcome {
        Outcome::Done { reply } => reply.as_bytes().to_vec(),
        Outcome::Rejected(rejection) => serde_json::to_vec(rejection).expect("two texts become JSON"),
        Outcome::Failed { message: text }
        | Outcome::Refused { reason: text }
        | Outcome::InDoubt { reason: text } => serde_json::to_vec(text).expect("a text becomes JSON"),
        Outcome::Fenced | Outcome::Expired | Outcome::Accepted => Vec::new(),
    }
}

/// The headers that a command and its reply share.
fn shared_headers(key: &IdempotencyKey, attempt: u32, saga: &Name, version: u32) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(KEY, key.to_string());
    headers.insert(ATTEMPT, attempt.to_string());
    headers.insert(SAGA, saga.as_str());
    headers.insert(VERSION, version.to_string());
    headers
}

pub(crate) fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, String> {
    headers.get(name).map(|value| value.as_str()).ok_or_else(|| format!("the header `{name}` is missing"))
}

pub(crate) fn parsed<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text(headers, name)?.parse().map_err(|error: T::Err| format!("the header `{name}` is unusable: {error}"))
}

pub(crate) fn address(headers: &HeaderMap) -> Result<ReplyAddress, String> {
    Ok(ReplyAddress {
        key: parsed(headers, KEY)?,
        attempt: parsed::<NonZeroU32>(headers, ATTEMPT)?.get(),
        saga: parsed(headers, SAGA)?,
        version: parsed(headers, VERSION)?,
    })
}

/// A text as the value of a header, which has no line breaks.
pub(crate) fn one_line(text: &str) -> String {
    text.replace(['\r', '\n'], " ")
}

/// A reason of bearable length.
pub(crate) fn brief(reason: &str) -> String {
    match reason.char_indices().nth(REASON_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &reason[..end]),
        None => reason.to_owned(),
    }
}

fn body(payload: &[u8]) -> Result<JsonText, String> {
    // Before it is read at all.
    if payload.len() > PAYLOAD_BYTES_MAX {
        let unfit = Unfit::TooLarge { bytes: payload.len() };
        return Err(format!("the payload is unusable: {unfit}"));
    }
    let json = JsonText::parse(payload).map_err(|error| format!("the payload is not JSON: {error}"))?;
    json.check_storable().map_err(|unfit| format!("the payload is unusable: {unfit}"))?;
    Ok(json)
}

impl Envelope for CommandMessage {
    fn subject(&self, topology: &Topology) -> String {
        topology.command_subject(&self.service, &self.command)
    }

    fn read(headers: &HeaderMap, payload: &[u8]) -> Result<Self, (String, Option<ReplyAddress>)> {
        let address = address(headers).map_err(|reason| (reason, None))?;
        let read = || {
            let fault = match headers.get(FAULT) {
                Some(_) => Some(parsed::<FaultKind>(headers, FAULT)?),
                None => None,
            };
            Ok(Self {
                key: address.key.clone(),
                attempt: address.attempt,
                saga: address.saga.clone(),
                version: address.version,
                service: parsed(headers, SERVICE)?,
                command: parsed(headers, COMMAND)?,
                action_sent_at: parsed::<Timestamp>(headers, ACTION_SENT_AT)?,
                fault,
                traceparent: headers.get(TRACE).map(|value| value.as_str().to_owned()),
                payload: body(payload)?,
            })
        };
        read().map_err(|reason: String| (reason, Some(address.clone())))
    }

    fn address(&self) -> Option<ReplyAddress> {
        Some(ReplyAddress {
            key: self.key.clone(),
            attempt: self.attempt,
            saga: self.saga.clone(),
            version: self.version,
        })
    }
}

/// The outcome of this name with this body.
pub(crate) fn outcome(name: &str, payload: &[u8]) -> Result<Outcome, String> {
    let sentence =
        || body(payload)?.read::<String>().map_err(|error| format!("the payload is no sentence: {error}"));
    Ok(match name {
        "done" => Outcome::Done { reply: body(payload)? },
        "rejected" => Outcome::Rejected(
            body(payload)?
                .read::<Rejection>()
                .map_err(|error| format!("the payload is no rejection: {error}"))?,
        ),
        "failed" => Outcome::Failed { message: sentence()? },
        "refused" => Outcome::Refused { reason: sentence()? },
        "fenced" => Outcome::Fenced,
        "expired" => Outcome::Expired,
        "accepted" => Outcome::Accepted,
        "in-doubt" => Outcome::InDoubt { reason: sentence()? },
        other => return Err(format!("the outcome `{other}` is unknown")),
    })
}

/// Headers as plain text, for keeping: by name, as the client library hands them out in any order; several values of a
/// name keep theirs.
pub fn to_text(headers: &HeaderMap) -> Vec<(String, String)> {
    let values = |(name, values): (&HeaderName, &Vec<HeaderValue>)| {
        values.iter().map(|value| (name.to_string(), value.to_string())).collect::<Vec<_>>()
    };
    let mut text: Vec<(String, String)> = headers.iter().flat_map(values).collect();
    text.sort_by(|(one, _), (other, _)| one.cmp(other));
    text
}

#[cfg(test)]
mod tests;
