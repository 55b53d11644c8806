//! `redress service`: services as a process of their own.

use futures_util::future::try_join_all;
use redress_participant::{FaultObedience, Service, echo};

use crate::app::App;
use crate::args::ServiceArgs;
use crate::failure::{Exit, Failure};
use crate::installation::{Servers, shutdown_on_signal, stdin_end};
use crate::render;

pub(crate) async fn run(app: App, args: ServiceArgs) -> Result<Exit, Failure> {
    let servers = Servers::given(&args.servers)?;
    let services =
        args.names.iter().map(|name| find(&app, name, args.echo)).collect::<Result<Vec<_>, _>>()?;
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
