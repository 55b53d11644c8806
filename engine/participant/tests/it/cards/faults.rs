//! Injected failures of calls: the books agree in the end, whichever it was, and no card is charged twice.

use redress_core::CommandMessage;
use redress_core::fault::FaultKind;
use redress_participant::{FaultMode, ParticipantConfig};

use super::payments::{Asks, charge, refund, settle};
use super::{Shop, again, config};
use crate::fixture::Instance;

const KINDS: [FaultKind; 4] =
    [FaultKind::CallLost, FaultKind::CallLate, FaultKind::CallTwice, FaultKind::CallFailed];

async fn obedient(shop: &Shop) -> Instance {
    let config = ParticipantConfig { faults: FaultMode::Abandon, ..config() };
    shop.serve_as(shop.payments.clone().service(), config).await
}

fn with(fault: &FaultKind, command: CommandMessage) -> CommandMessage {
    CommandMessage { fault: Some(fault.clone()), ..command }
}

/// The first attempt at the charge and the first one at its refund meet with the fault; the second ones do not.
#[tokio::test]
async fn injected_failure_of_a_call_leaves_books_that_agree() {
    for (asks, inquired) in [(Asks::Yes, "6"), (Asks::No, "6")] {
        let mut shop = Shop::new(asks).await;
        let till = obedient(&shop).await;
        let mut story = String::new();
        for (saga, fault) in (1..).zip(&KINDS) {
            let (charging, undoing) = (charge(saga, saga as i64), refund(saga));
            let mut told = vec![shop.ask(with(fault, charging.clone())).await];
            let charged = format!("{} charged", shop.provider.paid());
            told.push(shop.ask(again(&charging)).await);
            told.push(shop.ask(with(fault, undoing.clone())).await);
            told.push(shop.ask(again(&undoing)).await);
            assert_eq!(shop.provider.paid(), 0, "{fault:?}: all is refunded");
            story.push_str(&format!("{fault}: {}, {charged}\n", told.join(", ")));
        }
        insta::allow_duplicates!(insta::assert_snapshot!(story, @"
        call-lost: failed: the call did not end within 600ms; have it give up earlier, or raise `call_time_max`, done 1, failed: the call did not end within 600ms; have it give up earlier, or raise `call_time_max`, done 1, 0 charged
        call-late: failed: the call did not end within 600ms; have it give up earlier, or raise `call_time_max`, done 2, failed: the call did not end within 600ms; have it give up earlier, or raise `call_time_max`, done 2, 2 charged
        call-twice: done 3, done 3, done 3, done 3, 3 charged
        call-failed: failed: injected failure: the third party was called, and its answer is thrown away, done 4, failed: injected failure: the third party was called, and its answer is thrown away, done 4, 4 charged
        "));
        let books = shop.books().await;
        insta::allow_duplicates!(
            insta::assert_snapshot!(books, @"charged 1, charged 2, charged 3, charged 4, refunded 1, refunded 2, refunded 3, refunded 4")
        );
        assert_eq!(till.count("injected"), 8);
        assert_eq!(till.count("inquired").to_string(), inquired);
        shop.fixture.leave([till]).await;
    }
}

/// A settlement calls nobody: it asks, and finds what the injected failure has left.
#[tokio::test]
async fn settlement_finds_what_an_injected_failure_has_left() {
    let mut shop = Shop::new(Asks::Yes).await;
    let till = obedient(&shop).await;
    let mut story = String::new();
    for (saga, fault) in (1..).zip(&KINDS) {
        shop.ask(with(fault, charge(saga, saga as i64))).await;
        let settled = shop.ask(with(fault, settle(saga))).await;
        story.push_str(&format!("{fault}: {settled}\n"));
    }
    insta::assert_snapshot!(story, @r"
    call-lost: fenced
    call-late: done 2
    call-twice: done 3
    call-failed: done 4
    ");
    assert_eq!(shop.books().await, "charged 2, charged 3, charged 4");
    shop.fixture.leave([till]).await;
}

#[tokio::test]
async fn call_faults_are_ignored_unless_configured() {
    let mut shop = Shop::new(Asks::Yes).await;
    let till = shop.serve().await;
    for (saga, fault) in (1..).zip(&KINDS) {
        assert_eq!(shop.ask(with(fault, charge(saga, 10))).await, "done 10", "{fault:?}");
    }
    assert_eq!((till.count("called_out"), till.count("injected")), (4, 0));
    shop.fixture.leave([till]).await;
}
