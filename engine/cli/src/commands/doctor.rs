//! `redress doctor`: reports the servers of this machine, and checks that the given ones answer.

use std::collections::BTreeMap;

use clap::Args;
use redress_coordinator::journal::PgJournal;
use redress_coordinator::{Config, OpenJournalError};
use redress_devstack::{CheckResult, Server, Subject, Verdict};
use serde_json::{Value, json};

use crate::args::{Output, ServersArgs};
use crate::failure::{Exit, Failure};
use crate::installation::Servers;
use crate::render;

#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    pub(crate) servers: ServersArgs,
}

pub(crate) async fn run(args: DoctorArgs, output: Output) -> Result<Exit, Failure> {
    let inspected = tokio::task::spawn_blocking(redress_devstack::inspect).await?;
    let mut items: Vec<Value> = inspected.iter().map(described).collect();
    items.push(database(&args.servers).await);
    items.push(broker(&args.servers).await);
    let missing = missing(&inspected, &args.servers);
    let unusable = items.iter().any(|item| item["verdict"] == UNUSABLE);
    let silent = items.iter().any(|item| item["verdict"] == SILENT);
    render::print_list(output, &json!({ "items": items, "next": null }), |items| {
        items.iter().map(line).collect::<Vec<_>>().join("\n")
    });
    if silent {
        let error = anyhow::anyhow!("a server that is given does not answer as it must");
        return Err(Failure::unavailable(error).remedy("start it, or unset its URL to get a private one"));
    }
    if unusable {
        let error = anyhow::anyhow!("a server that is given answers, and cannot be used as it is set up");
        return Err(Failure::new(78, error).remedy("what the line above says"));
    }
    if !missing.is_empty() {
        let names: Vec<String> = missing.iter().map(ToString::to_string).collect();
        let error =
            anyhow::anyhow!("no {} is usable here, and none can be installed", names.join(" and no "));
        let remedy = "install what is missing, or Python with pip, or set DATABASE_URL and NATS_URL";
        return Err(Failure::unavailable(error).remedy(remedy));
    }
    Ok(Exit::Ok)
}

/// The servers that are not given, are not here, and cannot be installed.
fn missing(inspected: &[CheckResult], given: &ServersArgs) -> Vec<Server> {
    let is_used = |subject| {
        inspected.iter().any(|finding| finding.subject == subject && finding.verdict == Verdict::Used)
    };
    // An installed server has its place in the cache.
    if is_used(Subject::Installer) && is_used(Subject::Cache) {
        return Vec::new();
    }
    [(Server::Postgres, given.database_url.is_none()), (Server::Nats, given.nats_url.is_none())]
        .into_iter()
        .filter(|(server, is_private)| *is_private && !is_used(Subject::Server(*server)))
        .map(|(server, _)| server)
        .collect()
}

const SILENT: &str = "silent";
const UNUSABLE: &str = "unusable";

fn item(subject: &str, verdict: &str, place: &str, detail: impl Into<String>) -> Value {
    json!({ "subject": subject, "verdict": verdict, "place": place, "detail": detail.into() })
}

fn line(item: &Value) -> String {
    let text = |name: &str| render::text(&item[name]);
    format!("{:<10} {:<8} {}  {}", text("subject"), text("verdict"), text("place"), text("detail"))
        .trim_end()
        .to_owned()
}

fn described(finding: &CheckResult) -> Value {
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
    item(&subject, verdict, &finding.place, &finding.detail)
}

async fn database(servers: &ServersArgs) -> Value {
    const PLACE: &str = "DATABASE_URL";
    let Some(url) = &servers.database_url else {
        return item("Postgres", "private", PLACE, "is not set: a private one is started when it is needed");
    };
    let asked = async {
        let journal = PgJournal::connect(&Config::new(url.as_str())).await?;
        let settings = journal.durability().await;
        journal.close().await;
        Ok(settings?)
    };
    match asked.await {
        Ok(settings) => item("Postgres", "given", PLACE, sentence(&settings)),
        Err(OpenJournalError::Unusable(error)) if !error.is_unavailable() => {
            let remedy = error.remedy();
            item("Postgres", UNUSABLE, PLACE, format!("{}; try: {remedy}", causes(&error.into())))
        }
        Err(error) => item("Postgres", SILENT, PLACE, causes(&anyhow::Error::from(error))),
    }
}

/// `fsync on, full_page_writes on, server_version 18.6, synchronous_commit on`
fn sentence(settings: &BTreeMap<String, String>) -> String {
    settings.iter().map(|(name, value)| format!("{name} {value}")).collect::<Vec<_>>().join(", ")
}

fn causes(error: &anyhow::Error) -> String {
    error.chain().map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

async fn broker(servers: &ServersArgs) -> Value {
    const PLACE: &str = "NATS_URL";
    if servers.nats_url.is_none() {
        return item("NATS", "private", PLACE, "is not set: a private one is started when it is needed");
    }
    let mut servers = servers.clone();
    // Only the broker is asked.
    servers.database_url.get_or_insert_default();
    let connected = match Servers::given(&servers) {
        Ok(servers) => servers.wire_to_look().await.map(|wire| wire.server_version()),
        Err(failure) => Err(failure),
    };
    match connected {
        Ok(version) => item("NATS", "given", PLACE, format!("version {version} with JetStream")),
        Err(failure) => item("NATS", SILENT, PLACE, causes(failure.error())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doctor_reports_servers_that_cannot_be_provided() {
        let found =
            |subject, verdict| CheckResult { subject, place: String::new(), verdict, detail: String::new() };
        let given = |database: bool| ServersArgs {
            database_url: database.then(String::new),
            nats_url: None,
            prefix: String::new(),
            ack_wait_ms: 1,
            stream_bytes_max: 1,
            service_concurrency: crate::args::SERVICE_CONCURRENCY,
        };
        let (postgres, nats) = (Subject::Server(Server::Postgres), Subject::Server(Server::Nats));
        let bare = [
            found(postgres, Verdict::TooOld),
            found(nats, Verdict::Absent),
            found(Subject::Cache, Verdict::Used),
            found(Subject::Installer, Verdict::Absent),
        ];
        assert_eq!(missing(&bare, &given(false)), [Server::Postgres, Server::Nats]);
        assert_eq!(missing(&bare, &given(true)), [Server::Nats]);
        let mut with_nats = bare.clone();
        with_nats[1].verdict = Verdict::Used;
        assert_eq!(missing(&with_nats, &given(true)), []);
        let mut with_pip = bare.clone();
        with_pip[3].verdict = Verdict::Used;
        assert_eq!(missing(&with_pip, &given(false)), []);
        with_pip[2].verdict = Verdict::Absent;
        assert_eq!(missing(&with_pip, &given(false)).len(), 2, "there is no place to install it");
    }
}
