//! The clock of a simulation: tokio's, which is paused and jumps to whatever is next; its chance follows the seed.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;
use redress_coordinator::ports::Clock;
use tokio::time::Instant;
use uuid::Uuid;

use super::life::Life;

/// Makes the draws of the clock others than those of the weather.
const OTHER_DRAWS: u64 = 0x005e_ed0f_c10c_0000;

/// The clock of a simulation.
#[derive(Clone, Debug)]
pub(super) struct SimulatedClock {
    began: Instant,
    rng: Arc<Mutex<Rng>>,
    ids: Arc<AtomicU64>,
    life: Life,
}

impl SimulatedClock {
    pub(super) fn new(seed: u64) -> Self {
        let rng = Rng::with_seed(seed ^ OTHER_DRAWS);
        Self {
            began: Instant::now(),
            rng: Arc::new(Mutex::new(rng)),
            ids: Arc::default(),
            life: Life::default(),
        }
    }

    /// The same clock, whose pauses never end once this life is over.
    pub(super) fn of(&self, life: &Life) -> Self {
        Self { life: life.clone(), ..self.clone() }
    }
}

impl Clock for SimulatedClock {
    fn monotonic(&self) -> Duration {
        self.began.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
        self.life.go_on().await;
    }

    fn jitter(&self) -> f64 {
        self.rng.lock().expect("nobody panics while drawing").f64()
    }

    fn new_id(&self) -> Uuid {
        Uuid::from_u128(u128::from(self.ids.fetch_add(1, Ordering::Relaxed) + 1))
    }
}
