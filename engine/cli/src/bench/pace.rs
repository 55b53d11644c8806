//! The pace of a bench: when each saga is to be started, and from when on its latency is measured. Pure.
//!
//! - **Open loop**: sagas have a timetable, by a rate, whatever becomes of those before. A latency is measured from the
//!   time at which its saga *was to be* started: if the bench itself is late, since all places are taken or its client is
//!   slow, that is a wait that a user would have had, and it counts. Measured from the real start it would be left out
//!   just when the engine is slow (coordinated omission).
//! - **Closed loop**: a saga is started when another one has ended. No saga was to be started at any other time, so there
//!   is nothing to correct: the latency is that of one caller who waits for each of their sagas before the next.
//!   Filling in the sagas that a stall has kept from being started (`record_correct` of the histogram) takes an interval
//!   at which they would have come, and a closed loop has none but the one that the engine's own speed makes.
//!   It says nothing about arrivals that do not wait; that is what the open loop is for.

use std::time::Duration;

/// When the sagas of a bench are started.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pace {
    /// A new one for each that ends.
    Closed,
    /// By a timetable.
    Open {
        /// Sagas per second, above 0.
        rate: f64,
    },
}

impl Pace {
    /// When the saga of this number, from 0, is to be started, from the beginning on; a closed loop has no such time.
    pub(super) fn intended(self, number: u64) -> Option<Duration> {
        match self {
            Self::Closed => None,
            Self::Open { rate } => Some(Duration::from_secs_f64(number as f64 / rate)),
        }
    }

    /// The time between two sagas of the timetable.
    pub(super) fn interval(self) -> Duration {
        self.intended(1).unwrap_or_default()
    }

    /// The latency of a saga that was started and had ended at these times after the beginning.
    pub(super) fn latency(self, number: u64, started: Duration, ended: Duration) -> Duration {
        ended.saturating_sub(self.intended(number).unwrap_or(started))
    }

    /// The word of the report.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::Open { .. } => "open",
        }
    }

    /// The start of what is measured, in the word of the report.
    pub(super) const fn measured_from(self) -> &'static str {
        match self {
            Self::Closed => "start",
            Self::Open { .. } => "intended-start",
        }
    }

    /// The rate of the timetable, in sagas per second.
    pub(super) const fn rate(self) -> Option<f64> {
        match self {
            Self::Closed => None,
            Self::Open { rate } => Some(rate),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::latencies::Latencies;

    const STEADY: Duration = Duration::from_millis(1);
    const STALL: Duration = Duration::from_secs(1);

    /// 1,000 sagas, one in flight, each of 1 ms; that of number 500 takes a second. Time is computed, not waited for.
    fn stalled(pace: Pace) -> Latencies {
        let (mut latencies, mut free) = (Latencies::new(), Duration::ZERO);
        for number in 0..1_000 {
            let started = free.max(pace.intended(number).unwrap_or_default());
            free = started + if number == 500 { STALL } else { STEADY };
            latencies.record(pace.latency(number, started, free));
        }
        latencies
    }

    #[test]
    fn timetable_is_one_over_rate() {
        let open = Pace::Open { rate: 200.0 };
        assert_eq!([0, 1, 200].map(|it| open.intended(it).unwrap().as_millis()), [0, 5, 1_000]);
        assert_eq!((open.interval(), Pace::Closed.interval()), (Duration::from_millis(5), Duration::ZERO));
    }

    /// At 100 a second, 100 sagas were to be started during the stall, and ten more before the queue is gone: they wait for
    /// 991 ms, 982 ms and so on. In the closed loop the stall is one saga of a thousand.
    #[test]
    fn stall_counts_for_every_saga_that_was_to_be_started_meanwhile() {
        let at = |pace, part: f64| stalled(pace).ms(part);
        let open = Pace::Open { rate: 100.0 };
        let measured =
            [open, Pace::Closed].map(|pace| [0.5, 0.9, 0.99, 0.999, 1.0].map(|part| at(pace, part)));
        insta::assert_debug_snapshot!(measured, @"
        [
            [
                1.0,
                100.031,
                910.335,
                991.231,
                1000.447,
            ],
            [
                1.0,
                1.0,
                1.0,
                1.0,
                1000.447,
            ],
        ]
        ");
    }
}
