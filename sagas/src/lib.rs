//! The demo sagas, one file each.
//!
//! A saga knows commands, not services: this library depends on the contracts and on the facade, and only the binary
//! beside it joins sagas and services.

mod book_trip;
mod expense;
mod order_by_card;
mod place_order;

pub use book_trip::{BookTrip, book_trip};
pub use expense::{Expense, expense};
pub use order_by_card::{OrderByCard, order_by_card};
pub use place_order::{PlaceOrder, place_order};

use redress::SagaDefinition;

/// All of them.
pub fn all() -> [SagaDefinition; 4] {
    [place_order(), book_trip(), order_by_card(), expense()]
}
