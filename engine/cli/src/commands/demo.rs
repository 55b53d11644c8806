//! `redress demo`: a few sagas from nothing, then the API.

use std::net::SocketAddr;
use std::time::Duration;

use redress_api::{Access, bind};
use redress_coordinator::{Engine, StartRequest};
use redress_devstack::{Data, Durability};
use redress_participant::FaultObedience;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{App, DemoStart};
use crate::args::DemoArgs;
use crate::commands::up::carry;
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, shutdown_on_signal};
use crate::render;

/// How long one saga of the demo may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(app: App, args: DemoArgs) -> Result<Exit, Failure> {
    let shutdown = shutdown_on_signal();
    eprintln!("starting Postgres and NATS, {} services and a coordinator ...", app.services.len());
    let servers = Servers::open(&args.servers, Data::Ephemeral, Durability::Full).await?;
    let engine = servers.engine(app.definitions.clone(), |config| config.allow_faults = true).await?;
    let stop_services = CancellationToken::new();
    let mut services = Vec::new();
    for service in &app.services {
        services.push(servers.run_service(service, FaultObedience::Abandon, stop_services.clone()).await?);
    }
    let result = tokio::select! {
        result = play_and_serve(&app, &args, &engine, &shutdown) => result,
        () = cancelled_before(&shutdown, args.exit) => Ok(Exit::Interrupted),
    };
    stop_services.cancel();
    for service in services {
        service.await??;
    }
    servers.stop().await;
    result
}

/// A signal ends a demo that would end by itself; one that serves ends in order.
async fn cancelled_before(shutdown: &CancellationToken, leaves_by_itself: bool) {
    if leaves_by_itself {
        shutdown.cancelled().await;
    } else {
        std::future::pending::<()>().await;
    }
}

async fn play_and_serve(
    app: &App,
    args: &DemoArgs,
    engine: &Engine,
    shutdown: &CancellationToken,
) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    let coordinator = {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move { engine.run(stop).await })
    };
    let played = play_all(app, engine).await;
    stop.cancel();
    coordinator.await?;
    played?;
    if args.exit {
        return Ok(Exit::Ok);
    }
    let listener = listen(args.http).await?;
    let address = listener.local_addr()?;
    render::emit(&format!(
        "\n  API       http://{address}/v1/sagas\n  try       redress --help, or: curl -s http://{address}/v1/definitions\n  \
         stop      Ctrl-C; nothing is kept\n"
    ));
    carry(engine.clone(), listener, Access::Loopback, shutdown.clone()).await
}

/// The port that was asked for, or a free one.
async fn listen(address: SocketAddr) -> Result<TcpListener, Failure> {
    match bind(address, &Access::Loopback).await {
        Ok(listener) => Ok(listener),
        Err(error) if address.ip().is_loopback() => {
            eprintln!("{error}; taking a free port instead");
            Ok(bind(SocketAddr::new(address.ip(), 0), &Access::Loopback).await?)
        }
        Err(error) => Err(Failure::new(1, error)),
    }
}

async fn play_all(app: &App, engine: &Engine) -> Result<(), Failure> {
    for (number, start) in app.demo.iter().enumerate() {
        let (saga, history) = play(engine, start).await?;
        render::emit(&format!("\n{}. {}\n{}", number + 1, start.title, render::saga(&saga, Some(&history))));
        let ended = (saga["status"].as_str().unwrap_or_default(), saga["cause"]["code"].as_str());
        if ended != start.expect {
            return Err(anyhow::anyhow!(
                "this saga should have ended as {:?} and ended as {ended:?}",
                start.expect
            )
            .into());
        }
    }
    Ok(())
}

/// Starts a saga, waits for its end, and gives it with its history.
async fn play(engine: &Engine, start: &DemoStart) -> Result<(Value, Vec<Value>), Failure> {
    let request = StartRequest {
        saga: start.saga.to_owned(),
        input: start.input.clone(),
        key: uuid::Uuid::now_v7().to_string(),
        ..StartRequest::default()
    };
    let started = engine.start(request).await?;
    let saga = engine.wait_ended(started.id, PATIENCE).await?;
    let history = engine.history(started.id, 0, 1_000).await?;
    let rows = history.map(|page| page.items).unwrap_or_default();
    Ok((json!(saga), rows.iter().map(|row| json!(row)).collect()))
}
