//! `redress bench`: throughput and latency of whole sagas, closed loop, on durable private servers.
//!
//! Participants run as a process of their own, so that CPU time can be told apart. The client runs in the coordinator's
//! process, and its cost is counted there. A warm-up comes first and is not counted.

mod args;
mod load;
mod machine;
mod percentiles;
mod saga;

use std::io::IsTerminal;

use args::Participants;
use load::Load;
use machine::Machine;
use redress_devstack::{Data, Durability};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio_util::sync::CancellationToken;

pub(crate) use args::BenchArgs;
pub(crate) use load::{closed_loop, progress_bar};
pub(crate) use machine::round;
pub(crate) use percentiles::Percentiles;

use crate::args::{Output, SERVICE_CONCURRENCY, ServersArgs};
use crate::failure::{Exit, Failure};
use crate::installation::Servers;
use crate::program::App;
use crate::render;

/// Sagas of the warm-up.
const WARM_UP_SAGAS: u64 = 1_000;

pub(crate) async fn run(app: App, args: BenchArgs, output: Output) -> Result<Exit, Failure> {
    if args.sagas == 0 || args.concurrency.contains(&0) || !(0.0..=1.0).contains(&args.fail_rate) {
        return Err(Failure::usage("--sagas and --concurrency are at least 1, --fail-rate is from 0 to 1"));
    }
    let private = private_servers();
    let servers = Servers::open(&private, Data::Ephemeral, Durability::Full).await?;
    let echo = args.participants == Participants::Echo;
    let names: Vec<&str> = if echo { saga::SERVICES.to_vec() } else { load::services_of_the_load(&app) };
    let mut definitions = app.definitions.clone();
    definitions.push(saga::definition());
    let engine = servers.engine(definitions, |config| config.allow_faults = echo).await?;
    let mut participants = servers.service_command(&names, echo)?.spawn()?;
    let stdout = participants.stdout.take().ok_or_else(|| anyhow::anyhow!("the services have no output"))?;
    if BufReader::new(stdout).lines().next_line().await?.is_none() {
        return Err(
            anyhow::anyhow!("the services could not be started: {}", participants.wait().await?).into()
        );
    }
    let stop = CancellationToken::new();
    let coordinator = {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move { engine.run(stop).await })
    };
    let stack = servers.stack.as_ref().ok_or_else(|| anyhow::anyhow!("a bench runs on private servers"))?;
    let machine = Machine {
        coordinator: std::process::id(),
        participants: participants.id().unwrap_or_default(),
        postgres: stack.postgres().pid(),
        nats: stack.nats().pid(),
    };
    let load = Load::new(engine.clone(), &app, &args);
    load.run(WARM_UP_SAGAS.min(args.sagas), 100, false).await?;
    let (mut report, runs) = measure(&load, &machine, &args, output).await?;
    report["participants"] = json!(if echo { "echo" } else { "real" });
    report["runs"] = json!(runs);
    report["durability"] = json!(engine.durability().await?);
    report["durability"]["nats_sync_interval"] = json!("server default");
    report["versions"] = json!({
        "redress": env!("CARGO_PKG_VERSION"),
        "postgres": stack.postgres().version().to_string(),
        "nats": stack.nats().version().to_string(),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
    });
    stop.cancel();
    coordinator.await?;
    drop(participants.stdin.take());
    participants.wait().await?;
    servers.stop().await;
    match output {
        Output::Json => render::emit(&format!("{report:#}")),
        Output::Jsonl => render::emit(&report.to_string()),
        Output::Text => render::emit(&load::conditions(&report)),
    }
    Ok(Exit::Ok)
}

/// Servers of the command's own, whatever the environment names.
pub(crate) fn private_servers() -> ServersArgs {
    ServersArgs {
        database_url: None,
        nats_url: None,
        prefix: "redress".to_owned(),
        ack_wait_ms: 30_000,
        stream_bytes_max: 1 << 30,
        service_concurrency: SERVICE_CONCURRENCY,
    }
}

/// Runs the load once for each concurrency; gives the best report, and all of them.
async fn measure(
    load: &Load,
    machine: &Machine,
    args: &BenchArgs,
    output: Output,
) -> Result<(Value, Vec<Value>), Failure> {
    let rate = |report: &Value| report["sagas_per_second"].as_f64().unwrap_or_default();
    let (mut best, mut runs) = (Value::Null, Vec::new());
    for &concurrency in &args.concurrency {
        let before = machine.read();
        let measured = load.run(args.sagas, concurrency, std::io::stderr().is_terminal()).await?;
        let mut report = measured.report(concurrency);
        machine.read().since(&before).add_to(&mut report, args.sagas);
        if output == Output::Text {
            render::emit(&load::as_text(&report));
        }
        if best.is_null() || rate(&report) > rate(&best) {
            best = report.clone();
        }
        runs.push(report);
    }
    Ok((best, runs))
}
