#[path = "../../support/mod.rs"]
#[expect(dead_code)]
mod shop;

use redress_core::saga;
use shop::*;

struct TidyUp;

fn main() {
    let _ = saga::<PlaceOrder>("place-order", 1).step("tidy-up", |_| TidyUp);
}
