//! Orders: pending, then confirmed or cancelled, and never anything else.

use redress_contracts::{CancelOrder, ConfirmOrder, CreateOrder, OrderLine};
use redress_participant::testing::TestOutcome;

use crate::bench::{id, lines, read, refusals, tested};

const ORDERS: &str =
    "SELECT customer || ' ' || status || ' ' || total || ' ' || lines::text FROM orders ORDER BY id";

fn create(order: u128, lines: &[(&str, i64, i64)]) -> CreateOrder {
    let line = |(sku, quantity, unit_price): &(&str, i64, i64)| OrderLine {
        sku: (*sku).to_owned(),
        quantity: *quantity,
        unit_price: *unit_price,
    };
    CreateOrder { order: id(order), customer: "alice".to_owned(), lines: lines.iter().map(line).collect() }
}

fn confirm(order: u128) -> ConfirmOrder {
    ConfirmOrder { order: id(order) }
}

fn cancel(order: u128) -> CancelOrder {
    CancelOrder { order: id(order) }
}

#[tokio::test(flavor = "multi_thread")]
async fn order_is_confirmed_or_cancelled() {
    let test = tested("order").await;
    let basket = [("book", 2, 1_500), ("bookmark", 1, 0)];
    let orders = [1, 2].map(|order| test.step(create(order, &basket)));
    insta::assert_snapshot!(lines(&test.run_together(&orders).await.unwrap()), @"
    done null
    done null
    ");
    insta::assert_snapshot!(read(&test, ORDERS).await, @r#"
    alice pending 3000 [{"sku": "book", "quantity": 2, "unit_price": 1500}, {"sku": "bookmark", "quantity": 1, "unit_price": 0}]
    alice pending 3000 [{"sku": "book", "quantity": 2, "unit_price": 1500}, {"sku": "bookmark", "quantity": 1, "unit_price": 0}]
    "#);
    assert_eq!(test.run(confirm(1)).await.unwrap(), TestOutcome::Done(()));
    assert_eq!(orders[1].undo(&cancel(2)).await.unwrap(), TestOutcome::Done(()));
    insta::assert_snapshot!(read(&test, ORDERS).await, @r#"
    alice confirmed 3000 [{"sku": "book", "quantity": 2, "unit_price": 1500}, {"sku": "bookmark", "quantity": 1, "unit_price": 0}]
    alice cancelled 3000 [{"sku": "book", "quantity": 2, "unit_price": 1500}, {"sku": "bookmark", "quantity": 1, "unit_price": 0}]
    "#);
    // The other end is no end for either of them.
    let cancelled = orders[0].undo(&cancel(1)).await.unwrap();
    insta::assert_snapshot!(cancelled, @"failed: only 0 of 1 orders are pending and can be cancelled");
    let confirmed = test.run(confirm(2)).await.unwrap();
    insta::assert_snapshot!(confirmed, @"failed: only 0 of 1 orders are pending and can be confirmed");
}

#[tokio::test(flavor = "multi_thread")]
async fn order_and_its_cancellation_at_once_leave_no_pending_order() {
    let test = tested("order").await;
    for number in 1..=10 {
        let order = test.step(create(number, &[("book", 1, 100)]));
        let (created, cancelled) = order.race(&cancel(number)).await.unwrap();
        assert!(matches!(created, TestOutcome::Done(()) | TestOutcome::Fenced), "{created}");
        assert_eq!(cancelled, TestOutcome::Done(()));
    }
    assert_eq!(read(&test, "SELECT status FROM orders WHERE status <> 'cancelled'").await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_order_is_rejected_and_leaves_nothing() {
    let test = tested("order").await;
    let baskets: [&[(&str, i64, i64)]; 7] = [
        &[],
        &[("book", 0, 1_500)],
        &[("book", 1, 1_500), ("book", -1, 1_500)],
        &[("book", 1, 0)],
        &[("book", 2, 1_500), ("voucher", 1, -500)],
        &[("book", i64::MAX, 2)],
        &[("book", 1, i64::MAX), ("book", 1, 1)],
    ];
    let mut outcomes = Vec::new();
    for (order, basket) in (1..).zip(baskets) {
        outcomes.push(test.run(create(order, basket)).await.unwrap());
    }
    insta::assert_snapshot!(lines(&outcomes), @"
    rejected empty-order: an order needs at least one line
    rejected invalid-quantity: the quantity of `book` is 0, and must be above zero
    rejected invalid-quantity: the quantity of `book` is -1, and must be above zero
    rejected invalid-price: the prices must add up to an amount above zero
    rejected invalid-price: the prices must add up to an amount above zero
    rejected invalid-price: the prices must add up to an amount above zero
    rejected invalid-price: the prices must add up to an amount above zero
    ");
    assert_eq!(read(&test, ORDERS).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn bad_order_does_not_spoil_the_set() {
    let test = tested("order").await;
    // 2 is empty, 4 takes the id of 1, and 6 confirms what does not exist.
    let book = [("book", 1, 100)];
    let orders = [
        test.step(create(1, &book)),
        test.step(create(2, &[])),
        test.step(create(3, &book)),
        test.step(create(1, &book)),
        test.step(create(5, &book)),
    ];
    insta::assert_snapshot!(lines(&test.run_together(&orders).await.unwrap()), @"
    done null
    rejected empty-order: an order needs at least one line
    done null
    rejected order-exists: order 0190163d-8694-739b-aea5-000000000001 belongs to another saga
    done null
    ");
    let confirmations = [1, 3, 5, 6].map(|order| test.step(confirm(order)));
    insta::assert_snapshot!(lines(&test.run_together(&confirmations).await.unwrap()), @"
    done null
    done null
    done null
    failed: only 0 of 1 orders are pending and can be confirmed
    ");
    insta::assert_snapshot!(read(&test, "SELECT status FROM orders ORDER BY id").await, @"
    confirmed
    confirmed
    confirmed
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn forged_books_are_refused_by_the_database() {
    let test = tested("order").await;
    test.run(create(1, &[("book", 1, 100)])).await.unwrap();
    test.run(confirm(1)).await.unwrap();
    let attempts = [
        "UPDATE orders SET status = 'cancelled'",
        "INSERT INTO orders SELECT gen_random_uuid(), saga_id, customer, 'pending', total, lines FROM orders",
        "INSERT INTO orders SELECT gen_random_uuid(), gen_random_uuid(), customer, 'lost', total, lines FROM orders",
        "INSERT INTO orders SELECT gen_random_uuid(), gen_random_uuid(), customer, 'pending', total, '[]' FROM orders",
    ];
    insta::assert_snapshot!(refusals(&test, &attempts).await, @r#"
    order 0190163d-8694-739b-aea5-000000000001 is confirmed: that has no way out
    duplicate key value violates unique constraint "orders_saga_id_key"
    new row for relation "orders" violates check constraint "orders_status_check"
    new row for relation "orders" violates check constraint "orders_lines_check"
    "#);
}
