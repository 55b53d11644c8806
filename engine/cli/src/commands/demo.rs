//! `redress demo`: a few sagas from nothing, then the API.

use std::net::SocketAddr;
use std::time::Duration;

use redress_api::{Access, BindError, bind};
use redress_coordinator::{Engine, StartRequest};
use redress_devstack::{Data, Durability};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::{App, DemoStart};
use crate::args::DemoArgs;
use crate::commands::up::{access, serve_api};
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, shutdown_on_signal};
use crate::render;
use crate::services::Services;

/// How long one saga of the demo may take.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn run(app: App, args: DemoArgs) -> Result<Exit, Failure> {
    let access = access(&args.access);
    // Before the work, so that a port that cannot be had is told at once.
    let listener = if args.exit { None } else { Some(listen(args.http, &access).await?) };
    let shutdown = shutdown_on_signal();
    let (servers, engine, mut services) = tokio::select! {
        begun = begin(&app, &args) => begun?,
        () = shutdown.cancelled() => return Ok(Exit::Interrupted),
    };
    let result = tokio::select! {
        result = play_and_serve(&app, &engine, listener, access, &shutdown) => result,
        failure = services.trouble() => Err(failure),
    };
    let stopped = services.stop().await;
    servers.stop().await;
    result.and_then(|exit| stopped.map(|()| exit))
}

async fn begin(app: &App, args: &DemoArgs) -> Result<(Servers, Engine, Services), Failure> {
    eprintln!("starting Postgres and NATS, {} services and a coordinator ...", app.services.len());
    let servers = Servers::open(&args.servers, Data::Ephemeral, Durability::Full).await?;
    let engine = servers.engine(app.definitions.clone(), |config| config.allow_faults = true).await?;
    let services = Services::here(&servers, &app.services).await?;
    Ok((servers, engine, services))
}

/// Plays the sagas; then serves, if there is something to listen on.
async fn play_and_serve(
    app: &App,
    engine: &Engine,
    listener: Option<TcpListener>,
    access: Access,
    shutdown: &CancellationToken,
) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    let coordinator = {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move { engine.run(stop).await })
    };
    let played = tokio::select! {
        played = play_all(app, engine) => played.map(|()| Exit::Ok),
        () = shutdown.cancelled() => Ok(Exit::Interrupted),
    };
    if let (Ok(Exit::Ok), Some(listener)) = (&played, listener) {
        render::emit(&hints(&format!("http://{}", listener.local_addr()?)));
        serve_api(engine.clone(), listener, access, shutdown.clone()).await?;
    }
    stop.cancel();
    coordinator.await?;
    played
}

fn hints(url: &str) -> String {
    format!(
        "\n  API       {url}/v1/sagas\n  try       curl -s {url}/v1/definitions, or in another terminal:\n            \
         redress list --url {url}\n  stop      Ctrl-C; nothing is kept\n"
    )
}

/// The port that was asked for, or a free one.
async fn listen(address: SocketAddr, access: &Access) -> Result<TcpListener, Failure> {
    match bind(address, access).await {
        Ok(listener) => Ok(listener),
        Err(BindError::Taken { .. }) => {
            let listener = bind(SocketAddr::new(address.ip(), 0), access).await?;
            eprintln!("{address} is taken; listening on {} instead", listener.local_addr()?);
            Ok(listener)
        }
        Err(error @ BindError::NeedsToken(_)) => Err(Failure::new(1, error)),
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
