//! Cards: charged once at the provider, found again, declined, given back; the provider's books and the service's agree.

use redress_contracts::{ChargeCard, RefundCard};
use redress_participant::testing::ServiceTest;
use redress_services::card_provider::CardProvider;

use crate::bench::{read, tested};

const GOOD: &str = "4000 0000 0000 1881";
const DECLINED: &str = "4000 0000 0000 0002";
const FIRST_ANSWER_LOST: &str = "4000 0000 0000 0504";
const DOES_NOT_TELL: &str = "4000 0000 0000 7504";

const CHARGES: &str = "SELECT amount || ' ' || currency || ' ' || status FROM charges ORDER BY key";

fn charge(card: &str, amount: i64) -> ChargeCard {
    ChargeCard { card: card.to_owned(), amount, currency: "EUR".to_owned() }
}

/// The provider's books of the saga of this step, and the service's.
async fn books<C: redress_core::Command>(
    test: &ServiceTest,
    step: &redress_participant::testing::TestStep<'_, C>,
) -> String {
    let saga = step.key().saga_id.to_string();
    format!("{}; {}", CardProvider::of_the_demo().told_of(&saga), read(test, CHARGES).await)
}

#[tokio::test(flavor = "multi_thread")]
async fn card_is_charged_once_and_given_back() {
    let test = tested("card").await;
    let step = test.step(charge(GOOD, 3_000));
    let first = step.run().await.unwrap();
    assert!(first.is_done(), "{first}");
    assert_eq!(step.run().await.unwrap(), first, "it came again");
    insta::assert_snapshot!(books(&test, &step).await, @"requests: 1, inquiries: 0, charges: 1, refunds: 0; 3000 EUR charged");
    assert!(step.undo(&RefundCard {}).await.unwrap().is_done());
    insta::assert_snapshot!(books(&test, &step).await, @"requests: 1, inquiries: 0, charges: 1, refunds: 1; 3000 EUR refunded");
}

#[tokio::test(flavor = "multi_thread")]
async fn declined_card_and_senseless_amount_are_rejected() {
    let test = tested("card").await;
    for (command, expected) in [
        (charge(DECLINED, 3_000), "rejected card-declined: the provider declined the card"),
        (charge(GOOD, 0), "rejected invalid-amount: 0 is no amount to charge"),
    ] {
        let step = test.step(command);
        assert_eq!(step.run().await.unwrap().to_string(), expected);
        assert_eq!(books(&test, &step).await, "requests: 0, inquiries: 0, charges: 0, refunds: 0; ");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn charge_that_was_answered_504_is_found_and_given_back() {
    let test = tested("card").await;
    let step = test.step(charge(FIRST_ANSWER_LOST, 3_000));
    insta::assert_snapshot!(step.run().await.unwrap(), @"failed: the card provider answered 504");
    assert!(step.run().await.unwrap().is_done(), "it asks what became of it");
    assert!(step.undo(&RefundCard {}).await.unwrap().is_done());
    insta::assert_snapshot!(books(&test, &step).await, @"requests: 1, inquiries: 1, charges: 1, refunds: 1; 3000 EUR refunded");
}

#[tokio::test(flavor = "multi_thread")]
async fn charge_in_doubt_is_entered_with_its_refund() {
    let test = tested("card").await;
    let step = test.step(charge(DOES_NOT_TELL, 3_000));
    assert!(step.run().await.unwrap().to_string().starts_with("failed: "));
    assert!(step.settle().await.unwrap().to_string().starts_with("in doubt: "));
    assert!(step.undo(&RefundCard {}).await.unwrap().is_done());
    insta::assert_snapshot!(books(&test, &step).await, @"requests: 1, inquiries: 1, charges: 1, refunds: 1; 3000 EUR refunded");
}

#[tokio::test(flavor = "multi_thread")]
async fn process_that_dies_after_its_call_leaves_a_charge_that_is_found() {
    let test = tested("card").await;
    let step = test.step(charge(GOOD, 3_000));
    step.die_after_call().await.unwrap();
    assert_eq!(read(&test, CHARGES).await, "");
    assert!(step.run().await.unwrap().is_done());
    insta::assert_snapshot!(books(&test, &step).await, @"requests: 1, inquiries: 1, charges: 1, refunds: 0; 3000 EUR charged");
    // A settlement that finds nothing cancels the key: the provider never charges for it afterwards.
    let never = test.step(charge(GOOD, 4_000));
    assert_eq!(never.settle().await.unwrap().to_string(), "fenced");
    assert_eq!(never.run().await.unwrap().to_string(), "fenced");
}
