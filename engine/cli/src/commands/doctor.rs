//! `redress doctor`

use redress_coordinator::Config;
use redress_coordinator::journal::PgJournal;
use redress_devstack::{Finding, Subject, Verdict};
use serde_json::{Value, json};

use crate::args::{DoctorArgs, Output};
use crate::failure::{Exit, Failure};
use crate::installation::Servers;
use crate::render;

pub(crate) async fn run(args: DoctorArgs, output: Output) -> Result<Exit, Failure> {
    let mut items: Vec<Value> = tokio::task::spawn_blocking(redress_devstack::inspect)
        .await?
        .iter()
        .map(|finding| json!({ "what": described(finding) }))
        .collect();
    items.push(json!({ "what": database(&args).await }));
    items.push(json!({ "what": broker(&args).await }));
    render::print_list(output, &json!({ "items": items, "next": null }), |items| {
        items.iter().filter_map(|item| item["what"].as_str()).collect::<Vec<_>>().join("\n")
    });
    Ok(Exit::Ok)
}

fn described(finding: &Finding) -> String {
    let subject = match finding.subject {
        Subject::Server(server) => server.to_string(),
        Subject::Cache => "cache".to_owned(),
        Subject::Installer => "installer".to_owned(),
        Subject::User => "user".to_owned(),
    };
    let verdict = match finding.verdict {
        Verdict::Used => "used",
        Verdict::Spare => "spare",
        Verdict::TooOld => "too old",
        Verdict::Broken => "broken",
        Verdict::Absent => "absent",
    };
    format!("{subject:<10} {verdict:<8} {}  {}", finding.place, finding.detail)
}

async fn database(args: &DoctorArgs) -> String {
    let Some(url) = &args.servers.database_url else {
        return "Postgres   private  DATABASE_URL is not set: a private Postgres is started when one is needed".to_owned();
    };
    match PgJournal::connect(&Config::new(url.as_str())).await {
        Ok(_) => "DATABASE_URL answers".to_owned(),
        Err(error) => format!("DATABASE_URL does not answer: {error}"),
    }
}

async fn broker(args: &DoctorArgs) -> String {
    if args.servers.nats_url.is_none() {
        return "NATS       private  NATS_URL is not set: a private NATS is started when one is needed"
            .to_owned();
    }
    let mut servers = args.servers.clone();
    servers.database_url.get_or_insert_default();
    let connected = match Servers::given(&servers) {
        Ok(servers) => servers.wire().await.map(|wire| wire.server_version()),
        Err(failure) => Err(failure),
    };
    match connected {
        Ok(version) => format!("NATS_URL answers: version {version} with JetStream"),
        Err(_) => "NATS_URL does not answer, is older than 2.10 or has no JetStream".to_owned(),
    }
}
