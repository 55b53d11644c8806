//! A saga that this process waits for.
//!
//! The handle is no owner: the saga goes on without it, in whichever coordinator takes its replies, and
//! [`Engine::handle`] makes another from the id. Waiting looks into the journal, so it hears of an end that another
//! coordinator wrote; while the database is away it asks on, as nothing that was accepted is lost by that.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use redress_core::state::ParkReason;
use redress_core::{EndedSaga, SagaData, SagaEnd, SagaId, UnreadableData};
use thiserror::Error;
use tokio::time::Instant;

use crate::engine::Engine;
use crate::ports::JournalError;
use crate::requests::Started;
use crate::view::SagaView;

/// How long one wait lasts before the next begins: any length will do, as an end wakes it.
const WAIT: Duration = Duration::from_secs(60);
/// The pause after a look that found no database: it may be back at any moment, and a look costs little.
const PAUSE: Duration = Duration::from_millis(500);

/// A saga with data of type `D`.
pub struct SagaHandle<D> {
    engine: Engine,
    started: Started,
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
        /// Its status, as one word.
        status: &'static str,
    },
    /// It is not in the journal: no such saga, or it ended so long ago that it was pruned.
    #[error("saga {0} is not in the journal: it ended long ago and was pruned, or never was")]
    Unknown(SagaId),
    /// Its data are not of this type.
    #[error(transparent)]
    Unreadable(#[from] UnreadableData),
    /// The journal does not answer, and the time to wait is over; or it cannot be used.
    #[error(transparent)]
    Journal(#[from] JournalError),
}

impl Engine {
    /// A handle of a saga that was started before, with data of type `D`; whether there is one, its first use says.
    pub fn handle<D: SagaData>(&self, id: SagaId) -> SagaHandle<D> {
        SagaHandle::new(self.clone(), Started { id, created: false })
    }
}

impl<D> SagaHandle<D> {
    pub(crate) fn new(engine: Engine, started: Started) -> Self {
        Self { engine, started, _data: PhantomData }
    }

    /// The saga's id.
    pub fn id(&self) -> SagaId {
        self.started.id
    }

    /// Returns true if this start made the saga, false if its key was used before.
    pub fn was_created(&self) -> bool {
        self.started.created
    }

    /// The saga as it is now; `None` if it is not in the journal.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn view(&self) -> Result<Option<SagaView>, JournalError> {
        self.engine.saga(self.started.id).await
    }
}

impl<D: SagaData> SagaHandle<D> {
    /// Waits until the saga has ended, however long that takes, and gives its data.
    ///
    /// # Errors
    /// [`EndError`]; [`EndError::StillOpen`] is none of them.
    pub async fn ended(&self) -> Result<EndedSaga<D>, EndError> {
        self.ended_before(None).await
    }

    /// Waits at most so long until the saga has ended, and gives its data.
    ///
    /// # Errors
    /// [`EndError`].
    pub async fn ended_within(&self, limit: Duration) -> Result<EndedSaga<D>, EndError> {
        // A limit beyond the clock is none.
        self.ended_before(Instant::now().checked_add(limit)).await
    }

    async fn ended_before(&self, deadline: Option<Instant>) -> Result<EndedSaga<D>, EndError> {
        loop {
            let left = deadline.map_or(WAIT, |deadline| deadline.saturating_duration_since(Instant::now()));
            let is_over = |pause| deadline.is_some_and(|deadline| Instant::now() + pause >= deadline);
            match self.engine.wait_ended(self.started.id, left.min(WAIT)).await {
                Ok(None) => return Err(EndError::Unknown(self.started.id)),
                Ok(Some(view)) if view.rests() || is_over(Duration::ZERO) => return ended(view),
                Ok(Some(_)) => {}
                Err(error) if error.is_unavailable() && !is_over(PAUSE) => tokio::time::sleep(PAUSE).await,
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// The end that a view shows.
fn ended<D: SagaData>(view: SagaView) -> Result<EndedSaga<D>, EndError> {
    match (SagaEnd::of_status(view.status, view.cause.as_ref()), view.data, view.parked) {
        (Some(end), Some(data), _) => Ok(EndedSaga::read(view.id, end, &data)?),
        (_, _, Some(reason)) => Err(EndError::Parked { id: view.id, reason }),
        (_, _, None) => Err(EndError::StillOpen { id: view.id, status: view.status }),
    }
}

impl<D> Clone for SagaHandle<D> {
    fn clone(&self) -> Self {
        Self { engine: self.engine.clone(), started: self.started, _data: PhantomData }
    }
}

impl<D> fmt::Debug for SagaHandle<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SagaHandle").field("id", &self.started.id).finish_non_exhaustive()
    }
}
