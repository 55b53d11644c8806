//! Finds out if an instance of a service takes its commands.

use redress_core::Name;
use thiserror::Error;

use async_nats::jetstream::ErrorCode;
use async_nats::jetstream::context::{ConsumerInfoError, ConsumerInfoErrorKind, GetStreamError};

use crate::streams;
use crate::wire::Wire;

/// The broker does not say which instances listen.
#[derive(Debug, Error)]
pub enum ListeningError {
    /// Not of the stream.
    #[error("NATS does not answer whether there is a stream of commands")]
    Stream(#[from] GetStreamError),
    /// Not of the consumer.
    #[error("NATS does not answer whether the service has a consumer")]
    Consumer(#[from] ConsumerInfoError),
}

/// What waits for a service at the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// Requests for commands that wait for some.
    pub requests: u64,
    /// Commands that were not handed out yet.
    pub pending: u64,
    /// Commands that were handed out and are not settled.
    pub in_flight: u64,
    /// Commands handed out so far, once and again.
    pub delivered: u64,
}

impl Wire {
    /// How many requests for commands of this service wait on the server; `None` if the service has no consumer, as it
    /// has never run here.
    ///
    /// The server forgets a request when its client has gone, so one that waits is of a service that lives. One that is
    /// busy with all that it asked for has none for a moment: look more than once.
    ///
    /// # Errors
    /// [`ListeningError`] if the server does not answer.
    pub async fn listening(&self, service: &Name) -> Result<Option<usize>, ListeningError> {
        let backlog = self.backlog(service).await?;
        Ok(backlog.map(|backlog| usize::try_from(backlog.requests).unwrap_or(usize::MAX)))
    }

    /// What waits for this service; `None` if the service has no consumer, as it has never run here.
    ///
    /// # Errors
    /// [`ListeningError`] if the server does not answer.
    pub async fn backlog(&self, service: &Name) -> Result<Option<Backlog>, ListeningError> {
        let topology = &self.inner.topology;
        let stream = match self.link().context.get_stream(topology.commands_stream()).await {
            Ok(stream) => stream,
            Err(error) if streams::is_absent(&error.kind()) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        match stream.consumer_info(topology.service_consumer(service)).await {
            Ok(info) => Ok(Some(Backlog {
                requests: info.num_waiting as u64,
                pending: info.num_pending,
                in_flight: info.num_ack_pending as u64,
                delivered: info.delivered.consumer_sequence,
            })),
            Err(error) if is_absent(&error.kind()) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

/// Returns true if the server said that there is no such consumer.
fn is_absent(kind: &ConsumerInfoErrorKind) -> bool {
    match kind {
        ConsumerInfoErrorKind::NotFound => true,
        ConsumerInfoErrorKind::JetStream(error) => error.error_code() == ErrorCode::CONSUMER_NOT_FOUND,
        _ => false,
    }
}
