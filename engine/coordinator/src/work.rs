//! One unit of work, decided: from locked sagas and events to what is written and published.
//!
//! Pure but for the jitter. Several events of one saga are decided one after the other; a saga that cannot be decided
//! (its row is unreadable, the definition panics) becomes a dead letter alone and its row stays as it was.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};

use redress_core::decide::{Context, Decision, Effect, Event, Refusal, decide};
use redress_core::fault::FaultBook;
use redress_core::history::HistoryEvent;
use redress_core::message::NotificationMessage;
use redress_core::state::SagaState;
use redress_core::{CommandMessage, IdempotencyKey, SagaDefinition, SagaId, Timestamp};

use crate::crash::{CrashHook, CrashPoint};
use crate::ports::{Buried, Bus, Change, Changes, Snapshot, Stored};
use crate::registry::Registry;
use crate::waiters::Ended;

/// What leaves the coordinator once a decision is committed.
#[derive(Debug, Default)]
pub(crate) struct Outgoing {
    pub(crate) commands: Vec<CommandMessage>,
    pub(crate) notifications: Vec<NotificationMessage>,
}

impl Outgoing {
    pub(crate) fn extend(&mut self, other: Self) {
        self.commands.extend(other.commands);
        self.notifications.extend(other.notifications);
    }

    /// Publishes it all; a notification is sent even if the commands before it were not stored.
    pub(crate) async fn publish(self, bus: &impl Bus, crash: &CrashHook) {
        let questions: Vec<IdempotencyKey> = if crash.is_armed() {
            self.commands.iter().map(|command| command.key.clone()).collect()
        } else {
            Vec::new()
        };
        crash.pass(CrashPoint::BeforeSending, &questions);
        if !self.commands.is_empty() {
            bus.publish(self.commands).await;
        }
        if !self.notifications.is_empty() {
            bus.tell(self.notifications).await;
        }
        crash.pass(CrashPoint::AfterSending, &questions);
    }
}

/// What comes of a unit of work once it is committed.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    pub(crate) outgoing: Outgoing,
    pub(crate) healed: u64,
    pub(crate) ended: Vec<(String, Ended)>,
    pub(crate) events: BTreeMap<(String, HistoryEvent), u64>,
    pub(crate) refusals: Vec<(SagaId, Refusal)>,
    pub(crate) dead_letters: u64,
}

/// Decides all events of a batch.
pub(crate) fn decide_batch(
    registry: &Registry,
    snapshot: Snapshot,
    mut events: BTreeMap<SagaId, Vec<Event>>,
    fired: bool,
) -> (Changes, Outcome) {
    let mut batch = Batch {
        changes: Changes::default(),
        outcome: Outcome::default(),
        faults: snapshot.faults,
        now: snapshot.now,
        fired,
    };
    for stored in snapshot.sagas {
        let events =
            if fired { vec![Event::TimerFired] } else { events.remove(&stored.id).unwrap_or_default() };
        batch.decide_saga(registry, stored, events);
    }
    for (id, events) in events {
        for event in events {
            batch.bury(id, &event, "the saga does not exist in this journal");
        }
    }
    batch.changes.struck = batch.faults.struck().collect();
    (batch.changes, batch.outcome)
}

struct Batch {
    changes: Changes,
    outcome: Outcome,
    faults: FaultBook,
    now: Timestamp,
    fired: bool,
}

impl Batch {
    fn decide_saga(&mut self, registry: &Registry, stored: Stored, events: Vec<Event>) {
        let Some(definition) = registry.get(&stored.saga, stored.version) else {
            for event in &events {
                self.bury(stored.id, event, "this coordinator does not know the definition of the saga");
            }
            return;
        };
        let before = match stored.state {
            Ok(state) => state,
            Err(problem) => {
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
            Ok(folded) => self.keep(definition, stored.id, stored.revision, &before, folded),
            Err(_) => self.set_aside(stored.id, &events, "deciding on it panicked; see the log for where"),
        }
    }

    fn fold(
        &mut self,
        definition: &SagaDefinition,
        saga_id: SagaId,
        mut state: SagaState,
        events: &[Event],
    ) -> Folded {
        let mut folded = Folded::default();
        for event in events {
            let mut context = Context {
                definition,
                saga_id,
                now: self.now,
                jitter: rand::random(),
                faults: &mut self.faults,
                traceparent: None,
            };
            let decision = decide(&mut context, state, event.clone());
            state = folded.take(decision, event);
        }
        folded.state = Some(state);
        folded
    }

    fn keep(
        &mut self,
        definition: &SagaDefinition,
        id: SagaId,
        revision: i64,
        before: &SagaState,
        folded: Folded,
    ) {
        let Some(state) = folded.state else { return };
        self.outcome.healed += folded.healed;
        self.outcome.outgoing.extend(folded.outgoing);
        self.outcome.refusals.extend(folded.refusals.into_iter().map(|refusal| (id, refusal)));
        for event in &folded.contradictions {
            self.bury(id, event, "a participant took back what it had promised");
        }
        let rested = before.is_ended() || before.parked().is_some();
        if !rested && (state.is_ended() || state.parked().is_some()) {
            let ended = Ended { id, status: state.status_word() };
            self.outcome.ended.push((definition.name.to_string(), ended));
        }
        for entry in &folded.history {
            *self.outcome.events.entry((definition.name.to_string(), entry.event)).or_default() += 1;
        }
        let moved = !folded.history.is_empty();
        self.changes.history.extend(folded.history.into_iter().map(|entry| (id, entry)));
        if moved || self.fired {
            let new_data = before.data != state.data;
            let fired = self.fired;
            self.changes.sagas.push(Change { id, revision, moved, fired, new_data, state });
        }
    }

    /// Leaves a saga as it is; what came for it is kept.
    fn set_aside(&mut self, id: SagaId, events: &[Event], reason: &str) {
        tracing::error!(saga_id = %id, reason, "saga set aside");
        self.changes.set_aside.push(id);
        for event in events {
            self.bury(id, event, reason);
        }
    }

    fn bury(&mut self, id: SagaId, event: &Event, reason: &str) {
        let (subject, payload) = match event {
            Event::Reply(reply) => (format!("reply of {}", reply.service), format!("{reply:?}")),
            // The timer comes again by itself, and whoever gives an order is told.
            Event::TimerFired | Event::Ordered(_) => return,
        };
        self.outcome.dead_letters += 1;
        self.changes.dead_letters.push(Buried {
            saga_id: Some(id),
            reason: reason.to_owned(),
            subject,
            headers: Vec::new(),
            payload: payload.into_bytes(),
        });
    }
}

#[derive(Default)]
struct Folded {
    state: Option<SagaState>,
    outgoing: Outgoing,
    history: Vec<redress_core::history::HistoryEntry>,
    healed: u64,
    refusals: Vec<Refusal>,
    contradictions: Vec<Event>,
}

impl Folded {
    fn take(&mut self, decision: Decision, event: &Event) -> SagaState {
        match decision.effect {
            Effect::Moved | Effect::Noted => {}
            Effect::Ignored => self.healed += decision.commands.len() as u64,
            Effect::Refused(refusal) => self.refusals.push(refusal),
            Effect::Contradiction => self.contradictions.push(event.clone()),
        }
        let Decision { commands, notifications, .. } = decision;
        self.outgoing.extend(Outgoing { commands, notifications });
        self.history.extend(decision.history);
        decision.state
    }
}
