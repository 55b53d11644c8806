//! Passes on or refuses commands that this instance does not know.
//!
//! In a rolling upgrade old and new instances share one consumer, and a new command may come to an old instance first. It
//! asks the others ([`redress_wire::knowing`]): as long as one that lives knows the command, it is passed on, however long
//! that takes. Only a command that no live instance has known for [`unknown_command_age`] is refused.
//!
//! [`unknown_command_age`]: crate::ParticipantConfig::unknown_command_age

use std::collections::HashMap;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use redress_core::{Name, Phase};
use redress_wire::knowing::Elsewhere;

/// The pause after the first delivery; each one is twice as long as the one before. A message that waits holds a place
/// among those that the broker hands out, and each delivery costs one more: so few, and soon at first.
const PAUSE: Duration = Duration::from_secs(1);
/// The longest pause: a newer instance that has just been started waits no longer for a command that it alone knows.
const PAUSE_MAX: Duration = Duration::from_secs(60);
/// The pause before a command is passed on that another instance knows: one instance of ten gets it within seconds.
const PASS_ON_PAUSE: Duration = Duration::from_millis(200);
/// The most unknown commands that are remembered, each with the time since when: their names come from outside.
const REMEMBERED_MAX: usize = 1_000;

/// Commands of one phase and name.
pub(crate) type Kind = (Phase, Name);

/// The times since when no live instance has known a command, as far as this one has asked.
#[derive(Default)]
pub(crate) struct Unknowns {
    since: Mutex<HashMap<Kind, Instant>>,
}

impl Unknowns {
    /// For how long no live instance has known it, after this answer.
    pub(crate) fn heard(&self, kind: &Kind, elsewhere: Elsewhere, now: Instant) -> Duration {
        let mut since = self.since.lock().expect("nobody panics while holding the unknown commands");
        match elsewhere {
            Elsewhere::Known | Elsewhere::Unclear => {
                since.remove(kind);
                Duration::ZERO
            }
            Elsewhere::Unknown => {
                if since.len() >= REMEMBERED_MAX && !since.contains_key(kind) {
                    since.clear();
                }
                now.duration_since(*since.entry(kind.clone()).or_insert(now))
            }
        }
    }
}

/// The pause after this delivery; none if the command is refused.
pub(crate) fn pause(
    elsewhere: Elsewhere,
    deliveries: u64,
    unknown_for: Duration,
    age: Duration,
) -> Option<Duration> {
    match elsewhere {
        Elsewhere::Known => Some(PASS_ON_PAUSE),
        Elsewhere::Unclear => Some(PAUSE),
        // How often it came says how old it is, unless it was passed on; and this instance may have just begun to ask.
        Elsewhere::Unknown => match pause_by_age(deliveries, age) {
            Some(pause) => Some(pause),
            None if unknown_for >= age => None,
            None => Some(PAUSE.min(age - unknown_for)),
        },
    }
}

/// The pause after this delivery, or none if the command is older than `age`, as far as the deliveries say.
fn pause_by_age(deliveries: u64, age: Duration) -> Option<Duration> {
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

    /// The pauses in seconds, delivery by delivery, at most `most`, if it was never passed on.
    fn pauses(age: u64, most: u64) -> Vec<u64> {
        let age = Duration::from_secs(age);
        (1..=most)
            .map_while(|delivery| pause(Elsewhere::Unknown, delivery, age, age))
            .map(|pause| pause.as_secs())
            .collect()
    }

    #[test]
    fn unknown_command_comes_less_and_less_often_until_it_is_too_old() {
        assert_eq!(pauses(30, 100), [1, 2, 4, 8, 15]);
        assert_eq!(pauses(300, 100), [1, 2, 4, 8, 16, 32, 60, 60, 60, 57]);
        assert_eq!(pauses(0, 100), [0; 0]);
        assert_eq!(pauses(u64::MAX, 100).len(), 100, "for ever");
    }

    #[test]
    fn command_known_elsewhere_is_passed_on_however_often_it_came() {
        let age = Duration::from_secs(30);
        assert_eq!(pause(Elsewhere::Known, 1_000, Duration::ZERO, age), Some(PASS_ON_PAUSE));
        assert_eq!(pause(Elsewhere::Unclear, 1_000, Duration::ZERO, age), Some(PAUSE));
        // The instance that knew it has gone, perhaps only to come back.
        assert_eq!(pause(Elsewhere::Unknown, 1_000, Duration::from_secs(29), age), Some(PAUSE));
        assert_eq!(pause(Elsewhere::Unknown, 1_000, age, age), None);
    }

    #[test]
    fn unknown_time_starts_anew_once_an_instance_knows_the_command() {
        let (unknowns, kind) = (Unknowns::default(), (Phase::Action, Name::new("juggle").unwrap()));
        let (start, second) = (Instant::now(), Duration::from_secs(1));
        assert_eq!(unknowns.heard(&kind, Elsewhere::Unknown, start), Duration::ZERO);
        assert_eq!(unknowns.heard(&kind, Elsewhere::Unknown, start + 2 * second), 2 * second);
        unknowns.heard(&kind, Elsewhere::Known, start + 3 * second);
        assert_eq!(unknowns.heard(&kind, Elsewhere::Unknown, start + 4 * second), Duration::ZERO);
    }
}
