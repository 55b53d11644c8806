#[path = "../../support/mod.rs"]
#[expect(dead_code)]
mod shop;

use std::time::Duration;

use redress_core::saga;
use shop::*;

fn main() {
    let _ = saga::<PlaceOrder>("place-order", 1)
        .wait("cool-off", |_| Duration::from_secs(60))
        .on_event(|_, _| ())
        .build();
}
