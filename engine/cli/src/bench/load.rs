//! The closed loop: as many sagas in flight as asked for, a new one for each that ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use redress_coordinator::{Ended, Engine, StartRequest};
use redress_core::{SagaDefinition, SagaId};
use redress_participant::Service;
use serde_json::{Value, json};
use tokio::sync::{Semaphore, mpsc};

use super::args::{BenchArgs, Participants};
use super::machine::round;
use super::percentiles::Percentiles;
use crate::failure::Failure;
use crate::program::App;

/// How long the bench goes on without the end of any saga before it gives up.
const PATIENCE: Duration = Duration::from_secs(120);

/// The sagas to start, and the engine that starts them.
pub(super) struct Load {
    engine: Engine,
    saga: &'static str,
    good: Value,
    bad: Value,
    bad_faults: Option<Value>,
    fail_rate: f64,
}

/// The measured values.
pub(crate) struct Measured {
    seconds: f64,
    latencies_ms: Vec<f64>,
    ends: HashMap<&'static str, u64>,
}

/// The services to which the saga of the load sends commands.
pub(super) fn services_of_the_load(app: &App) -> Vec<&'static str> {
    let saga = app.demo.first().map(|start| start.saga);
    let of_saga = |it: &&SagaDefinition| saga.is_none_or(|saga| *it.name == *saga);
    let steps = || app.definitions.iter().filter(of_saga).flat_map(|it| &it.steps);
    let is_needed = |it: &&str| steps().any(|step| *step.service == **it);
    app.services.iter().map(Service::name).filter(is_needed).collect()
}

impl Load {
    pub(super) fn new(engine: Engine, app: &App, args: &BenchArgs) -> Self {
        let fail_rate = args.fail_rate;
        let good = app.demo.first();
        let bad = app.demo.iter().rfind(|it| good.is_some_and(|good| good.saga == it.saga));
        match (args.participants, good, bad) {
            (Participants::Real, Some(good), Some(bad)) => {
                let (saga, good, bad) = (good.saga, good.input.clone(), bad.input.clone());
                Self { engine, saga, good, bad, bad_faults: None, fail_rate }
            }
            (Participants::Real | Participants::Echo, _, _) => {
                let input = json!({
                    "customer": "alice", "address": "1 Harbour Street, Reykjavik", "sku": "book",
                    "quantity": 2, "amount": 3000,
                });
                let reject = json!([{ "step": "ship", "kind": "reject", "code": "bench" }]);
                let (good, bad) = (input.clone(), input);
                Self { engine, saga: "bench-order", good, bad, bad_faults: Some(reject), fail_rate }
            }
        }
    }

    /// The saga of this number; every so many, by the rate, is one that fails.
    fn request(&self, number: u64) -> StartRequest {
        let failures = |count: u64| (count as f64 * self.fail_rate) as u64;
        let fails = failures(number + 1) > failures(number);
        StartRequest {
            saga: self.saga.to_owned(),
            input: if fails { self.bad.clone() } else { self.good.clone() },
            faults: if fails { self.bad_faults.clone() } else { None },
            key: uuid::Uuid::now_v7().to_string(),
            ..StartRequest::default()
        }
    }

    /// Runs so many sagas, so many at once.
    pub(super) async fn run(&self, sagas: u64, concurrency: usize, show: bool) -> Result<Measured, Failure> {
        let progress = if show { progress_bar(sagas, "") } else { ProgressBar::hidden() };
        closed_loop(&self.engine, sagas, concurrency, progress, |number| self.request(number)).await
    }
}

