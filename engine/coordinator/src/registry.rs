//! The definitions that this coordinator knows.

use std::collections::HashMap;
use std::sync::Arc;

use redress_core::definition::Step;
use redress_core::{Name, ReplyMessage, SagaDefinition};

use crate::ports::RawMessage;

/// Writes a reply as it travels.
type RawReply = dyn Fn(&ReplyMessage) -> RawMessage + Send + Sync;

/// Definitions by name and version.
#[derive(Clone)]
pub(crate) struct Registry {
    ordered: Arc<Vec<Arc<SagaDefinition>>>,
    by_name: Arc<HashMap<(Name, u32), Arc<SagaDefinition>>>,
    raw_reply: Arc<RawReply>,
}

impl Registry {
    /// Takes the definitions; two of the same name and version are a mistake.
    pub(crate) fn new(
        definitions: Vec<SagaDefinition>,
        raw_reply: impl Fn(&ReplyMessage) -> RawMessage + Send + Sync + 'static,
    ) -> Result<Self, (Name, u32)> {
        let ordered: Vec<Arc<SagaDefinition>> = definitions.into_iter().map(Arc::new).collect();
        let mut by_name = HashMap::new();
        for definition in &ordered {
            let id = (definition.name.clone(), definition.version);
            if by_name.insert(id.clone(), definition.clone()).is_some() {
                return Err(id);
            }
        }
        Ok(Self { ordered: Arc::new(ordered), by_name: Arc::new(by_name), raw_reply: Arc::new(raw_reply) })
    }

    /// A reply as it travels.
    pub(crate) fn raw_reply(&self, reply: &ReplyMessage) -> RawMessage {
        (self.raw_reply)(reply)
    }

    pub(crate) fn all(&self) -> &[Arc<SagaDefinition>] {
        &self.ordered
    }

    pub(crate) fn get(&self, saga: &Name, version: u32) -> Option<&Arc<SagaDefinition>> {
        self.by_name.get(&(saga.clone(), version))
    }

    /// The newest version of a saga.
    pub(crate) fn newest(&self, saga: &str) -> Option<&Arc<SagaDefinition>> {
        self.ordered.iter().filter(|d| d.name == *saga).max_by_key(|d| d.version)
    }

    /// Returns true if a step of a definition is ordered by a key.
    pub(crate) fn has_orders(&self) -> bool {
        self.ordered.iter().any(|saga| saga.steps.iter().any(Step::is_ordered))
    }

    pub(crate) fn known(&self) -> Vec<(Name, u32)> {
        self.ordered.iter().map(|d| (d.name.clone(), d.version)).collect()
    }
}
