//! The installation that is soaked: real servers of its own, two coordinators, four services, each a process.
//!
//! One coordinator and the payment service reach Postgres through a proxy that can lose an answer.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use redress_devstack::{Data, Durability, FaultProxy, Stack, StackConfig};
use redress_services::audit::Books;
use sqlx::PgPool;
use tokio::sync::Mutex;

use super::book::Book;
use super::supervisor::{LISTENS, Role, Supervisor};
use super::support::{self, SERVICES};

/// Prefix of the names of subjects, streams and databases.
pub(crate) const PREFIX: &str = "soak";
/// How long the broker waits for an acknowledgement: short, so that the messages of a killed process come again soon.
const ACK_WAIT: Duration = Duration::from_secs(5);
/// The limit of a stream: small enough to be full when much piles up.
const STREAM_BYTES_MAX: u32 = 64 << 20;

/// All servers and processes of the installation.
pub(crate) struct Yard {
    pub(crate) stack: Stack,
    pub(crate) coordinators: Vec<Supervisor>,
    pub(crate) services: Vec<Supervisor>,
    pub(crate) journal: PgPool,
    pub(crate) books: Books,
    /// The proxies before Postgres.
    pub(crate) proxies: Vec<FaultProxy>,
    /// Held by the disruption that is at work on the broker.
    pub(crate) broker: Mutex<()>,
    /// Held by the disruption that is at work on Postgres.
    pub(crate) database: Mutex<()>,
    /// The monkey's own connection to the broker, which comes back by itself.
    pub(crate) nats: async_nats::Client,
    /// Where the processes write their logs.
    pub(crate) logs: PathBuf,
}

impl Yard {
    /// Starts servers and processes, and waits until all are ready.
    pub(crate) async fn open(http: &reqwest::Client, book: &Arc<Book>) -> Self {
        let options = StackConfig {
            durability: Durability::Relaxed,
            data: Data::Ephemeral,
            postgres: true,
            nats: true,
        };
        let stack = Stack::start(options, &|line| eprintln!("{line}")).await.expect("private servers start");
        let logs = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("soak-{}", std::process::id()));
        std::fs::create_dir_all(&logs).expect("a folder for the logs");
        let journal = support::connect(&stack, PREFIX.to_owned()).await;
        let mut of_services = Vec::new();
        for service in SERVICES {
            of_services.push(support::connect(&stack, format!("{PREFIX}_{service}")).await);
        }
        let [order, payment, inventory, shipping] = of_services.try_into().expect("there are four services");
        let nats = support::nats(&stack).await;
        let mut yard = Self {
            journal,
            books: Books { order, payment, inventory, shipping },
            proxies: Vec::new(),
            coordinators: Vec::new(),
            services: Vec::new(),
            broker: Mutex::new(()),
            database: Mutex::new(()),
            nats,
            logs,
            stack,
        };
        yard.man(http, book).await;
        yard
    }

    async fn man(&mut self, http: &reqwest::Client, book: &Arc<Book>) {
        for service in SERVICES {
            let arguments = ["service", "--until-stdin-ends", "--allow-faults", service];
            let role = self.role(service.to_owned(), &arguments, service == "payment").await;
            self.services.push(Supervisor::begin(role, http.clone(), book.clone()));
        }
        for number in 0..2 {
            let arguments = [
                "serve",
                "--http",
                "127.0.0.1:0",
                "--allow-faults",
                "--until-stdin-ends",
                "--timer-poll-ms",
                "100",
            ];
            let role = self.role(format!("coordinator-{number}"), &arguments, number == 1).await;
            self.coordinators.push(Supervisor::begin(role, http.clone(), book.clone()));
        }
        for supervisor in self.supervisors() {
            supervisor.until_ready().await;
        }
    }

    async fn role(&mut self, name: String, arguments: &[&str], through_proxy: bool) -> Role {
        let mut database = self.stack.postgres().url(PREFIX);
        if through_proxy {
            let port = self.stack.postgres().port();
            let (proxy, door) = FaultProxy::before(port).await.expect("a free port");
            database = database.replace(&format!(":{port}/"), &format!(":{door}/"));
            self.proxies.push(proxy);
        }
        let environment = vec![
            ("DATABASE_URL", database),
            ("NATS_URL", self.stack.nats().url()),
            ("REDRESS_PREFIX", PREFIX.to_owned()),
            ("REDRESS_ACK_WAIT_MS", ACK_WAIT.as_millis().to_string()),
            ("REDRESS_STREAM_BYTES_MAX", STREAM_BYTES_MAX.to_string()),
            ("REDRESS_LOG", std::env::var("REDRESS_LOG").unwrap_or_else(|_| "error".to_owned())),
        ];
        let log = self.logs.join(format!("{name}.log"));
        let arguments = arguments.iter().map(|argument| (*argument).to_owned()).collect();
        Role { name, arguments, environment, log }
    }

    /// All processes.
    pub(crate) fn supervisors(&self) -> impl Iterator<Item = &Supervisor> {
        self.coordinators.iter().chain(&self.services)
    }

    /// The address of a coordinator, while it is ready.
    pub(crate) fn address(&self, coordinator: usize) -> Option<String> {
        let (_, says) = self.coordinators[coordinator % self.coordinators.len()].ready()?;
        says.strip_prefix(LISTENS).map(str::to_owned)
    }

    /// The port of a coordinator, while it is ready.
    pub(crate) fn port(&self, coordinator: usize) -> Option<u16> {
        self.address(coordinator)?.rsplit(':').next()?.parse().ok()
    }

    /// The names of all databases.
    pub(crate) fn databases() -> Vec<String> {
        let of_services = SERVICES.iter().map(|service| format!("{PREFIX}_{service}"));
        std::iter::once(PREFIX.to_owned()).chain(of_services).collect()
    }

    /// The broker's streams.
    pub(crate) fn streams(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(self.nats.clone())
    }

    /// The name of a stream: `COMMANDS`, `REPLIES`, `DEAD_LETTERS`.
    pub(crate) fn stream(what: &str) -> String {
        format!("{}_{what}", PREFIX.to_ascii_uppercase())
    }
}
