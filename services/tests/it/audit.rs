//! The auditor: silent on honest books, and with a sentence for each kind of wrong.

use std::collections::BTreeMap;

use redress_contracts::{
    CancelOrder, ChargePayment, ConfirmOrder, CreateOrder, OrderLine, RefundPayment, ReleaseInventory,
    ReserveInventory, ShipOrder, StockLine,
};
use redress_services::audit::{Books, check};
use uuid::Uuid;

use crate::bench::id;
use crate::shop::{Shop, action, undo};

const SERVICES: [&str; 4] = ["order", "payment", "inventory", "shipping"];

/// Three sagas as a coordinator leaves them: one completed, one undone after the last step, one undone at once.
async fn three_sagas() -> (Shop, Books, BTreeMap<Uuid, String>) {
    let mut shop = Shop::open(&SERVICES).await;
    for saga in [1, 2] {
        let id = id(saga);
        let lines = vec![OrderLine { sku: "book".to_owned(), quantity: 2, unit_price: 1_500 }];
        let stock = vec![StockLine { sku: "book".to_owned(), quantity: 2 }];
        let (customer, currency) = ("alice".to_owned(), "EUR".to_owned());
        shop.ask([
            action(saga, &CreateOrder { order: id, customer: customer.clone(), lines }),
            action(saga, &ChargePayment { payment: id, customer, amount: 3_000, currency }),
            action(saga, &ReserveInventory { reservation: id, lines: stock }),
        ])
        .await;
    }
    let address = "1 Harbour Street, Reykjavik".to_owned();
    let empty = CreateOrder { order: id(3), customer: "alice".to_owned(), lines: Vec::new() };
    shop.ask([
        action(1, &ShipOrder { shipment: id(1), address }),
        action(1, &ConfirmOrder { order: id(1) }),
        undo(2, "reserve", &ReleaseInventory { reservation: id(2) }),
        undo(2, "charge", &RefundPayment { payment: id(2) }),
        undo(2, "create", &CancelOrder { order: id(2) }),
        action(3, &empty),
        // Sent and lost, then undone: the fence came first.
        undo(3, "charge", &RefundPayment { payment: id(3) }),
    ])
    .await;
    let [order, payment, inventory, shipping] = SERVICES.map(|service| shop.pools[service].clone());
    let ended = [(1, "completed"), (2, "compensated"), (3, "compensated")];
    let ended = ended.map(|(saga, end)| (id(saga), end.to_owned())).into();
    (shop, Books { order, payment, inventory, shipping }, ended)
}

#[tokio::test(flavor = "multi_thread")]
async fn honest_books_agree() {
    let (_shop, books, ended) = three_sagas().await;
    assert_eq!(check(&books, &ended).await.unwrap(), Vec::<String>::new());
}

/// The books of a closed saga must add up as any others, whichever of its effects stand.
#[tokio::test(flavor = "multi_thread")]
async fn closed_saga_may_keep_any_effects_and_must_add_up() {
    let (shop, books, mut ended) = three_sagas().await;
    for saga in [1, 2, 3] {
        ended.insert(id(saga), "closed".to_owned());
    }
    assert_eq!(check(&books, &ended).await.unwrap(), Vec::<String>::new());
    let forgery = "UPDATE reservation_lines SET quantity = 3 WHERE reservation = (SELECT id FROM reservations \
                   WHERE status = 'held')";
    sqlx::raw_sql(forgery).execute(&shop.pools["inventory"]).await.unwrap();
    insta::assert_snapshot!(check(&books, &ended).await.unwrap().join("\n"), @r#"
    stock of book has 2 reserved, its reservations say 3
    saga 0190163d-8694-739b-aea5-000000000001 ordered Some("book 2") and reserved Some("book 3")
    "#);
}

#[tokio::test(flavor = "multi_thread")]
async fn end_that_contradicts_the_books_is_found() {
    let (_shop, books, mut ended) = three_sagas().await;
    ended.insert(id(1), "compensated".to_owned());
    ended.insert(id(2), "completed".to_owned());
    ended.insert(id(3), "parked".to_owned());
    ended.insert(id(4), "completed".to_owned());
    insta::assert_snapshot!(check(&books, &ended).await.unwrap().join("\n"), @"
    saga 0190163d-8694-739b-aea5-000000000001 ended compensated, but order confirmed, payment charged, reservation held, shipment shipped
    saga 0190163d-8694-739b-aea5-000000000002 ended completed, but order cancelled, payment refunded, reservation released, shipment none
    saga 0190163d-8694-739b-aea5-000000000003 ended parked, but order none, payment none, reservation none, shipment none
    saga 0190163d-8694-739b-aea5-000000000004 ended completed, but order none, payment none, reservation none, shipment none
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_forgery_is_found() {
    let (shop, books, ended) = three_sagas().await;
    // Changes that the triggers and CHECKs let through, or would if they were gone.
    let forgeries = [
        ("payment", "UPDATE accounts SET balance = balance - 1 WHERE customer = 'alice'"),
        ("payment", "INSERT INTO ledger (key, account, amount) VALUES ('x/charge/action/1', 'bob', -7)"),
        (
            "payment",
            "SET session_replication_role = replica; UPDATE payments SET amount = 1 WHERE status = 'charged'; \
                     DELETE FROM ledger WHERE key LIKE '%/compensation/%'; RESET session_replication_role",
        ),
        (
            "inventory",
            "UPDATE stock SET available = available - 1, reserved = reserved + 1 WHERE sku = 'book'",
        ),
        ("inventory", "UPDATE reservation_lines SET quantity = 3"),
        ("order", "DELETE FROM orders WHERE status = 'cancelled'"),
        ("shipping", "DELETE FROM shipments"),
        ("payment", "DELETE FROM inbox WHERE outcome = 'fenced'"),
        ("order", "INSERT INTO inbox (key) VALUES ('y/create/action/1')"),
    ];
    for (service, sql) in forgeries {
        sqlx::raw_sql(sql).execute(&shop.pools[service]).await.unwrap();
    }
    insta::assert_snapshot!(check(&books, &ended).await.unwrap().join("\n"), @r#"
    posting x/charge/action/1 does not sum to zero
    account bob holds 500, its ledger says 493
    account alice holds 999999996999, its ledger says 999999994000
    payment 0190163d-8694-739b-aea5-000000000002 is refunded, but its saga posted -3000
    payment 0190163d-8694-739b-aea5-000000000001 is charged, but its saga posted -3000
    posting x/charge/action/1 belongs to no payment
    the inbox says that 0190163d-8694-739b-aea5-000000000002/charge/compensation/1 is done, but nothing was posted
    the claim y/create/action/1 was committed without an answer
    the inbox says that 0190163d-8694-739b-aea5-000000000002/create/action/1 is done, but its effect is missing
    the undo 0190163d-8694-739b-aea5-000000000003/charge/compensation/1 has left no fence
    the inbox says that 0190163d-8694-739b-aea5-000000000001/ship/action/1 is done, but its effect is missing
    saga 0190163d-8694-739b-aea5-000000000001 ended completed, but order confirmed, payment charged, reservation held, shipment none
    saga 0190163d-8694-739b-aea5-000000000001 ordered for Some(3000) and paid Some(1)
    saga 0190163d-8694-739b-aea5-000000000001 ordered Some("book 2") and reserved Some("book 3")
    "#);
}
