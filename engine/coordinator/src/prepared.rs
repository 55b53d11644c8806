//! A start that was read and checked, and its first decision.

use std::sync::Arc;

use redress_core::decide::{Context, Decision};
use redress_core::fault::{Fault, FaultBook};
use redress_core::{JsonText, SagaDefinition, SagaId, Timestamp};

use crate::batch::Outgoing;
use crate::ports::{Fingerprint, NewPlace, NewSaga};

/// A start that was read and checked.
pub(crate) struct Prepared {
    pub(crate) id: SagaId,
    pub(crate) definition: Arc<SagaDefinition>,
    pub(crate) key: String,
    pub(crate) fingerprint: Fingerprint,
    pub(crate) input: Vec<u8>,
    pub(crate) tags: serde_json::Value,
    pub(crate) data: JsonText,
    pub(crate) faults: Vec<Fault>,
    pub(crate) traceparent: Option<String>,
}

impl Prepared {
    /// Its weight, in bytes.
    pub(crate) fn bytes(&self) -> usize {
        self.input.len() + self.data.as_bytes().len() + self.key.len()
    }

    /// The first decision of the saga, as a row to insert and the commands that go with it.
    pub(crate) fn begin(
        &self,
        now: Timestamp,
        faults: &mut FaultBook,
        first: impl FnOnce(&mut Context<'_>, JsonText, Vec<Fault>) -> Decision,
    ) -> (NewSaga, Outgoing) {
        let definition = &*self.definition;
        let mut context = Context {
            definition,
            saga_id: self.id,
            now,
            jitter: 0.0,
            faults,
            traceparent: self.traceparent.clone(),
        };
        let decision = first(&mut context, self.data.clone(), self.faults.clone());
        let places = NewPlace::of(definition, &decision.state);
        let saga = NewSaga {
            id: self.id,
            saga: definition.name.clone(),
            version: definition.version,
            key: self.key.clone(),
            fingerprint: self.fingerprint.clone(),
            input: self.input.clone(),
            tags: self.tags.clone(),
            state: decision.state,
            history: decision.history,
            places,
        };
        // A saga that has ended when it starts is read as ended by every caller: no hint is needed.
        let ended = Vec::new();
        (saga, Outgoing { commands: decision.commands, notifications: decision.notifications, ended })
    }
}
