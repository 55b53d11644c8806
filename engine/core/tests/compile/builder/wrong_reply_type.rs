#[path = "../../support/mod.rs"]
#[expect(dead_code)]
mod shop;

use redress_core::saga;
use shop::*;

struct OrderShipped {
    parcel: String,
}

fn main() {
    let _ = saga::<PlaceOrder>("place-order", 1)
        .step("charge-payment", |o| ChargePayment { payment: o.order, amount: o.total })
        .on_reply(|o: &mut PlaceOrder, shipped: OrderShipped| o.receipt = Some(shipped.parcel))
        .compensate(|o| RefundPayment { payment: o.order })
        .build();
}
