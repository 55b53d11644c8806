//! `redress up` and `redress serve`

use std::net::SocketAddr;

use redress_api::{Access, bind};
use redress_coordinator::Engine;
use redress_devstack::Durability;
use redress_participant::{FaultObedience, Service};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::args::{AccessArgs, ServeArgs, UpArgs};
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, kept, shutdown_on_signal, stdin_end};
use crate::render;

pub(crate) async fn up(app: App, args: UpArgs) -> Result<Exit, Failure> {
    let access = access(&args.access);
    let listener = listen(args.http, &access).await?;
    let servers = Servers::open(&args.servers, kept(&args.data, args.fresh), Durability::Full).await?;
    let shutdown = shutdown_on_signal();
    let engine = servers.engine(app.definitions.clone(), |config| config.allow_faults = true).await?;
    let mut processes = Vec::new();
    let mut running = Vec::new();
    if args.processes {
        for service in &app.services {
            // The tables are made here, so that the processes do not race for them.
            servers.service_database(service.name()).await?;
            processes.push(servers.spawn_services(&[service.name()], false)?);
        }
    } else {
        for service in &app.services {
            running.push(servers.run_service(service, FaultObedience::Abandon, shutdown.clone()).await?);
        }
    }
    let names: Vec<&str> = app.services.iter().map(Service::name).collect();
    eprintln!("{}", servers.describe());
    eprintln!("services: {}", names.join(", "));
    let result = carry(engine, listener, access, shutdown).await;
    for service in running {
        service.await??;
    }
    for mut process in processes {
        drop(process.stdin.take());
        process.wait().await?;
    }
    servers.stop().await;
    result
}

pub(crate) async fn serve(app: App, args: ServeArgs) -> Result<Exit, Failure> {
    let access = access(&args.access);
    let listener = listen(args.http, &access).await?;
    let servers = Servers::given(&args.servers)?;
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
            config.timer_poll = std::time::Duration::from_millis(args.timer_poll_ms.max(1));
        })
        .await?;
    carry(engine, listener, access, shutdown).await
}

fn access(args: &AccessArgs) -> Access {
    args.token.clone().filter(|token| !token.is_empty()).map_or(Access::Loopback, Access::Token)
}

async fn listen(address: SocketAddr, access: &Access) -> Result<TcpListener, Failure> {
    bind(address, access).await.map_err(|error| Failure::new(1, error))
}

/// Runs coordinator and API until the shutdown; requests first, then what is in flight.
pub(crate) async fn carry(
    engine: Engine,
    listener: TcpListener,
    access: Access,
    shutdown: CancellationToken,
) -> Result<Exit, Failure> {
    let address = listener.local_addr()?;
    let coordinator = {
        let (engine, shutdown) = (engine.clone(), shutdown.clone());
        tokio::spawn(async move { engine.run(shutdown).await })
    };
    render::emit(&format!("listening on http://{address}"));
    redress_api::serve(listener, engine, access, shutdown).await?;
    coordinator.await?;
    Ok(Exit::Ok)
}
