//! Instances that die around a call, and instances that meet.

use std::future::Future;
use std::time::Duration;

use redress_core::CommandMessage;
use redress_participant::{ParticipantConfig, Service};
use redress_wire::{Wire, WireConfig};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::payments::{Asks, charge, refund, settle};
use super::provider::GatewayFault;
use super::{Shop, config};
use crate::fixture::{Fixture, until};

const PATIENCE: Duration = Duration::from_secs(60);

/// Runs an instance, in a runtime of its own, until then; then it is gone as after SIGKILL.
async fn dies(
    fixture: &Fixture,
    service: Service,
    config: ParticipantConfig,
    then: impl Future<Output = ()>,
) {
    let nats = redress_devstack::shared().await.nats().url();
    let (url, topology) = (fixture.database_url.clone(), fixture.wire.topology().clone());
    let wire = WireConfig { stream_bytes_max: crate::fixture::STREAM_BYTES_MAX, ..WireConfig::for_tests() };
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let life = async move {
        let wire = Wire::connect(&nats, topology, wire).await.unwrap();
        let pool = service.connect(&url, &config).await.unwrap();
        let (_, serving) = service.start(pool, wire, config, CancellationToken::new());
        tokio::spawn(serving);
        ended.await.unwrap();
    };
    let process = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(life);
        runtime.shutdown_background();
    });
    timeout(PATIENCE, then).await.unwrap();
    end.send(()).unwrap();
    tokio::task::spawn_blocking(|| process.join().unwrap()).await.unwrap();
}

/// Patient enough that no limit ends a call before its instance dies.
fn patient() -> ParticipantConfig {
    ParticipantConfig { call_time_max: PATIENCE, ..config() }
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_that_dies_in_a_call_leaves_it_to_another_one() {
    for (asks, fault) in [
        (Asks::Yes, GatewayFault::Delays),
        (Asks::Yes, GatewayFault::DelaysTheRequest),
        (Asks::No, GatewayFault::Delays),
    ] {
        let mut shop = Shop::new(asks).await;
        shop.provider.faults(&[fault]);
        let command = charge(1, 30);
        shop.fixture.send(std::slice::from_ref(&command)).await;
        let held = shop.provider.clone();
        dies(&shop.fixture, shop.payments.clone().service(), patient(), async { held.holds_one().await })
            .await;
        assert_eq!(shop.fixture.inbox().await, ["pay/action/1 prepared"]);
        shop.time_passes().await;
        let till = shop.serve().await;
        // The command itself comes again.
        let reply = shop.fixture.replies(1).await.remove(0);
        assert_eq!(crate::fixture::told(&reply.outcome), "done 30");
        shop.provider.let_go(1);
        assert_eq!(shop.ask(refund(1)).await, "done 30");
        assert_eq!(shop.books().await, "charged 30, refunded 30", "{asks:?} {fault:?}");
        shop.fixture.leave([till]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_that_dies_between_call_and_conclusion_leaves_it_to_another_one() {
    for (asks, inquiries) in [(Asks::Yes, 1), (Asks::No, 0)] {
        let mut shop = Shop::new(asks).await;
        let command = charge(1, 30);
        shop.fixture.send(std::slice::from_ref(&command)).await;
        let dying = shop.payments.clone().concludes_when_told();
        let entered = dying.entered.clone();
        let concludes = async move { entered.acquire().await.unwrap().forget() };
        dies(&shop.fixture, dying.service(), patient(), concludes).await;
        assert_eq!(shop.provider.books(), "charged 30");
        shop.time_passes().await;
        let till = shop.serve().await;
        let reply = shop.fixture.replies(1).await.remove(0);
        assert_eq!(crate::fixture::told(&reply.outcome), "done 30");
        assert_eq!((shop.provider.inquiries(), shop.books().await.as_str()), (inquiries, "charged 30"));
        shop.fixture.leave([till]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_about_an_action_wait_while_a_call_for_it_may_be_under_way() {
    let mut shop = Shop::new(Asks::Yes).await;
    let tills = [
        shop.serve_as(shop.payments.clone().service(), patient()).await,
        shop.serve_as(shop.payments.clone().service(), patient()).await,
    ];
    shop.provider.faults(&[GatewayFault::DelaysTheRequest]);
    shop.fixture.send(&[charge(1, 30)]).await;
    shop.provider.holds_one().await;
    // Sent so often that both instances get some.
    let attempt = |command: CommandMessage, attempt| CommandMessage { attempt, ..command };
    let others: Vec<_> =
        (2..12).flat_map(|it| [attempt(charge(1, 30), it), attempt(settle(1), it)]).collect();
    shop.fixture.send(&others).await;
    until("all of them were put back", async || {
        shop.fixture.wire.stats().redeliveries.load(std::sync::atomic::Ordering::Relaxed) >= 20
    })
    .await;
    assert_eq!(shop.provider.books(), "");
    shop.provider.let_go(1);
    let told = crate::fixture::told_in_order(shop.fixture.replies(21).await);
    assert_eq!(told.lines().filter(|line| *line == "done 30").count(), 21, "{told}");
    assert_eq!((shop.provider.inquiries(), shop.books().await.as_str()), (0, "charged 30"));
    shop.fixture.leave(tills).await;
}

/// Its lease has ended, so another instance may call; the answer of one of them is kept, and it is the same.
#[tokio::test(flavor = "multi_thread")]
async fn conclusion_after_the_end_of_its_lease_is_not_kept() {
    let mut shop = Shop::new(Asks::No).await;
    shop.provider.faults(&[GatewayFault::Delays]);
    let slow = shop.serve_as(shop.payments.clone().service(), patient()).await;
    shop.fixture.send(&[charge(1, 30)]).await;
    shop.provider.holds_one().await;
    shop.time_passes().await;
    shop.provider.let_go(1);
    let reply = shop.fixture.replies(1).await.remove(0);
    assert_eq!(crate::fixture::told(&reply.outcome), "done 30");
    assert_eq!(slow.count("called_out"), 2);
    assert_eq!(shop.books().await, "charged 30");
    shop.fixture.leave([slow]).await;
}
