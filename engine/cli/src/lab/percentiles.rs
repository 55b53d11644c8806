//! Percentiles of measured times: exact, from all of them.

/// Times in milliseconds, the shortest first.
#[derive(Clone, Debug)]
pub(super) struct Percentiles {
    sorted_ms: Vec<f64>,
}

impl Percentiles {
    pub(super) fn of(mut times_ms: Vec<f64>) -> Self {
        times_ms.sort_by(f64::total_cmp);
        Self { sorted_ms: times_ms }
    }

    /// How many times there are.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.sorted_ms.len()
    }

    /// The time that this part of them (0 to 1) does not exceed, in milliseconds; 0 if there is none.
    pub(super) fn ms(&self, part: f64) -> f64 {
        let last = self.sorted_ms.len().saturating_sub(1);
        let index = (last as f64 * part).round() as usize;
        self.sorted_ms.get(index).copied().unwrap_or(0.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentile_is_one_of_the_times() {
        let hundred = Percentiles::of((0..=100).rev().map(f64::from).collect());
        assert_eq!([0.0, 0.5, 0.99, 1.0].map(|part| hundred.ms(part)), [0.0, 50.0, 99.0, 100.0]);
        assert_eq!(Percentiles::of(vec![7.0]).ms(0.5), 7.0);
        assert_eq!(Percentiles::of(Vec::new()).ms(0.5), 0.0);
    }
}
