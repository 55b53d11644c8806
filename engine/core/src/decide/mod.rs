//! What a saga does next: a pure function of its state and one event.
//!
//! The journal is authoritative for the state; whoever holds the saga's row lock calls [`decide`], stores the
//! [`Decision`] and only then carries out its commands. A crash between the two loses nothing: the open question
//! is in the state, and it is asked again when `due_at` passes or when the reply that closed the question before
//! it is redelivered.
//!
//! What must hold:
//!
//! - **Answers.** `done`, `rejected`, `fenced`, `expired` and `refused` answer the question (saga, step, phase,
//!   generation), whatever the attempt that carried them; `failed` speaks of its own attempt only. Everything else
//!   is recorded as late and has no effect. (`reply.rs`)
//! - **Forward.** A step that fails is tried again by its policy and then *settled*: silence is never taken for
//!   a refusal. Retriable steps are asked for ever. (`forward.rs`)
//! - **Back.** From the first failure, cancel or deadline nothing new is sent forward. What was ever sent and has
//!   no final answer is settled first; only then is the plan frozen and carried out, strictly in reverse.
//!   (`unwind.rs`)
//! - **Stages.** The steps of a stage run side by side; the next stage starts when all of them are passed. A step
//!   whose condition does not hold is skipped, a notification is passed as soon as it is sent.
//! - **The pivot.** From the decision that sends it, cancel loses and a deadline only starts its settlement.
//! - **Held up.** While a saga is parked or paused, answers are heard and nothing is sent. (`machine.rs`)
//! - **Operators.** An order moves the saga or is refused; what an operator tells of a step is believed and verified.
//!   (`verbs.rs`, `resolve.rs`, `told.rs`)
//! - **Ends are ends.** A reply to an ended saga is at most noted.

mod forward;
mod machine;
mod reply;
mod resolve;
mod told;
mod unwind;
mod verbs;

pub use verbs::{Order, Refusal, Resolution, Verb};

use chrono::TimeDelta;

use crate::definition::SagaDefinition;
use crate::fault::{Fault, FaultBook};
use crate::history::HistoryEntry;
use crate::ids::{SagaId, Timestamp};
use crate::json::JsonText;
use crate::message::{CommandMessage, NotificationMessage, ReplyMessage};
use crate::state::SagaState;

use machine::Machine;

/// What a decision may look at besides the saga.
#[derive(Debug)]
pub struct Context<'a> {
    /// The definition with which the saga was started.
    pub definition: &'a SagaDefinition,
    /// The saga.
    pub saga_id: SagaId,
    /// The journal's clock.
    pub now: Timestamp,
    /// A number in 0.0..=1.0 that spreads the pauses of this decision.
    pub jitter: f64,
    /// The standing faults; empty unless faults are allowed.
    pub faults: &'a mut FaultBook,
    /// W3C trace context of the start; later decisions use the one that was stored.
    pub traceparent: Option<String>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq)]
pub enum Event {
    /// A participant answered.
    Reply(ReplyMessage),
    /// `due_at` may have passed; harmless when it has not.
    TimerFired,
    /// An operator wants something.
    Ordered(Order),
}

/// What to store and what to do.
#[derive(Clone, Debug, PartialEq)]
#[must_use = "a decision that is not stored did not happen"]
pub struct Decision {
    /// The saga from now on.
    pub state: SagaState,
    /// Commands to publish after the commit.
    pub commands: Vec<CommandMessage>,
    /// Notifications to send once after the commit, and never again.
    pub notifications: Vec<NotificationMessage>,
    /// Rows to append in the same transaction.
    pub history: Vec<HistoryEntry>,
    /// What kind of decision it is.
    pub effect: Effect,
}

/// What kind of decision it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// The state changed.
    Moved,
    /// Only the history grew: the event came late.
    Noted,
    /// Nothing to store. There may be a command to publish again: the one that a crash may have lost.
    Ignored,
    /// An operator's order came too late or makes no sense here.
    Refused(Refusal),
    /// A participant took back what it had promised: keep a dead letter too.
    Contradiction,
}

/// Begins a saga: its first state, with the first command.
///
/// If the first action's closure fails on the data, the saga begins parked and says why.
pub fn start(ctx: &mut Context<'_>, data: JsonText, own_faults: Vec<Fault>) -> Decision {
    let mut state = SagaState::new(ctx.definition, data, own_faults, ctx.now);
    state.traceparent = ctx.traceparent.clone();
    let mut machine = Machine::new(ctx, state);
    machine.record_start();
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
    machine.record_start();
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
            machine.on_timer();
            machine.moved()
        }
        Event::Ordered(order) => match machine.on_order(&order) {
            Ok(()) => machine.moved(),
            Err(refusal) => machine.finish(Effect::Refused(refusal)),
        },
    }
}

/// The time `ms` milliseconds after `at`, at most the end of time.
pub(crate) fn after_ms(at: Timestamp, ms: u64) -> Timestamp {
    let delta = i64::try_from(ms).ok().and_then(TimeDelta::try_milliseconds).unwrap_or(TimeDelta::MAX);
    at.checked_add_signed(delta).unwrap_or(Timestamp::MAX_UTC)
}
