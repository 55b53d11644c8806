//! Orders: pending, then confirmed or cancelled, and never anything else.

use redress_contracts::{CancelOrder, ConfirmOrder, CreateOrder, OrderLine};

use crate::shop::{Shop, action, id, undo};

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
async fn an_order_is_confirmed_or_cancelled() {
    let mut shop = Shop::open(&["order"]).await;
    let lines = [("book", 2, 1_500), ("bookmark", 1, 0)];
    insta::assert_snapshot!(shop.ask([1, 2].map(|saga| action(saga, &create(saga, &lines)))).await, @"
    create done null
    create done null
    ");
    insta::assert_snapshot!(shop.read("order", ORDERS).await, @r#"
    alice pending 3000 [{"sku": "book", "quantity": 2, "unit_price": 1500}, {"sku": "bookmark", "quantity": 1, "unit_price": 0}]
    alice pending 3000 [{"sku": "book", "quantity": 2, "unit_price": 1500}, {"sku": "bookmark", "quantity": 1, "unit_price": 0}]
    "#);
    let ends = [action(1, &confirm(1)), undo(2, "create", &cancel(2))];
    insta::assert_snapshot!(shop.ask(ends).await, @"
    confirm done null
    create done null
    ");
    insta::assert_snapshot!(shop.read("order", ORDERS).await, @r#"
    alice confirmed 3000 [{"sku": "book", "quantity": 2, "unit_price": 1500}, {"sku": "bookmark", "quantity": 1, "unit_price": 0}]
    alice cancelled 3000 [{"sku": "book", "quantity": 2, "unit_price": 1500}, {"sku": "bookmark", "quantity": 1, "unit_price": 0}]
    "#);
    // The other end is no end for either of them.
    let twice = [undo(1, "create", &cancel(1)), action(2, &confirm(2))];
    insta::assert_snapshot!(shop.ask(twice).await, @"
    create failed: only 0 of 1 orders are pending and can be cancelled
    confirm failed: only 0 of 1 orders are pending and can be confirmed
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_order_that_makes_no_sense_is_rejected_and_leaves_nothing() {
    let mut shop = Shop::open(&["order"]).await;
    let baskets: [&[(&str, i64, i64)]; 7] = [
        &[],
        &[("book", 0, 1_500)],
        &[("book", 1, 1_500), ("book", -1, 1_500)],
        &[("book", 1, 0)],
        &[("book", 2, 1_500), ("voucher", 1, -500)],
        &[("book", i64::MAX, 2)],
        &[("book", 1, i64::MAX), ("book", 1, 1)],
    ];
    let orders: Vec<_> = (1..).zip(baskets).map(|(saga, lines)| action(saga, &create(saga, lines))).collect();
    insta::assert_snapshot!(shop.ask(orders).await, @"
    create rejected empty-order: an order needs at least one line
    create rejected invalid-quantity: the quantity of `book` is 0, and must be above zero
    create rejected invalid-quantity: the quantity of `book` is -1, and must be above zero
    create rejected invalid-price: the prices must add up to an amount above zero
    create rejected invalid-price: the prices must add up to an amount above zero
    create rejected invalid-price: the prices must add up to an amount above zero
    create rejected invalid-price: the prices must add up to an amount above zero
    ");
    assert_eq!(shop.read("order", ORDERS).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_bad_order_does_not_spoil_the_set() {
    let mut shop = Shop::closed(&["order"]).await;
    // 2 is empty, 4 takes the id of 1, and 6 confirms what does not exist.
    let book = [("book", 1, 100)];
    shop.send(&[
        action(1, &create(1, &book)),
        action(2, &create(2, &[])),
        action(3, &create(3, &book)),
        action(4, &create(1, &book)),
        action(5, &create(5, &book)),
    ])
    .await;
    shop.serve().await;
    insta::assert_snapshot!(shop.told(5).await, @"
    done null
    rejected empty-order: an order needs at least one line
    done null
    rejected order-exists: order 0190163d-8694-739b-aea5-000000000001 belongs to another saga
    done null
    ");
    shop.send(&[1, 3, 5, 6].map(|saga| action(saga, &confirm(saga)))).await;
    insta::assert_snapshot!(shop.told(4).await, @"
    done null
    done null
    done null
    failed: only 0 of 1 orders are pending and can be confirmed
    ");
    insta::assert_snapshot!(shop.read("order", "SELECT status FROM orders ORDER BY id").await, @"
    confirmed
    confirmed
    confirmed
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_cannot_be_cooked() {
    let mut shop = Shop::open(&["order"]).await;
    shop.ask([action(1, &create(1, &[("book", 1, 100)])), action(1, &confirm(1))]).await;
    let attempts = [
        "UPDATE orders SET status = 'cancelled'",
        "INSERT INTO orders SELECT gen_random_uuid(), saga_id, customer, 'pending', total, lines FROM orders",
        "INSERT INTO orders SELECT gen_random_uuid(), gen_random_uuid(), customer, 'lost', total, lines FROM orders",
        "INSERT INTO orders SELECT gen_random_uuid(), gen_random_uuid(), customer, 'pending', total, '[]' FROM orders",
    ];
    let mut refusals = Vec::new();
    for attempt in attempts {
        refusals.push(shop.refusal("order", attempt).await);
    }
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    order 0190163d-8694-739b-aea5-000000000001 is confirmed: that has no way out
    duplicate key value violates unique constraint "orders_saga_id_key"
    new row for relation "orders" violates check constraint "orders_status_check"
    new row for relation "orders" violates check constraint "orders_lines_check"
    "#);
}
