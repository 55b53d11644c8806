//! A caller waits at one coordinator for a saga that another one ends: it is told at once, and if the hint is lost, soon.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redress_coordinator::journal::PgJournal;
use redress_coordinator::ports::Clock;
use redress_coordinator::{Engine, SystemClock};
use redress_core::SagaId;
use redress_simulation::memory::MemoryBus;
use redress_wire::Wire;
use uuid::Uuid;

use crate::fixture::{Fixture, PATIENCE, start_with, until};
use crate::party::{How, sell};

/// A clock on which no pause ends, so that nothing is looked for; it counts them.
#[derive(Clone, Debug, Default)]
struct EndlessPauses {
    begun: Arc<AtomicU32>,
}

impl Clock for EndlessPauses {
    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }

    async fn sleep(&self, _: Duration) {
        self.begun.fetch_add(1, Ordering::Relaxed);
        std::future::pending().await
    }

    fn jitter(&self) -> f64 {
        SystemClock.jitter()
    }

    fn new_id(&self) -> Uuid {
        SystemClock.new_id()
    }
}

/// A second connection to the broker.
async fn another_wire(fixture: &Fixture) -> Wire {
    let (topology, config) = (fixture.wire.topology().clone(), fixture.wire.config().clone());
    Wire::connect(&fixture.stack.nats().url(), topology, config).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn caller_is_woken_by_the_hint_of_the_coordinator_that_ended_its_saga() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let (clock, wire) = (EndlessPauses::default(), another_wire(&fixture).await);
    let journal = PgJournal::connect(&fixture.config()).await.unwrap();
    // It takes starts and moves no saga; for want of a look, only a hint can wake its caller.
    let idle = Engine::on(fixture.config(), vec![sell()], journal, wire, clock.clone()).await.unwrap();
    let awaited = idle.start_awaited(start_with("sell", 1, "ship", How::Hold)).await.unwrap();
    let saga = awaited.started.id;
    let ending = async {
        fixture.party.holds(1).await;
        // One pause is of the look and one of the caller: a third one is the caller's, who has read the journal for a
        // hint that was forged, beside one of a saga that is not there, and waits on.
        until("the caller waits again", async || {
            fixture.wire.tell_ended(&[SagaId(Uuid::from_u128(1)), saga]).await;
            (clock.begun.load(Ordering::Relaxed) >= 3).then_some(())
        })
        .await;
        fixture.party.let_go().await;
    };
    let both = async { tokio::join!(awaited.ended(10 * PATIENCE), ending) };
    let (view, ()) = tokio::time::timeout(PATIENCE, both).await.expect("it hears of the end");
    assert_eq!(view.unwrap().unwrap().status, "completed");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn end_whose_hint_is_lost_is_found_by_the_look() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "ship", How::Hold)).await;
    fixture.party.holds(1).await;
    // No hint comes over its bus.
    let (journal, bus) = (PgJournal::connect(&fixture.config()).await.unwrap(), MemoryBus::new(SystemClock));
    let deaf = Engine::on(fixture.config(), vec![sell()], journal, bus, SystemClock).await.unwrap();
    let ending = async {
        until("a caller", async || (deaf.waiting() == 1).then_some(())).await;
        fixture.party.let_go().await;
    };
    let both = async { tokio::join!(deaf.wait_ended(id, 10 * PATIENCE), ending) };
    let (view, ()) = tokio::time::timeout(PATIENCE, both).await.expect("it is found");
    assert_eq!(view.unwrap().unwrap().status, "completed");
    coordinator.stop().await;
}
