//! The edits by which planted bugs of deciding differ from the core: of the saga before, of the event, of the definition, or
//! of the decision.

use redress_core::decide::{Context, Decision, Effect, Event, decide};
use redress_core::definition::{SagaDefinition, Step, StepKind};
use redress_core::history::HistoryEvent;
use redress_core::state::{
    AttemptState, Direction, PendingCommand, Progress, SagaState, Status, StepState, Unwinding,
};
use redress_core::{Outcome, Phase, ReplyMessage};

/// The saga as if the wait that it has ended last were not over, unless it has gone on since.
pub(super) fn waiting_anew(ctx: &Context<'_>, mut state: SagaState) -> SagaState {
    let is_over = |(step, step_state): (&Step, &StepState)| {
        matches!(step.kind, StepKind::Wait(_)) && *step_state.progress() == Progress::Succeeded
    };
    let over = ctx.definition.steps.iter().zip(&state.steps).position(is_over);
    if let (Some(place), Direction::Forward) = (over, &state.direction) {
        state.steps[place] = put(&state.steps[place], &Progress::Waiting { until: ctx.now });
    }
    state
}

/// Returns true if the plan of a saga that goes back is frozen.
pub(super) fn frozen(state: &SagaState) -> bool {
    state.status() == Status::Compensating
        && matches!(&state.direction, Direction::Back { unwinding: Unwinding::Frozen { .. }, .. })
}

/// Turns a plan around that has just been frozen, and its first command with it.
pub(super) fn undo_forward(definition: &SagaDefinition, mut decision: Decision) -> Decision {
    if !frozen(&decision.state) {
        return decision;
    }
    let Direction::Back { unwinding: Unwinding::Frozen { plan }, .. } = &mut decision.state.direction else {
        return decision;
    };
    let [first, .., last] = plan.as_slice() else { return decision };
    let (first, last) = (first.step.clone(), last.clone());
    plan.reverse();
    let mut asked = None;
    for step in decision.state.steps.iter_mut().filter(|step| step.name == first) {
        step.compensation_attempts = 0;
        asked = step.open().cloned();
        *step = put(step, &Progress::Succeeded);
    }
    for step in decision.state.steps.iter_mut().filter(|step| step.name == last.step) {
        step.compensation_attempts = 1;
        if let Some(pending) = asked.take() {
            let pending = PendingCommand { payload: last.payload.clone(), ..pending };
            *step = put(step, &Progress::Open(pending));
        }
    }
    for command in decision.commands.iter_mut().filter(|command| command.key.phase == Phase::Compensation) {
        command.key.step = last.step.clone();
        command.payload = last.payload.clone();
        if let Some(compensation) = definition.step(&last.step).and_then(|(_, step)| step.compensation()) {
            command.command = compensation.command.clone();
        }
    }
    let is_sent = |event| event == HistoryEvent::Sent;
    for row in
        decision.history.iter_mut().filter(|row| is_sent(row.event) && row.step.as_ref() == Some(&first))
    {
        row.step = Some(last.step.clone());
    }
    decision
}

/// A step that stands where no move has led it.
pub(super) fn put(step: &StepState, progress: &Progress) -> StepState {
    let mut stored = serde_json::to_value(step).expect("a step becomes JSON");
    stored["progress"] = serde_json::to_value(progress).expect("a progress becomes JSON");
    serde_json::from_value(stored).expect("a step is read as it was written")
}

/// A failure of whatever attempt, as one of the attempt that is open.
pub(super) fn freshen(state: &SagaState, event: Event) -> Event {
    let Event::Reply(mut reply) = event else { return event };
    let asked = state.open().find(|(place, pending)| {
        state.steps[*place].name == reply.key.step
            && pending.phase == reply.key.phase
            && pending.attempt_state == AttemptState::Sent
    });
    if let (Outcome::Failed { .. }, Some((_, pending))) = (&reply.outcome, asked) {
        reply.attempt = pending.attempt;
    }
    Event::Reply(reply)
}

/// A reply of whatever generation, as one of the generation that is pending.
pub(super) fn rejuvenate(state: &SagaState, event: Event) -> Event {
    let Event::Reply(mut reply) = event else { return event };
    if let Some(step_state) = state.steps.iter().find(|step_state| step_state.name == reply.key.step) {
        reply.key.generation = step_state.generation;
    }
    Event::Reply(reply)
}

/// The same definition, whose compensations lack the attempts that their actions have used up.
pub(super) fn sharing(definition: &SagaDefinition, state: &SagaState) -> SagaDefinition {
    let mut definition = definition.clone();
    for (step, step_state) in definition.steps.iter_mut().zip(&state.steps) {
        if let StepKind::Compensatable { compensation: Some(compensation) } = &mut step.kind {
            let left =
                compensation.retry.attempts_max.map(|max| max.saturating_sub(step_state.attempts).max(1));
            compensation.retry.attempts_max = left;
        }
    }
    definition
}

/// The same definition, which waits for no answer that comes later.
pub(super) fn impatient(definition: &SagaDefinition) -> SagaDefinition {
    let mut definition = definition.clone();
    for step in &mut definition.steps {
        step.answer_within_ms = 1;
    }
    definition
}

/// The same definition, in which nothing decides.
pub(super) fn without_pivot(definition: &SagaDefinition) -> SagaDefinition {
    let mut definition = definition.clone();
    for step in definition.steps.iter_mut().filter(|step| matches!(step.kind, StepKind::Pivot)) {
        step.kind = StepKind::Compensatable { compensation: None };
    }
    definition
}

/// Answers every settlement in the participant's place, with "never happened".
pub(super) fn freeze_unsettled(ctx: &mut Context<'_>, mut decision: Decision) -> Decision {
    loop {
        let is_settling =
            matches!(decision.state.direction, Direction::Back { unwinding: Unwinding::Settling, .. });
        let settling = decision.state.hold.is_none() && is_settling;
        let asked = decision.state.open().find(|(_, pending)| pending.phase == Phase::Settlement);
        let Some((place, pending)) = asked.filter(|_| settling) else { return decision };
        let step_state = &decision.state.steps[place];
        let step = &ctx.definition.steps[place];
        let reply = ReplyMessage {
            key: redress_core::IdempotencyKey {
                saga_id: ctx.saga_id,
                step: step.name.clone(),
                phase: Phase::Settlement,
                generation: step_state.generation,
            },
            attempt: pending.attempt,
            saga: ctx.definition.name.clone(),
            version: ctx.definition.version,
            service: step.service.clone(),
            outcome: Outcome::Fenced,
        };
        let next = decide(ctx, decision.state.clone(), Event::Reply(reply));
        decision = followed_by(decision, next);
    }
}

/// Two decisions, one after the other, as one.
pub(super) fn followed_by(decision: Decision, next: Decision) -> Decision {
    Decision {
        state: next.state,
        commands: decision.commands.into_iter().chain(next.commands).collect(),
        notifications: decision.notifications.into_iter().chain(next.notifications).collect(),
        history: decision.history.into_iter().chain(next.history).collect(),
        transitions: decision.transitions.into_iter().chain(next.transitions).collect(),
        effect: Effect::Moved,
    }
}

/// The same context with another definition.
pub(super) fn with<'a>(ctx: &'a mut Context<'_>, definition: &'a SagaDefinition) -> Context<'a> {
    Context {
        definition,
        saga_id: ctx.saga_id,
        now: ctx.now,
        jitter: ctx.jitter,
        faults: &mut *ctx.faults,
        traceparent: None,
    }
}
