//! The sagas that are explored: one after the other, and side by side.

use std::time::Duration;

use redress_core::definition::{Delivery, InDoubt, LateSuccess};
use redress_core::{Command, CommandMessage, RetryPolicy, SagaDefinition, saga};
use redress_macros::Command;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Data of the fixtures.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Data {
    /// How many replies were folded in.
    #[serde(default)]
    pub replies: u32,
    /// True if there is a gift.
    #[serde(default)]
    pub gift: bool,
}

/// First action.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "create")]
pub struct Create {}

/// Undoes the first.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "cancel", compensates = Create)]
pub struct Cancel {}

/// Second action.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "charge")]
pub struct Charge {}

/// Undoes the second.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "refund", compensates = Charge)]
pub struct Refund {}

/// Third action.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "reserve")]
pub struct Reserve {}

/// Undoes the third.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "release", compensates = Reserve)]
pub struct Release {}

/// The pivot.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "ship")]
pub struct Ship {}

/// What must succeed after it.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "confirm")]
pub struct Confirm {}

/// An action whose answer comes later.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "approve")]
pub struct Approve {}

/// Undoes the approval; its answer may come later, too.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "withdraw", compensates = Approve)]
pub struct Withdraw {}

/// An action that may be done again without harm, and that nobody remembers.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "quote")]
pub struct Quote {}

/// The same, for what must succeed after the pivot.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "announce")]
pub struct Announce {}

/// An action that calls a third party.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "pay")]
pub struct Pay {}

/// Undoes the payment, by another call to the third party.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "world", name = "repay", compensates = Pay)]
pub struct Repay {}

/// Returns true if the answer to this command may come later.
pub fn answers_later(command: &CommandMessage) -> bool {
    command.command == *Approve::NAME || command.command == *Withdraw::NAME
}

/// Returns true if this command calls a third party.
pub fn calls(command: &CommandMessage) -> bool {
    command.command == *Pay::NAME || command.command == *Repay::NAME
}

