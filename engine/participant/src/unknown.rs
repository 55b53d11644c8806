//! How long a command that nobody here knows is left for a newer instance of the service.

use std::time::Duration;

/// The pause after the first delivery; each one is twice as long as the one before. A message that waits holds a place
/// among those that the broker hands out, and each delivery costs one more: so few, and soon at first.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: a newer instance that has just been started waits no longer for what it alone knows.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// The pause after this delivery, or none if the command is older than `age`: then nobody knows it.
pub(crate) fn pause(deliveries: u64, age: Duration) -> Option<Duration> {
    let (mut waited, mut next) = (Duration::ZERO, PAUSE);
    for _ in 1..deliveries {
        if waited >= age {
            return None;
        }
        waited = waited.saturating_add(next);
        next = (next * 2).min(PAUSE_MAX);
    }
    (waited < age).then(|| next.min(age.saturating_sub(waited)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The pauses in seconds, delivery by delivery, at most `most`.
    fn pauses(age: u64, most: u64) -> Vec<u64> {
        let age = Duration::from_secs(age);
        (1..=most).map_while(|delivery| pause(delivery, age)).map(|pause| pause.as_secs()).collect()
    }

    #[test]
    fn an_unknown_command_comes_less_and_less_often_until_it_is_too_old() {
        assert_eq!(pauses(30, 100), [1, 2, 4, 8, 15]);
        assert_eq!(pauses(300, 100), [1, 2, 4, 8, 16, 32, 60, 60, 60, 57]);
        assert_eq!(pauses(0, 100), [0; 0]);
        assert_eq!(pauses(u64::MAX, 100).len(), 100, "for ever");
    }
}
