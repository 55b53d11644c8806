//! The world of a simulation: everything that is true in it, but for the coordinators.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use fastrand::Rng;
use redress_coordinator::StartRequest;
use redress_coordinator::ports::Clock;
use redress_core::decide::{GivenEvent, Verb};
use redress_core::inbox::Retention;
use redress_core::{CommandMessage, IdempotencyKey, Name, Phase, SagaDefinition, SagaId, Timestamp};
use redress_testkit::participants::Participants;

use super::clock::SimulatedClock;
use super::mutants::Mutation;
use crate::memory::{MemoryBus, MemoryJournal, Row};

/// How long a message stays with its taker.
pub(super) const ACK_WAIT: Duration = Duration::from_secs(5);
/// The longest a message is under way, in milliseconds: longer than a step's timeout, so that answers come late.
pub(super) const DELAY_MS_MAX: u64 = 40_000;
/// How far the journal's clock may jump, in milliseconds.
pub(super) const JUMP_MS_MAX: i64 = 30_000;
/// The true time at which a run begins, in milliseconds since 1970.
pub(super) const BEGINS_MS: i64 = 1_000_000;
/// How long participants remember: not for the whole run, and with a margin above what clocks differ by.
pub(super) const RETENTION: Retention =
    Retention { keep: Duration::from_secs(150), margin: Duration::from_secs(45) };

/// The longest time that a call to a third party takes: longer than a step's timeout, shorter than all its attempts.
const CALLS_TAKE: Duration = Duration::from_secs(15);
/// How many definitions, at the end of all, have steps that are answered later or call a third party.
const LATER_DEFINITIONS: usize = 3;

/// A command whose answer comes later.
pub(super) struct OpenCommand {
    pub(super) command: CommandMessage,
    pub(super) due_ms: i64,
}

/// An event from outside that is still to come.
#[derive(Clone, Debug)]
pub(super) struct EventToCome {
    pub(super) id: SagaId,
    pub(super) event: GivenEvent,
    pub(super) due_ms: i64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Weather {
    Storm,
    Calm,
}

/// The saga in question, if there is one, and the rule that did not hold.
pub(super) type Wrong = (Option<SagaId>, String);

/// Everything that is true in a run, but for the coordinators.
pub(super) struct World {
    pub(super) rng: Rng,
    pub(super) mutation: Option<Mutation>,
    pub(super) definitions: &'static [SagaDefinition],
    pub(super) weather: Weather,
    pub(super) time: SimulatedClock,
    /// The true time, in milliseconds since 1970.
    pub(super) now_ms: i64,
    /// How far the journal's clock is ahead of it, in milliseconds.
    pub(super) skew_ms: Arc<AtomicI64>,
    pub(super) journal: MemoryJournal,
    pub(super) bus: MemoryBus<SimulatedClock>,
    pub(super) participants: Participants,
    /// Steps whose business says no.
    pub(super) refusing: BTreeSet<(SagaId, Name)>,
    /// Attempts that really failed.
    pub(super) failed: BTreeSet<(SagaId, Name, Phase, u32)>,
    /// Attempts that were really refused.
    pub(super) refused: BTreeSet<(SagaId, Name, Phase, u32)>,
    /// Commands whose answers come later, and when they come.
    pub(super) questions: Vec<OpenCommand>,
    /// Those of them that have no answer yet, and were not given up.
    pub(super) open: BTreeSet<IdempotencyKey>,
    /// Events from outside that are still to come.
    pub(super) events: Vec<EventToCome>,
    /// Until when nothing goes through the broker, in the true time.
    pub(super) broker_away_until: i64,
    /// Until when no participant is there.
    pub(super) participants_away_until: i64,
    /// Steps that an operator has resolved without a look at what is forgotten.
    pub(super) told_in_a_storm: BTreeSet<(SagaId, Name)>,
    /// Steps that an operator has done or undone by hand, and may not have resolved yet.
    pub(super) by_hand: BTreeSet<(SagaId, Name)>,
    /// In the order of their starts.
    pub(super) sagas: Vec<SagaId>,
    /// The effects of ordered steps, in their order: the step, and the saga by its place among the starts.
    pub(super) ordered_effects: Vec<(Name, usize)>,
    /// Sagas as they were when their rows were pruned.
    pub(super) pruned: BTreeMap<SagaId, Row>,
    pub(super) clients_done: usize,
    pub(super) happened: BTreeMap<&'static str, u64>,
    /// The first rule that did not hold.
    pub(super) wrong: Option<Wrong>,
}

impl World {
    pub(super) fn begin(
        seed: u64,
        mutation: Option<Mutation>,
        definitions: &'static [SagaDefinition],
    ) -> Self {
        let (time, skew_ms) = (SimulatedClock::new(seed), Arc::new(AtomicI64::new(0)));
        let (clock, skew) = (time.clone(), skew_ms.clone());
        let journal = MemoryJournal::new(move || at(true_ms(&clock) + skew.load(Ordering::Relaxed)));
        Self {
            rng: Rng::with_seed(seed),
            mutation,
            definitions,
            weather: Weather::Storm,
            now_ms: BEGINS_MS,
            skew_ms,
            journal,
            bus: MemoryBus::new(time.clone()).ack_wait(ACK_WAIT),
            time,
            participants: Participants::new(Mutation::without(mutation))
                .remembering(RETENTION)
                .calls_taking(CALLS_TAKE)
                .serving(definitions),
            refusing: BTreeSet::new(),
            failed: BTreeSet::new(),
            refused: BTreeSet::new(),
            questions: Vec::new(),
            open: BTreeSet::new(),
            events: Vec::new(),
            broker_away_until: 0,
            participants_away_until: 0,
            told_in_a_storm: BTreeSet::new(),
            by_hand: BTreeSet::new(),
            sagas: Vec::new(),
            ordered_effects: Vec::new(),
            pruned: BTreeMap::new(),
            clients_done: 0,
            happened: BTreeMap::new(),
            wrong: None,
        }
    }

