//! Checks that the simulator finds every planted bug, and nothing without one.

use std::collections::BTreeMap;

use super::*;

/// Seeds that each run of the tests plays: a few seconds' worth.
const SEEDS: u64 = 1_000;
/// Within how many seeds a planted bug must show.
const SEEDS_PER_BUG_MAX: u64 = 2_000;

/// Each saga ends with all effects, or with every effect compensated, unless an operator closes it.
#[test]
fn simulated_storms_end_without_a_violation() {
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

/// Events that must happen in some of the runs, or they prove nothing.
const EVERYTHING: &[&str] = &[
    "accepted",
    "acknowledgement lost",
    "answer",
    "answer lost",
    "answer to come",
    "answer-given",
    "answered by a person",
    "answered in vain",
    "answered later",
    "answered twice",
    "broker away",
    "call lost",
    "call not answered",
    "cancel",
    "cancel-requested",
    "clock jumped",
    "close",
    "closed",
    "collision",
    "commit not answered",
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
    "expired",
    "fail",
    "fenced",
    "given up",
    "in doubt",
    "in-doubt",
    "journal away",
    "kept",
    "late",
    "not told",
    "not-sent",
    "notified",
    "parked",
    "participants away",
    "paused",
    "pruned",
    "publish not answered",
    "publish refused",
    "refuse",
    "refused",
    "rejected",
    "resolve",
    "resolved",
    "resumed",
    "retry-requested",
    "saga pruned",
    "skipped",
    "store wiped",
    "timed-out",
    "undone by hand",
    "verified",
];

#[test]
fn same_seed_gives_the_same_history() {
    let [first, second, other] = [7, 7, 8].map(|seed| simulate(seed, None).unwrap().hash);
    assert_eq!(first, second);
    assert_ne!(first, other);
}

#[test]
fn panic_is_a_violation_and_keeps_its_seed() {
    let wrong = caught(|| panic!("step {} is lost", 7)).unwrap_err();
    assert_eq!(wrong, (None, "it panicked: step 7 is lost".to_owned()));
    // No definition, so that a panic comes out of the middle of the play.
    let violation = played(7, None, &[]).unwrap_err();
    assert_eq!(violation.seed, 7);
    assert!(violation.wrong.starts_with("it panicked: "), "{violation}");
}

#[test]
fn simulator_finds_every_planted_bug() {
    let mut found = String::new();
    for mutation in Mutation::ALL {
        let violation = (0..SEEDS_PER_BUG_MAX).find_map(|seed| simulate(seed, Some(*mutation)).err());
        match violation {
            Some(violation) => found.push_str(&format!("{}: {violation}\n", mutation.as_str())),
            None => panic!("{} shows in none of {SEEDS_PER_BUG_MAX} seeds", mutation.as_str()),
        }
    }
    insta::assert_snapshot!(found, @"
    skip-the-fence: seed 4: an honest participant was found to contradict itself
    forget-a-rejection: seed 0: an honest participant was found to contradict itself
    undo-forward: seed 0: undone in another order than in reverse
    count-a-stale-failure: seed 11: attempt 2 at the action of confirm never failed
    share-the-budget: seed 1: a compensation was given up after 1 of 3 failures
    freeze-unsettled: seed 0: an honest participant was found to contradict itself
    resend-anew: seed 0: 00000000-0000-0000-0000-000000000003/reserve/action/1: the command was changed under its key
    cancel-after-the-pivot: seed 9: cancelled though its pivot was sent
    accept-a-stale-generation: seed 6: an honest participant was found to contradict itself
    forget-without-a-word: seed 9: 00000000-0000-0000-0000-000000000003/charge/action/1: the effect stands 2 times
    take-forgotten-for-never: seed 9: an honest participant was found to contradict itself
    take-refused-for-no: seed 0: an honest participant was found to contradict itself
    acknowledge-before-commit: seed 0: the reply to attempt 1 at 00000000-0000-0000-0000-000000000001/create/action/1 was lost
    lose-a-reply: seed 9: the reply to attempt 2 at 00000000-0000-0000-0000-000000000001/create/action/1 was lost
    drop-the-revision-guard: seed 5: the history has a gap
    forget-due-at: seed 2: it never ends
    claim-without-reading: seed 0: its key has begun 00000000-0000-0000-0000-000000000004 as well
    prune-an-open-saga: seed 2: it was pruned before it had ended
    ");
}
