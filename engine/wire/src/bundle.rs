//! Several replies in one message.
//!
//! A participant answers a whole batch at once, mostly sagas of one definition. Each message costs the broker a write, an
//! acknowledgement to the sender and one from the taker; so the replies to one definition travel together, and a reply that
//! is alone travels as it always did.
//!
//! | | |
//! |---|---|
//! | subject | that of its replies |
//! | headers | `Redress-Replies` (the number of them), `Redress-Service`, `Redress-Saga`, `Redress-Version` |
//! | body | `[{"key","attempt","outcome","body"?}]`, each with the body that its own message would have |
//!
//! The bundle is settled when each of its replies is ([`crate::delivery`]). If one of them is put back, all of them come
//! again, and those that were decided on are recognised: a reply may come twice anyway.

use std::num::NonZeroU32;

use async_nats::HeaderMap;
use bytes::Bytes;
use redress_core::{IdempotencyKey, Name, ReplyMessage};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;

use crate::anchor::Anchor;
use crate::headers::{self, Envelope, OUTCOME, REPLIES, ReplyAddress, SAGA, SERVICE, Unpacked, VERSION};
use crate::publish::{Outgoing, PublishError};
use crate::topology::Topology;
use crate::wire::Wire;

/// The most replies in a bundle: as many as a coordinator decides on in a small batch, since they are put back together.
const REPLIES_MAX: usize = 64;
/// The most bytes of bodies in a bundle. A larger reply travels alone.
const BYTES_MAX: usize = 64 << 10;

/// One message with replies.
pub(crate) enum Parcel<'r> {
    One(&'r ReplyMessage),
    /// Of one service, to sagas of one definition.
    Bundle(Vec<&'r ReplyMessage>),
}

/// A reply in a bundle.
#[derive(Serialize, Deserialize)]
#[serde(expecting = "an object with `key`, `attempt`, `outcome` and perhaps `body`")]
struct Entry<'e> {
    key: String,
    attempt: NonZeroU32,
    outcome: String,
    #[serde(borrow, default, skip_serializing_if = "Option::is_none", deserialize_with = "there")]
    body: Option<&'e RawValue>,
}

impl<'e> Entry<'e> {
    fn of(reply: &ReplyMessage, body: Option<&'e RawValue>) -> Self {
        let attempt = NonZeroU32::new(reply.attempt).expect("attempts count from 1");
        Self { key: reply.key.to_string(), attempt, outcome: reply.outcome.as_str().to_owned(), body }
    }
}

/// A body that is there, `null` included.
fn there<'de, D: Deserializer<'de>>(body: D) -> Result<Option<&'de RawValue>, D::Error> {
    <&RawValue>::deserialize(body).map(Some)
}

/// The definition whose coordinators take these replies, and the service that gives them.
type Route<'r> = (&'r Name, &'r Name, u32);

/// Replies that travel together, and which they are of all.
#[derive(Default)]
struct Open {
    places: Vec<usize>,
    bytes: usize,
}

/// Packs replies; gives with each parcel the places of its replies.
pub(crate) fn packed(replies: &[ReplyMessage]) -> Vec<(Parcel<'_>, Vec<usize>)> {
    let mut open: Vec<(Route<'_>, Open)> = Vec::new();
    let mut full = Vec::new();
    for (place, reply) in replies.iter().enumerate() {
        let (route, bytes) = ((&reply.service, &reply.saga, reply.version), reply.payload_bytes());
        let at = open.iter().position(|(of, _)| *of == route).unwrap_or_else(|| {
            open.push((route, Open::default()));
            open.len() - 1
        });
        let (_, group) = &mut open[at];
        if group.places.len() == REPLIES_MAX || group.bytes + bytes > BYTES_MAX {
            full.push(std::mem::take(group));
        }
        group.places.push(place);
        group.bytes += bytes;
    }
    let groups = full.into_iter().chain(open.into_iter().map(|(_, group)| group));
    let parcel = |Open { places, .. }: Open| {
        let parcel = match places[..] {
            [place] => Parcel::One(&replies[place]),
            _ => Parcel::Bundle(places.iter().map(|place| &replies[*place]).collect()),
        };
        (parcel, places)
    };
    groups.filter(|group| !group.places.is_empty()).map(parcel).collect()
}

impl Outgoing for Parcel<'_> {
    fn outgoing(&self, topology: &Topology) -> (String, HeaderMap, Bytes) {
        match self {
            Self::One(reply) => reply.outgoing(topology),
            Self::Bundle(replies) => {
                let (headers, body) = bundle(replies);
                (topology.reply_subject(replies[0]), headers, body.into())
            }
        }
    }

    fn payload_bytes(&self) -> usize {
        match self {
            Self::One(reply) => reply.payload_bytes(),
            Self::Bundle(replies) => replies.iter().map(|reply| reply.payload_bytes()).sum(),
        }
    }

    fn anchor(wire: &Wire) -> Option<&Anchor> {
        ReplyMessage::anchor(wire)
    }
}

