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
    "command doubled",
    "command lost",
    "compensated",
    "completed",
    "coordinator died",
    "deadline-passed",
    "delayed",
    "fenced",
    "handler failed",
    "late",
    "notified",
    "parked",
    "participant died after its commit",
    "participant died before its commit",
    "paused",
    "rejected",
    "reply doubled",
    "reply lost",
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
    skip-the-fence: seed 7: an honest participant was found to contradict itself
    forget-a-rejection: seed 1: an honest participant was found to contradict itself
    undo-forward: seed 1: undone in another order than in reverse
    count-a-stale-failure: seed 24: attempt 2 at the action of confirm never failed
    share-the-budget: seed 5: a compensation was given up after 1 of 3 attempts
    freeze-unsettled: seed 1: an honest participant was found to contradict itself
    resend-anew: seed 0: 00000000-0000-0000-0000-000000000001/ship/action/1: the question was changed under its key
    cancel-after-the-pivot: seed 0: cancelled though its pivot was sent
    ");
}
