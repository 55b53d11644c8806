//! How often and how soon a command is sent again.
//!
//! The schedule is a pure function of the attempt; the jitter is handed in. With the default of an action (5
//! attempts, 200 ms doubling) the pauses are about 0.2, 0.4, 0.8 and 1.6 seconds; a service that is down for an
//! hour then sees one settlement a minute and not thousands of copies.

use serde::{Deserialize, Serialize};

/// When to send again, and when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; `None` sends for ever. A command that the broker did not store is no
    /// attempt, and of a compensation only those are counted that were answered.
    pub attempts_max: Option<u32>,
    /// The pause after the first attempt, in milliseconds; it doubles each time.
    pub backoff_ms: u64,
    /// The longest pause, in milliseconds.
    pub backoff_ms_max: u64,
}

impl RetryPolicy {
    /// Actions: a handful of tries, then the outcome is settled.
    pub const ACTION: Self = Self { attempts_max: Some(5), backoff_ms: 200, backoff_ms_max: 10_000 };
    /// Compensations: many more, since giving up needs an operator. Only answers count: in silence it is sent again for
    /// ever.
    pub const COMPENSATION: Self = Self { attempts_max: Some(20), backoff_ms: 200, backoff_ms_max: 60_000 };
    /// Retriable steps and settlements: for ever, at most once a minute.
    pub const FOR_EVER: Self = Self { attempts_max: None, backoff_ms: 200, backoff_ms_max: 60_000 };

    /// A command whose answer comes later: asked again after some minutes, and then less often up to once an hour, since
    /// only a lost answer makes it necessary. Longer than the broker's deduplication window, because the same attempt
    /// is sent again.
    pub const AWAITING: Self = Self { attempts_max: None, backoff_ms: 300_000, backoff_ms_max: 3_600_000 };

    /// A command of which the broker did not say that it has stored it: again in a second, and soon after it is back.
    pub const NOT_SENT: Self = Self { attempts_max: None, backoff_ms: 1_000, backoff_ms_max: 10_000 };
    /// A command that the broker has refused to store, because its stream is full, say: again in a second, and then
    /// less often, since all that waits for one service is refused alike.
    pub const NOT_STORED: Self = Self { attempts_max: None, backoff_ms: 1_000, backoff_ms_max: 60_000 };

    /// The same policy with another number of attempts in all (at least 1).
    #[must_use]
    pub const fn attempts(self, attempts_max: u32) -> Self {
        let attempts_max = if attempts_max == 0 { 1 } else { attempts_max };
        Self { attempts_max: Some(attempts_max), ..self }
    }

    /// The same policy with other pauses, in milliseconds.
    #[must_use]
    pub const fn backoff(self, first_ms: u64, max_ms: u64) -> Self {
        Self { backoff_ms: first_ms, backoff_ms_max: max_ms, ..self }
    }

    /// Returns true if attempt number `attempt` was the last one.
    pub const fn is_used_up(&self, attempt: u32) -> bool {
        match self.attempts_max {
            Some(max) => attempt >= max,
            None => false,
        }
    }

    /// The pause after attempt number `attempt` (from 1), in milliseconds.
    ///
    /// `jitter` in 0.0..=1.0 takes up to half of it away, so that a thousand sagas that failed together do not
    /// come back together.
    pub fn pause_ms(&self, attempt: u32, jitter: f64) -> u64 {
        let doublings = attempt.saturating_sub(1).min(30);
        let full = self.backoff_ms.saturating_mul(1 << doublings).min(self.backoff_ms_max);
        full - (full as f64 * jitter.clamp(0.0, 1.0) / 2.0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn retry_pauses_double_up_to_the_ceiling() {
        let pauses: Vec<u64> =
            [1, 2, 3, 6, 7, 1000, u32::MAX].iter().map(|&n| RetryPolicy::ACTION.pause_ms(n, 0.0)).collect();
        assert_eq!(pauses, [200, 400, 800, 6_400, 10_000, 10_000, 10_000]);
        assert_eq!(RetryPolicy::ACTION.pause_ms(1, 1.0), 100);
    }

    #[test]
    fn bounded_retry_policy_is_used_up_and_unbounded_never() {
        assert!(!RetryPolicy::ACTION.is_used_up(4));
        assert!(RetryPolicy::ACTION.is_used_up(5));
        assert!(!RetryPolicy::FOR_EVER.is_used_up(u32::MAX));
        assert!(RetryPolicy::ACTION.attempts(0).is_used_up(1));
    }
}
