//! `redress up` and `redress serve`

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use clap::builder::BoolishValueParser;
use redress_api::{Access, bind};
use redress_coordinator::crash::CrashPoint;
use redress_coordinator::ports::UnderWay;
use redress_coordinator::{Admission, Engine, Migrations};
use redress_devstack::Durability;
use redress_participant::Service;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::crash::CrashAt;
use crate::args::{AccessArgs, ServersArgs};
use crate::chaos::Control;
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, kept, shutdown_on_signal, stdin_end};
use crate::legible::say;
use crate::probes::OfServices;
use crate::program::App;
use crate::render;
use crate::services::Services;

#[derive(Debug, Args)]
pub(crate) struct UpArgs {
    /// Where the API listens.
    #[arg(long, env = "REDRESS_HTTP", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Where private servers keep their data.
    #[arg(long, env = "REDRESS_DATA", default_value = ".redress")]
    pub(crate) data: PathBuf,
    /// Begin with empty private servers.
    #[arg(long)]
    pub(crate) fresh: bool,
    /// Run each service as a process of its own.
    #[arg(long)]
    pub(crate) processes: bool,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

#[derive(Debug, Args)]
pub(crate) struct ServeArgs {
    /// Where the API listens.
    #[arg(long, env = "REDRESS_HTTP", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    /// Let failures be injected.
    #[arg(long, env = "REDRESS_ALLOW_FAULTS", value_parser = BoolishValueParser::new())]
    pub(crate) allow_faults: bool,
    /// How often to look for what is due, in milliseconds.
    #[arg(long, env = "REDRESS_TIMER_POLL_MS", default_value_t = 250)]
    pub(crate) timer_poll_ms: u64,
    /// Take no new sagas, finish what is under way, and leave.
    #[arg(long, env = "REDRESS_DRAIN", value_parser = BoolishValueParser::new())]
    pub(crate) drain: bool,
    /// Move no saga until `redress begin` says so.
    #[arg(long, env = "REDRESS_START_PAUSED", value_parser = BoolishValueParser::new())]
    pub(crate) start_paused: bool,
    /// Mark sagas that go on for longer than this as stalled, in seconds.
    #[arg(long, env = "REDRESS_STALLED_AFTER_S", default_value_t = 900)]
    pub(crate) stalled_after_s: u64,
    /// Die at this point, where the reply to this command is taken (`after-commit:ship-order:action`) or the command is
    /// sent (`before-sending:…`).
    #[arg(long, hide = true, env = "REDRESS_CRASH_AT", requires = "allow_faults")]
    pub(crate) crash_at: Option<CrashAt>,
    /// How long sagas are kept after their end, in days.
    #[arg(long, env = "REDRESS_KEEP_DAYS", default_value_t = 30)]
    pub(crate) keep_days: u64,
    /// How long the keys of starts are kept after the end of their saga, in days [default: as long as the saga].
    #[arg(long, env = "REDRESS_KEY_DAYS")]
    pub(crate) key_days: Option<u64>,
    /// Leave tables alone: start only if `redress migrate` has brought them up to date.
    #[arg(long, env = "REDRESS_NO_MIGRATE", value_parser = BoolishValueParser::new())]
    pub(crate) no_migrate: bool,
    /// Stop when standard input ends.
    #[arg(long, hide = true)]
    pub(crate) until_stdin_ends: bool,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// How often a draining coordinator checks if it may go.
const DRAIN_LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn up(app: App, args: UpArgs) -> Result<Exit, Failure> {
    let access = args.access.access();
    let listener = listen(args.http, &access).await?;
    let shutdown = shutdown_on_signal();
    let (servers, engine, mut services) = tokio::select! {
        begun = begin(&app, &args) => begun?,
        () = shutdown.cancelled() => return Ok(Exit::Interrupted),
    };
    let names: Vec<&str> = app.services.iter().map(Service::name).collect();
    say(&servers.describe());
    say(&format!("services: {}", names.join(", ")));
    if !args.processes {
        say(&format!("metrics of coordinator and services: http://{}/metrics", listener.local_addr()?));
    }
    let beside = OfServices { monitor: servers.monitor.clone(), expected: 0 };
    let (control, handles) = (Control::listen(&servers), services.handles());
    let result = tokio::select! {
        result = carry(engine, listener, access, beside, shutdown.clone()) => result,
        failure = services.trouble() => Err(failure),
        never = control.serve(&servers, &handles) => match never {},
    };
    drop(control);
    let stopped = services.stop().await;
    servers.stop().await;
    result.and_then(|exit| stopped.map(|()| exit))
}

async fn begin(app: &App, args: &UpArgs) -> Result<(Servers, Engine, Services), Failure> {
    let servers = Servers::open(&args.servers, kept(&args.data, args.fresh), Durability::Full).await?;
    let engine = servers.engine(app.definitions.clone(), |config| config.allow_faults = true).await?;
    let services = match args.processes {
        true => Services::apart(&servers, &app.services).await?,
        false => Services::here(&servers, &app.services).await?,
    };
    Ok((servers, engine, services))
}

pub(crate) async fn serve(app: App, args: ServeArgs) -> Result<Exit, Failure> {
    let access = args.access.access();
    let servers = Servers::given(&args.servers)?;
    let listener = listen(args.http, &access).await?;
    let shutdown = shutdown_on_signal();
    if args.until_stdin_ends {
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            stdin_end().await;
            shutdown.cancel();
        });
    }
    let engine = servers
        .engine(app.definitions, |config| {
            config.migrations = migrations(args.no_migrate);
            config.allow_faults = args.allow_faults;
            config.timer_poll = Duration::from_millis(args.timer_poll_ms.max(1));
            config.admission = if args.drain { Admission::Draining } else { Admission::Open };
            config.start_paused = args.start_paused;
            config.crash = args.crash_at.map(CrashAt::<CrashPoint>::hook).unwrap_or_default();
            config.stalled_after = Duration::from_secs(args.stalled_after_s);
            config.keep.sagas = days(args.keep_days);
            config.keep.keys = args.key_days.map(days);
        })
        .await?;
    if args.drain {
        tokio::spawn(leave_when_drained(engine.clone(), shutdown.clone()));
    }
    let beside = OfServices { monitor: servers.monitor.clone(), expected: 0 };
    carry(engine, listener, access, beside, shutdown).await
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days.saturating_mul(86_400))
}