/// Runs so many sagas, so many at once; `request` is called with the number of each, from 0, right before its start.
pub(crate) async fn closed_loop(
    engine: &Engine,
    sagas: u64,
    concurrency: usize,
    progress: ProgressBar,
    request: impl Fn(u64) -> StartRequest,
) -> Result<Measured, Failure> {
    let slots = Arc::new(Semaphore::new(concurrency));
    let ended = engine.watch_ended();
    let (starts, started) = mpsc::unbounded_channel();
    let begin = Instant::now();
    let collector = tokio::spawn({
        let (slots, progress) = (slots.clone(), progress.clone());
        async move {
            let collected = collect(sagas, ended, started, &slots, progress).await;
            slots.close();
            collected
        }
    });
    for number in 0..sagas {
        // The collector has given up and closed the slots; it reports the reason.
        let Ok(slot) = slots.acquire().await else { break };
        slot.forget();
        let (engine, request, starts) = (engine.clone(), request(number), starts.clone());
        tokio::spawn(async move {
            let at = Instant::now();
            // A failed start is told by the closing of the channel, with the error beside it.
            let _ = starts.send(engine.start_request(request).await.map(|started| (started.id, at)));
        });
    }
    drop(starts);
    let (latencies_ms, ends) = collector.await??;
    progress.finish_and_clear();
    Ok(Measured { seconds: begin.elapsed().as_secs_f64(), latencies_ms, ends })
}

type StartResult = Result<(SagaId, Instant), redress_coordinator::StartError>;
type Collected = (Vec<f64>, HashMap<&'static str, u64>);

/// Pairs each start with its end; either may arrive first.
async fn collect(
    sagas: u64,
    mut ended: mpsc::UnboundedReceiver<Ended>,
    mut started: mpsc::UnboundedReceiver<StartResult>,
    slots: &Semaphore,
    progress: ProgressBar,
) -> Result<Collected, anyhow::Error> {
    let mut begun: HashMap<SagaId, Instant> = HashMap::new();
    let mut early: HashMap<SagaId, Instant> = HashMap::new();
    let mut latencies_ms = Vec::with_capacity(usize::try_from(sagas).unwrap_or_default());
    let mut ends: HashMap<&'static str, u64> = HashMap::new();
    while (latencies_ms.len() as u64) < sagas {
        let took = tokio::select! {
            Some(start) = started.recv() => {
                let (id, at) = start?;
                match early.remove(&id) {
                    Some(end) => Some(end - at),
                    None => {
                        begun.insert(id, at);
                        None
                    }
                }
            }
            Some(end) = ended.recv() => {
                *ends.entry(end.status).or_default() += 1;
                match begun.remove(&end.id) {
                    Some(at) => Some(at.elapsed()),
                    None => {
                        early.insert(end.id, Instant::now());
                        None
                    }
                }
            }
            () = tokio::time::sleep(PATIENCE) => {
                anyhow::bail!("nothing has ended for {} s; {} sagas are open", PATIENCE.as_secs(), begun.len());
            }
        };
        if let Some(took) = took {
            latencies_ms.push(took.as_secs_f64() * 1_000.0);
            slots.add_permits(1);
            progress.inc(1);
        }
    }
    Ok((latencies_ms, ends))
}

/// A bar on the terminal, with the title before it.
pub(crate) fn progress_bar(sagas: u64, title: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix}{bar:40} {pos}/{len} sagas, {per_sec}");
    let bar = ProgressBar::new(sagas).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()));
    if title.is_empty() { bar } else { bar.with_prefix(format!("{title:14}")) }
}

impl Measured {
    /// From the first start to the last end.
    pub(crate) fn seconds(&self) -> f64 {
        self.seconds
    }

    pub(super) fn report(self, concurrency: usize) -> Value {
        let latencies = Percentiles::of(self.latencies_ms);
        let sagas = latencies.count();
        let at = |part: f64| round(latencies.ms(part), 2);
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

/// A run in a line or two.
pub(super) fn as_text(report: &Value) -> String {
    let (latency, cpu) = (&report["latency_ms"], &report["cpu_seconds_per_1000_sagas"]);
    format!(
        "{} in flight: {} sagas/s ({} completed, {} compensated)\n  latency ms: p50 {} p90 {} p99 {} max {}\n  \
         CPU s per 1,000 sagas: {} (coordinator {}, participants {}, postgres {}, nats {})",
        report["concurrency"],
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
    format!(
        "participants: {}; redress {} ({} build), Postgres {}, NATS {}\ndurability: fsync {}, synchronous_commit {}, \
         full_page_writes {}; NATS sync_interval: {}",
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
