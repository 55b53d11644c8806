//! Latencies in an HDR histogram: as exact for the shortest as for the longest, in memory that does not grow with their
//! number.

use std::time::Duration;

use hdrhistogram::Histogram;

/// The longest latency that is told apart, in microseconds: an hour. A longer one counts as an hour.
const MICROS_MAX: u64 = 3_600_000_000;
/// Significant digits: a value is at most 0.1 % above what was measured.
const DIGITS: u8 = 3;

/// Latencies, from a microsecond to an hour.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    micros: Histogram<u64>,
}

impl Latencies {
    pub(super) fn new() -> Self {
        let micros = Histogram::new_with_bounds(1, MICROS_MAX, DIGITS);
        Self { micros: micros.expect("the bounds are those that the histogram allows") }
    }

    /// Adds one.
    pub(super) fn record(&mut self, latency: Duration) {
        self.micros.saturating_record(u64::try_from(latency.as_micros()).unwrap_or(MICROS_MAX));
    }

    /// How many there are.
    pub(super) fn count(&self) -> u64 {
        self.micros.len()
    }

    /// The latency that this part of them (0 to 1) does not exceed, in milliseconds; 0 if there is none.
    pub(super) fn ms(&self, part: f64) -> f64 {
        self.micros.value_at_quantile(part) as f64 / 1_000.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of_micros(micros: impl IntoIterator<Item = u64>) -> Latencies {
        let mut latencies = Latencies::new();
        micros.into_iter().for_each(|micros| latencies.record(Duration::from_micros(micros)));
        latencies
    }

    #[test]
    fn percentiles_of_known_latencies_are_exact_to_three_digits() {
        let latencies = of_micros((1..=10_000).rev());
        assert_eq!(latencies.count(), 10_000);
        for (part, ms) in [(0.0, 0.001), (0.5, 5.0), (0.9, 9.0), (0.99, 9.9), (1.0, 10.0)] {
            let told = latencies.ms(part);
            assert!((ms..=ms * 1.001).contains(&told), "{part}: {told} for {ms}");
        }
    }

    #[test]
    fn histogram_takes_the_shortest_and_the_longest() {
        assert_eq!(of_micros([]).ms(0.5), 0.0);
        assert_eq!(of_micros([7]).ms(0.99), 0.007);
        let day = of_micros([86_400_000_000]);
        assert!((3_600_000.0..3_610_000.0).contains(&day.ms(1.0)), "{}", day.ms(1.0));
    }
}
