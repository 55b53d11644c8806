//! Pauses and time limits of the loops, on the clock that they are given.

use std::time::Duration;

use crate::ports::Clock;

/// The turns of a loop: the first at once, and each a pause after the one before it began, however late that was.
pub(crate) struct Ticks<C> {
    clock: C,
    every: Duration,
    next_at: Duration,
}

impl<C: Clock> Ticks<C> {
    pub(crate) fn new(clock: &C, every: Duration) -> Self {
        Self { clock: clock.clone(), every, next_at: clock.monotonic() }
    }

    /// Waits for the next turn. May be dropped while it waits.
    pub(crate) async fn tick(&mut self) {
        let wait = self.next_at.saturating_sub(self.clock.monotonic());
        if !wait.is_zero() {
            self.clock.sleep(wait).await;
        }
        self.next_at = self.clock.monotonic() + self.every;
    }
}

/// Waits for an answer, but no longer than `limit`; `None` if there is none by then. The caller pins it, so that it is
/// not copied on the way.
pub(crate) async fn within<C: Clock, T>(
    clock: &C,
    limit: Duration,
    answer: impl Future<Output = T> + Unpin,
) -> Option<T> {
    tokio::select! {
        biased;
        answer = answer => Some(answer),
        () = clock.sleep(limit) => None,
    }
}

/// A pause of up to a quarter of a second, so that units of work that met do not meet again.
pub(crate) async fn stagger<C: Clock>(clock: &C) {
    clock.sleep(Duration::from_millis(256).mul_f64(clock.jitter())).await;
}

#[cfg(test)]
mod tests {
    use std::pin::pin;

    use super::*;
    use crate::system_clock::SystemClock;

    #[tokio::test]
    async fn answer_that_is_late_is_not_waited_for() {
        let clock = SystemClock;
        assert_eq!(within(&clock, Duration::from_secs(60), pin!(async { 7 })).await, Some(7));
        let never = std::future::pending::<()>();
        assert_eq!(within(&clock, Duration::from_millis(1), never).await, None);
    }
}
