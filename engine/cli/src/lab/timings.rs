//! How long the charges took: from the request to start the saga until its first charge was written.
//!
//! Measured by the monotonic clock of this process, in which the load and the services run. A charge that is lost has no
//! latency, and counts for nothing in the throughput.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Instant;

use tokio::sync::watch;

use super::percentiles::Percentiles;

/// What happens to the charges of one guarantee, as it happens.
#[derive(Debug)]
pub(super) struct Timings {
    charges: Mutex<BTreeMap<u32, Timing>>,
    handled: watch::Sender<Handled>,
}

/// What the service has handled until now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Handled {
    /// Calls of the handler that have ended.
    pub(super) calls: u64,
    /// The number of the last one.
    pub(super) last: u32,
}

#[derive(Clone, Copy, Debug)]
enum Timing {
    /// Its saga was started.
    Started(Instant),
    /// It had its first effect.
    Charged { started: Instant, charged: Instant },
}

/// Latencies of the charges, and how many there were in a second.
#[derive(Clone, Debug)]
pub(super) struct Latencies {
    percentiles: Percentiles,
    pub(super) charges_per_second: f64,
}

impl Timings {
    pub(super) fn new() -> Self {
        Self { charges: Mutex::default(), handled: watch::Sender::new(Handled::default()) }
    }

    /// The saga of this charge is started now.
    pub(super) fn started(&self, number: u32) {
        let mut charges = self.charges.lock().expect("no code panics under this lock");
        charges.entry(number).or_insert(Timing::Started(Instant::now()));
    }

    /// The charge has an effect now; the first one counts.
    pub(super) fn charged(&self, number: u32) {
        let mut charges = self.charges.lock().expect("no code panics under this lock");
        if let Some(timing) = charges.get_mut(&number)
            && let Timing::Started(started) = *timing
        {
            *timing = Timing::Charged { started, charged: Instant::now() };
        }
    }

    /// A call of the handler has ended, whatever it did.
    pub(super) fn handled(&self, number: u32) {
        self.handled.send_modify(|handled| {
            handled.calls += 1;
            handled.last = number;
        });
    }

    /// What was handled until now.
    pub(super) fn handled_so_far(&self) -> Handled {
        *self.handled.borrow()
    }

    /// Waits until what was handled meets a condition.
    pub(super) async fn wait_for(&self, condition: impl FnMut(&Handled) -> bool) -> Handled {
        *self.handled.subscribe().wait_for(condition).await.expect("the sender lives as long as the timings")
    }

    /// The latencies of the charges that had an effect.
    pub(super) fn latencies(&self) -> Latencies {
        let charges = self.charges.lock().expect("no code panics under this lock");
        let mut times_ms = Vec::new();
        let mut span: Option<(Instant, Instant)> = None;
        for timing in charges.values() {
            let Timing::Charged { started, charged } = *timing else { continue };
            times_ms.push((charged - started).as_secs_f64() * 1_000.0);
            span = Some(
                span.map_or((started, charged), |(first, last)| (first.min(started), last.max(charged))),
            );
        }
        let seconds = span.map_or(0.0, |(first, last)| (last - first).as_secs_f64());
        let charges_per_second = if seconds > 0.0 { times_ms.len() as f64 / seconds } else { 0.0 };
        Latencies { percentiles: Percentiles::of(times_ms), charges_per_second }
    }
}

impl Latencies {
    /// The percentiles that are shown.
    pub(super) const PERCENTILES: [(&'static str, f64); 6] =
        [("p50", 0.5), ("p75", 0.75), ("p90", 0.9), ("p95", 0.95), ("p99", 0.99), ("max", 1.0)];

    /// The latency that this part of the charges (0 to 1) did not exceed, in milliseconds.
    pub(super) fn ms(&self, part: f64) -> f64 {
        self.percentiles.ms(part)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_effect_counts_and_losses_have_no_latency() {
        let timings = Timings::new();
        for number in 1..=3 {
            timings.started(number);
        }
        timings.charged(1);
        let first = timings.latencies();
        timings.charged(1);
        timings.charged(9);
        let second = timings.latencies();
        assert_eq!((first.percentiles.count(), second.percentiles.count()), (1, 1));
        assert!((first.ms(1.0) - second.ms(1.0)).abs() < f64::EPSILON);
        assert!(first.charges_per_second > 0.0);
    }

    #[test]
    fn nothing_charged_is_no_latency_and_no_throughput() {
        let timings = Timings::new();
        timings.started(1);
        let none = timings.latencies();
        assert!(none.ms(0.5).abs() < f64::EPSILON && none.charges_per_second.abs() < f64::EPSILON);
    }
}
