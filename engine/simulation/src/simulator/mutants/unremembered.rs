//! Bugs about steps that no participant remembers.

use redress_core::decide::{Context, Decision, Event, decide};
use redress_core::definition::Delivery;
use redress_core::state::{Progress, SagaState};

use super::super::mutated::{put, with};

/// Decides as if all steps were delivered exactly once: those that are not are settled.
pub(super) fn settled(ctx: &mut Context<'_>, state: SagaState, event: Event) -> Decision {
    let mut definition = ctx.definition.clone();
    for step in &mut definition.steps {
        step.delivery = Delivery::ExactlyOnce;
    }
    decide(&mut with(ctx, &definition), state, event)
}

/// Says of every step that was left in doubt that it never happened.
pub(super) fn taken_for_never(ctx: &mut Context<'_>, state: SagaState, event: Event) -> Decision {
    let definition = ctx.definition;
    let mut decision = decide(ctx, state, event);
    for (step, step_state) in definition.steps.iter().zip(&mut decision.state.steps) {
        if !step.is_remembered() && *step_state.progress() == Progress::InDoubt {
            *step_state = put(step_state, &Progress::Fenced);
        }
    }
    decision
}
