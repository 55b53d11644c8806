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
    "close",
    "closed",
    "clock jumped",
    "collision",
    "compensated",
    "completed",
    "contradiction",
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
    "resolve",
    "resolved",
    "resumed",
    "retry-requested",
    "skipped",
    "store wiped",
    "timed-out",
    "verified",
];

#[test]
fn the_same_seed_gives_the_same_history() {
    let [first, second, other] = [7, 7, 8].map(|seed| simulate(seed, None).unwrap().hash);
    assert_eq!(first, second);
    assert_ne!(first, other);
}

#[test]
fn a_panic_is_a_violation_and_keeps_its_seed() {
    let wrong = caught(|| panic!("step {} is lost", 7)).unwrap_err();
    assert_eq!(wrong, (None, "it panicked: step 7 is lost".to_owned()));
    // No definition, so that a panic comes out of the middle of the play.
    let violation = played(World::begin(7, None, &[]), 7).unwrap_err();
    assert_eq!(violation.seed, 7);
    assert!(violation.wrong.starts_with("it panicked: "), "{violation}");
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
    forget-a-rejection: seed 19: compensated, and the effect of reserve stands 1 times
    undo-forward: seed 0: undone in another order than in reverse
    count-a-stale-failure: seed 50: attempt 2 at the action of create never failed
    share-the-budget: seed 0: a compensation was given up after 1 of 3 attempts
    freeze-unsettled: seed 0: an honest participant was found to contradict itself
    resend-anew: seed 0: 00000000-0000-0000-0000-000000000003/gift/action/1: the question was changed under its key
    cancel-after-the-pivot: seed 1: cancelled though its pivot was sent
    accept-a-stale-generation: seed 707: an honest participant was found to contradict itself
    ");
}
