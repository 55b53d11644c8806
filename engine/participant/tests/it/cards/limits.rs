//! Calls are bounded, and hold nothing of the database.

use std::num::NonZeroU32;
use std::time::{Duration, Instant};

use redress_participant::{CommandLimits, Participant, Service};

use super::payments::{Asks, ChargeCard, Payments, charge};
use super::provider::GatewayFault;
use super::{Shop, config};
use crate::fixture::until;

fn limited(payments: Payments, limits: CommandLimits) -> Service {
    let register = move |it: Participant<Payments>| it.call_out::<ChargeCard>().limits::<ChargeCard>(limits);
    Service::new("till", || None, register, payments)
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_bounded_and_hold_no_transaction() {
    let mut shop = Shop::new(Asks::Yes).await;
    let limits = CommandLimits {
        concurrency: Some(2),
        call_time_max: Some(Duration::from_secs(60)),
        ..CommandLimits::default()
    };
    let till = shop.serve_as(limited(shop.payments.clone(), limits), config()).await;
    shop.provider.faults(&[GatewayFault::Delays; 6]);
    let commands: Vec<_> = (1..=6).map(|saga| charge(saga, 10)).collect();
    shop.fixture.send(&commands).await;
    for _ in 0..2 {
        shop.provider.holds_one().await;
    }
    until("no transaction is open during the calls", async || {
        let open = sqlx::query_scalar::<_, i64>(
            "SELECT count(*) FROM pg_stat_activity \
             WHERE datname = current_database() AND xact_start IS NOT NULL AND pid <> pg_backend_pid()",
        );
        open.fetch_one(&shop.fixture.pool).await.unwrap() == 0
    })
    .await;
    shop.provider.let_go(6);
    shop.fixture.replies(6).await;
    assert_eq!(shop.provider.most_at_once(), 2);
    assert_eq!(shop.provider.paid(), 60);
    shop.fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_paced() {
    let mut shop = Shop::new(Asks::Yes).await;
    let limits = CommandLimits { calls_per_s: NonZeroU32::new(10), ..CommandLimits::default() };
    let till = shop.serve_as(limited(shop.payments.clone(), limits), config()).await;
    let commands: Vec<_> = (1..=6).map(|saga| charge(saga, 10)).collect();
    let begun = Instant::now();
    shop.fixture.send(&commands).await;
    shop.fixture.replies(6).await;
    let took = begun.elapsed();
    assert!(took >= Duration::from_millis(500), "six calls at ten in a second took {took:?}");
    assert_eq!(shop.books().await, "charged 10, charged 10, charged 10, charged 10, charged 10, charged 10");
    shop.fixture.leave([till]).await;
}