/// The headers and the body of a bundle.
fn bundle(replies: &[&ReplyMessage]) -> (HeaderMap, Vec<u8>) {
    let bodies: Vec<Option<Box<RawValue>>> = replies
        .iter()
        .map(|reply| {
            let body = String::from_utf8(headers::body_of_reply(reply)).expect("JSON is text");
            let raw = |body| RawValue::from_string(body).expect("the body of a reply is JSON");
            Some(body).filter(|body| !body.is_empty()).map(raw)
        })
        .collect();
    let entries: Vec<Entry<'_>> =
        replies.iter().zip(&bodies).map(|(reply, body)| Entry::of(reply, body.as_deref())).collect();
    let mut headers = HeaderMap::new();
    headers.insert(REPLIES, replies.len().to_string());
    headers.insert(SERVICE, replies[0].service.as_str());
    headers.insert(SAGA, replies[0].saga.as_str());
    headers.insert(VERSION, replies[0].version.to_string());
    (headers, serde_json::to_vec(&entries).expect("texts and numbers become JSON"))
}

/// Reads the replies of a bundle: one that cannot be read hides no other, and keeps a bundle of itself alone, which is what is
/// sent again once it was set aside.
///
/// # Errors
/// The reason, if it is no bundle.
pub(crate) fn unpack(headers: &HeaderMap, payload: &[u8]) -> Result<Vec<Unpacked<ReplyMessage>>, String> {
    let service: Name = headers::parsed(headers, SERVICE)?;
    let saga: Name = headers::parsed(headers, SAGA)?;
    let version: u32 = headers::parsed(headers, VERSION)?;
    let entries: Vec<&RawValue> = serde_json::from_slice(payload)
        .map_err(|error| format!("the payload is no list of replies: {error}"))?;
    // Each may become a letter, and a stranger's message holds half a million of them.
    if entries.is_empty() || entries.len() > REPLIES_MAX {
        return Err(format!("the list has {} replies; it takes 1 to {REPLIES_MAX}", entries.len()));
    }
    let read = |raw: &&RawValue| {
        let mut address = None;
        let message = read(raw, &service, &saga, version, &mut address).map_err(|reason| (reason, address));
        let payload = message.is_err().then(|| format!("[{raw}]").into_bytes());
        Unpacked { message, payload }
    };
    Ok(entries.iter().map(read).collect())
}

fn read(
    raw: &RawValue,
    service: &Name,
    saga: &Name,
    version: u32,
    address: &mut Option<ReplyAddress>,
) -> Result<ReplyMessage, String> {
    let entry: Entry<'_> =
        serde_json::from_str(raw.get()).map_err(|error| format!("the entry is no reply: {error}"))?;
    let key: IdempotencyKey =
        entry.key.parse().map_err(|error| format!("the entry's `key` is unusable: {error}"))?;
    let attempt = entry.attempt.get();
    *address = Some(ReplyAddress { key: key.clone(), attempt, saga: saga.clone(), version });
    let body = entry.body.map_or("", RawValue::get).as_bytes();
    let outcome = headers::outcome(&entry.outcome, body)?;
    Ok(ReplyMessage { key, attempt, saga: saga.clone(), version, service: service.clone(), outcome })
}

impl Envelope for ReplyMessage {
    fn subject(&self, topology: &Topology) -> String {
        topology.reply_subject(self)
    }

    fn read(headers: &HeaderMap, payload: &[u8]) -> Result<Self, (String, Option<ReplyAddress>)> {
        let address = headers::address(headers).map_err(|reason| (reason, None))?;
        let read = || {
            let outcome = headers::outcome(headers::text(headers, OUTCOME)?, payload)?;
            Ok(Self {
                key: address.key.clone(),
                attempt: address.attempt,
                saga: address.saga.clone(),
                version: address.version,
                service: headers::parsed(headers, SERVICE)?,
                outcome,
            })
        };
        read().map_err(|reason: String| (reason, Some(address.clone())))
    }

    fn unpack(headers: &HeaderMap, payload: &[u8]) -> Vec<Unpacked<Self>> {
        if headers.get(REPLIES).is_none() {
            return vec![Unpacked { message: Self::read(headers, payload), payload: None }];
        }
        unpack(headers, payload)
            .unwrap_or_else(|reason| vec![Unpacked { message: Err((reason, None)), payload: None }])
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

impl Wire {
    /// Publishes replies, those to one definition together, and waits until each is acknowledged or has failed; in the
    /// order given.
    pub async fn publish_replies(&self, replies: &[ReplyMessage]) -> Vec<Result<(), PublishError>> {
        let (parcels, places): (Vec<Parcel<'_>>, Vec<Vec<usize>>) = packed(replies).into_iter().unzip();
        let mut results = vec![Ok(()); replies.len()];
        for (result, places) in self.publish_all(&parcels).await.into_iter().zip(places) {
            for place in places {
                results[place] = result.clone();
            }
        }
        results
    }
}

#[cfg(test)]
mod tests;
