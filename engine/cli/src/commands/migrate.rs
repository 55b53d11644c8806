//! `redress migrate`

use clap::Args;
use redress_coordinator::journal::PgJournal;
use redress_coordinator::{Config, Migrations};
use redress_participant::{ParticipantConfig, Service};
use serde_json::{Value, json};

use crate::args::{Output, ServersArgs};
use crate::failure::{Exit, Failure};
use crate::installation::Servers;
use crate::program::App;
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct MigrateArgs {
    /// Owner of the tables: `coordinator`, or a service; all of them if none is named.
    pub(crate) names: Vec<String>,
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
}

/// The name of the journal's tables on the command line.
const COORDINATOR: &str = "coordinator";

pub(crate) async fn run(app: App, args: MigrateArgs, output: Output) -> Result<Exit, Failure> {
    let MigrateArgs { names, mut servers } = args;
    let is_known = |name: &String| name == COORDINATOR || app.services.iter().any(|it| it.name() == name);
    if let Some(unknown) = names.iter().find(|name| !is_known(name)) {
        let services: Vec<&str> = app.services.iter().map(Service::name).collect();
        let known = services.join(", ");
        return Err(Failure::usage(format!(
            "there are no tables of `{unknown}`; there are {COORDINATOR}, {known}"
        )));
    }
    let is_wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| wanted == name);
    // Tables need no broker, and a service with a variable of its own needs no other database.
    servers.nats_url.get_or_insert_default();
    if !is_wanted(COORDINATOR) {
        servers.database_url.get_or_insert_default();
    }
    let servers = Servers::given(&servers)?;
    let mut items = Vec::new();
    if is_wanted(COORDINATOR) {
        let config = Config::new(servers.coordinator_database(Migrations::Apply).await?);
        let journal = PgJournal::connect(&config).await.map_err(Failure::of_journal)?;
        journal.migrate(Migrations::Apply).await.map_err(Failure::of_journal)?;
        journal.close().await;
        items.push(migrated(COORDINATOR));
    }
    for service in app.services.iter().filter(|service| is_wanted(service.name()) && service.needs_database())
    {
        let database = servers.service_database(service.name(), Migrations::Apply).await?;
        let pool =
            service.connect(&database, &ParticipantConfig::default()).await.map_err(Failure::of_service)?;
        let done = service.migrate(&pool, Migrations::Apply).await;
        done.map_err(|error| Failure::of_service(error.into()))?;
        pool.close().await;
        items.push(migrated(service.name()));
    }
    render::print_list(output, &json!({ "items": items, "next": null }), |items| {
        let line = |item: &Value| format!("{}: up to date", item["tables"].as_str().unwrap_or_default());
        items.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    Ok(Exit::Ok)
}

fn migrated(whose: &str) -> Value {
    json!({ "tables": whose, "state": "up to date" })
}
