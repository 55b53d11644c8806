//! Servers, databases, services and a coordinator, put together.
//!
//! Given URLs are used; a server that is not given is started as a private one. Services run in this process or as
//! processes of their own; both get the same databases, named after the coordinator's: `redress`, `redress_order`, and
//! so on.

use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context as _;
use redress_coordinator::{Config, Engine, Migrations, OpenError};
use redress_devstack::{Data, Durability, Nats, Postgres, Stack, StackConfig};
use redress_participant::crash::CrashHook;
use redress_participant::{FaultMode, Monitor, ParticipantConfig, Service, ServiceConfig};
use redress_postgres::{Target, ensure_database};
use redress_wire::{Topology, Wire, WireConfig};
use tokio::process::Command;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::args::{METRICS_ADDR, ServersArgs};
use crate::failure::Failure;

/// Name of the coordinator's database on a private server.
const DATABASE: &str = "redress";

/// The servers in use.
pub(crate) struct Servers {
    pub(crate) stack: Option<Stack>,
    pub(crate) database_url: String,
    pub(crate) nats_url: String,
    /// True for Postgres and for NATS if they are private.
    private: (bool, bool),
    prefix: String,
    ack_wait: Duration,
    stream_bytes_max: i64,
    service_concurrency: NonZeroUsize,
    /// Sees the services that run in this process.
    pub(crate) monitor: Monitor,
}

