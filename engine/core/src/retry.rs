//! How often, how long and how soon a command is sent again.
//!
//! A policy limits the attempts, or the time in which they are made, or both: the limit that is reached first counts.
//! The schedule is a pure function of the attempt and of the time that was tried; the jitter is handed in.
//!
//! By default an action is tried for two minutes, so that a participant may be restarted, or its database fail over,
//! without any live saga turning back. How long each kind of trouble is ridden out:
//!
//! | trouble | [action](RetryPolicy::ACTION) | [compensation](RetryPolicy::COMPENSATION) |
//! |---|---|---|
//! | each attempt is answered `failed` | settled after 2 min; 18 to 30 attempts | parked after 20 failures, in 6 to 12 min |
//! | silence, with the default timeout of 10 s | settled after 2 min to 2 min 10 s; 9 or 10 attempts | for ever, at most once a minute |
//! | the broker stores nothing | for ever: what is not stored is no attempt | for ever |
//!
//! **Time that was tried** is a sum, not a difference of two times: of every failed attempt the time until it was
//! answered or its timeout passed, and the pauses behind them. So the limit is that long after the first attempt, but for
//! the time in which nothing was tried: the broker or the journal was away, the saga was paused, no coordinator ran. A
//! clock that steps adds one timeout at the most. The last pause is cut so that the last attempt is made at the limit; no
//! attempt is cut short, and one with a timeout beyond the limit is the only one if it is not answered. The settlement that
//! follows is sent until it is answered, once a minute: a service that is down for an hour sees no thousands of copies.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How long an action is tried by default, in milliseconds: a restart of a participant, or a fail-over of its database,
/// takes one minute.
const ACTION_TRIED_MS_MAX: u64 = 120_000;

/// When to send again, and when to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first included; `None` sets no limit to them. A command that the broker did not store is no
    /// attempt, and of a compensation only those are counted that were answered.
    pub attempts_max: Option<u32>,
    /// How long it is tried, in milliseconds from the first attempt; `None` sets no limit. Of a compensation only the
    /// attempts are counted that were answered, with the pauses behind them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tried_ms_max: Option<u64>,
    /// The pause after the first attempt, in milliseconds; it doubles each time.
    pub backoff_ms: u64,
    /// The longest pause, in milliseconds.
    pub backoff_ms_max: u64,
}

impl RetryPolicy {
    /// Actions: for two minutes, then the outcome is settled.
    pub const ACTION: Self = Self {
        attempts_max: None,
        tried_ms_max: Some(ACTION_TRIED_MS_MAX),
        backoff_ms: 200,
        backoff_ms_max: 10_000,
    };
    /// Compensations: many attempts, since giving up needs an operator. Only answers count: in silence it is sent again
    /// for ever.
    pub const COMPENSATION: Self = Self { attempts_max: Some(20), ..Self::FOR_EVER };
    /// Retriable steps and settlements: for ever, at most once a minute.
    pub const FOR_EVER: Self =
        Self { attempts_max: None, tried_ms_max: None, backoff_ms: 200, backoff_ms_max: 60_000 };

    /// A command whose answer comes later: asked again after some minutes, and then less often up to once an hour, since
    /// only a lost answer makes it necessary. Longer than the broker's deduplication window, because the same attempt
    /// is sent again.
    pub const AWAITING: Self = Self::FOR_EVER.backoff(300_000, 3_600_000);

    /// A command of which the broker did not say that it has stored it: again in a second, and soon after it is back.
    pub const NOT_SENT: Self = Self::FOR_EVER.backoff(1_000, 10_000);
    /// A command that the broker has refused to store, because its stream is full, say: again in a second, and then
    /// less often, since all that waits for one service is refused alike.
    pub const NOT_STORED: Self = Self::FOR_EVER.backoff(1_000, 60_000);

    /// Tries that long from the first attempt, with the pauses of an action, whatever the number of attempts.
    ///
    /// The last attempt is made when `limit` is over. It is counted in whole milliseconds; with none of them the first
    /// attempt is the only one.
    ///
    /// ```
    /// use std::time::Duration;
    /// use redress_core::RetryPolicy;
    ///
    /// let patient = RetryPolicy::for_at_most(Duration::from_secs(900));
    /// assert_eq!(patient.to_string(), "for at most 15 min");
    /// assert_eq!(patient.attempts(9).to_string(), "at most 9 times and for at most 15 min");
    /// ```
    #[must_use]
    pub const fn for_at_most(limit: Duration) -> Self {
        let limit_ms = limit.as_secs().saturating_mul(1_000).saturating_add(limit.subsec_millis() as u64);
        Self { tried_ms_max: Some(limit_ms), ..Self::ACTION }
    }

    /// The same policy with another number of attempts in all (at least 1). A limit in time stays: start from
    /// [`FOR_EVER`](Self::FOR_EVER) if the attempts alone are to count.
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

    /// Returns true if any number of attempts, or any time, brings it to an end.
    pub const fn is_bounded(&self) -> bool {
        self.attempts_max.is_some() || self.tried_ms_max.is_some()
    }

    /// Returns true if no attempt follows after so many, with so many milliseconds tried.
    pub const fn is_used_up(&self, attempts: u32, tried_ms: u64) -> bool {
        let by_attempts = match self.attempts_max {
            Some(max) => attempts >= max,
            None => false,
        };
        by_attempts || self.left_ms(tried_ms) == 0
    }

