//! The journal's clock: carried on between two looks, and watched for steps back.
//!
//! Times come from the database's clock, which a person, a time service or a failover may set back. A saga that waits
//! then would wait for longer by as much, so the timers look again at the sagas that wait: at those that wait for
//! longer than anything can when a coordinator starts (the step may have come while none ran), and at all of them when
//! a step is seen. A wait that is too long is measured anew (`core/src/decide/waits.rs`). Any number of coordinators
//! may see the same step: to look twice changes nothing.

use std::sync::Mutex;
use std::time::Duration;

use redress_core::Timestamp;

use crate::ports::Clock;

/// A smaller step back is none: it costs less than it would to look at all that waits.
pub(crate) const STEP_MIN: Duration = Duration::from_secs(1);
/// After a step back the longest waits are looked at once more: a decision that was under way when it came may have
/// been written after the first look. Longer than a unit of work may take.
const ONCE_MORE_AFTER: Duration = Duration::from_secs(90);

/// The journal's clock, read now and then and carried on by a monotonic one in between.
#[derive(Debug)]
pub(crate) struct JournalClock<C> {
    clock: C,
    /// A time of the journal's, and when it was read.
    anchor: Mutex<(Timestamp, Duration)>,
}

impl<C: Clock> JournalClock<C> {
    pub(crate) fn new(clock: C, now: Timestamp) -> Self {
        let anchor = Mutex::new((now, clock.monotonic()));
        Self { clock, anchor }
    }

    pub(crate) fn set(&self, now: Timestamp) {
        let read_at = self.clock.monotonic();
        *self.anchor.lock().expect("nobody panics while holding the clock") = (now, read_at);
    }

    pub(crate) fn now(&self) -> Timestamp {
        let (anchor, at) = *self.anchor.lock().expect("nobody panics while holding the clock");
        let passed = self.clock.monotonic().saturating_sub(at);
        let now = anchor + chrono::TimeDelta::from_std(passed).unwrap_or_default();
        // The journal keeps microseconds, and the answer must equal the stored value.
        let nanos = now.timestamp_subsec_nanos() % 1_000;
        now - chrono::TimeDelta::nanoseconds(i64::from(nanos))
    }
}

/// A reading of the database's clock, between two of a monotonic one.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reading {
    pub(crate) now: Timestamp,
    pub(crate) asked_at: Duration,
    pub(crate) answered_at: Duration,
}

impl Reading {
    /// By how much the clock has stepped back since an earlier reading, if it has.
    fn step_back_since(&self, earlier: &Self) -> Option<Duration> {
        // At least so much time has passed, however long the answers took.
        let passed = self.asked_at.saturating_sub(earlier.answered_at);
        let expected = earlier.now + chrono::TimeDelta::from_std(passed).unwrap_or_default();
        let back = (expected - self.now).to_std().ok()?;
        (back >= STEP_MIN).then_some(back)
    }
}

/// Which sagas are looked at again although they are not due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Recheck {
    /// Those that wait for longer than anything in their definition can.
    TooLong,
    /// All that wait.
    AllThatWait,
}

/// Says when sagas that are not due must be looked at again.
#[derive(Debug)]
pub(crate) struct ClockWatch {
    last: Option<Reading>,
    pending: Vec<(Duration, Recheck)>,
}

impl ClockWatch {
    /// The clock may have stepped back while no coordinator ran.
    pub(crate) fn new(now: Duration) -> Self {
        Self { last: None, pending: vec![(now, Recheck::TooLong)] }
    }

    /// Takes note of a reading.
    pub(crate) fn see(&mut self, reading: Reading) {
        if let Some(back) = self.last.as_ref().and_then(|last| reading.step_back_since(last)) {
            tracing::warn!(?back, "the database's clock has stepped back; waiting sagas are rechecked");
            let at = reading.answered_at;
            self.pending = vec![(at, Recheck::AllThatWait), (at + ONCE_MORE_AFTER, Recheck::TooLong)];
        }
        self.last = Some(reading);
    }

    /// The sagas that are to be looked at now, if any.
    pub(crate) fn due(&self, now: Duration) -> Option<Recheck> {
        self.pending.first().filter(|(at, _)| *at <= now).map(|(_, recheck)| *recheck)
    }

    /// It was looked at.
    pub(crate) fn done(&mut self) {
        if !self.pending.is_empty() {
            self.pending.remove(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn reading(start: Duration, clock_s: i64, asked: Duration, answered: Duration) -> Reading {
        let now = Timestamp::from_timestamp(1_800_000_000 + clock_s, 0).unwrap();
        Reading { now, asked_at: start + asked, answered_at: start + answered }
    }

    #[test]
    fn clock_step_back_is_seen_and_waiting_sagas_are_rechecked_twice() {
        let start = 100 * SECOND;
        let mut watch = ClockWatch::new(start);
        assert_eq!(watch.due(start), Some(Recheck::TooLong), "it may have come before");
        watch.done();
        watch.see(reading(start, 0, SECOND, SECOND));
        watch.see(reading(start, 1, 2 * SECOND, 2 * SECOND));
        assert_eq!(watch.due(start + 2 * SECOND), None);
        watch.see(reading(start, 2 - 3_600, 3 * SECOND, 3 * SECOND));
        assert_eq!(watch.due(start + 3 * SECOND), Some(Recheck::AllThatWait));
        watch.done();
        watch.see(reading(start, 3 - 3_600, 4 * SECOND, 4 * SECOND));
        assert_eq!(watch.due(start + 4 * SECOND), None);
        assert_eq!(watch.due(start + 3 * SECOND + ONCE_MORE_AFTER), Some(Recheck::TooLong));
    }

    #[test]
    fn slow_answers_and_steps_forward_are_no_steps_back() {
        let start = 100 * SECOND;
        let mut watch = ClockWatch::new(start);
        watch.done();
        // Read at the beginning of a long answer, then at the end of one, then an hour later all at once.
        watch.see(reading(start, 0, Duration::ZERO, 30 * SECOND));
        watch.see(reading(start, 30, 30 * SECOND, 60 * SECOND));
        watch.see(reading(start, 3_700, 61 * SECOND, 61 * SECOND));
        watch.see(reading(start, 3_700, 61 * SECOND, 62 * SECOND));
        assert_eq!(watch.due(start + 1_000 * SECOND), None);
    }
}
