//! `redress service`: services as a process of their own.

use std::time::{Duration, Instant};

use futures_util::future::try_join_all;
use redress_core::Name;
use redress_participant::{FaultObedience, Service, echo};
use redress_wire::Wire;
use serde_json::{Value, json};

use crate::app::App;
use crate::args::{Output, ServiceArgs};
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, shutdown_on_signal, stdin_end};
use crate::render;

/// How long a service may have no request waiting: longer than a batch takes, shorter than a health check waits.
const CHECK_PATIENCE: Duration = Duration::from_secs(3);
/// The pause between two looks.
const CHECK_PAUSE: Duration = Duration::from_millis(100);

pub(crate) async fn run(app: App, args: ServiceArgs, output: Output) -> Result<Exit, Failure> {
    // What was typed is looked at before what was set up.
    let services =
        args.names.iter().map(|name| find(&app, name, args.echo)).collect::<Result<Vec<_>, _>>()?;
    let servers = Servers::given(&args.servers)?;
    if args.check {
        return check(&servers, &services, output).await;
    }
    let shutdown = shutdown_on_signal();
    if args.until_stdin_ends {
        let shutdown = shutdown.clone();
        tokio::spawn(async move {
            stdin_end().await;
            shutdown.cancel();
        });
    }
    let faults = if args.allow_faults { FaultObedience::Exit } else { FaultObedience::Refused };
    let mut running = Vec::with_capacity(services.len());
    for service in &services {
        running.push(servers.run_service(service, faults, shutdown.clone()).await?);
    }
    render::emit("ready");
    for result in try_join_all(running).await? {
        result.map_err(Failure::unavailable)?;
    }
    Ok(Exit::Ok)
}

/// Says whether these services run somewhere: each has its database, and somebody asks NATS for its commands.
async fn check(servers: &Servers, services: &[Service], output: Output) -> Result<Exit, Failure> {
    let wire = servers.wire().await?;
    let mut items = Vec::new();
    for service in services {
        let (url, _) = servers.service_database_url(service.name())?;
        service.connect(&url, 1).await.map_err(Failure::unavailable)?.close().await;
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
