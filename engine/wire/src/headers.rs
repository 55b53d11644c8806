//! The envelope of a message, as NATS headers.
//!
//! Reading is total: whatever arrives becomes a message or a [`Malformed`] that says what is wrong, who could be told,
//! and keeps what came, so that poison never blocks the message behind it and can be looked at later.
//!
//! One kind of poison never gets here: a header block that the client library itself cannot parse (not UTF-8, a line
//! without a colon) breaks the connection whenever it is delivered, and a lone carriage return ends the client for
//! good (nats.rs pull request 1612), which [`crate::Wire::health`] shows. No client library writes such a block, and
//! the broker's permissions keep strangers off our subjects; who wrote one by hand deletes it from the stream by hand.

use std::num::NonZeroU32;

use async_nats::HeaderMap;
use redress_core::fault::FaultKind;
use redress_core::ids::IdempotencyKey;
use redress_core::message::{NotificationMessage, PAYLOAD_BYTES_MAX};
use redress_core::{CommandMessage, JsonText, Name, Outcome, Rejection, ReplyMessage, Timestamp, Unfit};

use crate::topology::Topology;

/// The longest reason that is kept, in characters: a sentence, since what is quoted in it came from outside.
const REASON_CHARS_MAX: usize = 400;

const KEY: &str = "Idempotency-Key";
const MESSAGE_ID: &str = "Nats-Msg-Id";
const SAGA_ID: &str = "Redress-Saga-Id";
const SAGA: &str = "Redress-Saga";
const VERSION: &str = "Redress-Version";
const STEP: &str = "Redress-Step";
const PHASE: &str = "Redress-Phase";
const GENERATION: &str = "Redress-Generation";
const ATTEMPT: &str = "Redress-Attempt";
const SERVICE: &str = "Redress-Service";
const COMMAND: &str = "Redress-Command";
const REPLY_TO: &str = "Redress-Reply-To";
const ACTION_SENT_AT: &str = "Redress-Action-Sent-At";
const OUTCOME: &str = "Redress-Outcome";
const FAULT: &str = "Redress-Fault";
const TRACE: &str = "traceparent";

/// Who can be told about a message that could not be read whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReplyAddress {
    /// The question.
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
    /// What is wrong, for people.
    pub reason: String,
    /// Who can be told.
    pub address: Option<ReplyAddress>,
    /// The subject on which it came.
    pub subject: String,
    /// The headers that it had.
    pub headers: Vec<(String, String)>,
    /// The body that it had.
    pub payload: Vec<u8>,
}

/// A message that travels: how it becomes headers and body and back.
pub trait Envelope: Sized + Send + 'static {
    /// The subject on which it travels.
    fn subject(&self, topology: &Topology) -> String;

    /// Reads a message.
    ///
    /// # Errors
    /// What is wrong, and who can be told.
    fn read(headers: &HeaderMap, payload: &[u8]) -> Result<Self, (String, Option<ReplyAddress>)>;
}

/// The headers of a command; `reply_to` is the subject on which its answer is expected.
pub fn of_command(command: &CommandMessage, reply_to: &str) -> HeaderMap {
    let mut headers = of_question(&command.key, command.attempt, &command.saga, command.version);
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

/// Reads a notification, or says what is wrong with it.
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
    let mut headers = of_question(&reply.key, reply.attempt, &reply.saga, reply.version);
    headers.insert(SERVICE, reply.service.as_str());
    headers.insert(OUTCOME, reply.outcome.as_str());
    let body = match &reply.outcome {
        Outcome::Done { reply } => reply.as_bytes().to_vec(),
        Outcome::Rejected(rejection) => serde_json::to_vec(rejection).expect("two texts become JSON"),
        Outcome::Failed { message: text } | Outcome::Refused { reason: text } => {
            serde_json::to_vec(text).expect("a text becomes JSON")
        }
        Outcome::Fenced | Outcome::Expired => Vec::new(),
    };
    (headers, body)
}

fn of_question(key: &IdempotencyKey, attempt: u32, saga: &Name, version: u32) -> HeaderMap {
    let mut headers = HeaderMap::new();
    headers.insert(KEY, key.to_string());
    headers.insert(ATTEMPT, attempt.to_string());
    headers.insert(SAGA, saga.as_str());
    headers.insert(VERSION, version.to_string());
    headers
}

fn text<'h>(headers: &'h HeaderMap, name: &str) -> Result<&'h str, String> {
    headers.get(name).map(|value| value.as_str()).ok_or_else(|| format!("the header `{name}` is missing"))
}

fn parsed<T: std::str::FromStr>(headers: &HeaderMap, name: &str) -> Result<T, String>
where
    T::Err: std::fmt::Display,
{
    text(headers, name)?.parse().map_err(|error: T::Err| format!("the header `{name}` is unusable: {error}"))
}

fn address(headers: &HeaderMap) -> Result<ReplyAddress, String> {
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
}

