//! The demo sagas, one file each.
//!
//! A saga knows commands, not services: this library depends on the contracts and on the facade, and only the binary
//! beside it joins sagas and services.

mod book_trip;
mod place_order;

pub use book_trip::{BookTrip, book_trip};
pub use place_order::{PlaceOrder, place_order};

use redress::SagaDefinition;

/// All of them.
pub fn all() -> [SagaDefinition; 2] {
    [place_order(), book_trip()]
}
