//! Tests the pure rules of the soak (`tests/soak`): its plan, its command line and its levels.

#[path = "../soak/args.rs"]
mod args;
#[path = "../soak/level.rs"]
mod level;
#[path = "../soak/plan.rs"]
mod plan;

use std::collections::BTreeSet;
use std::time::Duration;

use args::Asked;
use level::{Look, Looks};
use plan::{Kind, schedule};

const HALF_AN_HOUR: Duration = Duration::from_secs(1_800);

#[test]
fn plan_is_a_function_of_its_seed() {
    let run = Duration::from_secs(300);
    assert_eq!(schedule(7, run, &[]), schedule(7, run, &[]));
    assert_ne!(schedule(7, run, &[]), schedule(8, run, &[]));
}

#[test]
fn plan_of_five_minutes_holds_every_kind_and_kills_nothing_late() {
    let run = Duration::from_secs(300);
    for seed in 0..500 {
        let plan = schedule(seed, run, &[]);
        let kinds: BTreeSet<Kind> = plan.iter().map(|disruption| disruption.kind).collect();
        assert_eq!(kinds.len(), Kind::ALL.len(), "seed {seed}");
        assert!(
            plan.iter().all(|disruption| disruption.at < run && disruption.length <= Duration::from_secs(75))
        );
        let late = plan.iter().filter(|disruption| disruption.at > run * 2 / 3);
        assert!(late.clone().all(|disruption| !disruption.kind.kills()), "seed {seed}");
        assert!(late.count() > 10, "the last third is no rest: seed {seed}");
        assert!(plan.windows(2).all(|pair| pair[0].at < pair[1].at), "seed {seed}");
    }
}

#[test]
fn plan_of_half_an_hour_sees_the_broker_away_for_as_long_as_the_audit_did() {
    let plan = schedule(1, HALF_AN_HOUR, &[]);
    let away: Vec<u64> =
        plan.iter().filter(|m| m.kind == Kind::BrokerAway).map(|m| m.length.as_secs()).collect();
    assert_eq!(away.iter().filter(|&&seconds| seconds == 75).count(), 1, "{away:?}");
    assert!(away.iter().sum::<u64>() < HALF_AN_HOUR.as_secs() / 3, "most of the time it is there: {away:?}");
}

#[test]
fn plan_leaves_out_what_it_is_told_to_leave_out() {
    let plan = schedule(3, HALF_AN_HOUR, &[Kind::WipeBroker]);
    assert!(plan.iter().all(|disruption| disruption.kind != Kind::WipeBroker));
    let all_but_one: Vec<Kind> = Kind::ALL.into_iter().filter(|kind| *kind != Kind::KillService).collect();
    let kills = schedule(3, HALF_AN_HOUR, &all_but_one);
    assert!(kills.len() > 100 && kills.iter().all(|disruption| disruption.at <= HALF_AN_HOUR * 2 / 3));
}

#[test]
fn command_line_takes_ours_and_those_of_the_test_harness() {
    let read = |line: &str| args::read(line.split_whitespace().map(str::to_owned));
    let Ok(Asked::Play(run)) =
        read("--minutes 30 --seed 7 --rate=12.5 --nocapture --test-threads 1 --only WipeBroker,Cancel")
    else {
        panic!("it plays")
    };
    assert_eq!((run.length, run.seed, run.rate, run.smoke), (HALF_AN_HOUR, 7, Some(12.5), false));
    assert_eq!(run.only, ["WipeBroker", "Cancel"]);
    assert!(matches!(read(""), Ok(Asked::Play(run)) if run.smoke));
    assert!(matches!(read("--seconds 40"), Ok(Asked::Play(run)) if run.smoke));
    assert!(matches!(read("monkey"), Ok(Asked::Play(_))), "a filter that names it");
    assert_eq!(read("everything_delivered_twice"), Ok(Asked::Nothing));
    assert_eq!(read("--list"), Ok(Asked::List));
    assert_eq!(args::listed().lines().next(), Some("the_installation_survives_the_monkey: test"));
    for wrong in ["--minutes 0", "--minutes", "--rate -1", "--seed x", "--minutes inf"] {
        assert!(read(wrong).is_err(), "{wrong}");
    }
    assert_eq!(
        args::summary(1, 0, 0),
        "test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"
    );
}

#[test]
fn level_tells_a_leak_from_an_allocator_that_keeps_something() {
    let looks = |memory: u64, descriptors| {
        Looks::from([("c".to_owned(), Look { memory: memory << 20, descriptors })])
    };
    let before = looks(60, 40);
    assert_eq!(level::not_back(&before, &looks(180, 60)), Vec::<String>::new());
    assert_eq!(level::not_back(&before, &looks(200, 40)).len(), 1, "memory");
    assert_eq!(level::not_back(&before, &looks(60, 400)).len(), 1, "descriptors");
    assert_eq!(level::not_back(&before, &Looks::new()).len(), 1, "it is gone");
    let mut peaks = before.clone();
    level::highest(&mut peaks, &looks(50, 70));
    assert_eq!(peaks, looks(60, 70));
    assert_eq!(level::too_large(&looks(700, 0)), Vec::<String>::new());
    assert_eq!(level::too_large(&looks(900, 0)), ["c holds 900 MiB"]);
}