/// The treatment of tables that are not up to date.
pub(crate) fn migrations(none: bool) -> Migrations {
    if none { Migrations::Verify } else { Migrations::Apply }
}

/// Ends the program once every saga that was open at the beginning has ended, or rests until an operator says more.
async fn leave_when_drained(engine: Engine, shutdown: CancellationToken) {
    let left = loop {
        match engine.under_way().await {
            Ok(UnderWay { going: 0, resting }) => break resting,
            Ok(UnderWay { going, .. }) => say(&format!("draining: {going} sagas are under way")),
            Err(error) => say(&format!("draining: {error}")),
        }
        tokio::time::sleep(DRAIN_LOOK_EVERY).await;
    };
    say(&format!(
        "drained: what was under way has ended; {left} sagas are parked or paused and wait in the journal"
    ));
    shutdown.cancel();
}

async fn listen(address: SocketAddr, access: &Access) -> Result<TcpListener, Failure> {
    bind(address, access).await.map_err(|error| Failure::new(1, error))
}

/// Runs coordinator and API until the shutdown, the metrics of this process's services with the coordinator's;
/// requests first, then what is in flight.
async fn carry(
    engine: Engine,
    listener: TcpListener,
    access: Access,
    beside: OfServices,
    shutdown: CancellationToken,
) -> Result<Exit, Failure> {
    let coordinator = {
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        tokio::spawn(async move { engine.run(shutdown).await })
    };
    render::emit(&format!("listening on http://{}", listener.local_addr()?));
    redress_api::serve_beside(listener, engine, Arc::new(beside), access, shutdown).await?;
    coordinator.await?;
    Ok(Exit::Ok)
}
