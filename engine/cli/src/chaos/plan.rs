//! Disruptions by chance, from a seed: the same seed has the same ones at the same times.

use std::time::Duration;

use super::request::{Deed, Disruption, Target};

/// The pause between the beginnings of two disruptions: long enough that work goes on, short enough that some overlap with
/// what the last one has left.
const EVERY_MS: std::ops::Range<u64> = 2_000..8_000;
/// The length of a pause by chance: longer than a retry waits, shorter than a step is tried.
const PAUSE_MS: std::ops::Range<u64> = 500..5_000;

/// A disruption, and when it begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Planned {
    pub(crate) after: Duration,
    pub(crate) disruption: Disruption,
}

/// Disruptions of these targets, none of which begins after `lasts`.
pub(crate) fn plan(seed: u64, lasts: Duration, targets: &[Target]) -> Vec<Planned> {
    let (mut chance, mut planned, mut at_ms) = (Chance(seed), Vec::new(), 0);
    loop {
        at_ms += chance.within(EVERY_MS);
        let after = Duration::from_millis(at_ms);
        if after > lasts {
            return planned;
        }
        let places = u64::try_from(targets.len()).unwrap_or(u64::MAX);
        let place = chance.below(places).and_then(|place| usize::try_from(place).ok());
        let Some(target) = place.and_then(|place| targets.get(place)) else { return planned };
        let for_ms = chance.within(PAUSE_MS);
        let deed = match (chance.below(3), target) {
            (Some(0), Target::Nats) => Deed::Wipe,
            (Some(0 | 1), _) => Deed::Kill,
            (_, _) => Deed::Pause { for_ms },
        };
        planned.push(Planned { after, disruption: Disruption { deed, target: target.clone() } });
    }
}

/// SplitMix64: small, and the same in every version of this program.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, limit: u64) -> Option<u64> {
        self.next().checked_rem(limit)
    }

    fn within(&mut self, range: std::ops::Range<u64>) -> u64 {
        range.start + self.below(range.end - range.start).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(seed: u64) -> String {
        let targets = [Target::Nats, Target::Postgres, Target::Service("payment".to_owned())];
        let planned = plan(seed, Duration::from_secs(30), &targets);
        let line = |Planned { after, disruption }: &Planned| format!("{after:?} {disruption}");
        planned.iter().map(line).collect::<Vec<_>>().join("\n")
    }

    #[test]
    fn same_seed_has_the_same_disruptions() {
        insta::assert_snapshot!(lines(7), @"
        4.487s wipe nats
        12.161s wipe nats
        16.146s kill service payment
        19.136s kill postgres
        22.463s kill service payment
        ");
        assert_eq!(lines(7), lines(7));
        assert_ne!(lines(7), lines(8));
    }

    #[test]
    fn nothing_is_planned_without_targets_or_time() {
        assert_eq!(plan(7, Duration::from_secs(60), &[]), []);
        assert_eq!(plan(7, Duration::from_secs(1), &[Target::Nats]), []);
    }
}
