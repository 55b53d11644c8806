//! The demo's sagas, proven as a user proves a saga of theirs: one line each, public API only.

use redress_sagas::{book_trip, expense, order_by_card, place_order};
use redress_testkit::{UnwindMatrix, unwind_matrix};
use serde_json::json;

#[test]
fn place_order_holds_or_is_made_good() {
    unwind_matrix(place_order());
}

#[test]
fn book_trip_holds_or_is_made_good() {
    unwind_matrix(book_trip());
}

#[test]
fn order_by_card_holds_or_is_made_good() {
    // So large that it needs its approval.
    let large = json!({
        "customer": "dora", "card": "4000 0000 0000 1881", "currency": "EUR", "address": "4 Station Road, Porto",
        "lines": [{ "sku": "book", "quantity": 40, "unit_price": 1500 }],
    });
    let matrix = UnwindMatrix::of(order_by_card()).input(large).run();
    assert!(matrix.is_ok(), "{}", matrix.unwrap_err());
}

#[test]
fn expense_holds_or_is_made_good() {
    unwind_matrix(expense());
}
