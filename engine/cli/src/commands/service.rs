//! `redress service`: services as a process of their own.

use std::convert::Infallible;
use std::time::{Duration, Instant};

use clap::Args;
use clap::builder::BoolishValueParser;
use futures_util::future::try_join_all;
use redress_core::Name;
use redress_participant::crash::CrashPoint;
use redress_participant::{FaultMode, ParticipantConfig, Service, echo};
use redress_wire::Wire;
use serde_json::{Value, json};

use crate::args::crash::CrashAt;
use crate::args::{MetricsArgs, Output, ServersArgs};
use crate::commands::up::migrations;
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, shutdown_on_signal, stdin_end};
use crate::probes::{Door, OfServices};
use crate::program::App;
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct ServiceArgs {
    /// Which services.
    #[arg(required = true)]
    pub(crate) names: Vec<String>,
    /// Answer everything with null instead.
    #[arg(long)]
    pub(crate) echo: bool,
    /// Run nothing: report if these services run somewhere, by their databases and their consumers on NATS.
    #[arg(long, conflicts_with_all = ["echo", "until_stdin_ends"])]
    pub(crate) check: bool,
    /// Obey injected failures; a crash ends the process.
    #[arg(long, env = "REDRESS_ALLOW_FAULTS", value_parser = BoolishValueParser::new())]
    pub(crate) allow_faults: bool,
    /// Leave tables alone: start only if `redress migrate` has brought them up to date.
    #[arg(long, env = "REDRESS_NO_MIGRATE", value_parser = BoolishValueParser::new())]
    pub(crate) no_migrate: bool,
    /// Stop when standard input ends.
    #[arg(long)]
    pub(crate) until_stdin_ends: bool,
    /// End the process at a point of the work on a command, as `after-call:charge-card:action`, for tests.
    #[arg(long, hide = true, env = "REDRESS_SERVICE_CRASH_AT", requires = "allow_faults")]
    pub(crate) crash_at: Option<CrashAt<CrashPoint>>,
    #[command(flatten)]
    pub(crate) metrics: MetricsArgs,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
}

/// How long a service may have no request waiting: longer than a batch takes, shorter than a health check waits.
const CHECK_PATIENCE: Duration = Duration::from_secs(3);
/// The pause between two checks for the consumer of a service that was just started: it takes about as long.
const READY_PAUSE: Duration = Duration::from_millis(20);
/// The pause between two checks.
const CHECK_PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn run(app: App, args: ServiceArgs, output: Output) -> Result<Exit, Failure> {
    // The command line is checked before the environment.
    let services =
        args.names.iter().map(|name| find(&app, name, args.echo)).collect::<Result<Vec<_>, _>>()?;
    let servers = Servers::given(&args.servers)?;
    if args.check {
        return check(&servers, &services, output).await;
    }
    let shutdown = shutdown_on_signal();
    if let Some(door) = Door::open(&args.metrics).await? {
        let seen = OfServices { monitor: servers.monitor.clone(), expected: services.len() };
        door.serve(seen, &args.names, shutdown.clone())?;
    }
    if args.until_stdin_ends {
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            stdin_end().await;
            shutdown.cancel();
        });
    }
    let faults = if args.allow_faults { FaultMode::Exit } else { FaultMode::Refused };
    let migrations = migrations(args.no_migrate);
    let crash = args.crash_at.map(CrashAt::<CrashPoint>::hook).unwrap_or_default();
    let begun = services
        .iter()
        .map(|it| servers.run_service(it, (faults, crash.clone()), migrations, shutdown.clone()));
    let running = try_join_all(begun).await?;
    let wire = servers.wire().await?;
    let ready = async {
        for service in &services {
            until_asked(&wire, service.name()).await?;
        }
        render::emit("ready");
        std::future::pending::<Result<Infallible, Failure>>().await
    };
    tokio::select! {
        biased;
        ended = try_join_all(running) => {
            for result in ended? {
                result.map_err(Failure::of_service)?;
            }
            Ok(Exit::Ok)
        }
        never = ready => match never? {},
    }
}

/// Returns once a consumer requests the service's commands: its tables are ready by then.
async fn until_asked(wire: &Wire, service: &str) -> Result<(), Failure> {
    let name = Name::new(service)?;
    while !matches!(wire.listening(&name).await, Ok(Some(requests)) if requests > 0) {
        tokio::time::sleep(READY_PAUSE).await;
    }
    Ok(())
}

/// Checks that these services run somewhere: each has its database, if it needs one, and a consumer requests its commands from NATS.
async fn check(servers: &Servers, services: &[Service], output: Output) -> Result<Exit, Failure> {
    let wire = servers.wire_to_look().await?;
    let mut items = Vec::new();
    for service in services {
        if service.needs_database() {
            let (url, _) = servers.service_database_url(service.name())?;
            let pool = service.connect(&url, &ParticipantConfig::default()).await;
            pool.map_err(Failure::of_service)?.close().await;
        }
        let requests = listening(&wire, service.name()).await?;
        items.push(json!({ "service": service.name(), "requests_waiting": requests }));
    }
    render::print_list(output, &json!({ "items": items, "next": null }), |items| {
        let line = |item: &Value| format!("{}: listening", item["service"].as_str().unwrap_or_default());
        items.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(Exit::Ok)
}

/// How many requests for a service's commands wait on the server, once there are some.
async fn listening(wire: &Wire, service: &str) -> Result<usize, Failure> {
    let name = Name::new(service)?;
    let begun = Instant::now();
    loop {
        let seen = wire.listening(&name).await.map_err(Failure::unavailable)?;
        match seen {
            Some(requests) if requests > 0 => return Ok(requests),
            Some(_) | None if begun.elapsed() < CHECK_PATIENCE => tokio::time::sleep(CHECK_PAUSE).await,
            Some(_) => return Err(nobody(service, "its consumer is there, and nobody asks it for commands")),
            None => return Err(nobody(service, "it has no consumer: it has never run on this NATS")),
        }
    }
}

fn nobody(service: &str, why: &'static str) -> Failure {
    let error = anyhow::anyhow!("{why}").context(format!("the service `{service}` does not listen"));
    Failure::unavailable(error).remedy(format!("redress service {service}, and look what it says"))
}

fn find(app: &App, name: &str, as_echo: bool) -> Result<Service, Failure> {
    if as_echo {
        // A name for the rest of the process: there are as many as there are services.
        return Ok(echo(String::from(name).leak()));
    }
    app.services.iter().find(|service| service.name() == name).cloned().ok_or_else(|| {
        let known: Vec<&str> = app.services.iter().map(Service::name).collect();
        Failure::usage(format!("there is no service `{name}`; this program has {}", known.join(", ")))
    })
}
