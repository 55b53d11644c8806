//! Servers, databases, services and a coordinator, put together.
//!
//! Given URLs are used; what is not given is a private server. Services run in this process or as processes of their
//! own; both get the same databases, named after the coordinator's: `redress`, `redress_order`, and so on.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use redress_coordinator::journal::ensure_database;
use redress_coordinator::{Config, Engine, OpenError};
use redress_devstack::{Data, Durability, Stack, StackOptions};
use redress_participant::{FaultObedience, ParticipantSettings, Service, ServiceOptions};
use redress_wire::{Settings, Topology, Wire};
use reqwest::Url;
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::args::ServersArgs;
use crate::failure::Failure;

/// Name of the coordinator's database on a private server.
const DATABASE: &str = "redress";

/// The servers in use.
pub(crate) struct Servers {
    pub(crate) stack: Option<Stack>,
    pub(crate) database_url: String,
    pub(crate) nats_url: String,
    /// Whether Postgres and NATS are private.
    private: (bool, bool),
    prefix: String,
    ack_wait: Duration,
    stream_bytes_max: i64,
}

impl Servers {
    /// Uses what is given and starts what is not.
    pub(crate) async fn open(
        args: &ServersArgs,
        data: Data,
        durability: Durability,
    ) -> Result<Self, Failure> {
        let options = StackOptions {
            durability,
            data,
            postgres: args.database_url.is_none(),
            nats: args.nats_url.is_none(),
        };
        let private_ones = (options.postgres, options.nats);
        let stack = if options.postgres || options.nats {
            Some(Stack::start(options, &|line| eprintln!("{line}")).await.map_err(Failure::unavailable)?)
        } else {
            None
        };
        let private = || stack.as_ref().context("a server that is not given is private");
        let database_url = match &args.database_url {
            Some(url) => url.clone(),
            None => private()?.postgres().url(DATABASE),
        };
        let nats_url = match &args.nats_url {
            Some(url) => url.clone(),
            None => private()?.nats().url(),
        };
        let (ack_wait, stream_bytes_max) = (Duration::from_millis(args.ack_wait_ms), args.stream_bytes_max);
        Ok(Self {
            stack,
            database_url,
            nats_url,
            private: private_ones,
            prefix: args.prefix.clone(),
            ack_wait,
            stream_bytes_max,
        })
    }

    /// Uses what is given.
    pub(crate) fn given(args: &ServersArgs) -> Result<Self, Failure> {
        let missing = |what: &str| {
            Failure::usage(format!("{what} is needed")).remedy("redress up, for private servers")
        };
        Ok(Self {
            stack: None,
            database_url: args.database_url.clone().ok_or_else(|| missing("DATABASE_URL"))?,
            nats_url: args.nats_url.clone().ok_or_else(|| missing("NATS_URL"))?,
            private: (false, false),
            prefix: args.prefix.clone(),
            ack_wait: Duration::from_millis(args.ack_wait_ms),
            stream_bytes_max: args.stream_bytes_max,
        })
    }

    /// A connection to the broker.
    pub(crate) async fn wire(&self) -> Result<Wire, Failure> {
        let topology = Topology::new(&self.prefix).map_err(Failure::usage)?;
        let settings = Settings {
            ack_wait: self.ack_wait,
            stream_bytes_max: self.stream_bytes_max,
            ..Settings::default()
        };
        Wire::connect(&self.nats_url, topology, settings).await.map_err(Failure::unavailable)
    }

    /// The database of a service: its own variable, or beside the coordinator's. Made if it is missing.
    pub(crate) async fn service_database(&self, service: &str) -> Result<String, Failure> {
        let (url, beside) = self.service_database_url(service)?;
        if let Some(name) = beside {
            self.ensure(&name).await?;
        }
        Ok(url)
    }

    /// Where the database of a service is, and its name if it is beside the coordinator's.
    pub(crate) fn service_database_url(&self, service: &str) -> Result<(String, Option<String>), Failure> {
        let variable = format!("REDRESS_{}_DATABASE_URL", service.replace('-', "_").to_uppercase());
        if let Ok(url) = std::env::var(&variable) {
            return Ok((url, None));
        }
        let (url, name) = self.sibling(&format!("_{service}"))?;
        Ok((url, Some(name)))
    }

    /// The coordinator's database, made if it is missing.
    pub(crate) async fn coordinator_database(&self) -> Result<String, Failure> {
        let (url, name) = self.sibling("")?;
        self.ensure(&name).await?;
        Ok(url)
    }

