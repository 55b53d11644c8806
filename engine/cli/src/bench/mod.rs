//! `redress bench`: throughput and latency of whole sagas, on durable private servers.
//!
//! By default sagas are started as users start them, over HTTP (`--via http`): the API is served on a loopback port by the
//! coordinator's process, and a client on threads of its own starts each saga and waits for its end in one request. With
//! `--via engine` they are started by calls within the process; the client's cost is counted as the coordinator's then. A
//! closed loop keeps as many sagas in flight as asked for; `--rate` opens it (`pace` says what is measured then).
//!
//! Participants run as a process of their own, so that CPU time can be told apart. With `--preload` the journal is filled
//! first. A warm-up comes next and is not counted.

mod args;
mod connection;
mod drive;
mod http;
mod in_process;
mod latencies;
mod load;
mod machine;
mod pace;
mod pacer;
mod preload;
mod report;
mod saga;
mod threads;
mod transport;

use std::io::IsTerminal;

use args::Participants;
use drive::Drive;
use indicatif::ProgressBar;
use load::Load;
use machine::Machine;
use pace::Pace;
use redress_coordinator::Engine;
use redress_devstack::{Data, Durability, Stack};
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;
use transport::Transport;

pub(crate) use args::BenchArgs;
pub(crate) use drive::progress_bar;
pub(crate) use in_process::closed_loop;
pub(crate) use machine::round;

use crate::args::{Output, SERVICE_CONCURRENCY, ServersArgs};
use crate::failure::{Exit, Failure};
use crate::installation::Servers;
use crate::legible::say;
use crate::program::App;
use crate::render;

/// Sagas of the warm-up.
const WARM_UP_SAGAS: u64 = 1_000;
/// How many of them are in flight at once.
const WARM_UP_CONCURRENCY: usize = 100;

pub(crate) async fn run(app: App, args: BenchArgs, output: Output) -> Result<Exit, Failure> {
    transport::check(&args)?;
    let servers = Servers::open(&private_servers(), Data::Ephemeral, Durability::Full).await?;
    let stack = servers.stack.as_ref().ok_or_else(|| anyhow::anyhow!("a bench runs on private servers"))?;
    let echo = args.participants == Participants::Echo;
    let names: Vec<&str> = if echo { saga::SERVICES.to_vec() } else { load::services_of_the_load(&app) };
    let mut definitions = app.definitions.clone();
    definitions.push(saga::definition());
    let engine = servers.engine(definitions, |config| config.allow_faults = echo).await?;
    let mut participants = participants(&servers, &names, echo).await?;
    let stop = CancellationToken::new();
    let coordinator = {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move { engine.run(stop).await })
    };
    let load = Load::new(&app, &args);
    preload(&servers, &engine, &load, args.preload).await?;
    let transport = Transport::open(args.via, &engine).await?;
    let machine = Machine {
        coordinator: std::process::id(),
        participants: participants.id().unwrap_or_default(),
        postgres: stack.postgres().pid(),
        nats: stack.nats().pid(),
        client: transport.client_threads(),
    };
    let (mut report, runs) = measure(&transport, &load, &machine, &args, output).await?;
    report::say_how(&mut report, &args);
    report["runs"] = json!(runs);
    report["durability"] = json!(engine.durability().await?);
    report["durability"]["nats_sync_interval"] = json!("server default");
    report["versions"] = versions(stack);
    transport.close().await?;
    stop.cancel();
    coordinator.await?;
    drop(participants.stdin.take());
    participants.wait().await?;
    servers.stop().await;
    match output {
        Output::Json => render::emit(&format!("{report:#}")),
        Output::Jsonl => render::emit(&report.to_string()),
        Output::Text => render::emit(&report::conditions(&report)),
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

/// Starts the services as a process, which is ready then.
async fn participants(servers: &Servers, names: &[&str], echo: bool) -> Result<Child, Failure> {
    let mut participants = servers.service_command(names, echo)?.spawn()?;
    let stdout = participants.stdout.take().ok_or_else(|| anyhow::anyhow!("the services have no output"))?;
    if BufReader::new(stdout).lines().next_line().await?.is_none() {
        let ended = participants.wait().await?;
        return Err(anyhow::anyhow!("the services could not be started: {ended}").into());
    }
    Ok(participants)
}

/// Fills the journal with ended sagas, if any are asked for.
async fn preload(servers: &Servers, engine: &Engine, load: &Load, sagas: u64) -> Result<(), Failure> {
    if sagas == 0 {
        return Ok(());
    }
    let copied = (load.templates(engine).await?, load.fail_rate());
    let progress = bar(sagas, "preload");
    preload::preload(&servers.database_url, sagas, copied, &progress).await?;
    progress.finish_and_clear();
    Ok(())
}

/// A bar on the terminal; none where there is no terminal.
fn bar(sagas: u64, title: &'static str) -> ProgressBar {
    if std::io::stderr().is_terminal() { progress_bar(sagas, title) } else { ProgressBar::hidden() }
}

/// Runs the load once for each concurrency, after a warm-up; gives the best report, and all of them.
async fn measure(
    transport: &Transport,
    load: &Load,
    machine: &Machine,
    args: &BenchArgs,
    output: Output,
) -> Result<(Value, Vec<Value>), Failure> {
    let (sagas, concurrency) = (WARM_UP_SAGAS.min(args.sagas), WARM_UP_CONCURRENCY);
    transport
        .run(Drive { pace: Pace::Closed, sagas, concurrency, progress: ProgressBar::hidden() }, load)
        .await?;
    if let Some(address) = transport.address() {
        say(&format!("measuring; the API is at http://{address} meanwhile"));
    }
    let rate = |report: &Value| report["sagas_per_second"].as_f64().unwrap_or_default();
    let (mut best, mut runs) = (Value::Null, Vec::new());
    for &concurrency in &args.concurrency {
        let before = machine.read();
        let progress = bar(args.sagas, "");
        let drive = Drive { pace: args.pace(), sagas: args.sagas, concurrency, progress };
        let mut report = transport.run(drive, load).await?.report(concurrency);
        machine.read().since(&before).add_to(&mut report, args.sagas);
        if output == Output::Text {
            render::emit(&report::as_text(&report, args));
        }
        if best.is_null() || rate(&report) > rate(&best) {
            best = report.clone();
        }
        runs.push(report);
    }
    Ok((best, runs))
}

fn versions(stack: &Stack) -> Value {
    json!({
        "redress": env!("CARGO_PKG_VERSION"),
        "postgres": stack.postgres().version().to_string(),
        "nats": stack.nats().version().to_string(),
        "build": if cfg!(debug_assertions) { "debug" } else { "release" },
    })
}
