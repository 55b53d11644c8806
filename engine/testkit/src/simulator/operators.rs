//! What operators do, for better or worse.
//!
//! They cancel, pause and try again whenever they like, end sagas by hand, and tell what became of a step in doubt:
//! mostly what they have found at its participant, which may change a moment later, and sometimes the opposite. So
//! words are verified and contradicted here. Whoever clears a contradiction up has looked.

use std::collections::BTreeMap;

use redress_core::decide::{Event, Order, Resolution, Verb};
use redress_core::state::{ParkCode, ParkReason, SagaState, Status};
use redress_core::{JsonText, Name, Phase, SagaId};

use super::desk::Desk;
use super::{Weather, World};

impl World<'_> {
    /// An operator does something to a saga.
    pub(super) fn interfere(&mut self) {
        let id = self.sagas[self.rng.usize(..self.sagas.len())];
        let Some(row) = self.journal.read(id) else { return };
        let state = row.state.clone();
        let Some(verb) = self.wish(id, &state) else { return };
        let idle = (0..2).find(|desk| matches!(self.desks[*desk], Desk::Idle));
        let Some(desk) = idle else { return };
        self.count(verb.as_str());
        let order = Order { verb, actor: "ann".to_owned(), reason: "why not".to_owned() };
        self.desks[desk] = self.read(Vec::new(), BTreeMap::from([(id, vec![Event::Ordered(order)])]));
    }

    fn wish(&mut self, id: SagaId, state: &SagaState) -> Option<Verb> {
        match (&state.status, self.weather) {
            (Status::Parked { .. }, Weather::Storm) if self.rng.u8(..) < 16 => Some(Verb::Close),
            (Status::Parked { .. }, _) => {
                let reasons: Vec<&ParkReason> =
                    state.parked().into_iter().chain(state.parked_also()).collect();
                let reason = reasons[self.rng.usize(..reasons.len())];
                let cleared_up = self.clear_up(id, reason);
                // Not all that is contradicted can still be resolved, nor all of it be tried again at once.
                Some(
                    cleared_up.filter(|_| self.rng.u8(..) < 160).unwrap_or_else(|| Verb::Retry {
                        step: reason.step.clone().filter(|_| self.rng.bool()),
                    }),
                )
            }
            (Status::Paused { .. }, Weather::Calm) => Some(Verb::Resume),
            (_, Weather::Calm) => None,
            (Status::Paused { .. }, Weather::Storm) if self.rng.bool() => Some(Verb::Resume),
            (_, Weather::Storm) => match self.rng.u8(..16) {
                0..2 => Some(Verb::Cancel),
                2 => Some(Verb::Pause),
                3..6 => Some(Verb::Retry { step: None }),
                6..8 => self.tell(id, state),
                8 => Some(Verb::Close),
                _ => None,
            },
        }
    }

    /// What became of a step in doubt, as an operator sees it.
    fn tell(&mut self, id: SagaId, state: &SagaState) -> Option<Verb> {
        let in_doubt: Vec<usize> = state
            .open()
            .filter(|(_, question)| question.phase != Phase::Compensation)
            .map(|(place, _)| place)
            .collect();
        let place = in_doubt.get(self.rng.usize(..in_doubt.len().max(1)))?;
        let step = &state.steps[*place].name;
        let is_wrong = self.rng.u8(..) < 64;
        let happened = (self.participants.effect(id, step) > 0) != is_wrong;
        Some(resolve(step, happened))
    }

    /// The truth about a step of which a participant says the opposite.
    fn clear_up(&self, id: SagaId, reason: &ParkReason) -> Option<Verb> {
        let step = reason.step.as_ref().filter(|_| reason.code == ParkCode::Contradiction)?;
        Some(resolve(step, self.participants.effect(id, step) > 0))
    }
}

fn resolve(step: &Name, happened: bool) -> Verb {
    let resolution = match happened {
        true => Resolution::Happened { reply: JsonText::null() },
        false => Resolution::NeverHappened,
    };
    Verb::Resolve { step: step.clone(), resolution }
}
