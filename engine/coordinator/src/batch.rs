//! Decides one unit of work: turns locked sagas and their events into rows to write and messages to publish.
//!
//! Pure but for the jitter, which the clock hands in. Several events of one saga are decided one after the other; a saga
//! that cannot be decided (its row is unreadable, the definition panics) becomes a dead letter alone and its row stays as
//! it was.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redress_core::decide::{Context, Decision, Effect, Event, EventVerdict, NotSent, Refusal, Unsent};
use redress_core::fault::FaultBook;
use redress_core::message::NotificationMessage;
use redress_core::state::{IllegalTransition, SagaState};
use redress_core::{CommandMessage, IdempotencyKey, LetterCode, Name, SagaDefinition, SagaId, Timestamp};

use crate::broker::{Broker, BrokerState, all_unsent};
use crate::crash::{CrashHook, CrashPoint};
use crate::kept::is_worth_keeping;
use crate::measure::{Measures, measure};
use crate::ports::{Bus, Change, Changes, Clock, PlaceChange, PlaceMark, Snapshot, Stored, StoredState};
use crate::rules::Rules;
use crate::waiters::Ended;

/// The bytes that a message or a row of history weighs beside its payload: about the length of its names and times.
const MESSAGE_BYTES: usize = 512;

/// The messages that leave the coordinator once a decision is committed.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) commands: Vec<CommandMessage>,
    pub(crate) notifications: Vec<NotificationMessage>,
    /// Sagas that have ended or parked, of which the other coordinators are told.
    pub(crate) ended: Vec<SagaId>,
}

impl Outgoing {
    /// Its weight, in bytes; that of the ids is nothing beside it.
    pub(crate) fn bytes(&self) -> usize {
        let commands = self.commands.iter().map(|command| command.payload.as_bytes().len());
        let notifications = self.notifications.iter().map(|told| told.payload.as_bytes().len());
        commands.chain(notifications).map(|payload| payload + MESSAGE_BYTES).sum()
    }

    pub(crate) fn extend(&mut self, other: Self) {
        self.commands.extend(other.commands);
        self.notifications.extend(other.notifications);
        self.ended.extend(other.ended);
    }

    /// Publishes it all, and returns the commands that are not known to be stored; a notification is sent even if the
    /// commands before it were not stored.
    pub(crate) async fn publish(self, bus: &impl Bus, broker: &Broker, crash: &CrashHook) -> Vec<NotSent> {
        let keys: Vec<IdempotencyKey> = if crash.is_armed() {
            self.commands.iter().map(|command| command.key.clone()).collect()
        } else {
            Vec::new()
        };
        crash.pass(CrashPoint::BeforeSending, &keys);
        // First: callers wait for it, and it waits for no answer of the broker.
        if !self.ended.is_empty() {
            bus.tell_ended(&self.ended).await;
        }
        let not_sent = match broker.state() {
            BrokerState::Away => all_unsent(&self.commands),
            BrokerState::There { .. } if self.commands.is_empty() => Vec::new(),
            BrokerState::There { .. } => bus.publish(&self.commands).await,
        };
        let is_unknown = |not_sent: &NotSent| matches!(not_sent.why, Unsent::Unknown { .. });
        if !not_sent.is_empty() && not_sent.len() == self.commands.len() && not_sent.iter().all(is_unknown) {
            broker.doubt();
        }
        if !self.notifications.is_empty() {
            bus.tell(self.notifications).await;
        }
        crash.pass(CrashPoint::AfterSending, &keys);
        not_sent
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.commands.is_empty() && self.notifications.is_empty() && self.ended.is_empty()
    }
}

/// The outcome of a unit of work once it is committed.
#[derive(Debug, Default)]
pub(crate) struct CommitEffects {
    pub(crate) outgoing: Outgoing,
    pub(crate) healed: u64,
    pub(crate) ended: Vec<(Name, Ended)>,
    pub(crate) measures: Vec<Measures>,
    pub(crate) refusals: Vec<(SagaId, Refusal)>,
    /// What the sagas made of events from outside.
    pub(crate) verdicts: Vec<(SagaId, EventVerdict)>,
    pub(crate) dead_letters: u64,
    /// True if a place in the order of a key has changed.
    pub(crate) places_moved: bool,
    /// Selected too, and not decided: with them the batch would be too large.
    pub(crate) left: Vec<SagaId>,
    /// The new states that the next decision may use without reading them.
    pub(crate) kept: Vec<Stored>,
    /// Written by a newer program, in this form: for others to decide on.
    pub(crate) newer: Vec<(SagaId, u32)>,
}

