//! What a bench reports: as JSON, whose keys stay what they are, and for people.

use serde_json::{Value, json};

use super::args::{BenchArgs, Participants};
use super::drive::Measured;
use super::machine::round;

impl Measured {
    /// A run with so many in flight.
    pub(super) fn report(&self, concurrency: usize) -> Value {
        let sagas = self.latencies.count();
        let at = |part: f64| round(self.latencies.ms(part), 2);
        let count = |status: &str| self.ends.get(status).copied().unwrap_or_default();
        json!({
            "concurrency": concurrency,
            "sagas": sagas,
            "completed": count("completed"),
            "compensated": count("compensated"),
            "parked": count("parked"),
            "seconds": round(self.seconds, 3),
            "sagas_per_second": round(sagas as f64 / self.seconds, 1),
            "latency_ms": { "p50": at(0.5), "p90": at(0.9), "p99": at(0.99), "max": at(1.0) },
        })
    }
}

/// Adds how it was measured to a report: by which way, in which loop, with which rate (`null` in a closed loop), from when on
/// a latency counts, and what was in the journal before.
pub(super) fn say_how(report: &mut Value, args: &BenchArgs) {
    let pace = args.pace();
    report["participants"] = json!(match args.participants {
        Participants::Echo => "echo",
        Participants::Real => "real",
    });
    report["via"] = json!(args.via.word());
    report["loop"] = json!(pace.word());
    report["rate"] = json!(pace.rate());
    report["latency_from"] = json!(pace.measured_from());
    report["preloaded"] = json!(args.preload);
}

/// A run in a few lines.
pub(super) fn as_text(report: &Value, args: &BenchArgs) -> String {
    let (latency, cpu) = (&report["latency_ms"], &report["cpu_seconds_per_1000_sagas"]);
    let in_flight = &report["concurrency"];
    let load = match args.rate {
        None => format!("{in_flight} in flight"),
        Some(rate) => format!("{rate} started per second, at most {in_flight} in flight"),
    };
    let client = match &report["client_cpu_seconds_per_1000_sagas"] {
        Value::Null => String::new(),
        seconds => format!("; the client's own, not counted: {seconds}"),
    };
    format!(
        "{load}: {} sagas/s ({} completed, {} compensated)\n  latency ms: p50 {} p90 {} p99 {} max {}\n  \
         CPU s per 1,000 sagas: {} (coordinator {}, participants {}, postgres {}, nats {}){client}",
        report["sagas_per_second"],
        report["completed"],
        report["compensated"],
        latency["p50"],
        latency["p90"],
        latency["p99"],
        latency["max"],
        cpu["total"],
        cpu["coordinator"],
        cpu["participants"],
        cpu["postgres"],
        cpu["nats"],
    )
}

