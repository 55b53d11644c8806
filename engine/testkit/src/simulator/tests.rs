//! What the simulator must find, and what it must not.

use std::collections::BTreeMap;

use super::*;

/// Seeds that each run of the tests plays: a few seconds' worth.
const SEEDS: u64 = 1_000;
/// Within how many seeds a planted bug must show.
const SEEDS_PER_BUG_MAX: u64 = 2_000;

#[test]
fn whatever_the_weather_all_or_amends() {
    let mut happened: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let run = simulate(seed, None).unwrap_or_else(|violation| {
            panic!("{violation}\n{}", violation.history.join("\n"));
        });
        for (what, times) in run.happened {
            *happened.entry(what).or_default() += times;
        }
    }
    println!("{happened:#?}");
    let never: Vec<&str> = EVERYTHING.iter().filter(|what| !happened.contains_key(**what)).copied().collect();
    assert_eq!(never, Vec::<&str>::new(), "the storm was none");
}

/// What must happen in some of the runs, or they prove nothing.
const EVERYTHING: &[&str] = &[
    "acknowledgement lost",
    "cancel",
    "cancel-requested",
    "clock jumped",
    "collision",
    "compensated",
    "completed",
    "coordinator died",
    "crash-after-commit",
    "crash-after-reply",
    "crash-before-commit",
    "deadline-passed",
    "delay",
    "delay-reply",
    "drop-command",
    "drop-reply",
    "duplicate",
    "fail",
    "fenced",
    "late",
    "notified",
    "parked",
    "paused",
    "publish refused",
    "rejected",
    "resumed",
    "retry-requested",
    "skipped",
    "store wiped",
    "timed-out",
];

#[test]
fn the_same_seed_gives_the_same_history() {
    let [first, second, other] = [7, 7, 8].map(|seed| simulate(seed, None).unwrap().hash);
    assert_eq!(first, second);
    assert_ne!(first, other);
}

#[test]
fn every_planted_bug_is_found() {
    let mut found = String::new();
    for plant in Plant::ALL {
        let violation = (0..SEEDS_PER_BUG_MAX).find_map(|seed| simulate(seed, Some(*plant)).err());
        match violation {
            Some(violation) => found.push_str(&format!("{}: {violation}\n", plant.as_str())),
            None => panic!("{} shows in none of {SEEDS_PER_BUG_MAX} seeds", plant.as_str()),
        }
    }
    insta::assert_snapshot!(found, @"
    skip-the-fence: seed 97: an honest participant was found to contradict itself
    forget-a-rejection: seed 19: compensated, and the effect of reserve stands 1 times
    undo-forward: seed 0: a compensation was sent before the one before it was done
    count-a-stale-failure: seed 50: attempt 2 at the action of create never failed
    share-the-budget: seed 0: a compensation was given up after 1 of 3 attempts
    freeze-unsettled: seed 0: compensated, and the effect of reserve stands 1 times
    resend-anew: seed 1: 00000000-0000-0000-0000-000000000002/confirm/action/2: the question was changed under its key
    cancel-after-the-pivot: seed 1: cancelled though its pivot was sent
    ");
}
