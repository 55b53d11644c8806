//! A coordinator at work, one move at a time: take, decide and commit, publish, acknowledge.
//!
//! Between any two moves the world may go on, another coordinator may move the same saga, or this one may die.

use std::collections::BTreeMap;

use redress_core::decide::{Context, Effect, Event};
use redress_core::fault::FaultBook;
use redress_core::{CommandMessage, SagaDefinition, SagaId, Timestamp};

use crate::memory::{Change, CommitError, MemoryJournal, Row};
use crate::simulator::plant::{Plant, decide_with};

/// What a coordinator has in hand.
#[derive(Debug, Default)]
pub(super) enum Desk {
    /// Nothing.
    #[default]
    Idle,
    /// Events, and the sagas as they were read.
    Taken { tokens: Vec<u64>, events: BTreeMap<SagaId, Vec<Event>>, read: BTreeMap<SagaId, Row> },
    /// Committed, and not published.
    Committed { tokens: Vec<u64>, commands: Vec<CommandMessage> },
    /// Published, and not acknowledged.
    Published { tokens: Vec<u64> },
}

/// What is needed to decide.
pub(super) struct Rules<'d> {
    pub(super) definitions: &'d [SagaDefinition],
    pub(super) plant: Option<Plant>,
    pub(super) now: Timestamp,
    pub(super) jitter: f64,
}

impl Rules<'_> {
    /// Decides the events of a batch on the sagas as they were read, and commits.
    pub(super) fn commit(
        &self,
        journal: &mut MemoryJournal,
        events: BTreeMap<SagaId, Vec<Event>>,
        read: BTreeMap<SagaId, Row>,
    ) -> Result<Vec<CommandMessage>, CommitError> {
        let mut changes = Vec::new();
        let mut commands = Vec::new();
        for (id, row) in read {
            let events = events.get(&id).map(Vec::as_slice).unwrap_or_default();
            let (change, sent) = self.decide(id, row, events);
            changes.extend(change);
            commands.extend(sent);
        }
        journal.commit(changes)?;
        Ok(commands)
    }

    fn decide(&self, id: SagaId, row: Row, events: &[Event]) -> (Option<Change>, Vec<CommandMessage>) {
        let (name, version) = &row.definition;
        let known = self.definitions.iter().find(|d| d.name == *name && d.version == *version);
        let Some(definition) = known else { return (None, Vec::new()) };
        let mut faults = FaultBook::default();
        let mut change = Change { id, revision: row.revision, state: row.state, history: Vec::new() };
        let mut commands = Vec::new();
        let mut moved = false;
        for event in events {
            let mut ctx = Context {
                definition,
                saga_id: id,
                now: self.now,
                jitter: self.jitter,
                faults: &mut faults,
                traceparent: None,
            };
            let decision = decide_with(self.plant, &mut ctx, change.state, event.clone());
            moved |= match decision.effect {
                Effect::Moved | Effect::Noted | Effect::Contradiction => true,
                Effect::Ignored | Effect::Refused(_) => false,
            };
            change.state = decision.state;
            change.history.extend(decision.history);
            commands.extend(decision.commands);
        }
        (moved.then_some(change), commands)
    }
}