    fn sibling(&self, suffix: &str) -> Result<(String, String), Failure> {
        let mut url = Url::parse(&self.database_url)
            .map_err(|error| Failure::usage(format!("the database URL is unusable: {error}")))?;
        let base = url.path().trim_matches('/');
        if base.is_empty() {
            return Err(Failure::usage(
                "the database URL names no database: end it with one, as in /redress",
            ));
        }
        let name = format!("{base}{suffix}");
        url.set_path(&name);
        Ok((url.into(), name))
    }

    async fn ensure(&self, name: &str) -> Result<(), Failure> {
        let mut admin = Url::parse(&self.database_url)?;
        admin.set_path("postgres");
        match ensure_database(admin.as_str(), name).await {
            Ok(()) => Ok(()),
            // Whoever may not look at the server as a whole has made the databases beforehand.
            Err(error) if error.is_unavailable() => Err(Failure::unavailable(error)),
            Err(error) => {
                tracing::debug!(%error, database = name, "database not looked up");
                Ok(())
            }
        }
    }

    /// A coordinator on these servers.
    pub(crate) async fn engine(
        &self,
        definitions: Vec<redress_core::SagaDefinition>,
        configure: impl FnOnce(&mut Config),
    ) -> Result<Engine, Failure> {
        let mut config = Config::new(self.coordinator_database().await?);
        configure(&mut config);
        let wire = self.wire().await?;
        Engine::open(config, definitions, wire).await.map_err(|error| match &error {
            OpenError::Journal(journal) if journal.is_unavailable() => Failure::unavailable(error),
            OpenError::Journal(_) | OpenError::Register(_) | OpenError::DefinedTwice(..) => {
                Failure::new(1, error)
            }
        })
    }

    /// Begins to run a service in this process.
    pub(crate) async fn run_service(
        &self,
        service: &Service,
        faults: FaultObedience,
        shutdown: CancellationToken,
    ) -> Result<JoinHandle<Result<(), redress_participant::ServiceError>>, Failure> {
        let database = self.service_database(service.name()).await?;
        let wire = self.wire().await?;
        let options = ServiceOptions { participant: ParticipantSettings { faults, ..Default::default() } };
        let service = service.clone();
        Ok(tokio::spawn(async move { service.run(&database, wire, options, shutdown).await }))
    }

    /// Runs services as a process of their own; it stops when we do, because its standard input ends.
    pub(crate) fn service_command(&self, names: &[&str], echo: bool) -> Result<Command, Failure> {
        let mut command = Command::new(std::env::current_exe().context("where is this program?")?);
        command.arg("service").args(names).arg("--until-stdin-ends").arg("--allow-faults");
        if echo {
            command.arg("--echo");
        }
        command
            .env("DATABASE_URL", &self.database_url)
            .env("NATS_URL", &self.nats_url)
            .env("REDRESS_PREFIX", &self.prefix)
            .env("REDRESS_ACK_WAIT_MS", self.ack_wait.as_millis().to_string())
            .env("REDRESS_STREAM_BYTES_MAX", self.stream_bytes_max.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// One line on where the servers are.
    pub(crate) fn describe(&self) -> String {
        let Some(stack) = &self.stack else { return "the given servers".to_owned() };
        let dir = stack.dir().display();
        match self.private {
            (true, false) => format!("the given NATS, a private Postgres with its data in {dir}"),
            (false, true) => format!("the given Postgres, a private NATS with its data in {dir}"),
            (_, _) => format!("private servers, data in {dir}"),
        }
    }

    /// What is left of a demo when it stops.
    pub(crate) fn keeps(&self) -> &'static str {
        match self.private {
            (true, true) => "nothing is kept",
            (false, _) => "the sagas stay in the given Postgres",
            (true, false) => "nothing is kept but the streams in the given NATS",
        }
    }

    pub(crate) async fn stop(self) {
        if let Some(stack) = self.stack {
            stack.stop().await;
        }
    }
}

/// Where private servers keep their data.
pub(crate) fn kept(dir: &std::path::Path, fresh: bool) -> Data {
    Data::Kept { dir: PathBuf::from(dir), fresh }
}

/// A token that is cancelled by the first signal; the second one ends the program at once.
pub(crate) fn shutdown_on_signal() -> CancellationToken {
    let token = CancellationToken::new();
    let cancelled = token.clone();
    tokio::spawn(async move {
        signal().await;
        cancelled.cancel();
        signal().await;
        std::process::exit(130);
    });
    token
}

async fn signal() {
    use tokio::signal::unix::{SignalKind, signal};
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        // Without a handler the signal ends the program by itself.
        return std::future::pending().await;
    };
    tokio::select! {
        _ = terminate.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
}

/// Completes when standard input ends: whoever started us has gone.
pub(crate) async fn stdin_end() {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // What is read does not matter, and an error is an end too.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}