/// Five steps, with so many attempts for each action and for each compensation.
pub fn five_steps(attempts_max: u32, undo_attempts_max: u32) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    saga::<Data>("fixture", 1)
        .step("create", |_| Create {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .step("charge", |_| Charge {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Refund {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .step("reserve", |_| Reserve {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Release {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .pivot("ship", |_| Ship {})
        .retry(action)
        .retriable("confirm", |_| Confirm {})
        .build()
}

/// All that a definition can say: a stage of three steps side by side (one of them undone if it succeeds late), a step
/// and a notification on conditions, a step that needs no compensation, a deadline.
pub fn branching(attempts_max: u32, undo_attempts_max: u32) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    saga::<Data>("branching", 1)
        .step("create", |_| Create {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .parallel(|stage| {
            stage
                .step("charge", |_| Charge {})
                .on_reply(|data, ()| data.replies += 1)
                .compensate(|_| Refund {})
                .retry(action)
                .compensation_retry(undo.attempts(undo_attempts_max))
                .late_success(LateSuccess::Compensate)
                .step("reserve", |_| Reserve {})
                .on_reply(|data, ()| data.replies += 1)
                .compensate(|_| Release {})
                .retry(action)
                .compensation_retry(undo.attempts(undo_attempts_max))
                .step("gift", |_| Create {})
                .no_compensation()
                .when(|data| data.gift)
                .retry(action)
        })
        .notify("tell", |_| Confirm {})
        .when(|data| data.replies > 1)
        .pivot("ship", |_| Ship {})
        .retry(action)
        .retriable("confirm", |_| Confirm {})
        .deadline(Duration::from_secs(600))
        .build()
}

/// Data of the saga with a child.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Family {
    /// The parent's own.
    #[serde(default)]
    pub replies: u32,
    /// The child's.
    #[serde(default = "nothing_yet")]
    pub child: Data,
}

fn nothing_yet() -> Data {
    Data { replies: 0, gift: false }
}

/// A saga inside another one: a step, a child of two steps, the pivot.
pub fn nested(attempts_max: u32, undo_attempts_max: u32) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    let child = saga::<Data>("child", 1)
        .step("charge", |_| Charge {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Refund {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .step("reserve", |_| Reserve {})
        .compensate(|_| Release {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .build();
    saga::<Family>("nested", 1)
        .step("create", |_| Create {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .saga("child", child, |data| &mut data.child)
        .pivot("ship", |_| Ship {})
        .retry(action)
        .build()
}

/// A saga whose second step is answered later, within so long, by its service or by people; its deadline is twice as far.
pub fn on_approval(attempts_max: u32, undo_attempts_max: u32, answer_within: Duration) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    saga::<Data>("on-approval", 1)
        .step("create", |_| Create {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .step("approve", |_| Approve {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Withdraw {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .answer_within(answer_within)
        .people_may_answer()
        .pivot("ship", |_| Ship {})
        .retry(action)
        .retriable("confirm", |_| Confirm {})
        .deadline(answer_within * 2)
        .build()
}

/// A saga whose second step calls a third party; its name says what follows if that does not tell what became of a call.
pub fn paying(attempts_max: u32, undo_attempts_max: u32, in_doubt: InDoubt) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    let name = match in_doubt {
        InDoubt::Park => "pay-or-park",
        InDoubt::Undo => "pay-or-undo",
    };
    saga::<Data>(name, 1)
        .step("create", |_| Create {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .step("pay", |_| Pay {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Repay {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .in_doubt(in_doubt)
        .pivot("ship", |_| Ship {})
        .retry(action)
        .retriable("confirm", |_| Confirm {})
        .build()
}

/// An approval from outside.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Approval {
    /// The name of the person who approves.
    #[serde(default)]
    pub by: String,
}

/// A saga that waits for an approval before its pivot, for so long, or it turns back; for a time to pass; and for a receipt
/// after its pivot, for so long, or it goes on.
pub fn on_event(attempts_max: u32, undo_attempts_max: u32, timeout: Duration) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    saga::<Data>("on-event", 1)
        .step("create", |_| Create {})
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .await_event::<Approval>("approval", timeout)
        .on_event(|data, _| data.replies += 1)
        .wait("cool-off", move |_| timeout)
        .pivot("ship", |_| Ship {})
        .retry(action)
        .await_event::<Approval>("receipt", timeout)
        .on_event(|data, _| data.replies += 1)
        .build()
}

/// A saga that waits before its pivot and after it: for an approval, for so long, or it turns back; beside a step, for a
/// time to pass; for a receipt, for so long, or it goes on.
pub fn waiting(attempts_max: u32, undo_attempts_max: u32, timeout: Duration) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    saga::<Data>("waiting", 1)
        .step("create", |_| Create {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .await_event::<Approval>("approval", timeout)
        .on_event(|data, _| data.replies += 1)
        .parallel(|stage| {
            stage
                .step("charge", |_| Charge {})
                .on_reply(|data, ()| data.replies += 1)
                .compensate(|_| Refund {})
                .retry(action)
                .compensation_retry(undo.attempts(undo_attempts_max))
                .wait("cool-off", move |_| timeout / 2)
                .await_event::<Approval>("second-approval", timeout)
        })
        .pivot("ship", |_| Ship {})
        .retry(action)
        .await_event::<Approval>("receipt", timeout)
        .on_event(|data, _| data.replies += 1)
        .retriable("confirm", |_| Confirm {})
        .deadline(timeout * 8)
        .build()
}

/// A saga with steps that are delivered at least once: beside another one, and behind the pivot.
pub fn unremembered(attempts_max: u32, undo_attempts_max: u32) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    saga::<Data>("unremembered", 1)
        .step("create", |_| Create {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .parallel(|stage| {
            stage
                .step("quote", |_| Quote {})
                .on_reply(|data, ()| data.replies += 1)
                .no_compensation()
                .retry(action)
                .delivery(Delivery::AtLeastOnce)
                .step("charge", |_| Charge {})
                .compensate(|_| Refund {})
                .retry(action)
                .compensation_retry(undo.attempts(undo_attempts_max))
        })
        .pivot("ship", |_| Ship {})
        .retry(action)
        .retriable("announce", |_| Announce {})
        .delivery(Delivery::AtLeastOnce)
        .retriable("confirm", |_| Confirm {})
        .deadline(Duration::from_secs(600))
        .build()
}

/// A saga whose second step and whose pivot are ordered by whether there is a gift.
pub fn ordered(attempts_max: u32, undo_attempts_max: u32) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    saga::<Data>("ordered", 1)
        .step("create", |_| Create {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .step("charge", |_| Charge {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Refund {})
        .retry(action)
        .compensation_retry(undo.attempts(undo_attempts_max))
        .ordered_by(|data| data.gift)
        .pivot("ship", |_| Ship {})
        .retry(action)
        .ordered_by(|data| data.gift)
        .retriable("confirm", |_| Confirm {})
        .deadline(Duration::from_secs(600))
        .build()
}
