//! A saga of another process, with data in their type.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use redress_core::decide::{OperatorCommand, Verb};
use redress_core::state::ParkReason;
use redress_core::{EndedSaga, SagaData, SagaEnd, SagaId, UnreadableData};
use serde::Serialize;
use thiserror::Error;

use crate::call::IfMatch;
use crate::client::Client;
use crate::error::ClientError;
use crate::event::SendEvent;
use crate::view::{Saga, SagaStatus};

/// A saga with data of type `D`.
pub struct SagaHandle<D> {
    client: Client,
    id: SagaId,
    _data: PhantomData<fn() -> D>,
}

/// A saga has no end to give.
#[derive(Debug, Error)]
pub enum EndError {
    /// It stands still until an operator acts; it can be waited for again then.
    #[error("saga {id} is parked: {}; an operator has to `retry`, `resolve` or `close` it", reason.message)]
    Parked {
        /// The saga.
        id: SagaId,
        /// The first reason; the saga's view has all.
        reason: ParkReason,
    },
    /// The time to wait was over first; the saga goes on.
    #[error("saga {id} is still {status}: it goes on, wait for it again")]
    StillOpen {
        /// The saga.
        id: SagaId,
        /// Its status.
        status: SagaStatus,
    },
    /// Its data are not of this type.
    #[error(transparent)]
    Unreadable(#[from] UnreadableData),
    /// The saga could not be asked for.
    #[error(transparent)]
    Client(#[from] ClientError),
}

impl Client {
    /// A handle of a saga that was started before; whether there is one, its first use says.
    pub fn handle<D: SagaData>(&self, id: SagaId) -> SagaHandle<D> {
        SagaHandle::new(self.clone(), id)
    }
}

impl<D: SagaData> SagaHandle<D> {
    pub(crate) fn new(client: Client, id: SagaId) -> Self {
        Self { client, id, _data: PhantomData }
    }

    /// Waits until the saga has ended, however long that takes, and gives its data. A coordinator that is away is waited
    /// for.
    ///
    /// # Errors
    /// [`EndError`]; [`EndError::StillOpen`] is none of them.
    pub async fn ended(&self) -> Result<EndedSaga<D>, EndError> {
        ended(self.client.wait(self.id).await?)
    }

    /// Waits at most so long until the saga has ended, and gives its data.
    ///
    /// # Errors
    /// [`EndError`].
    pub async fn ended_within(&self, limit: Duration) -> Result<EndedSaga<D>, EndError> {
        ended(self.client.wait(self.id).within(limit).await?)
    }
}

impl<D> SagaHandle<D> {
    /// The saga's id.
    pub fn id(&self) -> SagaId {
        self.id
    }

    /// The saga as it is now.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn view(&self) -> Result<Saga, ClientError> {
        self.client.saga(self.id).await
    }

    /// An event for the saga, as [`Client::send_event`] sends it; nothing is sent until it is awaited.
    pub fn send_event<E: Serialize + ?Sized>(&self, name: &str, event: &E) -> SendEvent {
        self.client.send_event(self.id, name, event)
    }

    /// Asks the saga to turn back, whatever its revision; sent once.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `cancel-too-late` once its pivot was sent.
    pub async fn cancel(
        &self,
        actor: impl Into<String> + Send,
        reason: impl Into<String> + Send,
    ) -> Result<Saga, ClientError> {
        let command = OperatorCommand { verb: Verb::Cancel, actor: actor.into(), reason: reason.into() };
        self.client.operate(self.id, &command, IfMatch::Any).await
    }
}

/// The end that a view shows.
fn ended<D: SagaData>(saga: Saga) -> Result<EndedSaga<D>, EndError> {
    let end = SagaEnd::of_status(saga.status.as_str(), saga.cause.as_ref());
    match (end, saga.data, saga.parked) {
        (Some(end), Some(data), _) => Ok(EndedSaga::read(saga.id, end, &data)?),
        (_, _, Some(reason)) => Err(EndError::Parked { id: saga.id, reason }),
        (_, _, None) => Err(EndError::StillOpen { id: saga.id, status: saga.status }),
    }
}

impl<D> Clone for SagaHandle<D> {
    fn clone(&self) -> Self {
        Self { client: self.client.clone(), id: self.id, _data: PhantomData }
    }
}

impl<D> fmt::Debug for SagaHandle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SagaHandle").field("id", &self.id).finish_non_exhaustive()
    }
}
