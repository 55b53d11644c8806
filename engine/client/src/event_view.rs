//! The answers of the API about events, as types.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use redress_core::SagaId;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::view::Saga;

/// What a saga made of an event that it did not refuse.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SentEvent {
    /// In one word.
    pub verdict: EventVerdict,
    /// The saga as it is then.
    pub saga: Saga,
}

/// What one of several sagas made of an event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Delivered {
    /// The saga.
    pub saga_id: SagaId,
    /// In one word.
    pub verdict: EventVerdict,
    /// Why it was refused, as a stable word.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub code: Option<String>,
    /// Why it was refused, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub detail: Option<String>,
    /// Members that are not known here.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

/// What a saga made of an event, as one word.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum EventVerdict {
    /// It was awaited, and the saga goes on.
    Taken,
    /// It came before its step, and is kept for it.
    Kept,
    /// It had come before, with the same key.
    Repeated,
    /// The saga has no use for it.
    Refused,
    /// A word that is not known here.
    #[serde(untagged)]
    Other(String),
}

impl EventVerdict {
    /// The word in HTTP.
    pub fn as_str(&self) -> &str {
        match self {
            Self::Taken => "taken",
            Self::Kept => "kept",
            Self::Repeated => "repeated",
            Self::Refused => "refused",
            Self::Other(word) => word,
        }
    }
}

impl fmt::Display for EventVerdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// Any word is a verdict; the API knows which ones there are.
impl From<&str> for EventVerdict {
    fn from(word: &str) -> Self {
        match word {
            "taken" => Self::Taken,
            "kept" => Self::Kept,
            "repeated" => Self::Repeated,
            "refused" => Self::Refused,
            other => Self::Other(other.to_owned()),
        }
    }
}

impl FromStr for EventVerdict {
    type Err = Infallible;

    fn from_str(word: &str) -> Result<Self, Infallible> {
        Ok(word.into())
    }
}
