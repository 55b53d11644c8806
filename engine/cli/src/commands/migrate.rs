//! `redress migrate`

use redress_coordinator::Config;
use redress_coordinator::journal::PgJournal;

use crate::app::App;
use crate::args::ServersArgs;
use crate::failure::{Exit, Failure};
use crate::installation::Servers;

pub(crate) async fn run(app: App, mut args: ServersArgs) -> Result<Exit, Failure> {
    // Tables need no broker.
    args.nats_url.get_or_insert_default();
    let servers = Servers::given(&args)?;
    let config = Config::new(servers.coordinator_database().await?);
    let journal = PgJournal::connect(&config).await.map_err(Failure::unavailable)?;
    journal.migrate().await?;
    journal.close().await;
    eprintln!("coordinator: up to date");
    for service in &app.services {
        let database = servers.service_database(service.name()).await?;
        let pool = service.connect(&database, 1).await.map_err(Failure::unavailable)?;
        service.migrate(&pool).await?;
        pool.close().await;
        eprintln!("{}: up to date", service.name());
    }
    Ok(Exit::Ok)
}
