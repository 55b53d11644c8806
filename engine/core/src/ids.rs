//! Names and keys: stable texts that identify sagas, steps, services and commands.
//!
//! Identity is never a position or a type name. A saga is a UUIDv7, everything that a person names is a [`Name`], and a
//! command that the coordinator sends to a participant has an [`IdempotencyKey`]: the saga, the step, the phase and the
//! generation. The attempt is deliberately no part of it: the same command sent twice must get the same answer.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;
use uuid::Uuid;

/// A point in time, in UTC; the journal keeps microseconds.
pub type Timestamp = chrono::DateTime<chrono::Utc>;

/// The longest name, in bytes: a NATS token and a DNS label both take it.
pub const NAME_BYTES_MAX: usize = 63;

/// One saga, from its start to its end and after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SagaId(pub Uuid);

impl fmt::Display for SagaId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for SagaId {
    type Err = InvalidSagaId;

    fn from_str(text: &str) -> Result<Self, InvalidSagaId> {
        Uuid::parse_str(text).map(Self).map_err(|_| InvalidSagaId { text: cut(text) })
    }
}

/// The name of a saga, step, service or command: `[a-z][a-z0-9-]{0,62}`.
///
/// Only names enter NATS subjects, so that user text never does.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(Arc<str>);

impl Name {
    /// Checks `text` and makes it a name.
    ///
    /// # Errors
    /// [`InvalidName`] if it does not match `[a-z][a-z0-9-]{0,62}`.
    pub fn new(text: &str) -> Result<Self, InvalidName> {
        let rest_is_fine = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit() || *b == b'-';
        let bytes = text.as_bytes();
        let valid = bytes.len() <= NAME_BYTES_MAX
            && bytes.first().is_some_and(u8::is_ascii_lowercase)
            && bytes.iter().all(rest_is_fine);
        if valid { Ok(Self(text.into())) } else { Err(InvalidName { text: text.chars().take(80).collect() }) }
    }

    /// The text of the name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Deref for Name {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Name {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl PartialEq<str> for Name {
    fn eq(&self, other: &str) -> bool {
        &*self.0 == other
    }
}

impl PartialEq<&str> for Name {
    fn eq(&self, other: &&str) -> bool {
        &*self.0 == *other
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

impl FromStr for Name {
    type Err = InvalidName;

    fn from_str(text: &str) -> Result<Self, InvalidName> {
        Self::new(text)
    }
}

impl Serialize for Name {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        Self::new(&text).map_err(serde::de::Error::custom)
    }
}

/// A text that is no name.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no name: use a lowercase letter and then up to 62 lowercase letters, digits or hyphens")]
pub struct InvalidName {
    /// The text, cut to 80 characters.
    pub text: String,
}

/// The phase of a step: the demand that a command makes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Do it.
    Action,
    /// Undo it.
    Compensation,
    /// Say whether it happened; if it did not, make sure that it never will.
    Settlement,
}

impl Phase {
    /// The word on the wire and in the history.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Action => "action",
            Self::Compensation => "compensation",
            Self::Settlement => "settlement",
        }
    }
}

impl fmt::Display for Phase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Phase {
    type Err = InvalidPhase;

    fn from_str(text: &str) -> Result<Self, InvalidPhase> {
        match text {
            "action" => Ok(Self::Action),
            "compensation" => Ok(Self::Compensation),
            "settlement" => Ok(Self::Settlement),
            other => Err(InvalidPhase { text: cut(other) }),
        }
    }
}

/// The key of a command: `<saga-id>/<step>/<phase>/<generation>`.
///
/// Every attempt of a command carries the same key, and a participant answers a key the same way for ever.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct IdempotencyKey {
    /// The saga that sends it.
    pub saga_id: SagaId,
    /// The step that it is about.
    pub step: Name,
    /// The phase.
    pub phase: Phase,
    /// 1, and one more when an operator re-opens a step whose answer was final.
    pub generation: u32,
}

