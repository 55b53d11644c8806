//! Waits for the end of a saga: one that has just been started, or any other.
//!
//! A caller that starts a saga and waits for it asks the journal once, when the saga has ended: its entry among the
//! waiters is taken before the start, so that no end comes too early for it.

use std::time::Duration;

use redress_core::SagaId;
use tokio::sync::oneshot;

use redress_wire::Wire;

use crate::engine::Engine;
use crate::journal::PgJournal;
use crate::pauses::within;
use crate::ports::{Bus, Clock, JournalError, JournalReads};
use crate::requests::{StartError, StartRequest, Started};
use crate::system_clock::SystemClock;
use crate::view::SagaView;
use crate::waiters::{Forget, Waiters};

/// An entry among the waiters, taken out when it is dropped.
pub(crate) struct Registration<'e> {
    ended: oneshot::Receiver<()>,
    _forgotten: Forget<'e>,
}

impl<'e> Registration<'e> {
    pub(crate) fn take(waiters: &'e Waiters, id: SagaId) -> Self {
        Self { ended: waiters.wait_for(id), _forgotten: Forget { waiters, id } }
    }
}

/// A saga that was started by a caller who also waits for its end.
pub struct AwaitedStart<'e, J = PgJournal, B = Wire, C = SystemClock> {
    /// The saga.
    pub started: Started,
    pub(crate) engine: &'e Engine<J, B, C>,
    pub(crate) registration: Registration<'e>,
}

impl<J: JournalReads, B: Bus, C: Clock> AwaitedStart<'_, J, B, C> {
    /// Waits until the saga has ended or is parked, at most so long; then gives it as it is.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn ended(self, timeout: Duration) -> Result<Option<SagaView>, JournalError> {
        let clock = &self.engine.parts.decider.clock;
        let deadline = clock.monotonic().saturating_add(timeout);
        let id = self.started.id;
        if self.started.created {
            // Either way the journal is asked.
            let _ = within(clock, timeout, self.registration.ended).await;
        }
        self.engine.wait_until(id, deadline).await
    }
}

impl<J: JournalReads, B: Bus, C: Clock> Engine<J, B, C> {
    /// Starts a saga as [`Engine::start_request`] does, for a caller that waits for its end.
    ///
    /// # Errors
    /// [`StartError`]; if the database is not available the same request can be made again.
    pub async fn start_awaited(
        &self,
        request: StartRequest,
    ) -> Result<AwaitedStart<'_, J, B, C>, StartError> {
        let id = self.new_id();
        let registration = Registration::take(&self.parts.publisher.waiters, id);
        let started = self.start_as(id, request).await?;
        Ok(AwaitedStart { started, engine: self, registration })
    }

    /// Waits until a saga has ended or is parked, at most so long; then gives it as it is.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn wait_ended(&self, id: SagaId, timeout: Duration) -> Result<Option<SagaView>, JournalError> {
        self.wait_until(id, self.parts.decider.clock.monotonic().saturating_add(timeout)).await
    }

    async fn wait_until(&self, id: SagaId, deadline: Duration) -> Result<Option<SagaView>, JournalError> {
        loop {
            let registration = Registration::take(&self.parts.publisher.waiters, id);
            let view = self.saga(id).await?;
            let rests = view.as_ref().is_none_or(SagaView::rests);
            let left = deadline.saturating_sub(self.parts.decider.clock.monotonic());
            if rests || left.is_zero() {
                return Ok(view);
            }
            // Either way the journal is asked again: an operator may have set it going again meanwhile.
            let _ = within(&self.parts.decider.clock, left, registration.ended).await;
        }
    }
}
