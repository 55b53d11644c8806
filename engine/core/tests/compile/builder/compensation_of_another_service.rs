#[path = "../../support/mod.rs"]
#[expect(dead_code)]
mod shop;

use redress_core::saga;
use shop::*;

/// Says that it undoes the payment, but another service would do it, with another database.
impl redress_core::Compensates<ChargePayment> for CancelOrder {}

fn main() {
    let _ = saga::<PlaceOrder>("place-order", 1)
        .step("charge-payment", |o| ChargePayment { payment: o.order, amount: o.total })
        .compensate(|o| CancelOrder { order: o.order })
        .build();
}
