//! A coordinator to which no caller turns does nothing, on a clock that counts the pauses.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redress_coordinator::ports::Clock;
use redress_coordinator::{Config, Engine, StartRequest};
use redress_core::Timestamp;
use redress_simulation::memory::{MemoryBus, MemoryJournal};
use redress_testkit::fixtures;
use tokio::time::Instant;
use uuid::Uuid;

/// A clock in tokio's paused time.
#[derive(Clone, Debug)]
struct CountingClock {
    began: Instant,
    pauses: Arc<AtomicU32>,
}

impl CountingClock {
    fn pauses(&self) -> u32 {
        self.pauses.load(Ordering::Relaxed)
    }
}

impl Clock for CountingClock {
    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        self.pauses.fetch_add(1, Ordering::Relaxed);
        tokio::time::sleep(pause).await;
    }

    fn jitter(&self) -> f64 {
        0.5
    }

    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}

#[tokio::test(start_paused = true)]
async fn look_for_ends_elsewhere_rests_until_a_caller_waits() {
    let clock = CountingClock { began: Instant::now(), pauses: Arc::default() };
    let journal = MemoryJournal::new(|| Timestamp::UNIX_EPOCH);
    let (definition, bus) = (fixtures::five_steps(2, 8), MemoryBus::new(clock.clone()));
    let saga = definition.name.to_string();
    let engine = Engine::on(Config::new(""), vec![definition], journal, bus, clock.clone()).await.unwrap();

    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(clock.pauses(), 0, "pauses in an hour without a caller");

    let input = serde_json::json!({});
    let request = StartRequest { saga, input, key: "order-1".to_owned(), ..StartRequest::default() };
    let started = engine.start_request(request).await.unwrap();
    let before = clock.pauses();
    engine.wait_ended(started.id, Duration::from_secs(60)).await.unwrap();
    let looks = clock.pauses() - before;
    assert!((100..=150).contains(&looks), "{looks} looks in the minute of a caller that waits");
}
