//! The states that this coordinator wrote last, kept for the next decision on their sagas, which then need not be read.
//!
//! A hint: the journal is authoritative. Every write that changes a state counts its revision on, so that a saga and its
//! revision determine the state; a decision on a kept state is written only if the journal still has that revision, and
//! is made anew with locks otherwise. A state is taken out by the decision that uses it and comes back, as it is then, once
//! that is committed; whatever fails leaves nothing here.
//!
//! After a failover to a server that has lost its last commits, a revision may come to mean another state. That takes longer
//! than a state is kept.
//!
//! Where several coordinators share a journal, each reply may come to any of them, and a kept state is often out of date. So
//! nothing is kept for a while after one was.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use redress_core::SagaId;
use redress_core::state::{Direction, Hold, SagaState, StepState};

use crate::ports::{Clock, Stored, StoredState};

/// How long a state is kept: longer than a step takes when all is well, and shorter than any failover.
const AGE_MAX: Duration = Duration::from_secs(1);
/// Nothing is kept for so long after a kept state was out of date: one batch in so much time is decided twice.
const REST: Duration = Duration::from_secs(10);
/// States that are kept: more than a coordinator moves in the time.
const STATES_MAX: usize = 10_000;
/// The weight of all that are kept, in bytes.
const BYTES_MAX: usize = 16 << 20;

/// The states that were written last.
#[derive(Debug)]
pub(crate) struct KeptStates<C> {
    clock: C,
    kept: Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    states: HashMap<SagaId, KeptState>,
    /// When each was put here, oldest first; those that were taken out since are still named.
    by_age: VecDeque<(Duration, SagaId)>,
    bytes: usize,
    /// Nothing is kept before this.
    rests_until: Duration,
}

#[derive(Debug)]
struct KeptState {
    stored: Stored,
    put_at: Duration,
    bytes: usize,
}

impl<C: Clock> KeptStates<C> {
    pub(crate) fn new(clock: C) -> Self {
        Self { clock, kept: Mutex::default() }
    }

    /// Takes out those of these sagas that are kept, in the order of their ids.
    pub(crate) fn take(&self, ids: &[SagaId]) -> Vec<Stored> {
        let now = self.clock.monotonic();
        let mut kept = self.kept();
        kept.forget_older(now);
        ids.iter().filter_map(|id| kept.remove(*id)).collect()
    }

    /// Keeps states that have been committed.
    pub(crate) fn put(&self, states: Vec<Stored>) {
        let now = self.clock.monotonic();
        let mut kept = self.kept();
        if now < kept.rests_until {
            return;
        }
        for stored in states {
            kept.put(stored, now);
        }
        kept.forget_older(now);
    }

    /// A kept state was out of date: others move these sagas, too.
    pub(crate) fn rest(&self) {
        let rests_until = self.clock.monotonic() + REST;
        *self.kept() = Kept { rests_until, ..Kept::default() };
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("no thread panics while it holds the kept states")
    }
}

impl Kept {
    fn put(&mut self, stored: Stored, now: Duration) {
        let StoredState::Readable(state) = &stored.state else { return };
        let bytes = weight(state);
        let id = stored.id;
        // Two units of work may report in the wrong order.
        if self.states.get(&id).is_some_and(|newer| newer.stored.revision > stored.revision) {
            return;
        }
        self.remove(id);
        self.bytes += bytes;
        self.states.insert(id, KeptState { stored, put_at: now, bytes });
        self.by_age.push_back((now, id));
    }

    fn remove(&mut self, id: SagaId) -> Option<Stored> {
        let KeptState { stored, bytes, .. } = self.states.remove(&id)?;
        self.bytes -= bytes;
        Some(stored)
    }

    /// Forgets what is too old, and the oldest of what is too much.
    fn forget_older(&mut self, now: Duration) {
        while let Some((put_at, id)) = self.by_age.front().copied() {
            let fits = self.by_age.len() <= STATES_MAX && self.bytes <= BYTES_MAX;
            if fits && now.saturating_sub(put_at) <= AGE_MAX {
                return;
            }
            self.by_age.pop_front();
            if self.states.get(&id).is_some_and(|kept| kept.put_at == put_at) {
                self.remove(id);
            }
        }
    }
}

/// Returns true if this state is worth keeping: the next decision is about to come, and finds no more than a few messages
/// in it. Sagas that turn back, wait for a person or have ended are few, or need no decision.
pub(crate) fn is_worth_keeping(state: &SagaState) -> bool {
    match (&state.direction, &state.hold) {
        (Direction::Forward, Hold::None) => state.open().next().is_some(),
        (Direction::Forward, Hold::Paused | Hold::Parked { .. })
        | (Direction::Back { .. } | Direction::Ended(_), _) => false,
    }
}

/// The memory that a state takes, in bytes, as far as users make it large.
fn weight(state: &SagaState) -> usize {
    let unfolded = state.steps.iter().filter_map(|step| step.unfolded.as_ref());
    let open = state.open().map(|(_, command)| &command.payload);
    let texts = unfolded.chain(open).chain([&state.data]).map(|text| text.as_bytes().len());
    texts.sum::<usize>() + size_of::<SagaState>() + state.steps.len() * size_of::<StepState>()
}

#[cfg(test)]
mod tests;
