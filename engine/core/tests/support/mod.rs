//! The commands of a small shop, and a saga over all of them.

use redress_core::{Command, Compensates, RetryPolicy, SagaDefinition, saga};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::time::Duration;

macro_rules! commands {
    ($($name:ident { $($field:ident: $type:ty),* } => $service:literal $command:literal -> $reply:ty;)*) => { $(
        #[derive(Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name { $(pub(crate) $field: $type),* }
        impl Command for $name {
            const SERVICE: &'static str = $service;
            const NAME: &'static str = $command;
            type Reply = $reply;
        }
    )* };
}

commands! {
    CreateOrder { order: u64, customer: String } => "order" "create" -> ();
    CancelOrder { order: u64 } => "order" "cancel" -> ();
    ChargePayment { payment: u64, amount: i64 } => "payment" "charge" -> PaymentCharged;
    RefundPayment { payment: u64 } => "payment" "refund" -> ();
    ReserveInventory { reservation: u64, lines: Vec<String> } => "inventory" "reserve" -> ();
    ReleaseInventory { reservation: u64 } => "inventory" "release" -> ();
    ShipOrder { shipment: u64, address: String } => "shipping" "ship" -> ();
    ConfirmOrder { order: u64 } => "order" "confirm" -> ();
}

impl Compensates<CreateOrder> for CancelOrder {}
impl Compensates<ChargePayment> for RefundPayment {}
impl Compensates<ReserveInventory> for ReleaseInventory {}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct PaymentCharged {
    pub(crate) receipt: String,
}

#[derive(Serialize, Deserialize, JsonSchema)]
pub(crate) struct PlaceOrder {
    pub(crate) customer: String,
    pub(crate) address: String,
    pub(crate) lines: Vec<String>,
    pub(crate) total: i64,
    #[serde(default = "an_id")]
    pub(crate) order: u64,
    #[serde(default)]
    pub(crate) receipt: Option<String>,
}

fn an_id() -> u64 {
    7
}

pub(crate) fn place_order() -> SagaDefinition {
    place_order_retrying(RetryPolicy::ACTION)
}

pub(crate) fn place_order_retrying(policy: RetryPolicy) -> SagaDefinition {
    saga::<PlaceOrder>("place-order", 1)
        .step("create-order", |o| CreateOrder { order: o.order, customer: o.customer.clone() })
        .compensate(|o| CancelOrder { order: o.order })
        .step("charge-payment", |o| ChargePayment { payment: o.order, amount: o.total })
        .on_reply(|o, charged| o.receipt = Some(charged.receipt))
        .compensate(|o| RefundPayment { payment: o.order })
        .timeout(Duration::from_secs(3))
        .retry(policy)
        .step("reserve-inventory", |o| ReserveInventory { reservation: o.order, lines: o.lines.clone() })
        .compensate(|o| ReleaseInventory { reservation: o.order })
        .compensation_retry(RetryPolicy::COMPENSATION.attempts(50))
        .pivot("ship-order", |o| ShipOrder { shipment: o.order, address: o.address.clone() })
        .retriable("confirm-order", |o| ConfirmOrder { order: o.order })
        .deadline(Duration::from_secs(3600))
        .build()
}
