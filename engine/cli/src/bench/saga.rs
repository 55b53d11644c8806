//! The saga of the echo bench: create, charge, reserve, ship, with payloads of a usual size.

use redress_core::{Command, Compensates, SagaDefinition, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The services that answer.
pub(super) const SERVICES: [&str; 4] = ["order", "payment", "inventory", "shipping"];

/// Data and payload in one.
#[derive(Clone, Serialize, Deserialize, JsonSchema)]
pub(super) struct Basket {
    customer: String,
    address: String,
    sku: String,
    quantity: u32,
    amount: i64,
}

macro_rules! commands {
    ($($name:ident = $service:literal / $command:literal),+ $(,)?) => {$(
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $name(Basket);

        impl Command for $name {
            const SERVICE: &'static str = $service;
            const NAME: &'static str = $command;
            type Reply = Option<String>;
        }
    )+};
}

commands! {
    Create = "order" / "create", Cancel = "order" / "cancel",
    Charge = "payment" / "charge", Refund = "payment" / "refund",
    Reserve = "inventory" / "reserve", Release = "inventory" / "release",
    Ship = "shipping" / "ship",
}

impl Compensates<Create> for Cancel {}
impl Compensates<Charge> for Refund {}
impl Compensates<Reserve> for Release {}

/// The definition.
pub(super) fn definition() -> SagaDefinition {
    saga::<Basket>("bench-order", 1)
        .step("create", |b| Create(b.clone()))
        .compensate(|b| Cancel(b.clone()))
        .step("charge", |b| Charge(b.clone()))
        .compensate(|b| Refund(b.clone()))
        .step("reserve", |b| Reserve(b.clone()))
        .compensate(|b| Release(b.clone()))
        .pivot("ship", |b| Ship(b.clone()))
        .build()
}
