//! The results as JSON and as a table.

use redress_devstack::{NatsTraffic, TrafficCount};
use serde_json::{Value, json};

use super::args::Experiment;
use super::books::{CHARGE_CENTS, OPENING_CENTS, money};
use super::guarantee::Guarantee;
use super::timings::Latencies;
use super::trial::Outcome;
use crate::bench::round;
use crate::render;

/// The results for programs.
pub(super) fn as_json(experiment: &Experiment, outcomes: &[Outcome]) -> Value {
    let Experiment { charges, concurrency, faults } = experiment;
    json!({
        "seed": faults.seed,
        "charges": charges,
        "concurrency": concurrency,
        "opening_balance_cents": OPENING_CENTS,
        "charge_cents": CHARGE_CENTS,
        "network": {
            "loss": faults.loss,
            "duplication": faults.duplication,
            "latency_ms": u64::try_from(faults.latency.as_millis()).unwrap_or(u64::MAX),
        },
        "guarantees": outcomes.iter().map(of_guarantee).collect::<Vec<_>>(),
    })
}

fn of_guarantee(outcome: &Outcome) -> Value {
    let Outcome { guarantee, books, latencies, traffic, seconds } = outcome;
    let latency_ms = Latencies::PERCENTILES.map(|(name, part)| {
        let ms = round(latencies.ms(part), 1);
        (name.to_owned(), json!(ms))
    });
    json!({
        "guarantee": guarantee.name(),
        "never": guarantee.never(),
        "held": books.breaches(*guarantee).is_empty(),
        "balance_cents": { "expected": books.expected_cents(), "found": books.found_cents() },
        "lost": books.lost().len(),
        "lost_charges": books.lost(),
        "doubled": books.doubled().len(),
        "doubled_charges": books.doubled(),
        "surplus_effects": books.surplus_effects(),
        "latency_ms": latency_ms.into_iter().collect::<serde_json::Map<_, _>>(),
        "charges_per_second": round(latencies.charges_per_second, 1),
        "seconds": round(*seconds, 3),
        "messages": {
            "deliveries": of_count(traffic.deliveries),
            "notifications": of_count(traffic.plain),
            "replies": of_count(traffic.publications),
            "acknowledgements": of_count(traffic.acknowledgements),
        },
    })
}

fn of_count(count: TrafficCount) -> Value {
    let TrafficCount { came, lost, doubled } = count;
    json!({ "came": came, "lost": lost, "doubled": doubled })
}

/// The results for people: the network in a sentence, and the guarantees side by side.
pub(super) fn as_text(experiment: &Experiment, outcomes: &[Outcome]) -> String {
    let Experiment { charges, faults, .. } = experiment;
    let mut table = render::table(&[
        "guarantee",
        "expected",
        "found",
        "lost",
        "doubled",
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
        "charges/s",
        "messages lost, doubled",
        "never",
    ]);
    for outcome in outcomes {
        table.add_row(row(outcome));
    }
    format!(
        "An account of {}, and {charges} charges of {} with each guarantee. Of the messages between services and NATS {} are \
         lost,\n{} come twice, and each is under way for {} ms. Seed {}.\n\n{}",
        money(OPENING_CENTS),
        money(CHARGE_CENTS),
        percent(faults.loss),
        percent(faults.duplication),
        faults.latency.as_millis(),
        faults.seed,
        trimmed(&table.to_string()),
    )
}

fn row(outcome: &Outcome) -> [String; 12] {
    let Outcome { guarantee, books, latencies, traffic, .. } = outcome;
    let ms = |part| format!("{:.0}", latencies.ms(part));
    let (lost, doubled) = messages(traffic);
    let held = if books.breaches(*guarantee).is_empty() { "held" } else { "BROKEN" };
    [
        guarantee.words().to_owned(),
        money(books.expected_cents()),
        money(books.found_cents()),
        books.lost().len().to_string(),
        books.doubled().len().to_string(),
        ms(0.5),
        ms(0.9),
        ms(0.99),
        ms(1.0),
        format!("{:.0}", latencies.charges_per_second),
        format!("{lost}, {doubled}"),
        format!("{}: {held}", guarantee.never()),
    ]
}

/// The messages that were lost and that were doubled, of all kinds.
fn messages(traffic: &NatsTraffic) -> (u64, u64) {
    let NatsTraffic { deliveries, plain, publications, acknowledgements, unacknowledged: _ } = traffic;
    let all = [deliveries, plain, publications, acknowledgements];
    (all.iter().map(|count| count.lost).sum(), all.iter().map(|count| count.doubled).sum())
}

/// Lines without blanks at their end.
fn trimmed(text: &str) -> String {
    text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n")
}

/// A part of the messages, for people.
pub(super) fn percent(part: f64) -> String {
    format!("{} %", round(part * 100.0, 2))
}

/// The promises that were not kept, in words; none if all were.
pub(super) fn broken(outcomes: &[Outcome]) -> Option<String> {
    let words = |outcome: &Outcome| -> Vec<String> {
        let guarantee: Guarantee = outcome.guarantee;
        let breaches = outcome.books.breaches(guarantee);
        breaches.iter().map(|breach| format!("{} {breach}", guarantee.words())).collect()
    };
    let broken: Vec<String> = outcomes.iter().flat_map(words).collect();
    (!broken.is_empty()).then(|| broken.join("; "))
}