/// Why sagas are decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Occasion {
    /// Something happened to them.
    Events,
    /// Their time has come: it is set anew in any case.
    Due {
        /// A command that was sent before this may be lost at the broker.
        asked_before: Timestamp,
    },
    /// They may wait for too long: their time is set anew if they do.
    Recheck,
}

/// Decides all events of a batch, until their consequences weigh `bytes_max` (but always those of one saga).
pub(crate) fn decide_batch<C: Clock>(
    rules: &Rules<C>,
    snapshot: Snapshot,
    mut events: BTreeMap<SagaId, Vec<Event>>,
    occasion: Occasion,
    bytes_max: usize,
) -> (Changes, CommitEffects) {
    let mut batch = Batch {
        rules,
        changes: Changes::default(),
        outcome: CommitEffects::default(),
        faults: snapshot.faults,
        now: snapshot.now,
        occasion,
        bytes: 0,
    };
    batch.outcome.left = snapshot.left;
    for stored in snapshot.sagas {
        if batch.bytes >= bytes_max {
            batch.outcome.left.push(stored.id);
            continue;
        }
        let events = match occasion {
            Occasion::Events => events.remove(&stored.id).unwrap_or_default(),
            Occasion::Due { asked_before } => vec![Event::MayBeLost { asked_before }, Event::TimerFired],
            Occasion::Recheck => vec![Event::TimerFired],
        };
        batch.decide_saga(stored, events);
    }
    for id in &batch.outcome.left {
        events.remove(id);
    }
    for events in events.into_values() {
        for event in events {
            batch.dead_letter(&event, LetterCode::UnknownSaga, "the saga does not exist in this journal");
        }
    }
    batch.changes.struck = batch.faults.struck().to_vec();
    (batch.changes, batch.outcome)
}

struct Batch<'r, C> {
    rules: &'r Rules<C>,
    changes: Changes,
    outcome: CommitEffects,
    faults: FaultBook,
    now: Timestamp,
    occasion: Occasion,
    /// The weight of the consequences so far, in bytes.
    bytes: usize,
}

