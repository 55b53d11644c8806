//! Answers that get lost, and commands that come again.

use super::payments::{Asks, charge, refund, settle};
use super::provider::{CARD_LIMIT, GatewayFault, Keys};
use super::{Shop, again};
use crate::fixture::command;
use redress_core::Phase;

/// The plain handler of such a call is told `failed`, the saga ends compensated, and the card stays charged.
#[tokio::test]
async fn charge_that_was_answered_504_is_found_by_inquiry() {
    let mut shop = Shop::new(Asks::Yes).await;
    let till = shop.serve().await;
    shop.provider.faults(&[GatewayFault::Answers504]);
    let command = charge(1, 30);
    assert_eq!(shop.ask(command.clone()).await, "failed: the provider answered 504");
    assert_eq!(shop.fixture.inbox().await, ["pay/action/1 prepared"]);
    assert_eq!(shop.ask(again(&command)).await, "done 30");
    assert_eq!(shop.ask(again(&again(&command))).await, "done 30");
    assert_eq!(shop.books().await, "charged 30");
    assert_eq!((till.count("called_out"), till.count("inquired")), (1, 1));
    assert_eq!(shop.ask(refund(1)).await, "done 30");
    assert_eq!(shop.ask(again(&refund(1))).await, "done 30");
    assert_eq!(shop.books().await, "charged 30, refunded 30");
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn no_answer_charges_a_card_twice_where_keys_are_honoured_or_inquiries_answered() {
    for (keys, asks) in [(Keys::Honoured, Asks::Yes), (Keys::Honoured, Asks::No), (Keys::Ignored, Asks::Yes)]
    {
        let mut shop = Shop::at(keys, asks).await;
        let till = shop.serve().await;
        let mut story = String::new();
        let faults = [
            GatewayFault::Answers504,
            GatewayFault::DropsTheAnswer,
            GatewayFault::DropsTheRequest,
            GatewayFault::Delays,
            GatewayFault::DelaysTheRequest,
        ];
        for (saga, fault) in (1..).zip(faults) {
            shop.provider.faults(&[fault]);
            let command = charge(saga, saga as i64);
            let first = shop.ask(command.clone()).await;
            assert!(first.starts_with("failed: "), "{fault:?}: {first}");
            let second = shop.ask(again(&command)).await;
            story.push_str(&format!("{fault:?}: {second}\n"));
        }
        insta::allow_duplicates!(insta::assert_snapshot!(story, @r"
        Answers504: done 1
        DropsTheAnswer: done 2
        DropsTheRequest: done 3
        Delays: done 4
        DelaysTheRequest: done 5
        "));
        assert_eq!(
            shop.books().await,
            "charged 1, charged 2, charged 3, charged 4, charged 5",
            "{keys:?} {asks:?}"
        );
        shop.fixture.leave([till]).await;
    }
}

#[tokio::test]
async fn call_that_is_answered_twice_has_one_answer() {
    let mut shop = Shop::new(Asks::No).await;
    let till = shop.serve().await;
    shop.provider.faults(&[GatewayFault::AnswersTwice, GatewayFault::AnswersTwice]);
    assert_eq!(shop.ask(charge(1, 30)).await, "done 30");
    assert_eq!(shop.ask(charge(2, CARD_LIMIT + 1)).await, "rejected declined: the card was declined");
    assert_eq!(shop.books().await, "charged 30");
    shop.fixture.leave([till]).await;
}

/// What cannot be promised: of a provider that ignores keys and cannot be asked nobody can learn that it has charged,
/// so the card is charged twice. The service's books have one charge, and the difference is found in the provider's only.
#[tokio::test]
async fn provider_that_ignores_keys_and_cannot_be_asked_charges_twice() {
    let mut shop = Shop::at(Keys::Ignored, Asks::No).await;
    let till = shop.serve().await;
    shop.provider.faults(&[GatewayFault::Answers504]);
    let command = charge(1, 30);
    assert!(shop.ask(command.clone()).await.starts_with("failed: "));
    assert_eq!(shop.ask(again(&command)).await, "done 30");
    assert_eq!(shop.provider.books(), "charged 30, charged 30");
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn preparation_may_answer_without_a_call() {
    let mut shop = Shop::new(Asks::Yes).await;
    let till = shop.serve().await;
    assert_eq!(shop.ask(charge(1, 0)).await, "done 0");
    let rejected = shop.ask(charge(2, -1)).await;
    assert_eq!(rejected, "rejected negative: no card is charged less than nothing");
    assert_eq!(shop.ask(charge(3, CARD_LIMIT + 1)).await, "rejected declined: the card was declined");
    let no_charge = command(4, Phase::Action, "charge-card", &"everything");
    let refused = shop.ask(no_charge).await;
    assert!(refused.starts_with("refused: the payload is no `charge-card`: "), "{refused}");
    // Nothing was charged, and so nothing is refunded.
    assert_eq!(shop.ask(refund(3)).await, "done null");
    assert_eq!(shop.books().await, "");
    assert_eq!(till.count("called_out"), 1);
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn call_that_panics_has_failed_and_may_have_happened() {
    let mut shop = Shop::new(Asks::Yes).await;
    let till = shop.serve().await;
    assert_eq!(shop.ask(charge(1, 13)).await, "failed: the call panicked; see the service's log for where");
    assert_eq!(shop.fixture.inbox().await, ["pay/action/1 prepared"]);
    assert_eq!(shop.ask(settle(1)).await, "fenced");
    assert_eq!(shop.books().await, "");
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn commands_that_come_in_one_batch_are_called_each() {
    let mut shop = Shop::new(Asks::Yes).await;
    let commands: Vec<_> = (1..=5).map(|saga| charge(saga, 10)).collect();
    shop.fixture.send(&commands).await;
    let till = shop.serve().await;
    shop.fixture.replies(5).await;
    // Undone and settled together as well.
    let then: Vec<_> = (1..=5).map(refund).chain((6..=8).map(settle)).collect();
    shop.fixture.send(&then).await;
    let told = crate::fixture::told_in_order(shop.fixture.replies(8).await);
    assert_eq!(told, "done 10\ndone 10\ndone 10\ndone 10\ndone 10\nfenced\nfenced\nfenced");
    assert_eq!(
        shop.books().await,
        "charged 10, charged 10, charged 10, charged 10, charged 10, refunded 10, refunded 10, refunded 10, refunded 10, refunded 10"
    );
    shop.fixture.leave([till]).await;
}
