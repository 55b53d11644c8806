//! Money: charged and given back, refused, shared out fairly, and never changed afterwards.

use redress_contracts::{ChargePayment, RefundPayment};
use redress_core::Outcome;
use redress_participant::testing::TestOutcome;

use crate::bench::{id, lines, read, refusals, tested};
use crate::shop::{Shop, action};

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
async fn charge_has_two_legs_and_refund_the_opposite_ones() {
    let test = tested("payment").await;
    let step = test.step(charge(1, "alice", 3_000));
    insta::assert_snapshot!(step.run().await.unwrap(), @r#"done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000001"}"#);
    insta::assert_snapshot!(read(&test, ACCOUNTS).await, @"
    alice 999999997000 / 999999997000
    bob 500 / 500
    house - / -999999997500
    ");
    assert_eq!(step.undo(&refund(1)).await.unwrap(), TestOutcome::Done(()));
    insta::assert_snapshot!(read(&test, ACCOUNTS).await, @"
    alice 1000000000000 / 1000000000000
    bob 500 / 500
    house - / -1000000000500
    ");
    insta::assert_snapshot!(read(&test, POSTINGS).await, @"
    charge/compensation/1 alice 3000
    charge/compensation/1 house -3000
    charge/action/1 alice -3000
    charge/action/1 house 3000
    ");
    insta::assert_snapshot!(read(&test, PAYMENTS).await, @"alice 3000 refunded");
}

#[tokio::test(flavor = "multi_thread")]
async fn senseless_charge_is_rejected_and_leaves_nothing() {
    let test = tested("payment").await;
    let in_dollars = ChargePayment { currency: "USD".to_owned(), ..charge(7, "alice", 1) };
    let too_much = test.step(charge(6, "bob", 501));
    let outcomes = [
        test.run(charge(1, "mallory", 1)).await.unwrap(),
        test.run(charge(2, "house", 1)).await.unwrap(),
        test.run(charge(3, "alice", 0)).await.unwrap(),
        test.run(charge(4, "alice", i64::MIN)).await.unwrap(),
        test.run(charge(5, "alice", i64::MAX)).await.unwrap(),
        too_much.run().await.unwrap(),
        test.run(in_dollars).await.unwrap(),
    ];
    insta::assert_snapshot!(lines(&outcomes), @"
    rejected unknown-account: `mallory` has no account
    rejected unknown-account: `house` has no account
    rejected invalid-amount: 0 is no amount to charge
    rejected invalid-amount: -9223372036854775808 is no amount to charge
    rejected insufficient-funds: 9223371036854775807 minor units short of 9223372036854775807 EUR
    rejected insufficient-funds: 1 minor units short of 501 EUR
    rejected currency-mismatch: the account is in EUR, not in USD
    ");
    assert_eq!(read(&test, POSTINGS).await, "");
    assert_eq!(read(&test, PAYMENTS).await, "");
    // A rejected charge has nothing to undo.
    assert_eq!(too_much.undo(&refund(6)).await.unwrap(), TestOutcome::Done(()));
    assert_eq!(read(&test, POSTINGS).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn charge_and_its_refund_at_once_leave_the_account_as_it_was() {
    let test = tested("payment").await;
    for payment in 1..=10 {
        let (charged, refunded) =
            test.step(charge(payment, "bob", 100)).race(&refund(payment)).await.unwrap();
        assert!(matches!(charged, TestOutcome::Done(_) | TestOutcome::Fenced), "{charged}");
        assert_eq!(refunded, TestOutcome::Done(()));
    }
    insta::assert_snapshot!(read(&test, ACCOUNTS).await, @"
    alice 1000000000000 / 1000000000000
    bob 500 / 500
    house - / -1000000000500
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn charges_that_come_first_get_the_money() {
    let test = tested("payment").await;
    let charges = [1, 2, 3, 4, 5].map(|number| test.step(charge(number, "bob", 200)));
    insta::assert_snapshot!(lines(&test.run_together(&charges).await.unwrap()), @r#"
    done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000001"}
    done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000002"}
    rejected insufficient-funds: 100 minor units short of 200 EUR
    rejected insufficient-funds: 100 minor units short of 200 EUR
    rejected insufficient-funds: 100 minor units short of 200 EUR
    "#);
    insta::assert_snapshot!(read(&test, PAYMENTS).await, @"
    bob 200 charged
    bob 200 charged
    ");
    insta::assert_snapshot!(read(&test, ACCOUNTS).await, @"
    alice 1000000000000 / 1000000000000
    bob 100 / 100
    house - / -1000000000100
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn id_of_another_saga_is_rejected_also_within_a_set() {
    let test = tested("payment").await;
    // The second takes the id of the first; the third is right.
    let charges = [1, 1, 3].map(|payment| test.step(charge(payment, "alice", 100)));
    insta::assert_snapshot!(lines(&test.run_together(&charges).await.unwrap()), @r#"
    done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000001"}
    rejected payment-exists: payment 0190163d-8694-739b-aea5-000000000001 belongs to another saga
    done {"receipt":"receipt-0190163d-8694-739b-aea5-000000000003"}
    "#);
    // Its undo does not touch the payment of another saga.
    assert_eq!(charges[1].undo(&refund(1)).await.unwrap(), TestOutcome::Done(()));
    insta::assert_snapshot!(read(&test, PAYMENTS).await, @"
    alice 100 charged
    alice 100 charged
    ");
    insta::assert_snapshot!(read(&test, ACCOUNTS).await, @"
    alice 999999999800 / 999999999800
    bob 500 / 500
    house - / -1000000000300
    ");
}

#[tokio::test(flavor = "multi_thread")]
async fn charges_at_two_instances_never_deadlock() {
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
async fn forged_books_are_refused_by_the_database() {
    let test = tested("payment").await;
    let step = test.step(charge(1, "alice", 3_000));
    step.run().await.unwrap();
    step.undo(&refund(1)).await.unwrap();
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
    insta::assert_snapshot!(refusals(&test, &attempts).await, @r#"
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
