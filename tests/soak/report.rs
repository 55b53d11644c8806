//! Prints the plan before the run, and the tables after it.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::answers::Answers;
use super::book::{Notes, Tally};
use super::level::Looks;
use super::plan::{Disruption, Kind};
use super::support::check::Evidence;

/// The plan in one paragraph: every disruption and its second.
pub(crate) fn plan(plan: &[Disruption]) -> String {
    let disruptions = plan.iter().map(|disruption| {
        let length = match disruption.length.as_secs_f64() {
            0.0 => String::new(),
            seconds => format!(" ({seconds:.0} s)"),
        };
        format!("{:.0} {:?}{length}", disruption.at.as_secs_f64(), disruption.kind)
    });
    disruptions.collect::<Vec<_>>().join(", ")
}

/// Kinds that were to be played and for which there is no proof.
pub(crate) fn unproven(plan: &[Disruption], tallies: &BTreeMap<Kind, Tally>) -> Vec<String> {
    let mut kinds: Vec<Kind> = plan.iter().map(|disruption| disruption.kind).collect();
    kinds.sort_unstable();
    kinds.dedup();
    kinds.retain(|kind| tallies.get(kind).copied().unwrap_or_default().proofs == 0);
    kinds.into_iter().map(|kind| format!("nothing shows that {kind:?} happened")).collect()
}

/// The levels of a process at three times.
pub(crate) struct Levels<'a> {
    pub(crate) before: &'a Looks,
    pub(crate) peaks: &'a Looks,
    pub(crate) after: &'a Looks,
}

/// All tables.
pub(crate) fn tables(
    notes: &Notes,
    ends: &BTreeMap<String, u64>,
    evidence: &Evidence,
    answers: &Answers,
    levels: &Levels<'_>,
) -> String {
    let mut text = String::new();
    let mut line = |what: std::fmt::Arguments<'_>| writeln!(text, "{what}").expect("a text takes lines");
    line(format_args!("\n{:<20} {:>7} {:>9}", "disruption", "played", "happened"));
    for (kind, tally) in &notes.tallies {
        line(format_args!("{:<20} {:>7} {:>9}", format!("{kind:?}"), tally.played, tally.proofs));
    }
    line(format_args!("\n{:<20} {:>7}", "orders by end", "sagas"));
    for (end, count) in ends {
        line(format_args!("{end:<20} {count:>7}"));
    }
    line(format_args!("{:<20} {:>7}", "left out", notes.left_out));
    let statuses: Vec<String> = notes
        .answers
        .iter()
        .map(|(status, count)| match status {
            0 => format!("none: {count}"),
            status => format!("{status}: {count}"),
        })
        .collect();
    line(format_args!("answers to starts: {}", statuses.join(", ")));
    line(format_args!(
        "redelivered {}, final answers heard {}, sent again {}, not answered in time {}, late {}, settled {}",
        answers.redelivered(),
        answers.heard(),
        evidence.resent,
        evidence.timed_out,
        evidence.late,
        evidence.settled
    ));
    line(format_args!(
        "poison thrown {}, of which the broker stored {}",
        notes.poison.len(),
        notes.poison.values().filter(|thrown| thrown.stored).count()
    ));
    let exits: Vec<String> =
        notes.exits.iter().map(|((role, manner), times)| format!("{role} {manner} {times}x")).collect();
    line(format_args!("ends of processes: {}", exits.join(", ")));
    line(format_args!(
        "\n{:<16} {:>18} {:>18} {:>18}",
        "MiB/descriptors", "after warm-up", "highest", "in the end"
    ));
    for role in levels.before.keys() {
        let said = |looks: &Looks| {
            let look = looks.get(role).copied().unwrap_or_default();
            format!("{}/{}", look.memory >> 20, look.descriptors)
        };
        let (before, peak, after) = (said(levels.before), said(levels.peaks), said(levels.after));
        line(format_args!("{role:<16} {before:>18} {peak:>18} {after:>18}"));
    }
    text
}
