//! The harness for users' own tests plays calls, lost answers and doubt.

use redress_participant::testing::{ServiceTest, ServiceTestError, TestOutcome};

use super::payments::{Asks, ChargeCard, Payments, RefundCard};
use super::provider::{GatewayFault, Keys, Provider};

async fn till(asks: Asks) -> (ServiceTest, Provider) {
    let provider = Provider::start(Keys::Honoured).await;
    let test = ServiceTest::of(Payments::new(&provider, asks).service()).await.unwrap();
    Payments::create_tables(test.pool()).await;
    (test, provider)
}

#[tokio::test]
async fn call_is_repeated_lost_and_settled_without_a_broker() {
    let (test, provider) = till(Asks::Yes).await;
    let step = test.step(ChargeCard { amount: 30 });
    assert_eq!(step.run().await.unwrap(), TestOutcome::Done(30));
    assert_eq!(step.run().await.unwrap(), TestOutcome::Done(30));
    assert!(matches!(step.die_after_call().await, Err(ServiceTestError::NotCalled { .. })));
    assert_eq!(step.undo(&RefundCard {}).await.unwrap(), TestOutcome::Done(()));

    let lost = test.step(ChargeCard { amount: 40 });
    lost.die_after_call().await.unwrap();
    assert_eq!(lost.settle().await.unwrap(), TestOutcome::Done(40));
    lost.die_after_call_of_undo(&RefundCard {}).await.unwrap();
    assert_eq!(lost.undo(&RefundCard {}).await.unwrap(), TestOutcome::Done(()));
    assert_eq!(provider.books(), "charged 30, charged 40, refunded 30, refunded 40");
    assert_eq!(Payments::paid(test.pool()).await, 0);
}

#[tokio::test]
async fn doubt_is_settled_and_undone_without_a_broker() {
    let (test, provider) = till(Asks::No).await;
    let step = test.step(ChargeCard { amount: 30 });
    step.die_after_call().await.unwrap();
    assert!(matches!(step.settle().await.unwrap(), TestOutcome::InDoubt(_)));
    assert_eq!(step.undo(&RefundCard {}).await.unwrap(), TestOutcome::Done(()));
    assert!(matches!(step.run().await.unwrap(), TestOutcome::InDoubt(_)), "it is never called again");
    assert_eq!(provider.books(), "charged 30, refunded 30");
    assert_eq!(Payments::paid(test.pool()).await, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_call_and_undo_agree() {
    let (test, provider) = till(Asks::Yes).await;
    for amount in 1..=5 {
        provider.faults(&[GatewayFault::Answers504]);
        let step = test.step(ChargeCard { amount });
        let (_, mut undo) = step.race(&RefundCard {}).await.unwrap();
        // It is sent until it is done.
        while undo != TestOutcome::Done(()) {
            assert!(matches!(undo, TestOutcome::Failed(_)), "{undo}");
            undo = step.undo(&RefundCard {}).await.unwrap();
        }
        assert_eq!(provider.paid(), 0, "{}", provider.books());
    }
    assert_eq!(Payments::paid(test.pool()).await, 0);
}
