//! The rules of the orders of keys.
//!
//! | when | then |
//! |---|---|
//! | a step takes effect | no saga of its key that was started later has had that effect |
//! | an action is published | every saga of its key that was started before has decided for good |
//! | a saga has ended | it holds no place any more |

use redress_core::state::{Direction, OrderPlace, Progress, SagaState};
use redress_core::{CommandMessage, Name, Outcome, Phase, SagaId, Timestamp};
use redress_testkit::participants::Business;

use super::world::World;
use crate::memory::Row;

impl World {
    /// A participant handles a command. An effect of an ordered step has its place among the others of its key.
    pub(super) fn handle_in_order(
        &mut self,
        command: &CommandMessage,
        now: Timestamp,
        business: &Business,
    ) -> Outcome {
        let (id, step) = (command.key.saga_id, &command.key.step);
        let before = self.participants.effect(id, step);
        let outcome = self.participants.handle(command, now, business);
        let is_effect = self.participants.effect(id, step) > before && command.key.phase == Phase::Action;
        let nth = self.sagas.iter().position(|saga| *saga == id);
        if let Some(nth) = nth.filter(|_| is_effect && self.key_of(id, step).is_some()) {
            let is_later = |(other_step, other): &(Name, usize)| {
                other_step == step && *other > nth && self.shares_key(self.sagas[*other], id, step)
            };
            if self.ordered_effects.iter().any(is_later) {
                let wrong = format!("{step} took effect behind that of a saga that was started later");
                self.fail(Some(id), wrong);
            }
            let is_behind = |(other_step, other): &(Name, usize)| {
                other_step == step && *other < nth && self.shares_key(self.sagas[*other], id, step)
            };
            if self.ordered_effects.iter().any(is_behind) {
                self.count("effect in order");
            }
            self.ordered_effects.push((step.clone(), nth));
        }
        outcome
    }

    /// An action of an ordered step is published only if every saga before it has decided for good.
    pub(super) fn check_order(&mut self, command: &CommandMessage) {
        let (id, step) = (command.key.saga_id, &command.key.step);
        if command.key.phase != Phase::Action || self.key_of(id, step).is_none() {
            return;
        }
        let earlier = self.sagas.iter().take_while(|saga| **saga != id);
        let undecided = |saga: &&SagaId| {
            self.shares_key(**saga, id, step)
                && self.journal.look(**saga, |row| row.is_some_and(|row| !has_decided(&row.state, step)))
        };
        if let Some(other) = earlier.copied().find(|saga| undecided(&saga)) {
            self.fail(
                Some(id),
                format!("{step} was sent before {other}, which was started before, had decided"),
            );
        }
    }

    /// A saga that has ended, and waits for nothing, holds no place.
    pub(super) fn check_places(&self, row: &Row) -> Result<(), String> {
        let is_held = |place: &OrderPlace| {
            matches!(place, OrderPlace::Taken { .. } | OrderPlace::Waiting { .. } | OrderPlace::First { .. })
        };
        let mut places = row.state.steps.iter().filter_map(|step| step.place.as_ref());
        if row.state.is_ended() && row.state.due_at().is_none() && places.any(is_held) {
            return Err("it has ended, and holds a place".to_owned());
        }
        Ok(())
    }

    fn shares_key(&self, one: SagaId, other: SagaId, step: &Name) -> bool {
        self.key_of(one, step) == self.key_of(other, step)
    }

    /// The key of a step, made anew of the input of its saga.
    fn key_of(&self, id: SagaId, step: &Name) -> Option<String> {
        let row = self.row(id)?;
        let definition = self.definition(&row.definition)?;
        let (_, step) = definition.step(step)?;
        let data = definition.read_input(&serde_json::from_slice(&row.input).ok()?).ok()?;
        step.order_key(&data).ok()?
    }
}

/// Returns true if the saga will not send this action any more, and knows what became of it.
fn has_decided(state: &SagaState, step: &Name) -> bool {
    let Some(step) = state.steps.iter().find(|other| other.name == *step) else { return true };
    match step.progress() {
        Progress::Pending => !matches!(state.direction, Direction::Forward),
        Progress::Open(pending) | Progress::Parked { pending, .. } => {
            state.is_ended() || pending.phase == Phase::Compensation
        }
        Progress::Succeeded
        | Progress::Rejected
        | Progress::Fenced
        | Progress::InDoubt
        | Progress::Skipped
        | Progress::Waiting { .. }
        | Progress::TimedOut
        | Progress::GivenUp
        | Progress::Compensated => true,
    }
}
