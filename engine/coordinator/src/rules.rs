//! Everything that a unit of work needs to decide, but for the sagas and the events.

use redress_core::decide::{Context, Decision, Event};
use redress_core::state::SagaState;
use redress_core::{LetterCode, ReplyMessage};

use crate::ports::{COORDINATOR, Clock, DeadLetter};
use crate::registry::Registry;

/// The function that decides on an event: [`decide`](redress_core::decide::decide), but for tests that take a rule of it
/// away.
pub type Decide = fn(&mut Context<'_>, SagaState, Event) -> Decision;

/// Everything that a unit of work needs to decide, but for the sagas and the events.
pub(crate) struct Rules<C> {
    pub(crate) registry: Registry,
    pub(crate) decide: Decide,
    clock: C,
}

impl<C: Clock> Rules<C> {
    pub(crate) fn new(registry: Registry, decide: Decide, clock: C) -> Self {
        Self { registry, decide, clock }
    }

    /// A draw to spread what would otherwise happen together.
    pub(crate) fn jitter(&self) -> f64 {
        self.clock.jitter()
    }

    /// A reply that could be read and not used, as it came: published on its subject again, it is the same reply.
    pub(crate) fn letter_of(&self, reply: &ReplyMessage, code: LetterCode, reason: String) -> DeadLetter {
        let raw = self.registry.raw_reply(reply);
        DeadLetter {
            id: self.clock.new_id(),
            source: COORDINATOR.to_owned(),
            code,
            saga_id: Some(reply.key.saga_id),
            reason,
            subject: raw.subject,
            headers: raw.headers,
            payload: raw.payload,
            missing: None,
        }
    }
}
