//! A matrix to be played, and the ground from which each of its cells starts.

use redress_core::definition::Step;
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::{Phase, SagaDefinition};
use serde_json::Value;

use crate::example::Extent;
use crate::participants::DisabledRule;
use crate::run_result::RunResult;
use crate::story::Story;

/// The matrix of a definition, with inputs and replies of your own.
#[must_use = "a matrix is played by `.run()`"]
pub struct UnwindMatrix {
    pub(super) definition: SagaDefinition,
    pub(super) inputs: Vec<Value>,
    pub(super) replies: Vec<(String, Value)>,
    pub(super) without: DisabledRule,
}

/// The input of a run before anything goes wrong, and the run as it is then.
pub(super) struct Ground {
    pub(super) input: Option<Value>,
    pub(super) extent: Extent,
    pub(super) undisturbed: RunResult,
}

impl Ground {
    /// Returns true if the step's condition holds here.
    pub(super) fn plays(&self, step: &Step) -> bool {
        let RunResult { deliveries, history, .. } = &self.undisturbed;
        if !step.kind.is_sent() {
            let begins = |row: &HistoryEntry| row.event == HistoryEvent::Waiting;
            return history.iter().any(|row| begins(row) && row.step.as_ref() == Some(&step.name));
        }
        deliveries.iter().any(|seen| seen.key.phase == Phase::Action && seen.key.step == step.name)
    }
}

impl UnwindMatrix {
    /// The matrix of this definition.
    pub fn of(definition: SagaDefinition) -> Self {
        Self { definition, inputs: Vec::new(), replies: Vec::new(), without: DisabledRule::Nothing }
    }

    /// An input with which sagas are started. With several, each step is proven with the first for which it is played:
    /// that is how steps are reached whose conditions exclude each other.
    pub fn input(mut self, input: Value) -> Self {
        self.inputs.push(input);
        self
    }

    /// The reply of a step's action.
    pub fn reply(mut self, step: &str, reply: Value) -> Self {
        self.replies.push((step.to_owned(), reply));
        self
    }

    pub(super) fn story(&self, ground: &Ground) -> Story<'_> {
        self.story_with(ground.input.as_ref(), ground.extent)
    }

    pub(super) fn story_with(&self, input: Option<&Value>, extent: Extent) -> Story<'_> {
        let mut story = Story::with_examples(&self.definition, extent).without(self.without);
        if let Some(input) = input {
            story = story.input(input.clone());
        }
        self.replies.iter().fold(story, |story, (step, reply)| story.reply(step, reply.clone()))
    }
}
