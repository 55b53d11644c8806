//! Times in a stored saga that may be missing: then their fields are missing, too.

use serde::{Deserializer, Serializer};

use crate::ids::Timestamp;
use crate::state::time;

pub(super) fn serialize<S: Serializer>(time: &Option<Timestamp>, serializer: S) -> Result<S::Ok, S::Error> {
    match time {
        Some(time) => time::serialize(time, serializer),
        None => serializer.serialize_none(),
    }
}

pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    time::deserialize(deserializer).map(Some)
}
