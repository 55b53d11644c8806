//! `redress up` and `redress serve`

use std::net::SocketAddr;
use std::time::Duration;

use redress_api::{Access, bind};
use redress_coordinator::journal::UnderWay;
use redress_coordinator::{Admission, Engine};
use redress_devstack::Durability;
use redress_participant::Service;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::args::{AccessArgs, CrashAt, ServeArgs, UpArgs};
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, kept, shutdown_on_signal, stdin_end};
use crate::render;
use crate::services::Services;

/// How often a draining coordinator looks whether it may go.
const DRAIN_LOOK_EVERY: Duration = Duration::from_secs(1);

pub(crate) async fn up(app: App, args: UpArgs) -> Result<Exit, Failure> {
    let access = access(&args.access);
    let listener = listen(args.http, &access).await?;
    let shutdown = shutdown_on_signal();
    let (servers, engine, mut services) = tokio::select! {
        begun = begin(&app, &args) => begun?,
        () = shutdown.cancelled() => return Ok(Exit::Interrupted),
    };
    let names: Vec<&str> = app.services.iter().map(Service::name).collect();
    eprintln!("{}", servers.describe());
    eprintln!("services: {}", names.join(", "));
    let result = tokio::select! {
        result = carry(engine, listener, access, shutdown.clone()) => result,
        failure = services.trouble() => Err(failure),
    };
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
    let access = access(&args.access);
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
            config.allow_faults = args.allow_faults;
            config.timer_poll = Duration::from_millis(args.timer_poll_ms.max(1));
            config.admission = if args.drain { Admission::Draining } else { Admission::Open };
            config.start_paused = args.start_paused;
            config.crash = args.crash_at.map(CrashAt::hook).unwrap_or_default();
            config.stalled_after = Duration::from_secs(args.stalled_after_s);
            config.keep.sagas = Duration::from_secs(args.keep_days.saturating_mul(86_400));
        })
        .await?;
    if args.drain {
        tokio::spawn(leave_when_drained(engine.clone(), shutdown.clone()));
    }
    carry(engine, listener, access, shutdown).await
}

/// Ends the program once every saga that was under way when it came has ended, or rests until an operator says more.
async fn leave_when_drained(engine: Engine, shutdown: CancellationToken) {
    let left = loop {
        match engine.under_way().await {
            Ok(UnderWay { going: 0, resting }) => break resting,
            Ok(UnderWay { going, .. }) => eprintln!("draining: {going} sagas are under way"),
            Err(error) => eprintln!("draining: {error}"),
        }
        tokio::time::sleep(DRAIN_LOOK_EVERY).await;
    };
    eprintln!(
        "drained: what was under way has ended; {left} sagas are parked or paused and wait in the journal"
    );
    shutdown.cancel();
}

/// Whoever bears the token, if there is one.
pub(crate) fn access(args: &AccessArgs) -> Access {
    args.token.clone().filter(|token| !token.is_empty()).map_or(Access::Loopback, Access::Token)
}

async fn listen(address: SocketAddr, access: &Access) -> Result<TcpListener, Failure> {
    bind(address, access).await.map_err(|error| Failure::new(1, error))
}

/// Runs coordinator and API until the shutdown; requests first, then what is in flight.
async fn carry(
    engine: Engine,
    listener: TcpListener,
    access: Access,
    shutdown: CancellationToken,
) -> Result<Exit, Failure> {
    let coordinator = {
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        tokio::spawn(async move { engine.run(shutdown).await })
    };
    render::emit(&format!("listening on http://{}", listener.local_addr()?));
    redress_api::serve(listener, engine, access, shutdown).await?;
    coordinator.await?;
    Ok(Exit::Ok)
}
