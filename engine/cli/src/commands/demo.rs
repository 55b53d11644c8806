//! `redress demo`: a few sagas from nothing, then the API.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use redress_api::{Access, BindError, bind};
use redress_coordinator::view::StepView;
use redress_coordinator::{Engine, OperatorRequest, StartRequest};
use redress_core::decide::{OperatorCommand, Verb};
use redress_core::inbox::GivenAnswer;
use redress_core::{JsonText, Name, SagaId};
use redress_devstack::{Data, Durability};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::args::{AccessArgs, Output, ServersArgs};
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, shutdown_on_signal};
use crate::legible::{legible, say};
use crate::probes::OfServices;
use crate::program::{App, DemoAnswer, DemoStart};
use crate::render;
use crate::services::Services;

#[derive(Debug, Parser)]
pub(crate) struct DemoArgs {
    /// Leave after the sagas have ended.
    #[arg(long)]
    pub(crate) exit: bool,
    /// Where the API listens; another port is taken if this one is not free.
    #[arg(long, env = "REDRESS_HTTP", default_value = "127.0.0.1:8080")]
    pub(crate) http: SocketAddr,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
    #[command(flatten)]
    pub(crate) access: AccessArgs,
}

/// How long one saga of the demo may take.
const PATIENCE: Duration = Duration::from_secs(60);
/// How often a saga is looked at that is to be answered by a person.
const LOOK_EVERY: Duration = Duration::from_millis(20);

pub(crate) async fn run(app: App, args: DemoArgs, output: Output) -> Result<Exit, Failure> {
    let access = args.access.access();
    // Before the work, so that a port that cannot be had is told at once.
    let listener = if args.exit { None } else { Some(listen(args.http, &access).await?) };
    let shutdown = shutdown_on_signal();
    let (servers, engine, mut services) = tokio::select! {
        begun = begin(&app, &args) => begun?,
        () = shutdown.cancelled() => return Ok(Exit::Interrupted),
    };
    let result = tokio::select! {
        result = play_and_serve(&app, &engine, listener, (access, &servers), output, &shutdown) => result,
        failure = services.trouble() => Err(failure),
    };
    let stopped = services.stop().await;
    if servers.orphans_its_streams() {
        engine.wire().remove_streams().await;
    }
    servers.stop().await;
    result.and_then(|exit| stopped.map(|()| exit))
}

async fn begin(app: &App, args: &DemoArgs) -> Result<(Servers, Engine, Services), Failure> {
    say(&beginning(&args.servers, app.services.len()));
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
    (access, servers): (Access, &Servers),
    output: Output,
    shutdown: &CancellationToken,
) -> Result<Exit, Failure> {
    let stop = CancellationToken::new();
    let coordinator = {
        let (engine, stop) = (engine.clone(), stop.clone());
        tokio::spawn(async move { engine.run(stop).await })
    };
    let played = tokio::select! {
        played = play_all(app, engine, output) => played.map(|()| Exit::Ok),
        () = shutdown.cancelled() => Ok(Exit::Interrupted),
    };
    if let (Ok(Exit::Ok), Some(listener)) = (&played, listener) {
        let url = format!("http://{}", listener.local_addr()?);
        let text = format!("{}\nlistening on {url}", hints(&url, servers.keeps()));
        // Standard output is data, and a reader of JSON has had all of it.
        if output == Output::Text {
            render::emit(&text)
        } else {
            say(&text)
        }
        let beside = OfServices { monitor: servers.monitor.clone(), expected: 0 };
        redress_api::serve_beside(listener, engine.clone(), Arc::new(beside), access, shutdown.clone())
            .await?;
    }
    stop.cancel();
    coordinator.await?;
    played
}

/// `starting NATS, 4 services and a coordinator on the given Postgres ...`
fn beginning(given: &ServersArgs, services: usize) -> String {
    let (starting, on) = match (&given.database_url, &given.nats_url) {
        (None, None) => ("Postgres and NATS, ", ""),
        (Some(_), None) => ("NATS, ", " on the given Postgres"),
        (None, Some(_)) => ("Postgres, ", " on the given NATS"),
        (Some(_), Some(_)) => ("", " on the given Postgres and NATS"),
    };
    format!("starting {starting}{services} services and a coordinator{on} ...")
}

fn hints(url: &str, keeps: &str) -> String {
    format!(
        "\n  API       {url}/v1/sagas\n  try       curl -s {url}/v1/definitions, or in another terminal:\n            \
         redress list --url {url}\n  metrics   {url}/metrics, of coordinator and services\n  stop      Ctrl-C; {keeps}\n"
    )
}

/// The port that was asked for, or a free one.
async fn listen(address: SocketAddr, access: &Access) -> Result<TcpListener, Failure> {
    match bind(address, access).await {
        Ok(listener) => Ok(listener),
        Err(BindError::Taken { .. }) => {
            let listener = bind(SocketAddr::new(address.ip(), 0), access).await?;
            say(&format!("{address} is taken; listening on {} instead", listener.local_addr()?));
            Ok(listener)
        }
        Err(error @ BindError::NeedsToken(_)) => Err(Failure::new(1, error)),
    }
}

