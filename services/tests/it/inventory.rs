//! Stock: set aside and put back, refused as a whole, and never more than there is.

use redress_contracts::{ReleaseInventory, ReserveInventory, StockLine};
use redress_participant::testing::TestOutcome;

use crate::bench::{id, lines, read, refusals, tested};

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
async fn reserved_stock_is_put_back_by_the_release() {
    let test = tested("inventory").await;
    // The same thing in two lines is one line of the reservation.
    let step = test.step(reserve(1, &[("book", 2), ("rare-print", 1), ("book", 3)]));
    assert_eq!(step.run().await.unwrap(), TestOutcome::Done(()));
    insta::assert_snapshot!(read(&test, STOCK).await, @"
    book 99999995 + 5
    rare-print 0 + 1
    ");
    insta::assert_snapshot!(read(&test, RESERVATIONS).await, @"
    held book 5
    held rare-print 1
    ");
    assert_eq!(step.undo(&release(1)).await.unwrap(), TestOutcome::Done(()));
    insta::assert_snapshot!(read(&test, STOCK).await, @"
    book 100000000 + 0
    rare-print 1 + 0
    ");
    insta::assert_snapshot!(read(&test, RESERVATIONS).await, @"
    released book 5
    released rare-print 1
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn reservation_that_cannot_be_met_takes_nothing() {
    let test = tested("inventory").await;
    let wishes: [&[(&str, i64)]; 7] = [
        &[("book", 1), ("unicorn", 1)],
        &[("book", 1), ("rare-print", 2)],
        &[("rare-print", 1), ("rare-print", 1)],
        &[("book", 0)],
        &[("book", -1)],
        &[("book", i64::MAX), ("book", 1)],
        &[("book", i64::MAX)],
    ];
    let mut outcomes = Vec::new();
    for (number, wish) in (1..).zip(wishes) {
        outcomes.push(test.run(reserve(number, wish)).await.unwrap());
    }
    insta::assert_snapshot!(lines(&outcomes), @"
    rejected unknown-sku: there is no `unicorn`
    rejected out-of-stock: 2 of `rare-print` are wanted and 1 are left
    rejected out-of-stock: 2 of `rare-print` are wanted and 1 are left
    rejected invalid-quantity: 0 is no quantity of `book` to reserve
    rejected invalid-quantity: -1 is no quantity of `book` to reserve
    rejected invalid-quantity: 1 is no quantity of `book` to reserve
    rejected out-of-stock: 9223372036854775807 of `book` are wanted and 100000000 are left
    ");
    insta::assert_snapshot!(read(&test, STOCK).await, @"
    book 100000000 + 0
    rare-print 1 + 0
    ");
    assert_eq!(read(&test, RESERVATIONS).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn last_piece_goes_to_the_first_reservation_and_then_to_the_next() {
    let test = tested("inventory").await;
    let steps = [1, 2, 3].map(|number| test.step(reserve(number, &[("book", 1), ("rare-print", 1)])));
    insta::assert_snapshot!(lines(&test.run_together(&steps).await.unwrap()), @"
    done null
    rejected out-of-stock: 1 of `rare-print` are wanted and 0 are left
    rejected out-of-stock: 1 of `rare-print` are wanted and 0 are left
    ");
    assert_eq!(steps[0].undo(&release(1)).await.unwrap(), TestOutcome::Done(()));
    assert_eq!(test.run(reserve(4, &[("rare-print", 1)])).await.unwrap(), TestOutcome::Done(()));
    insta::assert_snapshot!(read(&test, STOCK).await, @"
    book 100000000 + 0
    rare-print 0 + 1
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn reservations_are_released_as_a_set() {
    let test = tested("inventory").await;
    let steps = [1, 2, 3].map(|number| test.step(reserve(number, &[("book", 5)])));
    test.run_together(&steps).await.unwrap();
    // The last one belongs to the second.
    let undos = [(&steps[0], release(1)), (&steps[1], release(2)), (&steps[2], release(2))];
    insta::assert_snapshot!(lines(&test.undo_together(&undos).await.unwrap()), @"
    done null
    done null
    failed: only 0 of 1 reservations are held and can be released
    ");
    insta::assert_snapshot!(read(&test, STOCK).await, @"
    book 99999995 + 5
    rare-print 1 + 0
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn id_of_another_saga_is_rejected_also_within_a_set() {
    let test = tested("inventory").await;
    let steps = [1, 1, 3].map(|hold| test.step(reserve(hold, &[("book", 5)])));
    insta::assert_snapshot!(lines(&test.run_together(&steps).await.unwrap()), @"
    done null
    rejected reservation-exists: reservation 0190163d-8694-739b-aea5-000000000001 belongs to another saga
    done null
    ");
    insta::assert_snapshot!(read(&test, STOCK).await, @"
    book 99999990 + 10
    rare-print 1 + 0
    ");
    insta::assert_snapshot!(read(&test, RESERVATIONS).await, @"
    held book 5
    held book 5
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_books_are_refused_by_the_database() {
    let test = tested("inventory").await;
    let step = test.step(reserve(1, &[("book", 1)]));
    step.run().await.unwrap();
    step.undo(&release(1)).await.unwrap();
    let attempts = [
        "UPDATE reservations SET status = 'held'",
        "UPDATE stock SET available = available + 1 WHERE sku = 'book'",
        "UPDATE stock SET available = -1, supplied = 0, reserved = 1 WHERE sku = 'book'",
        "INSERT INTO reservations SELECT gen_random_uuid(), saga_id, 'held' FROM reservations",
    ];
    insta::assert_snapshot!(refusals(&test, &attempts).await, @r#"
    reservation 0190163d-8694-739b-aea5-000000000001 is released: that has no way out
    new row for relation "stock" violates check constraint "stock_check"
    new row for relation "stock" violates check constraint "stock_available_check"
    duplicate key value violates unique constraint "reservations_saga_id_key"
    "#);
}