    /// How long it may be tried yet after so many milliseconds, in milliseconds; [`u64::MAX`] without a limit in time.
    pub const fn left_ms(&self, tried_ms: u64) -> u64 {
        match self.tried_ms_max {
            Some(max) => max.saturating_sub(tried_ms),
            None => u64::MAX,
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

/// The limits, as they follow the word "tried": `for at most 2 min`.
impl fmt::Display for RetryPolicy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.attempts_max, self.tried_ms_max) {
            (None, None) => f.write_str("for ever"),
            (Some(1), _) | (_, Some(0)) => f.write_str("once"),
            (Some(max), None) => write!(f, "at most {max} times"),
            (None, Some(ms)) => write!(f, "for at most {}", in_words(ms)),
            (Some(max), Some(ms)) => write!(f, "at most {max} times and for at most {}", in_words(ms)),
        }
    }
}

/// A time in the largest unit of which it is a whole number: `2 min`, `90 s`.
pub(crate) fn in_words(ms: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(3_600_000, "h"), (60_000, "min"), (1_000, "s")];
    let whole = UNITS.iter().find(|(unit_ms, _)| ms > 0 && ms.is_multiple_of(*unit_ms));
    whole.map_or_else(|| format!("{ms} ms"), |(unit_ms, unit)| format!("{} {unit}", ms / unit_ms))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::ATTEMPT_ROWS_MAX;

    #[test]
    fn retry_pauses_double_up_to_the_ceiling() {
        let pauses: Vec<u64> =
            [1, 2, 3, 6, 7, 1000, u32::MAX].iter().map(|&n| RetryPolicy::ACTION.pause_ms(n, 0.0)).collect();
        assert_eq!(pauses, [200, 400, 800, 6_400, 10_000, 10_000, 10_000]);
        assert_eq!(RetryPolicy::ACTION.pause_ms(1, 1.0), 100);
    }

    #[test]
    fn retry_policy_is_used_up_by_the_limit_that_is_reached_first() {
        let limit = RetryPolicy::for_at_most(Duration::from_secs(2));
        let cases = [
            ("attempts", RetryPolicy::FOR_EVER.attempts(5), [(4, u64::MAX, false), (5, 0, true)]),
            ("time", limit, [(u32::MAX, 1_999, false), (1, 2_000, true)]),
            ("both, attempts first", limit.attempts(3), [(2, 1_999, false), (3, 0, true)]),
            ("both, time first", limit.attempts(3), [(2, 1_999, false), (1, 2_001, true)]),
            ("neither", RetryPolicy::FOR_EVER, [(u32::MAX, u64::MAX, false), (1, 0, false)]),
            ("no attempts", RetryPolicy::ACTION.attempts(0), [(0, 0, false), (1, 0, true)]),
            ("no time", RetryPolicy::for_at_most(Duration::ZERO), [(1, 0, true), (1, 1, true)]),
        ];
        for (name, policy, expected) in cases {
            for (attempts, tried_ms, is_used_up) in expected {
                let said = policy.is_used_up(attempts, tried_ms);
                assert_eq!(said, is_used_up, "{name}: {attempts} attempts in {tried_ms} ms");
            }
        }
        assert_eq!(RetryPolicy::for_at_most(Duration::MAX).tried_ms_max, Some(u64::MAX));
    }

    #[test]
    fn retry_policy_reads_in_durations() {
        let seconds = |s| RetryPolicy::for_at_most(Duration::from_secs(s));
        let words = [
            RetryPolicy::ACTION,
            RetryPolicy::COMPENSATION,
            RetryPolicy::FOR_EVER,
            RetryPolicy::ACTION.attempts(5),
            RetryPolicy::ACTION.attempts(1),
            seconds(7_200),
            seconds(90),
            RetryPolicy::for_at_most(Duration::from_millis(1_500)),
            seconds(0),
        ];
        insta::assert_snapshot!(words.map(|policy| policy.to_string()).join("\n"), @r"
        for at most 2 min
        at most 20 times
        for ever
        at most 5 times and for at most 2 min
        once
        for at most 2 h
        for at most 90 s
        for at most 1500 ms
        once
        ");
    }

    /// Attempts and the time until the last one has failed, in milliseconds, if each lasts so long.
    fn ridden_out(policy: RetryPolicy, lasts_ms: u64, jitter: f64) -> (u32, u64) {
        let (mut attempts, mut tried_ms) = (0, 0);
        loop {
            attempts += 1;
            tried_ms += lasts_ms;
            if policy.is_used_up(attempts, tried_ms) {
                return (attempts, tried_ms);
            }
            tried_ms += policy.pause_ms(attempts, jitter).min(policy.left_ms(tried_ms));
        }
    }

    /// The table at the head of this file.
    #[test]
    fn default_policies_ride_out_what_their_documentation_says() {
        let shown = |policy, lasts_ms| [0.0, 1.0].map(|jitter| ridden_out(policy, lasts_ms, jitter));
        assert_eq!(shown(RetryPolicy::ACTION, 0), [(18, 120_000), (30, 120_000)]);
        assert_eq!(shown(RetryPolicy::ACTION, 10_000), [(9, 122_600), (10, 121_300)]);
        assert_eq!(shown(RetryPolicy::COMPENSATION, 0), [(20, 702_200), (20, 351_100)]);
        let most =
            ridden_out(RetryPolicy::ACTION, 0, 1.0).0.max(ridden_out(RetryPolicy::COMPENSATION, 0, 1.0).0);
        assert!(most <= ATTEMPT_ROWS_MAX, "every attempt of a default policy leaves its rows");
    }
}
