//! The saga of the model.

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
