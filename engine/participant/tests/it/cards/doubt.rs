//! Settlements and undos of charges of which nobody knows whether they happened.

use std::time::Duration;

use redress_core::inbox::Retention;
use redress_participant::{Participant, ParticipantConfig, Service};

use super::payments::{Asks, Payments, charge, refund, settle};
use super::provider::{GatewayFault, Keys};
use super::{Shop, again, config};
use crate::fixture::until;

#[tokio::test]
async fn settlement_finds_a_charge_by_inquiry_and_says_never_only_if_it_is_so() {
    let mut shop = Shop::new(Asks::Yes).await;
    let till = shop.serve().await;
    shop.provider.faults(&[GatewayFault::Answers504, GatewayFault::DelaysTheRequest]);
    assert!(shop.ask(charge(1, 30)).await.starts_with("failed: "));
    assert_eq!(shop.ask(settle(1)).await, "done 30");
    assert_eq!(shop.ask(again(&charge(1, 30))).await, "done 30");
    // This one is still on its way when the provider is asked.
    assert!(shop.ask(charge(2, 40)).await.starts_with("failed: "));
    assert_eq!(shop.ask(settle(2)).await, "fenced");
    shop.provider.let_go(1);
    assert_eq!(shop.ask(again(&charge(2, 40))).await, "fenced");
    assert_eq!(shop.ask(refund(2)).await, "done null");
    assert_eq!(shop.books().await, "charged 30");
    assert_eq!(
        shop.fixture.inbox().await,
        ["pay/action/1 done", "pay/action/1 fenced", "pay/compensation/1 done"]
    );
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn settlement_without_an_answer_is_in_doubt_and_the_step_is_undone_either_way() {
    let mut shop = Shop::new(Asks::No).await;
    let till = shop.serve().await;
    for (saga, fault) in [(1, GatewayFault::Answers504), (2, GatewayFault::DropsTheRequest)] {
        shop.provider.faults(&[fault]);
        assert!(shop.ask(charge(saga, 30)).await.starts_with("failed: "));
        let settled = shop.ask(settle(saga)).await;
        insta::allow_duplicates!(
            insta::assert_snapshot!(settled, @"in doubt: a third party was called, and it cannot be asked what became of the call")
        );
    }
    assert_eq!(shop.ask(refund(1)).await, "done 30");
    assert_eq!(shop.ask(refund(2)).await, "done 0");
    // It is never called for again, whatever comes late.
    for late in [charge(1, 30), charge(2, 30)] {
        let told = shop.ask(again(&late)).await;
        insta::allow_duplicates!(
            insta::assert_snapshot!(told, @"in doubt: a third party was called, and what became of the call is not known")
        );
    }
    assert_eq!(shop.books().await, "charged 30, refunded 30");
    assert_eq!(till.count("called_out"), 4);
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn failed_undo_in_doubt_leaves_the_action_as_it_was_until_it_is_prepared() {
    let mut shop = Shop::new(Asks::No).await;
    let till = shop.serve().await;
    shop.provider.faults(&[GatewayFault::Answers504, GatewayFault::Answers504]);
    assert!(shop.ask(charge(1, 30)).await.starts_with("failed: "));
    assert!(shop.ask(refund(1)).await.starts_with("failed: "));
    assert_eq!(shop.fixture.inbox().await, ["pay/action/1 given-up", "pay/compensation/1 prepared"]);
    assert_eq!(shop.ask(again(&refund(1))).await, "done 30");
    assert_eq!(shop.books().await, "charged 30, refunded 30");
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn plain_compensation_learns_that_its_action_is_in_doubt() {
    let mut shop = Shop::new(Asks::No).await;
    let till = shop.serve_as(shop.payments.clone().with_plain_refund(), config()).await;
    shop.provider.faults(&[GatewayFault::Answers504]);
    assert!(shop.ask(charge(1, 30)).await.starts_with("failed: "));
    assert_eq!(shop.ask(charge(2, 40)).await, "done 40");
    assert_eq!(shop.ask(refund(1)).await, "done 30", "what was asked for the action");
    assert_eq!(shop.ask(refund(2)).await, "done 0", "this one is known");
    assert_eq!(shop.ask(again(&refund(1))).await, "done 30");
    let entries: Vec<String> = sqlx::query_scalar("SELECT entry FROM book ORDER BY saga, entry")
        .fetch_all(&shop.fixture.pool)
        .await
        .unwrap();
    assert_eq!(entries, ["to be looked at", "charged", "to be refunded"]);
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn action_whose_undo_is_answered_later_is_never_called_again() {
    let mut shop = Shop::new(Asks::No).await;
    let till = shop.serve_as(shop.payments.clone().with_later_refund(), config()).await;
    shop.provider.faults(&[GatewayFault::DropsTheRequest]);
    assert!(shop.ask(charge(1, 30)).await.starts_with("failed: "));
    assert_eq!(shop.ask(refund(1)).await, "accepted");
    assert!(shop.ask(again(&charge(1, 30))).await.starts_with("in doubt: "));
    assert_eq!(shop.provider.books(), "");
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn service_without_the_handler_that_called_says_never_of_nothing() {
    let mut shop = Shop::new(Asks::Yes).await;
    let till = shop.serve().await;
    shop.provider.faults(&[GatewayFault::DropsTheRequest]);
    assert!(shop.ask(charge(1, 30)).await.starts_with("failed: "));
    shop.fixture.stop(till).await;
    let older = Service::new("till", || None, |it: Participant<Payments>| it, shop.payments.clone());
    let till = shop.serve_as(older, config()).await;
    insta::assert_snapshot!(shop.ask(settle(1)).await, @"in doubt: a third party was called for it, and this version of the service has no handler that can inquire");
    shop.fixture.leave([till]).await;
}

/// As it would be if the time had come at which everything else of that age is forgotten.
#[tokio::test]
async fn prepared_command_is_never_pruned() {
    let mut shop = Shop::new(Asks::Yes).await;
    let day = Duration::from_secs(86_400);
    let config = ParticipantConfig {
        prune_every: Duration::from_millis(50),
        retention: Retention { keep: day, margin: day / 2 },
        ..config()
    };
    let till = shop.serve_as(shop.payments.clone().service(), config).await;
    shop.provider.faults(&[GatewayFault::Answers504]);
    assert!(shop.ask(charge(1, 30)).await.starts_with("failed: "));
    assert_eq!(shop.ask(charge(2, 40)).await, "done 40");
    let ages = sqlx::query("UPDATE inbox SET handled_at = now() - interval '3 days'");
    ages.execute(&shop.fixture.pool).await.unwrap();
    until("the other one is pruned", async || till.count("pruned") == 1).await;
    assert_eq!(shop.fixture.inbox().await, ["pay/action/1 prepared"]);
    assert_eq!(shop.ask(settle(1)).await, "done 30");
    assert_eq!(shop.books().await, "charged 30, charged 40");
    shop.fixture.leave([till]).await;
}

/// What cannot be promised: without keys a charge that is on its way may come after its undo.
#[tokio::test]
async fn provider_that_ignores_keys_may_charge_after_the_undo() {
    let mut shop = Shop::at(Keys::Ignored, Asks::No).await;
    let till = shop.serve().await;
    shop.provider.faults(&[GatewayFault::DelaysTheRequest]);
    assert!(shop.ask(charge(1, 30)).await.starts_with("failed: "));
    assert_eq!(shop.ask(refund(1)).await, "done 0");
    shop.provider.let_go(1);
    until("the charge arrives", async || shop.provider.books() == "charged 30").await;
    assert_eq!(Payments::paid(&shop.fixture.pool).await, 0, "nobody has told the service");
    shop.fixture.leave([till]).await;
}
