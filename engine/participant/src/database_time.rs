//! The time of the service's database, carried on for a moment by our monotonic clock.
//!
//! A command expires by the database's time, as rows are pruned by it. A batch that has nothing else to ask takes the time
//! of another one, and adds what has passed since. What is wrong with it then is far less than the margin of the
//! retention.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use redress_core::Timestamp;

/// The longest that a time is carried on. One question every ten seconds costs nothing, and clocks drift apart by
/// milliseconds meanwhile.
const CARRIED_MAX: Duration = Duration::from_secs(10);

/// The time that the database has given last.
#[derive(Debug, Default)]
pub(crate) struct DatabaseTime(Mutex<Option<Reading>>);

/// A time of the database, and ours when it was given.
#[derive(Clone, Copy, Debug)]
struct Reading {
    time: Timestamp,
    at: Instant,
}

impl Reading {
    /// The database's time at this instant; nothing if it was given too long ago.
    fn carried(&self, at: Instant) -> Option<Timestamp> {
        let passed = at.saturating_duration_since(self.at);
        (passed <= CARRIED_MAX).then(|| self.time + passed)
    }
}

impl DatabaseTime {
    /// The database has just given its time.
    pub(crate) fn given(&self, time: Timestamp) {
        let reading = Reading { time, at: Instant::now() };
        *self.0.lock().expect("no thread panics while it holds a time") = Some(reading);
    }

    /// The database's time, if it was given a moment ago.
    pub(crate) fn now(&self) -> Option<Timestamp> {
        let reading = *self.0.lock().expect("no thread panics while it holds a time");
        reading?.carried(Instant::now())
    }
}

#[cfg(test)]
mod tests {
    use chrono::TimeDelta;

    use super::*;

    #[test]
    fn time_is_carried_on_for_ten_seconds() {
        let reading = Reading { time: Timestamp::UNIX_EPOCH, at: Instant::now() };
        let after = |passed_ms: u64| {
            let now = reading.carried(reading.at + Duration::from_millis(passed_ms));
            now.map(|now| now - reading.time)
        };
        assert_eq!(after(1_500), Some(TimeDelta::milliseconds(1_500)));
        assert_eq!(after(10_000), Some(TimeDelta::seconds(10)));
        assert_eq!(after(10_001), None, "it was given too long ago");
    }
}