impl Envelope for ReplyMessage {
    fn subject(&self, topology: &Topology) -> String {
        topology.reply_subject(self)
    }

    fn read(headers: &HeaderMap, payload: &[u8]) -> Result<Self, (String, Option<ReplyAddress>)> {
        let address = address(headers).map_err(|reason| (reason, None))?;
        let sentence = || {
            body(payload)?.read::<String>().map_err(|error| format!("the payload is no sentence: {error}"))
        };
        let read = || {
            let outcome = match text(headers, OUTCOME)? {
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
                other => return Err(format!("the outcome `{other}` is unknown")),
            };
            Ok(Self {
                key: address.key.clone(),
                attempt: address.attempt,
                saga: address.saga.clone(),
                version: address.version,
                service: parsed(headers, SERVICE)?,
                outcome,
            })
        };
        read().map_err(|reason: String| (reason, Some(address.clone())))
    }
}

/// Headers as plain text, for keeping.
pub fn to_text(headers: &HeaderMap) -> Vec<(String, String)> {
    headers
        .iter()
        .flat_map(|(name, values)| values.iter().map(move |value| (name.to_string(), value.to_string())))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn command(fault: Option<FaultKind>) -> CommandMessage {
        let name = |text| Name::new(text).expect("a name");
        CommandMessage {
            key: "0190163d-8694-739b-aea5-966c26f8ad91/charge/settlement/3".parse().unwrap(),
            attempt: 7,
            saga: name("place-order"),
            version: 2,
            service: name("payment"),
            command: name("charge"),
            action_sent_at: "2026-11-23T10:11:12.345678Z".parse().unwrap(),
            fault,
            traceparent: Some("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".to_owned()),
            payload: JsonText::parse(br#"{"b": 1, "a": 2}"#).unwrap(),
        }
    }

    #[test]
    fn commands_survive_the_wire() {
        for fault in [
            None,
            Some(FaultKind::Fail),
            Some(FaultKind::Delay { ms: 5 }),
            Some(FaultKind::Reject { code: "no".to_owned() }),
        ] {
            let command = command(fault);
            let headers = of_command(&command, "redress.reply.payment.place-order.2");
            assert_eq!(CommandMessage::read(&headers, command.payload.as_bytes()), Ok(command));
        }
    }

    #[test]
    fn replies_survive_the_wire() {
        for outcome in [
            Outcome::Done { reply: JsonText::parse(br#"{"z":1,"a":[2]}"#).unwrap() },
            Outcome::Rejected(Rejection::new("insufficient-funds", "1,00 € short\n\"really\"")),
            Outcome::Failed { message: "connection\nlost".to_owned() },
            Outcome::Refused { reason: "no such command".to_owned() },
            Outcome::Fenced,
            Outcome::Expired,
        ] {
            let command = command(None);
            let reply = ReplyMessage {
                key: command.key,
                attempt: 7,
                saga: command.saga,
                version: 2,
                service: command.service,
                outcome,
            };
            let (headers, body) = of_reply(&reply);
            assert_eq!(ReplyMessage::read(&headers, &body), Ok(reply));
        }
    }

    #[test]
    fn poison_says_what_is_wrong_and_whom_to_tell() {
        let mut story = String::new();
        let mut check = |what: &str, spoil: &dyn Fn(&mut HeaderMap), payload: &[u8]| {
            let mut headers = of_command(&command(None), "r");
            spoil(&mut headers);
            let (reason, address) = CommandMessage::read(&headers, payload).unwrap_err();
            let told = if address.is_some() { "reported" } else { "nobody to tell" };
            story.push_str(&format!("{what}: {reason} ({told})\n"));
        };
        check("not JSON", &|_| {}, b"{");
        check("NUL", &|_| {}, br#""\u0000""#);
        check("no attempt", &|h| h.insert(ATTEMPT, "x"), b"1");
        check("bad key", &|h| h.insert(KEY, "x"), b"1");
        check("bad command", &|h| h.insert(COMMAND, "a.b"), b"1");
        check("bad fault", &|h| h.insert(FAULT, "explode"), b"1");
        insta::assert_snapshot!(story, @"
        not JSON: the payload is not JSON: EOF while parsing an object at line 1 column 1 (reported)
        NUL: the payload is unusable: a text in it holds a NUL character (reported)
        no attempt: the header `Redress-Attempt` is unusable: invalid digit found in string (nobody to tell)
        bad key: the header `Idempotency-Key` is unusable: `x` is no key: expected `<saga-id>/<step>/<action|compensation|settlement>/<generation>` (nobody to tell)
        bad command: the header `Redress-Command` is unusable: `a.b` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens (reported)
        bad fault: the header `Redress-Fault` is unusable: `explode` is no kind of fault: use reject (with a code), fail, delay (with ms), drop-command, drop-reply, delay-reply (with ms), duplicate, crash-before-commit, crash-after-commit or crash-after-reply (reported)
        ");
    }
}
