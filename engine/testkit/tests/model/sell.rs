//! The sagas of the model.

use std::time::Duration;

use redress_core::{Command, Compensates, RetryPolicy, SagaDefinition, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Charge {}
#[derive(Serialize, Deserialize, JsonSchema)]
struct Refund {}
#[derive(Serialize, Deserialize, JsonSchema)]
struct Ship {}
#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct Sale {}

macro_rules! commands {
    ($($name:ident = $command:literal),*) => { $(
        impl Command for $name {
            const SERVICE: &'static str = "shop";
            const NAME: &'static str = $command;
            type Reply = ();
        }
    )* };
}

commands!(Charge = "charge", Refund = "refund", Ship = "ship");
impl Compensates<Charge> for Refund {}

/// A step that can be undone, and the pivot; one attempt each, then the settlement.
pub(crate) fn sell() -> SagaDefinition {
    saga::<Sale>("sell", 1)
        .step("charge", |_| Charge {})
        .compensate(|_| Refund {})
        .retry(RetryPolicy::ACTION.attempts(1))
        .compensation_retry(RetryPolicy::COMPENSATION.attempts(1))
        .pivot("ship", |_| Ship {})
        .retry(RetryPolicy::ACTION.attempts(1))
        .build()
}

/// The name of the event, and of its step.
pub(crate) const APPROVAL: &str = "approval";

/// An event from outside, without which the saga turns back, and the pivot; one attempt, then the settlement.
pub(crate) fn sell_on_approval() -> SagaDefinition {
    saga::<Sale>("sell", 1)
        .step("charge", |_| Charge {})
        .compensate(|_| Refund {})
        .retry(RetryPolicy::ACTION.attempts(1))
        .compensation_retry(RetryPolicy::COMPENSATION.attempts(1))
        .await_event::<Sale>(APPROVAL, Duration::from_secs(60))
        .pivot("ship", |_| Ship {})
        .retry(RetryPolicy::ACTION.attempts(1))
        .build()
}
