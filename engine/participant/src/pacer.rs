//! Paces the calls to a third party: each gets a moment of its own, at the earliest now.

use std::num::NonZeroU32;
use std::sync::Mutex;
use std::time::{Duration, Instant};

/// The moments of one command's calls.
pub(crate) struct Pacer {
    /// Between two calls; zero if they are not paced.
    pause: Duration,
    next: Mutex<Option<Instant>>,
}

impl Pacer {
    /// So many calls in a second, at most; any number without it.
    pub(crate) fn new(calls_per_s: Option<NonZeroU32>) -> Self {
        let pause = calls_per_s.map_or(Duration::ZERO, |calls| Duration::from_secs(1) / calls.get());
        Self { pause, next: Mutex::default() }
    }

    /// Takes the next moment: how long it is until then.
    pub(crate) fn take(&self, now: Instant) -> Duration {
        if self.pause.is_zero() {
            return Duration::ZERO;
        }
        let mut next = self.next.lock().expect("no thread panics while it holds the moment of a call");
        let moment = next.map_or(now, |next| next.max(now));
        *next = Some(moment + self.pause);
        moment - now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_have_their_pause_between_them_and_save_none_up() {
        let (pacer, now) = (Pacer::new(NonZeroU32::new(4)), Instant::now());
        let taken = |pacer: &Pacer, after_ms| pacer.take(now + Duration::from_millis(after_ms)).as_millis();
        assert_eq!([0, 0, 0].map(|after_ms| taken(&pacer, after_ms)), [0, 250, 500]);
        assert_eq!([600, 2_000, 2_000].map(|after_ms| taken(&pacer, after_ms)), [150, 0, 250]);
        let unpaced = Pacer::new(None);
        assert_eq!([0, 0].map(|after_ms| taken(&unpaced, after_ms)), [0, 0]);
    }
}
