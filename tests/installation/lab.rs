//! The lab: what must be lost, doubled and kept with each guarantee, on real servers and a network that loses and doubles.

use std::process::{Command, Output};

use serde_json::Value;

/// Runs `redress lab`, where no server is named.
fn lab(arguments: &str) -> Output {
    Command::new(env!("CARGO_BIN_EXE_redress"))
        .arg("lab")
        .args(arguments.split_whitespace())
        .env_remove("DATABASE_URL")
        .env_remove("NATS_URL")
        .output()
        .expect("the demo binary starts")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Runs it and reads its results.
fn results(arguments: &str) -> Value {
    let output = lab(&format!("{arguments} --output json"));
    assert_eq!(output.status.code(), Some(0), "{}\n{}", text(&output.stdout), text(&output.stderr));
    serde_json::from_slice(&output.stdout).expect("JSON on standard output")
}

fn of<'r>(results: &'r Value, guarantee: &str) -> &'r Value {
    let all = results["guarantees"].as_array().expect("a list");
    all.iter().find(|it| it["guarantee"] == guarantee).expect("each guarantee is tried")
}

/// The charges that were lost and doubled; they must agree with the balance.
fn lost_and_doubled(results: &Value, guarantee: &str) -> (u64, u64) {
    let it = of(results, guarantee);
    let count = |name: &str| it[name].as_i64().expect("a number");
    let balance = |name: &str| it["balance_cents"][name].as_i64().expect("an amount");
    let (lost, surplus) = (count("lost"), count("surplus_effects"));
    assert_eq!(balance("found"), balance("expected") + 100 * (lost - surplus), "{it:#}");
    assert_eq!(it["held"], true, "{it:#}");
    (lost.unsigned_abs(), count("doubled").unsigned_abs())
}

const BAD_NETWORK: &str = "--charges 60 --loss 0.15 --duplication 0.1 --seed 5";

#[test]
fn each_guarantee_keeps_its_promise_and_no_other_one() {
    let folder = tempfile::tempdir().expect("a folder");
    let chart = folder.path().join("lab.svg");
    let results = results(&format!("{BAD_NETWORK} --latency-ms 10 --chart {}", chart.display()));
    assert_eq!(of(&results, "exactly-once")["balance_cents"]["expected"], 4_000);
    for kind in ["deliveries", "replies", "acknowledgements"] {
        let lost = of(&results, "exactly-once")["messages"][kind]["lost"].as_u64();
        assert!(lost > Some(0), "no loss of {kind}: the network was not bad\n{results:#}");
    }

    let (lost, doubled) = lost_and_doubled(&results, "at-most-once");
    assert!(lost > 0 && doubled == 0, "at most once loses and never doubles: {lost} and {doubled}");
    let (lost, doubled) = lost_and_doubled(&results, "at-least-once");
    assert!(lost == 0 && doubled > 0, "at least once doubles and never loses: {lost} and {doubled}");
    let (lost, doubled) = lost_and_doubled(&results, "exactly-once");
    assert!(lost == 0 && doubled == 0, "exactly once does neither: {lost} and {doubled}");

    let svg = std::fs::read_to_string(chart).expect("the chart");
    for words in ["<svg ", "at most once", "at least once", "exactly once: 0 lost, 0 doubled", "seed 5"] {
        assert!(svg.contains(words), "{words} is not in the chart");
    }

    // The same messages are lost however they are timed.
    let again = self::results(&format!("{BAD_NETWORK} --latency-ms 0 --concurrency 10"));
    let lost = |results| of(results, "at-most-once")["lost_charges"].clone();
    assert_eq!(lost(&again), lost(&results));
}

#[test]
fn good_network_loses_and_doubles_nothing() {
    let output = lab("--charges 3 --loss 0 --duplication 0 --latency-ms 0");
    let (table, stderr) = (text(&output.stdout), text(&output.stderr));
    assert_eq!(output.status.code(), Some(0), "{table}\n{stderr}");
    for guarantee in ["at most once", "at least once", "exactly once"] {
        let row = table.lines().find(|line| line.trim_start().starts_with(guarantee)).expect("a row");
        let cells: Vec<&str> = row.trim_start()[guarantee.len()..].split_whitespace().collect();
        assert_eq!(cells[..4], ["97.00", "97.00", "0", "0"], "{table}");
        assert_eq!(cells.last(), Some(&"held"), "{table}");
    }
}

#[test]
fn experiment_that_cannot_be_carried_out_is_a_usage_error_with_cause_and_remedy() {
    for (arguments, message) in [
        ("--charges 0", "error: --charges is 0\n  because: "),
        ("--loss 1", "error: --loss is 1\n  because: "),
        ("--duplication -0.5", "error: "),
        ("--latency-ms 5000", "error: --latency-ms is 5000\n  because: "),
        ("--chart /nowhere/lab.svg", "error: the chart cannot be written to /nowhere/lab.svg\n  because: "),
    ] {
        let output = lab(arguments);
        let stderr = text(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments}: {stderr}");
        assert!(stderr.starts_with(message), "{arguments}: {stderr}");
        assert!(stderr.contains("  try: ") || stderr.contains("--help"), "{arguments}: {stderr}");
        assert_eq!(text(&output.stdout), "", "{arguments}");
    }
}
