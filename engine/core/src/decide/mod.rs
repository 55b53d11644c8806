//! Decides what a saga does next: a pure function of its state and one event.
//!
//! The journal is authoritative for the state; the coordinator that holds the saga's row lock calls [`decide`], stores
//! the [`Decision`] and only then carries out its commands. A crash between the two loses nothing: the pending command
//! is in the state, and it is sent again when `due_at` passes or when the reply that closed the command before it is
//! redelivered.
//!
//! The rules:
//!
//! - **Answers.** `done`, `rejected`, `fenced`, `expired` and `refused` answer the command (saga, step, phase,
//!   generation), whatever the attempt that carried them; `failed` speaks of its own attempt only. Everything else is
//!   recorded as late and has no effect. (`reply.rs`)
//! - **Forward.** A step that fails is tried again by its policy and then *settled*: silence is never taken for a
//!   refusal. Retriable steps are tried for ever. (`forward.rs`)
//! - **A command is sent once the broker has stored it.** One that it did not store is no attempt: the same attempt
//!   goes out again, and silence is held against a participant only after a stored publish. (`unsent.rs`)
//! - **Back.** From the first failure, cancel or deadline nothing new is sent forward. A step that was sent and has no
//!   final answer is settled first; only then is the plan frozen and carried out, strictly in reverse. (`unwind.rs`)
//! - **At least once.** A step that no participant remembers is never settled: when its answer is no longer waited for, it
//!   is in doubt and stays so. (`unremembered.rs`)
//! - **Stages.** The steps of a stage run side by side; the next stage starts when all of them are passed. A step
//!   whose condition does not hold is skipped, a notification is passed as soon as it is sent.
//! - **The pivot.** From the decision that sends it, cancel loses and a deadline only starts its settlement.
//! - **Answers that come later.** A step whose participant says so is awaited, for its own long time, and neither
//!   retried nor given up; now and then its participant is asked again. (`awaiting.rs`)
//! - **Waits and events.** A step may wait for a time or for an event from outside. Its end is the saga's due time, the
//!   first event of its name counts, and nothing has to be settled or undone for it. (`waiting.rs`)
//! - **Orders of keys.** A step that is ordered by a key is sent when no earlier saga stands before it there, as the
//!   journal says, and keeps its place until it is decided for good. (`places.rs`)
//! - **Held up.** While a saga is parked or paused, answers are heard and nothing is sent.
//!   ([`Hold`](crate::state::Hold))
//! - **Operators.** An operator command moves the saga or is refused; a resolution is believed and verified.
//!   (`verbs.rs`, `resolve.rs`, `verification.rs`)
//! - **Ends are ends.** A reply to an ended saga is at most noted.
//! - **Steps move by one table.** A move that it does not have is not made, and nothing comes of the decision.
//!   ([`Transition`](crate::state::Transition))

mod awaiting;
mod closed;
mod event;
mod forward;
mod given;
mod machine;
mod operator;
mod parking;
mod places;
mod reply;
mod resolve;
mod unremembered;
mod unsent;
mod unwind;
mod verbs;
mod verification;
mod waiting;
mod waits;

pub use event::{Context, Decision, Effect, Event, NotSent, Unsent};
pub use given::{EventRefusal, EventVerdict, GivenEvent};
pub use operator::{OperatorCommand, Refusal, Resolution, Verb};

use crate::fault::Fault;
use crate::json::JsonText;
use crate::state::SagaState;

use machine::Machine;

/// Begins a saga: its first state, with the first command.
///
/// If the first action's closure fails on the data, the saga begins parked and says why.
pub fn start(ctx: &mut Context<'_>, data: JsonText, own_faults: Vec<Fault>) -> Decision {
    let mut state = SagaState::new(ctx.definition, data, own_faults, ctx.now);
    state.traceparent = ctx.traceparent.clone();
    let mut machine = Machine::new(ctx, state);
    machine.begin();
    machine.go_on();
    machine.moved()
}

/// Begins a saga without sending anything: its first command is due at once, and the timer sends it.
///
/// For a start inside a transaction of the caller's, which may yet be rolled back.
pub fn start_unsent(ctx: &mut Context<'_>, data: JsonText, own_faults: Vec<Fault>) -> Decision {
    let mut state = SagaState::new(ctx.definition, data, own_faults, ctx.now);
    state.traceparent = ctx.traceparent.clone();
    let mut machine = Machine::new(ctx, state);
    machine.begin();
    machine.moved()
}

/// Decides what a saga does when `event` happens.
pub fn decide(ctx: &mut Context<'_>, state: SagaState, event: Event) -> Decision {
    let mut machine = Machine::new(ctx, state);
    match event {
        Event::Reply(reply) => {
            let effect = machine.on_reply(reply);
            machine.finish(effect)
        }
        Event::TimerFired => {
            machine.shorten_waits();
            machine.on_timer();
            machine.moved()
        }
        Event::NotSent(not_sent) => {
            machine.on_not_sent(&not_sent);
            machine.moved()
        }
        Event::MayBeLost { asked_before } => {
            machine.on_may_be_lost(asked_before);
            machine.moved()
        }
        Event::Given(event) => {
            let effect = machine.on_event(&event);
            machine.finish(effect)
        }
        Event::PlaceIsFirst { step } => {
            machine.on_place_is_first(&step);
            machine.moved()
        }
        Event::Operator(command) => {
            machine.shorten_waits();
            match machine.on_operator(&command) {
                Ok(()) => machine.moved(),
                Err(refusal) => machine.finish(Effect::Refused(refusal)),
            }
        }
    }
}
