//! `redress migrate`

use redress_coordinator::Config;
use redress_coordinator::journal::PgJournal;
use serde_json::{Value, json};

use crate::app::App;
use crate::args::{Output, ServersArgs};
use crate::failure::{Exit, Failure};
use crate::installation::Servers;
use crate::render;

pub(crate) async fn run(app: App, mut args: ServersArgs, output: Output) -> Result<Exit, Failure> {
    // Tables need no broker.
    args.nats_url.get_or_insert_default();
    let servers = Servers::given(&args)?;
    let config = Config::new(servers.coordinator_database().await?);
    let journal = PgJournal::connect(&config).await.map_err(Failure::unavailable)?;
    journal.migrate().await?;
    journal.close().await;
    let mut items = vec![migrated("coordinator")];
    for service in &app.services {
        let database = servers.service_database(service.name()).await?;
        let pool = service.connect(&database, 1).await.map_err(Failure::unavailable)?;
        service.migrate(&pool).await?;
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