impl IdempotencyKey {
    /// The key of the action that this key is about (itself, if it is one).
    #[must_use]
    pub fn of_action(&self) -> Self {
        Self { phase: Phase::Action, ..self.clone() }
    }
}

impl fmt::Display for IdempotencyKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}/{}/{}", self.saga_id, self.step, self.phase, self.generation)
    }
}

impl FromStr for IdempotencyKey {
    type Err = InvalidKey;

    fn from_str(text: &str) -> Result<Self, InvalidKey> {
        let invalid = || InvalidKey { text: cut(text) };
        let mut parts = text.split('/');
        let (Some(saga), Some(step), Some(phase), Some(generation), None) =
            (parts.next(), parts.next(), parts.next(), parts.next(), parts.next())
        else {
            return Err(invalid());
        };
        Ok(Self {
            saga_id: saga.parse().map_err(|_| invalid())?,
            step: Name::new(step).map_err(|_| invalid())?,
            phase: phase.parse().map_err(|_| invalid())?,
            generation: generation.parse().map_err(|_| invalid())?,
        })
    }
}

/// Enough of a text that is refused.
fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

/// A text that is no saga's id.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no saga's id: expected a UUID, as `redress list` and GET /v1/sagas show it")]
pub struct InvalidSagaId {
    /// The text, cut to 200 characters.
    pub text: String,
}

/// A text that is no phase.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no phase: use action, compensation or settlement")]
pub struct InvalidPhase {
    /// The text, cut to 200 characters.
    pub text: String,
}

/// A text that is no key.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("`{text}` is no key: expected `<saga-id>/<step>/<action|compensation|settlement>/<generation>`")]
pub struct InvalidKey {
    /// The text, cut to 200 characters.
    pub text: String,
}

/// The time `ms` milliseconds after `at`, at most the end of time.
pub(crate) fn after_ms(at: Timestamp, ms: u64) -> Timestamp {
    let delta = i64::try_from(ms)
        .ok()
        .and_then(chrono::TimeDelta::try_milliseconds)
        .unwrap_or(chrono::TimeDelta::MAX);
    at.checked_add_signed(delta).unwrap_or(Timestamp::MAX_UTC)
}

/// From one time to a later one, in milliseconds; 0 if it is not later.
pub(crate) fn ms_between(from: Timestamp, to: Timestamp) -> u64 {
    u64::try_from((to - from).num_milliseconds()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_id_error_says_what_is_expected() {
        let told =
            ["x".parse::<SagaId>().unwrap_err().to_string(), "x".parse::<Phase>().unwrap_err().to_string()];
        assert_eq!(
            told,
            [
                "`x` is no saga's id: expected a UUID, as `redress list` and GET /v1/sagas show it",
                "`x` is no phase: use action, compensation or settlement",
            ]
        );
    }

    /// redress-macros reads the same table.
    #[test]
    fn names_are_those_of_the_table() {
        for line in include_str!("../../macros/src/names.txt").lines() {
            let (is_name, text) = line.split_once(' ').expect("an answer and a text");
            assert_eq!(Name::new(text.trim_matches('"')).is_ok(), is_name == "yes", "{line}");
        }
        assert!(Name::new("a\0").is_err());
    }

    #[test]
    fn idempotency_key_survives_its_text_form() {
        let text = "0190163d-8694-739b-aea5-966c26f8ad91/charge-payment/compensation/2";
        let key: IdempotencyKey = text.parse().unwrap();
        assert_eq!(key.to_string(), text);
        assert_eq!(key.of_action().to_string(), text.replace("compensation", "action"));
        for bad in ["", "x/y/action/1", "0190163d-8694-739b-aea5-966c26f8ad91/a/b/1", &format!("{text}/3")] {
            assert!(bad.parse::<IdempotencyKey>().is_err(), "{bad}");
        }
    }
}