impl<C: Clock> Batch<'_, C> {
    fn decide_saga(&mut self, stored: Stored, events: Vec<Event>) {
        let Some(definition) = self.rules.registry.get(&stored.saga, stored.version) else {
            for event in &events {
                let reason = "this coordinator does not know the definition of the saga";
                self.dead_letter(event, LetterCode::UnknownSaga, reason);
            }
            return;
        };
        let before = match stored.state {
            StoredState::Readable(state) => *state,
            StoredState::Newer(format) => return self.outcome.newer.push((stored.id, format)),
            StoredState::Unreadable(problem) => {
                return self.set_aside(
                    stored.id,
                    &events,
                    &format!("the saga's row is unreadable: {problem}"),
                );
            }
        };
        let decided =
            catch_unwind(AssertUnwindSafe(|| self.fold(definition, stored.id, before.clone(), &events)));
        match decided {
            Ok(Ok(folded)) => self.keep(definition, stored.id, stored.revision, &before, folded),
            Ok(Err(illegal)) => {
                self.faults.take_back(stored.id);
                self.set_aside(stored.id, &events, &illegal.to_string());
            }
            Err(_) => {
                self.faults.take_back(stored.id);
                self.set_aside(stored.id, &events, "deciding on it panicked; see the log for where");
            }
        }
    }

    fn fold(
        &mut self,
        definition: &SagaDefinition,
        saga_id: SagaId,
        mut state: SagaState,
        events: &[Event],
    ) -> Result<Folded, IllegalTransition> {
        let mut folded = Folded::default();
        for event in events {
            let mut context = Context {
                definition,
                saga_id,
                now: self.now,
                jitter: self.rules.jitter(),
                faults: &mut self.faults,
                traceparent: None,
            };
            let decision = (self.rules.decide)(&mut context, state, event.clone());
            state = folded.take(decision, event)?;
        }
        folded.state = Some(state);
        Ok(folded)
    }

    fn keep(
        &mut self,
        definition: &SagaDefinition,
        id: SagaId,
        revision: i64,
        before: &SagaState,
        folded: Folded,
    ) {
        self.bytes += folded.bytes();
        let Some(state) = folded.state else { return };
        let measures = measure(definition, before, &state, &folded.history, &folded.outgoing.commands);
        self.outcome.measures.push(measures);
        self.outcome.healed += folded.healed;
        self.outcome.outgoing.extend(folded.outgoing);
        self.outcome.refusals.extend(folded.refusals.into_iter().map(|refusal| (id, refusal)));
        self.outcome.verdicts.extend(folded.verdicts.into_iter().map(|verdict| (id, verdict)));
        for event in &folded.contradictions {
            let reason = "a participant took back what it had promised";
            self.dead_letter(event, LetterCode::Contradiction, reason);
        }
        let rested = before.is_ended() || before.parked().is_some();
        if !rested && (state.is_ended() || state.parked().is_some()) {
            let ended = Ended { id, status: state.status_word() };
            self.outcome.ended.push((definition.name.clone(), ended));
        }
        // A state is that of its revision. What the timers measure anew, too, is another state.
        let moved = match self.occasion {
            Occasion::Events => folded.moved,
            Occasion::Due { .. } | Occasion::Recheck => folded.moved || *before != state,
        };
        self.changes.history.extend(folded.history.into_iter().map(|entry| (id, entry)));
        let fired = match self.occasion {
            Occasion::Events => false,
            Occasion::Due { .. } => true,
            Occasion::Recheck => moved,
        };
        if moved && is_worth_keeping(&state) {
            self.outcome.kept.push(Stored {
                id,
                saga: definition.name.clone(),
                version: definition.version,
                revision: revision + 1,
                wake_at: None,
                state: StoredState::Readable(Box::new(state.clone())),
            });
        }
        if moved || fired {
            self.keep_places(id, before, &state);
            let new_data = before.data != state.data;
            self.bytes += if new_data { state.data.as_bytes().len() } else { 0 };
            self.changes.sagas.push(Change { id, revision, moved, fired, new_data, state });
        }
    }

    fn keep_places(&mut self, id: SagaId, before: &SagaState, state: &SagaState) {
        for (step, place_move) in state.place_moves(before) {
            self.outcome.places_moved = true;
            let mark = PlaceMark::of(place_move);
            self.changes.places.extend(mark.map(|mark| PlaceChange { id, step: step.clone(), mark }));
        }
    }

    /// Leaves a saga as it is; the messages that came for it are kept.
    fn set_aside(&mut self, id: SagaId, events: &[Event], reason: &str) {
        tracing::error!(saga_id = %id, reason, "saga set aside");
        self.changes.set_aside.push(id);
        for event in events {
            self.dead_letter(event, LetterCode::Undecidable, reason);
        }
    }

    fn dead_letter(&mut self, event: &Event, code: LetterCode, reason: &str) {
        match event {
            Event::Reply(reply) => {
                let letter = self.rules.letter_of(reply, code, reason.to_owned());
                self.outcome.dead_letters += 1;
                self.changes.dead_letters.push(letter);
            }
            // The timer fires again by itself, an unsent command is sent again, a place that is the first is told again, and the
            // operator and the sender of an event get an answer.
            Event::TimerFired
            | Event::NotSent(_)
            | Event::MayBeLost { .. }
            | Event::PlaceIsFirst { .. }
            | Event::Operator(_)
            | Event::Given(_) => {}
        }
    }
}

#[derive(Default)]
struct Folded {
    state: Option<SagaState>,
    outgoing: Outgoing,
    /// True if there is a new state to write; not every move leaves a row of history.
    moved: bool,
    history: Vec<redress_core::history::HistoryEntry>,
    healed: u64,
    refusals: Vec<Refusal>,
    verdicts: Vec<EventVerdict>,
    contradictions: Vec<Event>,
}

impl Folded {
    /// The weight of the consequences, in bytes.
    fn bytes(&self) -> usize {
        let rows = self.history.iter().map(|entry| entry.detail.as_bytes().len() + MESSAGE_BYTES);
        self.outgoing.bytes() + rows.sum::<usize>()
    }

    fn take(&mut self, decision: Decision, event: &Event) -> Result<SagaState, IllegalTransition> {
        match decision.effect {
            Effect::Moved | Effect::Noted => self.moved = true,
            Effect::Ignored => self.healed += decision.commands.len() as u64,
            Effect::Refused(refusal) => self.refusals.push(refusal),
            Effect::Given(verdict) => {
                self.moved |= verdict.is_new();
                self.verdicts.push(verdict);
            }
            Effect::Contradiction => {
                self.moved = true;
                self.contradictions.push(event.clone());
            }
            Effect::Illegal(illegal) => return Err(illegal),
        }
        let Decision { commands, notifications, .. } = decision;
        self.outgoing.extend(Outgoing { commands, notifications, ended: Vec::new() });
        self.history.extend(decision.history);
        Ok(decision.state)
    }
}
