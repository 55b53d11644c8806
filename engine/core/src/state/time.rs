//! Times in a stored saga: microseconds since 1970, as exact as Postgres keeps a time. Up to form 5 they were texts, which
//! are still read.

use std::fmt;

use serde::de::{self, Visitor};
use serde::{Deserializer, Serializer};

use crate::ids::Timestamp;

pub(super) fn serialize<S: Serializer>(time: &Timestamp, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_i64(time.timestamp_micros())
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Timestamp, D::Error> {
    deserializer.deserialize_any(TimeVisitor)
}

struct TimeVisitor;

impl Visitor<'_> for TimeVisitor {
    type Value = Timestamp;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("microseconds since 1970, or a time as RFC 3339 writes it")
    }

    fn visit_i64<E: de::Error>(self, micros: i64) -> Result<Timestamp, E> {
        Timestamp::from_timestamp_micros(micros)
            .ok_or_else(|| E::invalid_value(de::Unexpected::Signed(micros), &self))
    }

    fn visit_u64<E: de::Error>(self, micros: u64) -> Result<Timestamp, E> {
        let signed = i64::try_from(micros);
        signed
            .map_err(|_| E::invalid_value(de::Unexpected::Unsigned(micros), &self))
            .and_then(|micros| self.visit_i64(micros))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Timestamp, E> {
        text.parse().map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}
