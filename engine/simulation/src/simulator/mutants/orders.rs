//! The planted bugs in the orders of keys.

use redress_core::decide::{Context, Decision, Event, decide};
use redress_core::state::{OrderPlace, Progress, SagaState};

use super::super::mutated::followed_by;

/// Takes each place that is waited for as the first.
pub(super) fn send_the_second(ctx: &mut Context<'_>, state: SagaState, event: Event) -> Decision {
    let mut decision = decide(ctx, state, event);
    let first = |decision: &Decision| decision.state.waiting_for_place().next().map(|step| step.name.clone());
    while let Some(step) = first(&decision) {
        let next = decide(ctx, decision.state.clone(), Event::PlaceIsFirst { step });
        decision = followed_by(decision, next);
    }
    decision
}

/// Lets places go as soon as their steps were sent.
pub(super) fn let_go_while_open(mut decision: Decision) -> Decision {
    for step in &mut decision.state.steps {
        if matches!(step.progress(), Progress::Open(_)) && step.place.is_some() {
            step.place = Some(OrderPlace::LetGo);
        }
    }
    decision
}