    /// Reads the time anew.
    pub(super) fn refresh(&mut self) {
        self.now_ms = true_ms(&self.time);
    }

    /// The start of a saga, by its client.
    pub(super) fn request(&mut self, number: usize) -> StartRequest {
        // One saga at least has steps that are answered later, or call a third party.
        let from = if number == 1 { self.definitions.len().saturating_sub(LATER_DEFINITIONS) } else { 0 };
        let definition = &self.definitions[self.rng.usize(from..self.definitions.len())];
        let input = serde_json::json!({ "gift": self.rng.bool() });
        let wants_input = definition.name == *"branching" || definition.name == *"ordered";
        let input = if wants_input { input } else { serde_json::json!({}) };
        let (saga, key) = (definition.name.to_string(), format!("order-{number}"));
        StartRequest { saga, input, key, ..StartRequest::default() }
    }

    /// A saga has begun: some of its steps will be rejected.
    pub(super) fn has_begun(&mut self, id: SagaId) {
        let definition = self.journal.look(id, |row| row.and_then(|row| self.definition(&row.definition)));
        for step in definition.into_iter().flat_map(|definition| &definition.steps) {
            if self.rng.u8(..) < 24 {
                self.refusing.insert((id, step.name.clone()));
            }
        }
        self.sagas.push(id);
        self.expect_events(id);
    }

    pub(super) fn definition(&self, version: &(Name, u32)) -> Option<&'static SagaDefinition> {
        self.definitions.iter().find(|known| known.name == version.0 && known.version == version.1)
    }

    /// The journal's clock.
    pub(super) fn clock(&self) -> Timestamp {
        at(self.now_ms + self.skew_ms.load(Ordering::Relaxed))
    }

    pub(super) fn count(&mut self, what: &'static str) {
        *self.happened.entry(what).or_default() += 1;
    }

    /// Returns true if a disruption of this likelihood (in 256) happens now.
    pub(super) fn strikes(&mut self, likelihood: u8, what: &'static str) -> bool {
        let strikes = self.weather == Weather::Storm && self.rng.u8(..) < likelihood;
        if strikes {
            self.count(what);
        }
        strikes
    }

    /// A saga as it is, or as it was when it was pruned.
    pub(super) fn row(&self, id: SagaId) -> Option<Row> {
        self.journal.row(id).or_else(|| self.pruned.get(&id).cloned())
    }

    pub(super) fn is_ended(&self, id: SagaId) -> bool {
        self.journal.look(id, |row| row.map_or(self.pruned.contains_key(&id), |row| row.state.is_ended()))
    }

    /// Returns true if so many sagas were started and have ended, and nothing is under way or pending that could still change anything.
    pub(super) fn rests(&self, sagas: usize) -> bool {
        self.clients_done == sagas
            && self.sagas.iter().all(|id| self.is_ended(*id))
            && self.journal.next_wake_at().is_none()
            && self.questions.is_empty()
            && self.events.is_empty()
            && self.participants.calls_under_way() == 0
            && self.bus.with(|store, _| store.commands.is_empty() && store.replies.is_empty())
    }

    /// One move of the weather, a participant or an operator; returns the operator's wish, if there is one.
    pub(super) fn go_on(&mut self) -> Option<(SagaId, Verb, i64)> {
        self.change_the_weather();
        self.answer_later();
        match self.rng.u8(..8) {
            0..6 => self.participate(),
            6 => return self.interfere(),
            _ => {}
        }
        None
    }
}

fn true_ms(clock: &SimulatedClock) -> i64 {
    BEGINS_MS + i64::try_from(clock.monotonic().as_millis()).unwrap_or(i64::MAX)
}

pub(super) fn at(ms: i64) -> Timestamp {
    Timestamp::from_timestamp_millis(ms).expect("a time in this century")
}
