//! Bugs that are planted to see whether the simulator finds them.
//!
//! Each is a wrapper around the core or a rule that the participants forget; the core itself has no switch for it.

use std::borrow::Cow;

use redress_core::decide::{Context, Decision, Effect, Event, Order, Verb, decide};
use redress_core::definition::{SagaDefinition, StepKind};
use redress_core::history::HistoryEvent;
use redress_core::state::{Progress, Question, SagaState, Status, Turn, Unwinding};
use redress_core::{JsonText, Outcome, Phase, ReplyMessage};

use crate::participants::Without;

macro_rules! plants {
    ($($(#[$doc:meta])* $variant:ident = $word:literal),+ $(,)?) => {
        /// A planted bug.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Plant {
            $($(#[$doc])* $variant,)+
        }

        impl Plant {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// Its name on the command line.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }
    };
}

plants! {
    /// What never happened leaves no fence.
    SkipTheFence = "skip-the-fence",
    /// A participant forgets that it said no.
    ForgetARejection = "forget-a-rejection",
    /// Compensations run in the order of the actions.
    UndoForward = "undo-forward",
    /// A `failed` of an older attempt counts for the one that is open.
    CountAStaleFailure = "count-a-stale-failure",
    /// What the action has used up of its attempts, its compensation lacks.
    ShareTheBudget = "share-the-budget",
    /// The plan is frozen while a step is still being settled.
    FreezeUnsettled = "freeze-unsettled",
    /// A command that is sent again says something else.
    ResendAnew = "resend-anew",
    /// Cancel wins though the pivot was sent.
    CancelAfterThePivot = "cancel-after-the-pivot",
    /// An answer to the question before an operator re-opened the step counts for the one that is open.
    AcceptAStaleGeneration = "accept-a-stale-generation",
}

impl Plant {
    /// The rule that the participants forget.
    pub(super) const fn without(plant: Option<Self>) -> Without {
        match plant {
            Some(Self::SkipTheFence) => Without::Fences,
            Some(Self::ForgetARejection) => Without::Rejections,
            Some(
                Self::UndoForward
                | Self::CountAStaleFailure
                | Self::ShareTheBudget
                | Self::FreezeUnsettled
                | Self::ResendAnew
                | Self::CancelAfterThePivot
                | Self::AcceptAStaleGeneration,
            )
            | None => Without::Nothing,
        }
    }
}

/// Decides as the core does, with a planted bug if there is one.
pub(super) fn decide_with(
    plant: Option<Plant>,
    ctx: &mut Context<'_>,
    state: SagaState,
    event: Event,
) -> Decision {
    let honest = ctx.definition;
    match plant {
        None | Some(Plant::SkipTheFence | Plant::ForgetARejection) => decide(ctx, state, event),
        Some(Plant::UndoForward) => {
            let was_frozen = frozen(&state);
            let decision = decide(ctx, state, event);
            if was_frozen { decision } else { undo_forward(honest, decision) }
        }
        Some(Plant::CountAStaleFailure) => {
            let event = freshen(&state, event);
            decide(ctx, state, event)
        }
        Some(Plant::ShareTheBudget) => {
            let definition = sharing(honest, &state);
            decide(&mut with(ctx, &definition), state, event)
        }
        Some(Plant::FreezeUnsettled) => {
            let decision = decide(ctx, state, event);
            freeze_unsettled(ctx, decision)
        }
        Some(Plant::ResendAnew) => {
            let mut decision = decide(ctx, state, event);
            for command in &mut decision.commands {
                if command.attempt > 1 && command.key.phase == Phase::Action {
                    command.payload = JsonText::of(&command.attempt).expect("a number becomes JSON");
                }
            }
            decision
        }
        Some(Plant::CancelAfterThePivot) => {
            let definition = match &event {
                Event::Ordered(Order { verb: Verb::Cancel, .. }) => Cow::Owned(without_pivot(honest)),
                Event::Ordered(_) | Event::Reply(_) | Event::TimerFired => Cow::Borrowed(honest),
            };
            decide(&mut with(ctx, &definition), state, event)
        }
        Some(Plant::AcceptAStaleGeneration) => {
            let event = rejuvenate(&state, event);
            decide(ctx, state, event)
        }
    }
}

fn with<'a>(ctx: &'a mut Context<'_>, definition: &'a SagaDefinition) -> Context<'a> {
    Context {
        definition,
        saga_id: ctx.saga_id,
        now: ctx.now,
        jitter: ctx.jitter,
        faults: &mut *ctx.faults,
        traceparent: None,
    }
}

fn frozen(state: &SagaState) -> bool {
    matches!(&state.status, Status::Compensating { unwinding: Unwinding::Frozen { .. }, .. })
}

/// Turns a plan around that has just been frozen, and its first command with it.
fn undo_forward(definition: &SagaDefinition, mut decision: Decision) -> Decision {
    let Status::Compensating { unwinding: Unwinding::Frozen { plan }, .. } = &mut decision.state.status
    else {
        return decision;
    };
    let [first, .., last] = plan.as_slice() else { return decision };
    let (first, last) = (first.step.clone(), last.clone());
    plan.reverse();
    let mut asked = None;
    for step in decision.state.steps.iter_mut().filter(|step| step.name == first) {
        step.compensation_attempts = 0;
        asked = Some(std::mem::replace(&mut step.progress, Progress::Succeeded));
    }
    for step in decision.state.steps.iter_mut().filter(|step| step.name == last.step) {
        step.compensation_attempts = 1;
        if let Some(Progress::Open(question)) = asked.take() {
            step.progress = Progress::Open(Question { payload: last.payload.clone(), ..question });
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

fn freshen(state: &SagaState, event: Event) -> Event {
    let Event::Reply(mut reply) = event else { return event };
    let asked = state.open().find(|(place, question)| {
        state.steps[*place].name == reply.key.step
            && question.phase == reply.key.phase
            && question.turn == Turn::Asked
    });
    if let (Outcome::Failed { .. }, Some((_, question))) = (&reply.outcome, asked) {
        reply.attempt = question.attempt;
    }
    Event::Reply(reply)
}

fn rejuvenate(state: &SagaState, event: Event) -> Event {
    let Event::Reply(mut reply) = event else { return event };
    if let Some(stepped) = state.steps.iter().find(|stepped| stepped.name == reply.key.step) {
        reply.key.generation = stepped.generation;
    }
    Event::Reply(reply)
}

fn sharing(definition: &SagaDefinition, state: &SagaState) -> SagaDefinition {
    let mut definition = definition.clone();
    for (step, stepped) in definition.steps.iter_mut().zip(&state.steps) {
        if let StepKind::Compensatable { compensation: Some(compensation) } = &mut step.kind {
            let left = compensation.retry.attempts_max.map(|max| max.saturating_sub(stepped.attempts).max(1));
            compensation.retry.attempts_max = left;
        }
    }
    definition
}

fn without_pivot(definition: &SagaDefinition) -> SagaDefinition {
    let mut definition = definition.clone();
    for step in definition.steps.iter_mut().filter(|step| matches!(step.kind, StepKind::Pivot)) {
        step.kind = StepKind::Compensatable { compensation: None };
    }
    definition
}

/// Answers every settlement in the participant's place, with "never happened".
fn freeze_unsettled(ctx: &mut Context<'_>, mut decision: Decision) -> Decision {
    loop {
        let settling =
            matches!(decision.state.status, Status::Compensating { unwinding: Unwinding::Settling, .. });
        let asked = decision.state.open().find(|(_, question)| question.phase == Phase::Settlement);
        let Some((place, question)) = asked.filter(|_| settling) else { return decision };
        let stepped = &decision.state.steps[place];
        let step = &ctx.definition.steps[place];
        let reply = ReplyMessage {
            key: redress_core::IdempotencyKey {
                saga_id: ctx.saga_id,
                step: step.name.clone(),
                phase: Phase::Settlement,
                generation: stepped.generation,
            },
            attempt: question.attempt,
            saga: ctx.definition.name.clone(),
            version: ctx.definition.version,
            service: step.service.clone(),
            outcome: Outcome::Fenced,
        };
        let next = decide(ctx, decision.state, Event::Reply(reply));
        decision = Decision {
            state: next.state,
            commands: decision.commands.into_iter().chain(next.commands).collect(),
            notifications: decision.notifications.into_iter().chain(next.notifications).collect(),
            history: decision.history.into_iter().chain(next.history).collect(),
            effect: Effect::Moved,
        };
    }
}