/// Under which conditions it was measured, for people.
pub(super) fn conditions(report: &Value) -> String {
    let (durability, versions) = (&report["durability"], &report["versions"]);
    let said = |value: &Value| value.as_str().unwrap_or("unknown").to_owned();
    let way = match report["via"].as_str() {
        Some("http") => "over HTTP",
        _ => "in process, the client counted as coordinator",
    };
    format!(
        "started {way}; {} loop, latencies from the {}; {} ended sagas in the journal before\nparticipants: {}; redress {} ({} build), \
         Postgres {}, NATS {}\ndurability: fsync {}, synchronous_commit {}, full_page_writes {}; NATS sync_interval: {}",
        said(&report["loop"]),
        said(&report["latency_from"]).replace('-', " "),
        report["preloaded"],
        said(&report["participants"]),
        said(&versions["redress"]),
        said(&versions["build"]),
        said(&versions["postgres"]),
        said(&versions["nats"]),
        said(&durability["fsync"]),
        said(&durability["synchronous_commit"]),
        said(&durability["full_page_writes"]),
        said(&durability["nats_sync_interval"]),
    )
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, HashMap};
    use std::time::Duration;

    use clap::Parser as _;

    use super::*;
    use crate::bench::latencies::Latencies;
    use crate::bench::machine::Reading;

    fn reported(line: &str, client_cpu_seconds: Option<f64>) -> (Value, BenchArgs) {
        let args = BenchArgs::parse_from(["bench"].into_iter().chain(line.split_whitespace()));
        let mut latencies = Latencies::new();
        (1..=100).for_each(|ms| latencies.record(Duration::from_millis(ms)));
        let ends = HashMap::from([("completed", 90), ("compensated", 10)]);
        let mut report = Measured { seconds: 0.5, latencies, ends }.report(10);
        let processes = ["coordinator", "participants", "postgres", "nats"];
        let reading = Reading {
            cpu_seconds: processes.into_iter().map(|name| (name, 0.01)).collect(),
            client_cpu_seconds,
            rss_mib: processes.into_iter().map(|name| (name, 64.2)).collect::<BTreeMap<_, _>>(),
        };
        reading.add_to(&mut report, 100);
        say_how(&mut report, &args);
        (report, args)
    }

    #[test]
    fn report_says_how_it_was_measured() {
        let (report, _) = reported("--rate 200 --preload 1000", Some(0.005));
        insta::assert_snapshot!(format!("{report:#}"), @r#"
        {
          "client_cpu_seconds_per_1000_sagas": 0.05,
          "compensated": 10,
          "completed": 90,
          "concurrency": 10,
          "cpu_seconds_per_1000_sagas": {
            "coordinator": 0.1,
            "nats": 0.1,
            "participants": 0.1,
            "postgres": 0.1,
            "total": 0.4
          },
          "latency_from": "intended-start",
          "latency_ms": {
            "max": 100.03,
            "p50": 50.02,
            "p90": 90.05,
            "p99": 99.01
          },
          "loop": "open",
          "parked": 0,
          "participants": "echo",
          "preloaded": 1000,
          "rate": 200.0,
          "rss_mib": {
            "coordinator": 64.0,
            "nats": 64.0,
            "participants": 64.0,
            "postgres": 64.0
          },
          "sagas": 100,
          "sagas_per_second": 200.0,
          "seconds": 0.5,
          "via": "http"
        }
        "#);
        let (report, _) = reported("--via engine", None);
        let how = ["via", "loop", "rate", "latency_from", "preloaded", "client_cpu_seconds_per_1000_sagas"];
        insta::assert_snapshot!(how.map(|key| format!("{key}: {}", report[key])).join("\n"), @r#"
        via: "engine"
        loop: "closed"
        rate: null
        latency_from: "start"
        preloaded: 0
        client_cpu_seconds_per_1000_sagas: null
        "#);
    }

    #[test]
    fn text_says_how_it_was_measured() {
        let told = [("--rate 200", Some(0.005)), ("--via engine", None)].map(|(line, client)| {
            let (report, args) = reported(line, client);
            format!("{}\n{}", as_text(&report, &args), conditions(&report))
        });
        insta::assert_snapshot!(told.join("\n"), @"
        200 started per second, at most 10 in flight: 200.0 sagas/s (90 completed, 10 compensated)
          latency ms: p50 50.02 p90 90.05 p99 99.01 max 100.03
          CPU s per 1,000 sagas: 0.4 (coordinator 0.1, participants 0.1, postgres 0.1, nats 0.1); the client's own, not counted: 0.05
        started over HTTP; open loop, latencies from the intended start; 0 ended sagas in the journal before
        participants: echo; redress unknown (unknown build), Postgres unknown, NATS unknown
        durability: fsync unknown, synchronous_commit unknown, full_page_writes unknown; NATS sync_interval: unknown
        10 in flight: 200.0 sagas/s (90 completed, 10 compensated)
          latency ms: p50 50.02 p90 90.05 p99 99.01 max 100.03
          CPU s per 1,000 sagas: 0.4 (coordinator 0.1, participants 0.1, postgres 0.1, nats 0.1)
        started in process, the client counted as coordinator; closed loop, latencies from the start; 0 ended sagas in the journal before
        participants: echo; redress unknown (unknown build), Postgres unknown, NATS unknown
        durability: fsync unknown, synchronous_commit unknown, full_page_writes unknown; NATS sync_interval: unknown
        ");
    }
}
