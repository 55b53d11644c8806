//! The operators of a simulation, who act for better or worse.
//!
//! They cancel, pause and try again whenever they like, give the answers that steps await, end sagas by hand, and resolve
//! steps in doubt: mostly with the outcome that they have found at the participant, which may change a moment later, and
//! sometimes with the opposite.
//! So resolutions are verified and contradicted here. An operator who clears up a contradiction, or a step that its
//! participant has forgotten, has looked, and does by hand what is still to be done.

use redress_core::decide::{Resolution, Verb};
use redress_core::inbox::GivenAnswer;
use redress_core::state::{AttemptState, Hold, ParkCode, ParkReason, SagaState};
use redress_core::{JsonText, Name, Phase, Rejection, SagaId};

use super::world::{Weather, World};

impl World {
    /// The saga to which an operator does something, what, and the revision that the operator has seen.
    pub(super) fn interfere(&mut self) -> Option<(SagaId, Verb, i64)> {
        let id = self.rng.choice(self.sagas.iter().copied())?;
        let (state, revision) =
            self.journal.look(id, |row| row.map(|row| (row.state.clone(), row.revision)))?;
        let verb = self.wish(id, &state)?;
        self.count(verb.as_str());
        Some((id, verb, revision))
    }

    fn wish(&mut self, id: SagaId, state: &SagaState) -> Option<Verb> {
        match (&state.hold, self.weather) {
            (Hold::Parked { .. }, Weather::Storm) if self.rng.u8(..) < 16 => Some(Verb::Close),
            // A saga that cannot be cleared up is ended by hand at last.
            (Hold::Parked { reason, .. }, Weather::Calm)
                if reason.code == ParkCode::Expired && self.rng.u8(..) < 4 =>
            {
                Some(Verb::Close)
            }
            (Hold::Parked { .. }, _) => {
                let reasons: Vec<&ParkReason> =
                    state.parked().into_iter().chain(state.parked_also()).collect();
                let is_by_hand = |reason: &&&ParkReason| {
                    let step = reason.step.clone().map(|step| (id, step));
                    reason.code == ParkCode::Expired && step.is_some_and(|step| self.by_hand.contains(&step))
                };
                if let Some(reason) = reasons.iter().find(is_by_hand) {
                    return self.clear_up(id, reason);
                }
                let reason = reasons[self.rng.usize(..reasons.len())];
                let cleared_up = self.clear_up(id, reason);
                // A contradiction must be resolved; a saga in which that is no longer possible is ended by hand.
                let is_hopeless = cleared_up.is_some() && self.rng.u8(..) < 32;
                let retry = Verb::Retry { step: reason.step.clone().filter(|_| self.rng.bool()) };
                let verb = cleared_up.filter(|_| self.rng.u8(..) < 160).unwrap_or(retry);
                Some(if is_hopeless { Verb::Close } else { verb })
            }
            (Hold::Paused, Weather::Calm) => Some(Verb::Resume),
            (_, Weather::Calm) if self.rng.u8(..) < 64 => self.give_answer_for(state),
            (_, Weather::Calm) => None,
            (Hold::Paused, Weather::Storm) if self.rng.bool() => Some(Verb::Resume),
            (_, Weather::Storm) => match self.rng.u8(..16) {
                0..2 => Some(Verb::Cancel),
                2 => Some(Verb::Pause),
                3..6 => Some(Verb::Retry { step: None }),
                6..8 => self.tell(id, state),
                9..12 => self.give_answer_for(state),
                8 => Some(Verb::Close),
                _ => None,
            },
        }
    }

    /// The answer that a step awaits, by a person who may give it.
    fn give_answer_for(&mut self, state: &SagaState) -> Option<Verb> {
        let mut open = state.open();
        let (place, _) = open.find(|(_, pending)| pending.attempt_state == AttemptState::Awaiting)?;
        let answer = match self.rng.u8(..) < 64 {
            true => GivenAnswer::Rejected(Rejection::new("no", "no")),
            false => GivenAnswer::Done { reply: JsonText::null() },
        };
        Some(Verb::Answer { step: state.steps[place].name.clone(), answer })
    }

    /// The resolution of a step in doubt, as an operator sees it.
    fn tell(&mut self, id: SagaId, state: &SagaState) -> Option<Verb> {
        let in_doubt: Vec<usize> = state
            .open()
            .filter(|(_, pending)| pending.phase != Phase::Compensation)
            .map(|(place, _)| place)
            .collect();
        let place = in_doubt.get(self.rng.usize(..in_doubt.len().max(1)))?;
        let step = &state.steps[*place].name;
        let is_wrong = self.rng.u8(..) < 64;
        let happened = (self.participants.effect(id, step) > 0) != is_wrong;
        self.told_in_a_storm.insert((id, step.clone()));
        Some(resolve(step, happened))
    }

    /// The truth about a step of which a participant says the opposite, or of which it knows nothing any more.
    fn clear_up(&mut self, id: SagaId, reason: &ParkReason) -> Option<Verb> {
        let step = reason.step.as_ref()?;
        let stands = self.participants.effect(id, step) > 0;
        match (reason.code, reason.phase) {
            (ParkCode::Contradiction | ParkCode::InDoubt, _) => Some(resolve(step, stands)),
            (ParkCode::Expired, Some(Phase::Compensation)) => {
                if stands {
                    self.act_by_hand(id, step, false);
                }
                Some(Verb::Resolve { step: step.clone(), resolution: Resolution::Compensated })
            }
            (ParkCode::Expired, _) => {
                // A step that must succeed is done by hand.
                let must_stand = *step == *"confirm";
                if must_stand && !stands {
                    self.act_by_hand(id, step, true);
                }
                Some(resolve(step, stands || must_stand))
            }
            (
                ParkCode::CompensationFailed
                | ParkCode::RetriableRejected
                | ParkCode::Refused
                | ParkCode::Definition
                | ParkCode::Paused,
                _,
            ) => None,
        }
    }

    fn act_by_hand(&mut self, id: SagaId, step: &Name, stands: bool) {
        self.count(if stands { "done by hand" } else { "undone by hand" });
        self.participants.act_by_hand(id, step, stands);
        self.by_hand.insert((id, step.clone()));
    }
}

fn resolve(step: &Name, happened: bool) -> Verb {
    let resolution = match happened {
        true => Resolution::Happened { reply: JsonText::null() },
        false => Resolution::NeverHappened,
    };
    Verb::Resolve { step: step.clone(), resolution }
}
