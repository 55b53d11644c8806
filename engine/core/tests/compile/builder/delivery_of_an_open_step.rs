#[path = "../../support/mod.rs"]
#[expect(dead_code)]
mod shop;

use redress_core::definition::Delivery;
use redress_core::saga;
use shop::*;

fn main() {
    let _ = saga::<PlaceOrder>("place-order", 1)
        .step("charge-payment", |o| ChargePayment { payment: o.order, amount: o.total })
        .delivery(Delivery::AtLeastOnce)
        .compensate(|o| RefundPayment { payment: o.order })
        .build();
}
