#[path = "../../support/mod.rs"]
#[expect(dead_code)]
mod shop;

use redress_core::saga;
use shop::*;

fn main() {
    let _ = saga::<PlaceOrder>("place-order", 1)
        .parallel(|p| p.pivot("ship-order", |o| ShipOrder { shipment: o.order, address: o.address.clone() }))
        .build();
}
