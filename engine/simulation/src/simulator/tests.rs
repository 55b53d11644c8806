//! Checks that the simulator finds every planted bug, and nothing without one.

use std::collections::BTreeMap;

use super::*;

/// Seeds that each run of the tests plays: a few seconds' worth.
const SEEDS: u64 = 1_000;
/// Seeds with ordered steps.
const SEEDS_OF_ORDERS: u64 = 400;
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

/// The same with steps that no participant remembers: each saga ends, none of them was settled, and none that was not
/// answered is said never to have happened.
#[test]
fn simulated_storms_over_unremembered_steps_end_without_a_violation() {
    let mut happened: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..SEEDS {
        let run = simulate_unremembered(seed, None).unwrap_or_else(|violation| {
            panic!("{violation}\n{}", violation.history.join("\n"));
        });
        for (what, times) in run.happened {
            *happened.entry(what).or_default() += times;
        }
    }
    for what in
        ["in-doubt", "late", "rejected", "cancel-requested", "deadline-passed", "resolved", "completed"]
    {
        assert!(happened.contains_key(what), "never: {what}");
    }
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
    "event refused",
    "event sent by another",
    "event-kept",
    "event-taken",
    "expired",
    "fail",
    "fenced",
    "given up",
    "given-up",
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
    "repeated",
    "resolve",
    "resolved",
    "resumed",
    "retry-requested",
    "saga pruned",
    "skipped",
    "store wiped",
    "taken",
    "timed-out",
    "undone by hand",
    "verified",
    "waited",
    "waiting",
];

/// Ordered steps take effect in the order of the starts of their keys, in any storm.
#[test]
fn simulated_orders_of_keys_hold_in_every_storm() {
    let mut happened: BTreeMap<&str, u64> = BTreeMap::new();
    for seed in 0..SEEDS_OF_ORDERS {
        let run = simulate_orders(seed, None).unwrap_or_else(|violation| {
            panic!("{violation}\n{}", violation.history.join("\n"));
        });
        for (what, times) in run.happened {
            *happened.entry(what).or_default() += times;
        }
    }
    println!("{happened:#?}");
    let wanted = ["queued", "effect in order", "completed", "compensated", "closed"];
    let never: Vec<&str> = wanted.into_iter().filter(|what| !happened.contains_key(what)).collect();
    assert_eq!(never, Vec::<&str>::new(), "the storm was none");
}

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
fn simulator_finds_every_planted_bug_about_unremembered_steps() {
    for (mutation, wrong) in [
        (Mutation::SettleTheUnremembered, "nobody remembers it"),
        (Mutation::TakeUnansweredForNever, "quote is said to be fenced, and nobody knows"),
    ] {
        let violation = (0..SEEDS_PER_BUG_MAX).find_map(|seed| simulate(seed, Some(mutation)).err());
        let violation = violation.unwrap_or_else(|| panic!("{} shows in no seed", mutation.as_str()));
        assert!(violation.wrong.contains(wrong), "{}: {violation}", mutation.as_str());
    }
}

#[test]
fn simulator_finds_every_planted_bug() {
    let mut found = String::new();
    for mutation in Mutation::ALL.iter().filter(|mutation| !mutation.is_about_the_unremembered()) {
        // The rarest one shows in no seed before; to play them all takes minutes.
        let first = if *mutation == Mutation::CallAgainAfterTheUndo { 5_000 } else { 0 };
        let seeds = first..first + SEEDS_PER_BUG_MAX;
        let violation = seeds.clone().find_map(|seed| simulate(seed, Some(*mutation)).err());
        match violation {
            Some(violation) => found.push_str(&format!("{}: {violation}\n", mutation.as_str())),
            None => panic!("{} shows in none of the seeds {seeds:?}", mutation.as_str()),
        }
    }
    insta::assert_snapshot!(found, @"
    skip-the-fence: seed 5: an honest participant was found to contradict itself
    forget-a-rejection: seed 0: an honest participant was found to contradict itself
    undo-forward: seed 1: a compensation was sent before the one before it was done
    count-a-stale-failure: seed 2: attempt 2 at the action of pay never failed
    share-the-budget: seed 6: a compensation was given up after 1 of 3 failures
    freeze-unsettled: seed 2: an honest participant was found to contradict itself
    resend-anew: seed 1: 00000000-0000-0000-0000-000000000002/create/action/1: the command was changed under its key
    cancel-after-the-pivot: seed 15: cancelled though its pivot was sent
    accept-a-stale-generation: seed 40: an honest participant was found to contradict itself
    forget-without-a-word: seed 2: compensated, and the effect of create stands 1 times
    take-forgotten-for-never: seed 2: compensated, and the effect of create stands 1 times
    take-refused-for-no: seed 1: an honest participant was found to contradict itself
    acknowledge-before-commit: seed 0: the reply to attempt 1 at 00000000-0000-0000-0000-000000000002/create/action/1 was lost
    lose-a-reply: seed 0: the reply to attempt 1 at 00000000-0000-0000-0000-000000000003/charge/action/1 was lost
    drop-the-revision-guard: seed 1: the history has a gap
    forget-due-at: seed 0: it never ends
    claim-without-reading: seed 0: its key has begun 00000000-0000-0000-0000-000000000005 as well
    prune-an-open-saga: seed 1: it was pruned before it had ended
    answer-outside-the-transaction: seed 20: an honest participant was found to contradict itself
    count-two-answers: seed 12: an honest participant was found to contradict itself
    fence-an-open-question: seed 5: an honest participant was found to contradict itself
    prune-an-open-question: seed 2: 00000000-0000-0000-0000-000000000001/approve/action/1: a question that was still open is forgotten
    call-without-preparing: seed 3: compensated, and the effect of pay stands 1 times
    fence-a-prepared-action: seed 10: compensated, and the effect of pay stands 1 times
    overtake-a-call: seed 145: compensated, and the effect of pay stands 1 times
    call-again-after-the-undo: seed 5101: compensated, and the effect of pay stands 1 times
    retry-the-accepted: seed 2: attempt 1 at the action of approve never failed
    settle-the-accepted: seed 2: approve was not waited for as long as its answer may take
    send-the-second: seed 3: charge was sent before 00000000-0000-0000-0000-000000000003, which was started before, had decided
    let-go-while-open: seed 2: charge was sent before 00000000-0000-0000-0000-000000000001, which was started before, had decided
    fire-a-timer-twice: seed 34: cool-off was waited for 1 times, and that ended 2 times
    lose-an-early-event: seed 19: second-approval was waited for 0 times, and that ended 0 times
    ");
}