async fn play_all(app: &App, engine: &Engine, output: Output) -> Result<(), Failure> {
    let mut items = Vec::new();
    for (number, start) in app.demo.iter().enumerate() {
        if output == Output::Text {
            render::emit(&format!("\n{}. {}", number + 1, start.title));
        }
        let (mut saga, history) = play(engine, start, output).await?;
        let afterwards = start.afterwards.map(|told_of| told_of(&saga));
        if output == Output::Text {
            let told = afterwards.iter().map(|line| format!("\n  {}", legible(line)));
            render::emit(&format!("{}{}", render::saga(&saga, Some(&history)), told.collect::<String>()));
        }
        compare(start, &saga, &render::undone(&history))?;
        saga["title"] = json!(start.title);
        saga["undone"] = json!(render::undone(&history));
        if let Some(told) = afterwards {
            saga["afterwards"] = json!(told);
        }
        items.push(saga);
    }
    if output != Output::Text {
        render::print_list(output, &json!({ "items": items, "next": null }), |_| String::new());
    }
    Ok(())
}

/// Checks that a saga ended, and was undone, as it should.
fn compare(start: &DemoStart, saga: &Value, undone: &[&str]) -> Result<(), anyhow::Error> {
    let ended = (saga["status"].as_str().unwrap_or_default(), saga["cause"]["code"].as_str());
    anyhow::ensure!(
        ended == start.expect,
        "this saga should have ended as {:?} and ended as {ended:?}",
        start.expect
    );
    anyhow::ensure!(
        undone == start.undone,
        "the steps of this saga should have been undone in the order {:?} and were in the order {undone:?}",
        start.undone
    );
    Ok(())
}

/// Starts a saga, waits for its end, and gives it with its history.
async fn play(engine: &Engine, start: &DemoStart, output: Output) -> Result<(Value, Vec<Value>), Failure> {
    let request = StartRequest {
        saga: start.saga.to_owned(),
        input: start.input.clone(),
        key: uuid::Uuid::now_v7().to_string(),
        ..StartRequest::default()
    };
    let started = engine.start_request(request).await?;
    if let Some(answer) = &start.answer {
        let given = give(engine, started.id, answer, output);
        tokio::time::timeout(PATIENCE, given)
            .await
            .map_err(|_| anyhow::anyhow!("{} never came to await an answer", answer.step))??;
    }
    let saga = engine.wait_ended(started.id, PATIENCE).await?;
    let history = engine.history(started.id, 0, 1_000).await?;
    let rows = history.map(|page| page.items).unwrap_or_default();
    Ok((json!(saga), rows.iter().map(|row| json!(row)).collect()))
}

/// Gives a person's answer, once the saga awaits it.
async fn give(engine: &Engine, id: SagaId, answer: &DemoAnswer, output: Output) -> Result<(), Failure> {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    loop {
        looks.tick().await;
        let saga = engine.saga(id).await?;
        let awaits = |step: &StepView| step.name == answer.step && step.status == "awaiting";
        if saga.is_some_and(|saga| saga.steps.iter().any(awaits)) {
            break;
        }
    }
    let DemoAnswer { step, actor, reply } = answer;
    if output == Output::Text {
        let told = format!("  {step} awaits an answer; {actor} gives it: {}", legible(&reply.to_string()));
        render::emit(&told);
    }
    let verb =
        Verb::Answer { step: Name::new(step)?, answer: GivenAnswer::Done { reply: JsonText::of(reply)? } };
    let command = OperatorCommand { verb, actor: String::from(*actor), reason: "the demo".to_owned() };
    engine.operate(id, OperatorRequest { command, if_match: None }).await?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn demo_saga_undone_in_another_order_is_an_error() {
        let start = DemoStart {
            title: "",
            saga: "sell",
            input: json!({}),
            expect: ("compensated", Some("no-road")),
            undone: &["charge", "create"],
            ..DemoStart::default()
        };
        let saga = json!({ "status": "compensated", "cause": { "code": "no-road" } });
        assert!(compare(&start, &saga, &["charge", "create"]).is_ok());
        for undone in [&["create", "charge"][..], &["charge"], &["charge", "create", "create"]] {
            assert!(compare(&start, &saga, undone).is_err(), "{undone:?}");
        }
        let other = json!({ "status": "compensated", "cause": { "code": "no-money" } });
        assert!(compare(&start, &other, &["charge", "create"]).is_err());
    }

    #[test]
    fn demo_announcement_tells_started_servers_from_given_ones() {
        let servers = |database: bool, nats: bool| ServersArgs {
            database_url: database.then(String::new),
            nats_url: nats.then(String::new),
            prefix: String::new(),
            ack_wait_ms: 1,
            stream_bytes_max: 1,
            service_concurrency: crate::args::SERVICE_CONCURRENCY,
        };
        let told = [(false, false), (true, false), (false, true), (true, true)]
            .map(|(database, nats)| beginning(&servers(database, nats), 4));
        assert_eq!(
            told,
            [
                "starting Postgres and NATS, 4 services and a coordinator ...",
                "starting NATS, 4 services and a coordinator on the given Postgres ...",
                "starting Postgres, 4 services and a coordinator on the given NATS ...",
                "starting 4 services and a coordinator on the given Postgres and NATS ...",
            ]
        );
    }
}
