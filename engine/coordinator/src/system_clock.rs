//! The clock of the machine: monotonic, with its own chance.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use uuid::Uuid;

use crate::ports::Clock;

/// The moment from which all of them count.
static BEGAN: LazyLock<Instant> = LazyLock::new(Instant::now);

/// The clock of the machine: monotonic, with its own chance. Pauses are those of tokio.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn monotonic(&self) -> Duration {
        BEGAN.elapsed()
    }

    async fn sleep(&self, pause: Duration) {
        tokio::time::sleep(pause).await;
    }

    fn jitter(&self) -> f64 {
        rand::random()
    }

    fn new_id(&self) -> Uuid {
        Uuid::now_v7()
    }
}
