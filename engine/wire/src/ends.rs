//! Ends of sagas, told by one coordinator to the others over core NATS: hints, kept nowhere and never answered.
//!
//! A caller may wait at one coordinator for a saga that another one ends. The coordinator that has committed the end
//! tells all that listen, in one message per batch: the ids of the sagas, 16 bytes each. A caller that is woken by it
//! reads the journal, so that a hint that is doubled, early or forged costs a read and changes no answer; and all that
//! is lost with a hint is time, since the callers' sagas are looked for twice a second all the same.
//!
//! Every coordinator listens, always, and every end is told. A subscription that began with the first caller would come
//! too late for it, and to tell only coordinators that are known to have callers, these would have to announce
//! themselves: that would save one small message beside the dozens that each saga of the batch took, and lose the hints
//! whose announcement was late. So a coordinator hears itself, too, which wakes no caller a second time.

use std::time::Duration;

use async_nats::Subscriber;
use async_nats::client::SubscribeError;
use async_nats::connection::State;
use bytes::Bytes;
use futures_util::StreamExt;
use redress_core::SagaId;
use tokio::time::timeout;
use uuid::Uuid;

use crate::wire::Wire;

/// The bytes of an id.
const ID_BYTES: usize = size_of::<Uuid>();
/// The most ids in one message: 8,000 bytes, which leaves it small, and a batch of the default size fits. A longer
/// message is none of ours and is not read.
const IDS_MAX: usize = 500;
/// How long a hint may wait for room in the client's queue: until then the callers' sagas have been looked for.
const TELL_MAX: Duration = Duration::from_millis(500);
/// Pause before a subscription is made anew.
const SUBSCRIBE_PAUSE: Duration = Duration::from_millis(200);

impl Wire {
    /// Tells the coordinators of sagas that have ended or parked; it is not known who hears it. Sent within half a
    /// second or not at all, and not while there is no connection.
    pub async fn tell_ended(&self, sagas: &[SagaId]) {
        let client = self.link().client.clone();
        match client.connection_state() {
            State::Connected => {}
            State::Pending | State::Disconnected => return,
        }
        let subject = self.topology().ended_subject();
        let telling = async {
            for sagas in sagas.chunks(IDS_MAX) {
                if let Err(error) = client.publish(subject.clone(), encode(sagas)).await {
                    tracing::debug!(%error, "failed to tell the other coordinators of ends");
                }
            }
        };
        if timeout(TELL_MAX, telling).await.is_err() {
            tracing::debug!("timed out telling the other coordinators of ends");
        }
    }

    /// Hands on the sagas that coordinators tell of, this one among them, for as long as it is polled: it never ends.
    ///
    /// `heard` is called between two messages and must not wait. The client keeps at most 65,536 messages until they are
    /// taken, and drops those that come beyond.
    pub async fn hear_ended(&self, mut heard: impl FnMut(Vec<SagaId>)) {
        loop {
            match self.subscribe_to_ends().await {
                Ok(mut subscriber) => {
                    while let Some(message) = subscriber.next().await {
                        match decode(&message.payload) {
                            Some(sagas) => heard(sagas),
                            None => {
                                tracing::debug!(
                                    bytes = message.payload.len(),
                                    "no list of ids: hint dropped"
                                );
                            }
                        }
                    }
                }
                Err(error) => tracing::debug!(%error, "failed to subscribe to ends; retrying"),
            }
            // The client has ended; with the next one.
            tokio::time::sleep(SUBSCRIBE_PAUSE).await;
        }
    }

    async fn subscribe_to_ends(&self) -> Result<Subscriber, SubscribeError> {
        self.link().client.subscribe(self.topology().ended_subject()).await
    }
}

fn encode(sagas: &[SagaId]) -> Bytes {
    sagas.iter().flat_map(|saga| saga.0.into_bytes()).collect()
}

/// The ids, unless the payload is no list of them.
fn decode(payload: &[u8]) -> Option<Vec<SagaId>> {
    let (ids, rest) = payload.as_chunks::<ID_BYTES>();
    let is_list = rest.is_empty() && !ids.is_empty() && ids.len() <= IDS_MAX;
    is_list.then(|| ids.iter().map(|id| SagaId(Uuid::from_bytes(*id))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sagas(count: usize) -> Vec<SagaId> {
        (1..=count).map(|number| SagaId(Uuid::from_u128(number as u128))).collect()
    }

    #[test]
    fn hint_survives_its_bytes() {
        for count in [1, 2, IDS_MAX] {
            assert_eq!(decode(&encode(&sagas(count))), Some(sagas(count)));
        }
    }

    #[test]
    fn payload_that_is_no_list_of_ids_is_not_read() {
        for bytes in [0, 1, ID_BYTES - 1, ID_BYTES + 1, (IDS_MAX + 1) * ID_BYTES, 1 << 20] {
            assert_eq!(decode(&vec![7; bytes]), None, "{bytes} bytes");
        }
    }
}
