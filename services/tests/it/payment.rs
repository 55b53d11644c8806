//! Money: charged and given back, refused, shared out fairly, and never changed afterwards.

use redress_contracts::{ChargePayment, RefundPayment};
use redress_core::Outcome;

use crate::shop::{Shop, action, id, undo};

const ACCOUNTS: &str = "SELECT a.customer || ' ' || coalesce(a.balance::text, '-') || ' / ' || sum(l.amount) \
    FROM accounts a JOIN ledger l ON l.account = a.customer GROUP BY a.customer ORDER BY a.customer";
const POSTINGS: &str = "SELECT substr(key, 38) || ' ' || account || ' ' || amount FROM ledger \
    WHERE key NOT LIKE 'opening/%' ORDER BY key DESC, account";
const PAYMENTS: &str = "SELECT customer || ' ' || amount || ' ' || status FROM payments ORDER BY id";

fn charge(payment: u128, customer: &str, amount: i64) -> ChargePayment {
    ChargePayment { payment: id(payment), customer: customer.to_owned(), amount, currency: "EUR".to_owned() }
}

fn refund(payment: u128) -> RefundPayment {
    RefundPayment { payment: id(payment) }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_has_two_legs_and_a_refund_the_opposite_ones() {
    let mut shop = Shop::open(&["payment"]).await;
    insta::assert_snapshot!(shop.ask([action(1, &charge(1, "alice", 3_000))]).await, @r#"charge done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000001"}"#);
    insta::assert_snapshot!(shop.read("payment", ACCOUNTS).await, @"
    alice 999999997000 / 999999997000
    bob 500 / 500
    house - / -999999997500
    ");
    insta::assert_snapshot!(shop.ask([undo(1, "charge", &refund(1))]).await, @"charge done null");
    insta::assert_snapshot!(shop.read("payment", ACCOUNTS).await, @"
    alice 1000000000000 / 1000000000000
    bob 500 / 500
    house - / -1000000000500
    ");
    insta::assert_snapshot!(shop.read("payment", POSTINGS).await, @"
    charge/compensation/1 alice 3000
    charge/compensation/1 house -3000
    charge/action/1 alice -3000
    charge/action/1 house 3000
    ");
    insta::assert_snapshot!(shop.read("payment", PAYMENTS).await, @"alice 3000 refunded");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_charge_that_makes_no_sense_is_rejected_and_leaves_nothing() {
    let mut shop = Shop::open(&["payment"]).await;
    let in_dollars = ChargePayment { currency: "USD".to_owned(), ..charge(7, "alice", 1) };
    let answers = shop
        .ask([
            action(1, &charge(1, "mallory", 1)),
            action(2, &charge(2, "house", 1)),
            action(3, &charge(3, "alice", 0)),
            action(4, &charge(4, "alice", i64::MIN)),
            action(5, &charge(5, "alice", i64::MAX)),
            action(6, &charge(6, "bob", 501)),
            action(7, &in_dollars),
        ])
        .await;
    insta::assert_snapshot!(answers, @"
    charge rejected unknown-account: `mallory` has no account
    charge rejected unknown-account: `house` has no account
    charge rejected invalid-amount: 0 is no amount to charge
    charge rejected invalid-amount: -9223372036854775808 is no amount to charge
    charge rejected insufficient-funds: 9223371036854775807 minor units short of 9223372036854775807 EUR
    charge rejected insufficient-funds: 1 minor units short of 501 EUR
    charge rejected currency-mismatch: the account is in EUR, not in USD
    ");
    assert_eq!(shop.read("payment", POSTINGS).await, "");
    assert_eq!(shop.read("payment", PAYMENTS).await, "");
    // What was rejected has nothing to undo.
    insta::assert_snapshot!(shop.ask([undo(6, "charge", &refund(6))]).await, @"charge done null");
    assert_eq!(shop.read("payment", POSTINGS).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_to_come_get_the_money() {
    let mut shop = Shop::closed(&["payment"]).await;
    let charges: Vec<_> = (1..=5).map(|number| action(number, &charge(number, "bob", 200))).collect();
    shop.send(&charges).await;
    shop.serve().await;
    insta::assert_snapshot!(shop.told(5).await, @r#"
    done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000001"}
    done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000002"}
    rejected insufficient-funds: 100 minor units short of 200 EUR
    rejected insufficient-funds: 100 minor units short of 200 EUR
    rejected insufficient-funds: 100 minor units short of 200 EUR
    "#);
    insta::assert_snapshot!(shop.read("payment", PAYMENTS).await, @"
    bob 200 charged
    bob 200 charged
    ");
    insta::assert_snapshot!(shop.read("payment", ACCOUNTS).await, @"
    alice 1000000000000 / 1000000000000
    bob 100 / 100
    house - / -1000000000100
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_id_of_another_saga_is_rejected_also_within_a_set() {
    let mut shop = Shop::closed(&["payment"]).await;
    // 2 takes the id of 1; 3 is right.
    let charges =
        [(1, 1), (2, 1), (3, 3)].map(|(saga, payment)| action(saga, &charge(payment, "alice", 100)));
    shop.send(&charges).await;
    shop.serve().await;
    insta::assert_snapshot!(shop.told(3).await, @r#"
    done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000001"}
    rejected payment-exists: payment 0190163d-8694-739b-aea5-000000000001 belongs to another saga
    done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000003"}
    "#);
    // Its undo does not touch what is another saga's.
    insta::assert_snapshot!(shop.ask([undo(2, "charge", &refund(1))]).await, @"charge done null");
    insta::assert_snapshot!(shop.read("payment", PAYMENTS).await, @"
    alice 100 charged
    alice 100 charged
    ");
    insta::assert_snapshot!(shop.read("payment", ACCOUNTS).await, @"
    alice 999999999800 / 999999999800
    bob 500 / 500
    house - / -1000000000300
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn two_instances_never_wait_for_each_other_in_a_circle() {
    let mut shop = Shop::closed(&["payment"]).await;
    // Every set has both accounts, in either order.
    let customer = |number: u128| if (number / 3).is_multiple_of(2) { "alice" } else { "bob" };
    let charges: Vec<_> =
        (1..=1_000).map(|number| action(number, &charge(number, customer(number), 1))).collect();
    shop.serve().await;
    shop.serve().await;
    shop.send(&charges).await;
    let outcomes = shop.outcomes(1_000).await;
    let done = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::Done { .. })).count();
    assert_eq!(done, 1_000, "bob has just enough for his share");
    assert_eq!(shop.batch_retries(), 0, "no batch had to be run again");
    insta::assert_snapshot!(shop.read("payment", ACCOUNTS).await, @"
    alice 999999999500 / 999999999500
    bob 0 / 0
    house - / -999999999500
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_books_cannot_be_cooked() {
    let mut shop = Shop::open(&["payment"]).await;
    shop.ask([action(1, &charge(1, "alice", 3_000)), undo(1, "charge", &refund(1))]).await;
    let attempts = [
        "UPDATE ledger SET amount = 0",
        "DELETE FROM ledger",
        "TRUNCATE ledger",
        "UPDATE payments SET status = 'charged'",
        "UPDATE accounts SET balance = -1 WHERE customer = 'bob'",
        "UPDATE accounts SET balance = 0 WHERE customer = 'house'",
        "INSERT INTO payments SELECT gen_random_uuid(), saga_id, 'bob', 1, 'charged' FROM payments",
        "INSERT INTO ledger SELECT key, account, amount FROM ledger",
    ];
    let mut refusals = Vec::new();
    for attempt in attempts {
        refusals.push(shop.refusal("payment", attempt).await);
    }
    insta::assert_snapshot!(refusals.join("\n"), @r#"
    the ledger is append-only: post the opposite instead
    the ledger is append-only: post the opposite instead
    the ledger is append-only: post the opposite instead
    payment 0190163d-8694-739b-aea5-000000000001 is refunded: that has no way out
    new row for relation "accounts" violates check constraint "accounts_balance_check"
    new row for relation "accounts" violates check constraint "accounts_check"
    duplicate key value violates unique constraint "payments_saga_id_key"
    duplicate key value violates unique constraint "ledger_pkey"
    "#);
}
