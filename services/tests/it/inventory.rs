//! Stock: set aside and put back, refused as a whole, and never more than there is.

use redress_contracts::{ReleaseInventory, ReserveInventory, StockLine};

use crate::shop::{Shop, action, id, undo};

const STOCK: &str = "SELECT sku || ' ' || available || ' + ' || reserved FROM stock \
    WHERE sku IN ('book', 'rare-print') ORDER BY sku";
const RESERVATIONS: &str = "SELECT status || coalesce(' ' || sku || ' ' || quantity, '') FROM reservations \
    LEFT JOIN reservation_lines ON reservation = id ORDER BY id, sku";

fn reserve(reservation: u128, lines: &[(&str, i64)]) -> ReserveInventory {
    let line = |(sku, quantity): &(&str, i64)| StockLine { sku: (*sku).to_owned(), quantity: *quantity };
    ReserveInventory { reservation: id(reservation), lines: lines.iter().map(line).collect() }
}

fn release(reservation: u128) -> ReleaseInventory {
    ReleaseInventory { reservation: id(reservation) }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_set_aside_is_put_back() {
    let mut shop = Shop::open(&["inventory"]).await;
    // The same thing in two lines is one line of the reservation.
    let lines = [("book", 2), ("rare-print", 1), ("book", 3)];
    insta::assert_snapshot!(shop.ask([action(1, &reserve(1, &lines))]).await, @"reserve done null");
    insta::assert_snapshot!(shop.read("inventory", STOCK).await, @"
    book 99999995 + 5
    rare-print 0 + 1
    ");
    insta::assert_snapshot!(shop.read("inventory", RESERVATIONS).await, @"
    held book 5
    held rare-print 1
    ");
    insta::assert_snapshot!(shop.ask([undo(1, "reserve", &release(1))]).await, @"reserve done null");
    insta::assert_snapshot!(shop.read("inventory", STOCK).await, @"
    book 100000000 + 0
    rare-print 1 + 0
    ");
    insta::assert_snapshot!(shop.read("inventory", RESERVATIONS).await, @"
    released book 5
    released rare-print 1
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_cannot_be_met_takes_nothing() {
    let mut shop = Shop::open(&["inventory"]).await;
    let answers = shop
        .ask([
            action(1, &reserve(1, &[("book", 1), ("unicorn", 1)])),
            action(2, &reserve(2, &[("book", 1), ("rare-print", 2)])),
            action(3, &reserve(3, &[("rare-print", 1), ("rare-print", 1)])),
            action(4, &reserve(4, &[("book", 0)])),
            action(5, &reserve(5, &[("book", -1)])),
            action(6, &reserve(6, &[("book", i64::MAX), ("book", 1)])),
            action(7, &reserve(7, &[("book", i64::MAX)])),
        ])
        .await;
    insta::assert_snapshot!(answers, @"
    reserve rejected unknown-sku: there is no `unicorn`
    reserve rejected out-of-stock: 2 of `rare-print` are wanted and 1 are left
    reserve rejected out-of-stock: 2 of `rare-print` are wanted and 1 are left
    reserve rejected invalid-quantity: 0 is no quantity of `book` to reserve
    reserve rejected invalid-quantity: -1 is no quantity of `book` to reserve
    reserve rejected invalid-quantity: 1 is no quantity of `book` to reserve
    reserve rejected out-of-stock: 9223372036854775807 of `book` are wanted and 100000000 are left
    ");
    insta::assert_snapshot!(shop.read("inventory", STOCK).await, @"
    book 100000000 + 0
    rare-print 1 + 0
    ");
    assert_eq!(shop.read("inventory", RESERVATIONS).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_last_piece_goes_to_the_first_and_then_to_the_next() {
    let mut shop = Shop::closed(&["inventory"]).await;
    let orders: Vec<_> =
        (1..=3).map(|saga| action(saga, &reserve(saga, &[("book", 1), ("rare-print", 1)]))).collect();
    shop.send(&orders).await;
    shop.serve().await;
    insta::assert_snapshot!(shop.told(3).await, @"
    done null
    rejected out-of-stock: 1 of `rare-print` are wanted and 0 are left
    rejected out-of-stock: 1 of `rare-print` are wanted and 0 are left
    ");
    let back_and_again = [undo(1, "reserve", &release(1)), action(4, &reserve(4, &[("rare-print", 1)]))];
    insta::assert_snapshot!(shop.ask(back_and_again).await, @"
    reserve done null
    reserve done null
    ");
    insta::assert_snapshot!(shop.read("inventory", STOCK).await, @"
    book 100000000 + 0
    rare-print 0 + 1
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_saga_is_rejected_also_within_a_set() {
    let mut shop = Shop::closed(&["inventory"]).await;
    let orders = [(1, 1), (2, 1), (3, 3)].map(|(saga, hold)| action(saga, &reserve(hold, &[("book", 5)])));
    shop.send(&orders).await;
    shop.serve().await;
    insta::assert_snapshot!(shop.told(3).await, @"
    done null
    rejected reservation-exists: reservation 0190163d-8694-739b-aea5-000000000001 belongs to another saga
    done null
    ");
    insta::assert_snapshot!(shop.read("inventory", STOCK).await, @"
    book 99999990 + 10
    rare-print 1 + 0
    ");
    insta::assert_snapshot!(shop.read("inventory", RESERVATIONS).await, @"
    held book 5
    held book 5
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_cannot_be_cooked() {
    let mut shop = Shop::open(&["inventory"]).await;
    shop.ask([action(1, &reserve(1, &[("book", 1)])), undo(1, "reserve", &release(1))]).await;
    let attempts = [
        "UPDATE reservations SET status = 'held'",
        "UPDATE stock SET available = available + 1 WHERE sku = 'book'",
        "UPDATE stock SET available = -1, supplied = 0, reserved = 1 WHERE sku = 'book'",
        "INSERT INTO reservations SELECT gen_random_uuid(), saga_id, 'held' FROM reservations",
    ];
    let mut refusals = Vec::new();
    for attempt in attempts {
        refusals.push(shop.refusal("inventory", attempt).await);
    }
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    reservation 0190163d-8694-739b-aea5-000000000001 is released: that has no way out
    new row for relation "stock" violates check constraint "stock_check"
    new row for relation "stock" violates check constraint "stock_available_check"
    duplicate key value violates unique constraint "reservations_saga_id_key"
    "#);
}
