//! Commands that are delivered at least once: their handlers run each time, and nothing is remembered.

use redress_core::{CommandMessage, Outcome, Phase, SagaDefinition};

use super::{Business, Participants};

impl Participants {
    /// Participants that do not remember the steps of these definitions that are delivered at least once.
    pub fn serving<'d>(mut self, definitions: impl IntoIterator<Item = &'d SagaDefinition>) -> Self {
        for definition in definitions {
            let steps = definition.steps.iter().filter(|step| !step.is_remembered());
            let steps = steps.map(|step| (definition.name.clone(), step.name.clone()));
            self.unremembered.extend(steps);
        }
        self
    }

    /// Returns true if nobody remembers the command.
    pub(super) fn forgets(&self, command: &CommandMessage) -> bool {
        self.unremembered.contains(&(command.saga.clone(), command.key.step.clone()))
    }

    /// Runs the handler, whatever ran before. To ask what became of it, or to undo it, is a mistake of the coordinator.
    pub(super) fn handle_unremembered(&mut self, command: &CommandMessage, business: &Business) -> Outcome {
        let key = &command.key;
        if key.phase != Phase::Action {
            self.note(format!("{key}: sent to a participant that remembers nothing of it"));
            return Outcome::InDoubt { reason: "nobody remembers it".to_owned() };
        }
        match business {
            Business::Done => {
                *self.effects.entry((key.saga_id, key.step.clone())).or_default() += 1;
                Outcome::Done { reply: self.reply_of(&key.step) }
            }
            Business::Rejected(rejection) => Outcome::Rejected(rejection.clone()),
            Business::Failed | Business::Later | Business::Called { .. } => {
                Outcome::Failed { message: "injected".to_owned() }
            }
        }
    }
}
