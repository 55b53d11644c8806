//! The time of the service's database, carried on for a moment by our own clocks.
//!
//! A command expires by the database's time, as rows are pruned by it. A batch that has nothing else to ask takes the time
//! that another one was told, and adds what has passed since. Both of our clocks must agree that it was a moment: one of them
//! stands still while the machine sleeps, and the other one may be set. What is wrong with it then is far less than the
//! margin of the retention.

use std::sync::Mutex;
use std::time::{Duration, Instant, SystemTime};

use redress_core::Timestamp;

/// The longest that a time is carried on. One question every ten seconds costs nothing, and clocks drift apart by
/// milliseconds meanwhile.
const CARRIED_MAX: Duration = Duration::from_secs(10);

/// The time that the database has told last.
#[derive(Debug, Default)]
pub(crate) struct DatabaseTime(Mutex<Option<Told>>);

/// A time of the database, and ours when it was told.
#[derive(Clone, Copy, Debug)]
struct Told {
    time: Timestamp,
    at: Instant,
    wall: SystemTime,
}

impl Told {
    /// The database's time now; nothing if it was told too long ago.
    fn carried(&self, at: Instant, wall: SystemTime) -> Option<Timestamp> {
        let passed = at.saturating_duration_since(self.at);
        let passed_by_wall = wall.duration_since(self.wall).ok()?;
        (passed <= CARRIED_MAX && passed_by_wall <= CARRIED_MAX).then(|| self.time + passed)
    }
}

impl DatabaseTime {
    /// The database has just told its time.
    pub(crate) fn told(&self, time: Timestamp) {
        let told = Told { time, at: Instant::now(), wall: SystemTime::now() };
        *self.0.lock().expect("no thread panics while it holds a time") = Some(told);
    }

    /// The database's time, if it was told a moment ago.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        let told = *self.0.lock().expect("no thread panics while it holds a time");
        told?.carried(Instant::now(), SystemTime::now())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn time_is_carried_on_for_ten_seconds_that_both_clocks_agree_on() {
        let told = Told { time: Timestamp::UNIX_EPOCH, at: Instant::now(), wall: SystemTime::now() };
        let after = |passed_ms: u64, wall_ms: u64| {
            let (passed, wall) = (Duration::from_millis(passed_ms), Duration::from_millis(wall_ms));
            told.carried(told.at + passed, told.wall + wall).map(|now| now - told.time)
        };
        assert_eq!(after(10_000, 10_000), Some(TimeDelta::seconds(10)));
        assert_eq!(after(1_500, 9_000), Some(TimeDelta::milliseconds(1_500)));
        assert_eq!(after(10_001, 10_000), None, "it was told too long ago");
        assert_eq!(after(1, 10_001), None, "the machine has slept");
        let set_back = told.carried(told.at, told.wall - Duration::from_millis(1));
        assert!(set_back.is_none(), "a clock was set back");
    }
}
