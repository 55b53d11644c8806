//! The demo's sagas, proven as a user proves a saga of theirs: one line each, public API only.

use redress_sagas::{book_trip, place_order};
use redress_testkit::unwind_matrix;

#[test]
fn place_order_holds_or_is_made_good() {
    unwind_matrix(place_order());
}

#[test]
fn book_trip_holds_or_is_made_good() {
    unwind_matrix(book_trip());
}