impl Servers {
    /// Uses the given servers and starts the others.
    pub(crate) async fn open(
        args: &ServersArgs,
        data: Data,
        durability: Durability,
    ) -> Result<Self, Failure> {
        let options = StackConfig {
            durability,
            data,
            postgres: args.database_url.is_none(),
            nats: args.nats_url.is_none(),
        };
        let private_ones = (options.postgres, options.nats);
        let stack = if options.postgres || options.nats {
            Some(Stack::start(options, &crate::legible::say).await.map_err(Failure::unavailable)?)
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
            service_concurrency: args.service_concurrency,
            monitor: Monitor::default(),
        })
    }

    /// Uses the given servers only.
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
            service_concurrency: args.service_concurrency,
            monitor: Monitor::default(),
        })
    }

    /// A connection to the broker, with its streams brought into line.
    pub(crate) async fn wire(&self) -> Result<Wire, Failure> {
        let (topology, settings) = self.wiring()?;
        Wire::connect(&self.nats_url, topology, settings).await.map_err(Failure::unavailable)
    }

    /// A connection to the broker that changes nothing there.
    pub(crate) async fn wire_to_look(&self) -> Result<Wire, Failure> {
        let (topology, settings) = self.wiring()?;
        Wire::look(&self.nats_url, topology, settings).await.map_err(Failure::unavailable)
    }

    /// A connection to the broker on another way, as through a proxy, with a tuning of its own.
    pub(crate) async fn wire_by(
        &self,
        nats_url: &str,
        tune: impl FnOnce(&mut WireConfig),
    ) -> Result<Wire, Failure> {
        let (topology, mut settings) = self.wiring()?;
        tune(&mut settings);
        Wire::connect(nats_url, topology, settings).await.map_err(Failure::unavailable)
    }

    fn wiring(&self) -> Result<(Topology, WireConfig), Failure> {
        let topology = Topology::new(&self.prefix).map_err(Failure::usage)?;
        let settings = WireConfig {
            ack_wait: self.ack_wait,
            stream_bytes_max: self.stream_bytes_max,
            ..WireConfig::default()
        };
        Ok((topology, settings))
    }

    /// The database of a service: from its own variable, or beside the coordinator's. Made if it is missing and tables
    /// are too.
    pub(crate) async fn service_database(
        &self,
        service: &str,
        migrations: Migrations,
    ) -> Result<String, Failure> {
        let (url, beside) = self.service_database_url(service)?;
        match (beside, migrations) {
            (Some(_), Migrations::Apply) => ensure_database(&url).await.map_err(Failure::of_database)?,
            (None, _) | (_, Migrations::Verify) => {}
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

    /// The coordinator's database; made if it is missing and tables are too.
    pub(crate) async fn coordinator_database(&self, migrations: Migrations) -> Result<String, Failure> {
        let (url, _) = self.sibling("")?;
        match migrations {
            Migrations::Apply => ensure_database(&url).await.map_err(Failure::of_database)?,
            Migrations::Verify => {}
        }
        Ok(url)
    }

    /// A database beside the coordinator's: its URL and its name.
    fn sibling(&self, suffix: &str) -> Result<(String, String), Failure> {
        let target = Target::parse(&self.database_url).map_err(Failure::of_database)?;
        let mut url = Url::parse(&self.database_url)
            .map_err(|error| Failure::usage(format!("the database URL is unusable: {error}")))?;
        if url.path().trim_matches('/').is_empty() {
            return Err(Failure::usage(
                "the database URL names no database: end it with one, as in /redress",
            ));
        }
        let name = format!("{}{suffix}", target.location().database());
        // The URL itself encodes all other characters that must not stand in a path.
        url.set_path(&name.replace('%', "%25").replace('/', "%2F"));
        Ok((url.into(), name))
    }

    /// A coordinator on these servers.
    pub(crate) async fn engine(
        &self,
        definitions: Vec<redress_core::SagaDefinition>,
        configure: impl FnOnce(&mut Config),
    ) -> Result<Engine, Failure> {
        let mut config = Config::new(String::new());
        configure(&mut config);
        config.database_url = self.coordinator_database(config.migrations).await?;
        let wire = self.wire().await?;
        Engine::open(config, definitions, wire).await.map_err(|error| match error {
            OpenError::Open(error) => Failure::of_journal(error),
            OpenError::Journal(error) => Failure::of_journal(error.into()),
            OpenError::Register(_) | OpenError::DefinedTwice(..) | OpenError::Stranger(_) => {
                Failure::new(1, error)
            }
        })
    }

    /// Begins to run a service in this process; its tables are ready then, if it has any.
    pub(crate) async fn run_service(
        &self,
        service: &Service,
        (faults, crash): (FaultMode, CrashHook),
        migrations: Migrations,
        shutdown: CancellationToken,
    ) -> Result<JoinHandle<Result<(), redress_participant::ServiceError>>, Failure> {
        let (concurrency, monitor) = (self.service_concurrency.get(), self.monitor.clone());
        let participant = ParticipantConfig { faults, concurrency, crash, monitor, ..Default::default() };
        if !service.needs_database() {
            let (service, wire) = (service.clone(), self.wire().await?);
            let serving = async move { service.serve_without_database(wire, participant, shutdown).await };
            return Ok(tokio::spawn(serving));
        }
        let database = self.service_database(service.name(), migrations).await?;
        let wire = self.wire().await?;
        let options = ServiceConfig { participant, migrations };
        let pool = service.open(&database, &options).await.map_err(Failure::of_service)?;
        let service = service.clone();
        Ok(tokio::spawn(async move { service.serve(pool, wire, options, shutdown).await }))
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
            .env("REDRESS_SERVICE_CONCURRENCY", self.service_concurrency.to_string())
            // Processes cannot share a port.
            .env_remove(METRICS_ADDR)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        Ok(command)
    }

    /// The private Postgres, if there is one.
    pub(crate) fn own_postgres(&self) -> Option<&Postgres> {
        self.stack.as_ref().filter(|_| self.private.0).map(Stack::postgres)
    }

    /// The private NATS, if there is one.
    pub(crate) fn own_nats(&self) -> Option<&Nats> {
        self.stack.as_ref().filter(|_| self.private.1).map(Stack::nats)
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

    /// The parting word of a demo: the data that are kept when it stops.
    pub(crate) fn keeps(&self) -> &'static str {
        match self.private {
            (true, _) => "nothing is kept",
            (false, _) => "the sagas stay in the given Postgres",
        }
    }

    /// Returns true if the journal of a demo ends with it, but its streams do not: no program could use them any more.
    pub(crate) fn orphans_its_streams(&self) -> bool {
        self.private == (true, false)
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

/// Completes when standard input ends: the parent process has gone.
pub(crate) async fn stdin_end() {
    let (ended, end) = tokio::sync::oneshot::channel();
    std::thread::spawn(move || {
        // The content does not matter, and an error is an end too.
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        let _ = ended.send(());
    });
    let _ = end.await;
}
