//! The saga that is explored: three compensatable steps, a pivot and a retriable step.

use redress_core::{Command, Compensates, RetryPolicy, SagaDefinition, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Data of the specimen: nothing but a number that grows with each reply.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub struct Data {
    /// How many replies were folded in.
    #[serde(default)]
    pub replies: u32,
}

macro_rules! commands {
    ($($(#[$doc:meta])* $name:ident = $command:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
        pub struct $name {}

        impl Command for $name {
            const SERVICE: &'static str = "world";
            const NAME: &'static str = $command;
            type Reply = ();
        }
    )+};
}

commands! {
    /// First action.
    Create = "create",
    /// Undoes the first.
    Cancel = "cancel",
    /// Second action.
    Charge = "charge",
    /// Undoes the second.
    Refund = "refund",
    /// Third action.
    Reserve = "reserve",
    /// Undoes the third.
    Release = "release",
    /// The pivot.
    Ship = "ship",
    /// What must succeed after it.
    Confirm = "confirm",
}

impl Compensates<Create> for Cancel {}
impl Compensates<Charge> for Refund {}
impl Compensates<Reserve> for Release {}

/// Five steps, with `attempts_max` attempts for each action and four times as many for each compensation.
pub fn five_steps(attempts_max: u32) -> SagaDefinition {
    let (action, undo) = (RetryPolicy::ACTION.attempts(attempts_max), RetryPolicy::COMPENSATION);
    saga::<Data>("specimen", 1)
        .step("create", |_| Create {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Cancel {})
        .retry(action)
        .compensation_retry(undo.attempts(attempts_max * 4))
        .step("charge", |_| Charge {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Refund {})
        .retry(action)
        .compensation_retry(undo.attempts(attempts_max * 4))
        .step("reserve", |_| Reserve {})
        .on_reply(|data, ()| data.replies += 1)
        .compensate(|_| Release {})
        .retry(action)
        .compensation_retry(undo.attempts(attempts_max * 4))
        .pivot("ship", |_| Ship {})
        .retry(action)
        .retriable("confirm", |_| Confirm {})
        .build()
}
