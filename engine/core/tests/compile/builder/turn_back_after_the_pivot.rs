#[path = "../../support/mod.rs"]
#[expect(dead_code)]
mod shop;

use std::time::Duration;

use redress_core::saga;
use shop::*;

fn main() {
    let _ = saga::<PlaceOrder>("place-order", 1)
        .pivot("ship-order", |o| ShipOrder { shipment: o.order, address: o.address.clone() })
        .await_event::<PaymentCharged>("receipt", Duration::from_secs(60))
        .or_turn_back()
        .build();
}
