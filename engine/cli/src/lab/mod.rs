//! `redress lab`: the three delivery guarantees side by side, on real servers and a bad network.
//!
//! An account is charged a number of times with each guarantee, one saga for each charge, while a proxy between services
//! and broker loses, doubles and delays messages. The books say afterwards what was lost and what was doubled:
//!
//! - **At most once** is a notification: sent once over core NATS, never acknowledged, never sent again. It loses.
//! - **At least once** is a step without an inbox: sent until it is answered. It doubles.
//! - **Exactly once** is the default: the effect commits with the row of the inbox that recognises the command.
//!
//! The command fails if a promise was not kept; that a guarantee does worse than another one where it may is no failure.
//! The same seed loses and doubles the same messages (`redress_devstack::NatsProxy` says what a message is); how often a
//! message is sent again depends on time, and with it how often at least once doubles.

mod args;
mod books;
mod chart;
mod contracts;
mod guarantee;
mod ledger;
mod percentiles;
mod report;
mod services;
mod timings;
mod trial;

use std::io::IsTerminal as _;
use std::path::Path;

use indicatif::ProgressBar;
use redress_devstack::{Data, Durability, Stack};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use args::Experiment;
pub(crate) use args::LabArgs;
use guarantee::Guarantee;
use trial::{Laboratory, Outcome};

use crate::args::Output;
use crate::bench::{private_servers, progress_bar};
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, shutdown_on_signal};
use crate::legible::say;
use crate::render;

pub(crate) async fn run(args: LabArgs, output: Output) -> Result<Exit, Failure> {
    let experiment = args.experiment()?;
    let shutdown = shutdown_on_signal();
    tokio::select! {
        ended = carry_out(&experiment, args.chart.as_deref(), output) => ended,
        // Private servers end with what holds them.
        () = shutdown.cancelled() => Ok(Exit::Interrupted),
    }
}

async fn carry_out(experiment: &Experiment, chart: Option<&Path>, output: Output) -> Result<Exit, Failure> {
    let servers = Servers::open(&private_servers(), Data::Ephemeral, Durability::Full).await?;
    let stack = servers.stack.as_ref().ok_or_else(|| anyhow::anyhow!("a lab runs on private servers"))?;
    let outcomes = all_trials(&servers, stack, experiment).await?;
    let mut report = report::as_json(experiment, &outcomes);
    report["versions"] = versions(stack);
    servers.stop().await;
    if let Some(chart) = chart {
        write_chart(chart, &chart::svg(experiment, &outcomes))?;
    }
    render::print(output, &report, |_| report::as_text(experiment, &outcomes));
    match report::broken(&outcomes) {
        None => Ok(Exit::Ok),
        Some(words) => {
            let error = anyhow::Error::msg(words).context("a guarantee did not hold");
            let seed = experiment.faults.seed;
            Err(Failure::new(1, error).remedy(format!("--seed {seed} again, and report what it says")))
        }
    }
}

/// The guarantees one after the other, so that none takes the machine from another one.
async fn all_trials(
    servers: &Servers,
    stack: &Stack,
    experiment: &Experiment,
) -> Result<Vec<Outcome>, Failure> {
    let definitions = Guarantee::ALL.map(|guarantee| contracts::definition(guarantee, &experiment.faults));
    let engine = servers.engine(definitions.into(), |_| {}).await?;
    let stop = CancellationToken::new();
    let coordinator = {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move { engine.run(stop).await })
    };
    let outcomes = one_by_one(&Laboratory { servers, stack, engine: &engine, experiment }).await;
    // Before the servers, also if a trial has failed.
    stop.cancel();
    coordinator.await?;
    outcomes
}

async fn one_by_one(laboratory: &Laboratory<'_>) -> Result<Vec<Outcome>, Failure> {
    let mut outcomes = Vec::with_capacity(Guarantee::ALL.len());
    for guarantee in Guarantee::ALL {
        let progress = match std::io::stderr().is_terminal() {
            true => progress_bar(u64::from(laboratory.experiment.charges), guarantee.words()),
            false => ProgressBar::hidden(),
        };
        outcomes.push(laboratory.trial(guarantee, progress).await?);
    }
    Ok(outcomes)
}

fn versions(stack: &Stack) -> Value {
    json!({
        "redress": env!("CARGO_PKG_VERSION"),
        "postgres": stack.postgres().version().to_string(),
        "nats": stack.nats().version().to_string(),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
    })
}

fn write_chart(chart: &Path, svg: &str) -> Result<(), Failure> {
    std::fs::write(chart, svg).map_err(|error| {
        let error =
            anyhow::Error::from(error).context(format!("the chart cannot be written to {}", chart.display()));
        Failure::new(1, error).remedy("--chart with a file that you may write")
    })?;
    say(&format!("the chart is in {}", chart.display()));
    Ok(())
}
