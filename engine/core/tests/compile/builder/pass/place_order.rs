#[path = "../../../support/mod.rs"]
mod shop;

use shop::*;

fn main() {
    assert_eq!(place_order().steps.len(), 5);
}
