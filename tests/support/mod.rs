//! An installation for a test: coordinators and services as processes of their own, on real servers.
//!
//! Each world has its own databases and its own prefix, so worlds share servers without seeing each other. Processes
//! stop when the test ends, however it ends: their standard input is ours.
#![allow(dead_code, unused_imports, reason = "each test binary uses a part of it")]

pub(crate) mod answers;
pub(crate) mod check;
pub(crate) mod door;
pub(crate) mod observer;
pub(crate) mod orders;
pub(crate) mod pooler;
pub(crate) mod process;
pub(crate) mod process_tree;
pub(crate) mod replicas;
pub(crate) mod tally;

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redress::devstack::{Data, Durability, Stack, StackConfig};
use redress::{Config, Engine, SagaDefinition, Topology, Wire, WireConfig};
use redress_services::audit::Books;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tokio::sync::{Semaphore, SemaphorePermit};

pub(crate) use process::Process;

/// The services of the demo.
pub(crate) const SERVICES: [&str; 4] = ["order", "payment", "inventory", "shipping"];
/// The services of the demo's expenses; a world runs them where a test asks for them.
pub(crate) const OFFICES: [&str; 2] = ["card", "office"];
/// How long anything may take before a test gives up.
pub(crate) const PATIENCE: Duration = Duration::from_secs(150);

/// Worlds at once: more would only make each of them slower.
static ROOM: Semaphore = Semaphore::const_new(5);

/// Coordinators, services and the servers beneath them.
pub(crate) struct World {
    pub(crate) stack: Arc<Stack>,
    pub(crate) coordinators: Vec<Process>,
    pub(crate) services: Vec<Process>,
    pub(crate) http: reqwest::Client,
    pub(crate) prefix: String,
    pub(crate) observer: observer::Observer,
    database: String,
    /// Where its coordinators find the journal.
    journal_url: String,
    journal: PgPool,
    books: Books,
    /// Variables of its processes beside those that say where the servers are.
    pub(crate) more: Vec<(&'static str, String)>,
    /// The definitions by which the histories are judged: the demo's, and those of the test's own engines.
    known: std::sync::Mutex<Vec<SagaDefinition>>,
    _room: SemaphorePermit<'static>,
}

impl World {
    /// One coordinator and all services in one process, on the servers that all tests of this binary share.
    pub(crate) async fn start() -> Self {
        Self::with(redress::devstack::shared().await, 1, &[&SERVICES]).await
    }

    /// Servers of its own, for tests that kill, restart or wipe one.
    pub(crate) async fn on_own_servers() -> Self {
        Self::on_own_servers_with(1).await
    }

    /// The same with so many coordinators.
    pub(crate) async fn on_own_servers_with(coordinators: usize) -> Self {
        Self::with(own_servers().await, coordinators, &[&SERVICES]).await
    }

    /// So many coordinators, and a process for each group of services.
    pub(crate) async fn with(stack: Arc<Stack>, coordinators: usize, services: &[&[&str]]) -> Self {
        static WORLDS: AtomicU32 = AtomicU32::new(0);
        let room = ROOM.acquire().await.expect("the room is never closed");
        let name = format!("t{}-{}", std::process::id(), WORLDS.fetch_add(1, Ordering::Relaxed));
        let database = name.replace('-', "_");
        let journal = connect(&stack, database.clone()).await;
        let [order, payment, inventory, shipping] = futures_util::future::join_all(
            SERVICES.map(|service| connect(&stack, format!("{database}_{service}"))),
        )
        .await
        .try_into()
        .expect("there are four services");
        let observer = observer::Observer::begin(nats(&stack).await, &name).await;
        let url = stack.postgres().url(&database);
        let mut world = Self {
            stack,
            observer,
            coordinators: Vec::new(),
            services: Vec::new(),
            http: reqwest::Client::builder().timeout(Duration::from_secs(20)).build().expect("a client"),
            prefix: name,
            journal_url: url,
            database,
            journal,
            books: Books { order, payment, inventory, shipping },
            more: Vec::new(),
            known: redress_sagas::all().into_iter().collect::<Vec<_>>().into(),
            _room: room,
        };
        for group in services {
            let service = world.start_services(group).await;
            world.services.push(service);
        }
        for _ in 0..coordinators {
            let coordinator = world.start_coordinator().await;
            world.coordinators.push(coordinator);
        }
        world
    }

    pub(crate) async fn start_coordinator(&self) -> Process {
        self.start_coordinator_with(&[]).await
    }

    /// One with more arguments.
    pub(crate) async fn start_coordinator_with(&self, more: &[&str]) -> Process {
        let mut arguments = vec![
            "serve",
            "--http",
            "127.0.0.1:0",
            "--allow-faults",
            "--until-stdin-ends",
            "--timer-poll-ms",
            "50",
        ];
        arguments.extend(more);
        Process::start(&arguments, &self.environment()).await
    }

    pub(crate) async fn start_services(&self, names: &[&str]) -> Process {
        let mut arguments = vec!["service", "--until-stdin-ends", "--allow-faults"];
        arguments.extend(names);
        Process::start(&arguments, &self.environment()).await
    }

    /// The variables that make a process one of this world.
    pub(crate) fn environment(&self) -> Vec<(&'static str, String)> {
        let servers = [
            ("DATABASE_URL", self.journal_url.clone()),
            ("NATS_URL", self.stack.nats().url()),
            ("REDRESS_PREFIX", self.prefix.clone()),
            ("REDRESS_ACK_WAIT_MS", "2000".to_owned()),
            ("REDRESS_STREAM_BYTES_MAX", (32 << 20).to_string()),
            ("REDRESS_LOG", std::env::var("REDRESS_LOG").unwrap_or_else(|_| "error".to_owned())),
        ];
        servers.into_iter().chain(self.more.clone()).collect()
    }

    /// Kills a coordinator and starts another one in its place.
    pub(crate) async fn replace_coordinator(&mut self, index: usize) {
        self.coordinators[index].kill().await;
        self.coordinators[index] = self.start_coordinator().await;
    }

    /// Kills a service process and starts another one in its place.
    pub(crate) async fn replace_services(&mut self, index: usize, names: &[&str]) {
        self.services[index].kill().await;
        self.services[index] = self.start_services(names).await;
    }

    /// The API of the first coordinator.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.coordinators[0].says.trim_start_matches("listening on "))
    }

    /// A coordinator inside the test, which knows these definitions.
    pub(crate) async fn engine(&self, definitions: Vec<SagaDefinition>) -> Engine {
        self.known.lock().expect("nobody panics while holding it").extend(definitions.iter().cloned());
        let wire = self.wire().await;
        let config = Config {
            allow_faults: true,
            timer_poll: Duration::from_millis(50),
            ..Config::new(self.stack.postgres().url(&self.database))
        };
        Engine::open(config, definitions, wire).await.expect("the coordinator opens")
    }

    /// A connection to this world's streams, as its processes have one.
    pub(crate) async fn wire(&self) -> Wire {
        let topology = Topology::new(&self.prefix).expect("the prefix is a name");
        let settings = WireConfig {
            ack_wait: Duration::from_secs(2),
            stream_bytes_max: 32 << 20,
            ..WireConfig::default()
        };
        Wire::connect(&self.stack.nats().url(), topology, settings).await.expect("NATS answers")
    }

    fn known(&self) -> Vec<SagaDefinition> {
        self.known.lock().expect("nobody panics while holding it").clone()
    }

    /// The names of all databases of this world.
    fn databases(&self) -> Vec<String> {
        let services = SERVICES.iter().chain(&OFFICES);
        let of_services = services.map(|service| format!("{}_{service}", self.database));
        std::iter::once(self.database.clone()).chain(of_services).collect()
    }

    /// The URL of a service's database.
    pub(crate) fn database_of(&self, service: &str) -> String {
        self.stack.postgres().url(&format!("{}_{service}", self.database))
    }

    /// A pool on the database of a service of the test's own, which is made.
    pub(crate) async fn pool_of(&self, service: &str) -> PgPool {
        connect(&self.stack, format!("{}_{service}", self.database)).await
    }

    /// The coordinators to come find the journal at `url`; the checks read from `pool`.
    pub(crate) fn journal_is_at(&mut self, url: String, pool: PgPool) {
        (self.journal_url, self.journal) = (url, pool);
    }

    pub(crate) fn journal(&self) -> &PgPool {
        &self.journal
    }

    pub(crate) fn books(&self) -> &Books {
        &self.books
    }

    /// The broker's address and the subjects of this world's commands and replies.
    pub(crate) async fn nats(&self) -> async_nats::Client {
        nats(&self.stack).await
    }
}

/// Servers that no other test of this binary uses.
pub(crate) async fn own_servers() -> Arc<Stack> {
    let options =
        StackConfig { durability: Durability::Relaxed, data: Data::Ephemeral, postgres: true, nats: true };
    Arc::new(Stack::start(options, &|_| {}).await.expect("private servers start"))
}

/// A connection of the test's own to the broker.
pub(crate) async fn nats(stack: &Stack) -> async_nats::Client {
    connect_nats(stack).await.expect("the stack's NATS answers")
}

/// The same, where the broker may be away.
pub(crate) async fn connect_nats(stack: &Stack) -> Result<async_nats::Client, async_nats::ConnectError> {
    let address: async_nats::ServerAddr = stack.nats().url().parse().expect("the stack's URL");
    let options = async_nats::ConnectOptions::new().user_and_password(
        address.username().unwrap_or_default().to_owned(),
        address.password().unwrap_or_default().to_owned(),
    );
    options.connect(address).await
}

/// A pool on a database that is made if it is missing, and that survives a restart of the server.
pub(crate) async fn connect(stack: &Stack, name: String) -> PgPool {
    redress_coordinator::journal::ensure_database(&stack.postgres().url(&name))
        .await
        .expect("the database is made");
    PgPoolOptions::new()
        .max_connections(2)
        .acquire_timeout(Duration::from_secs(30))
        .connect_lazy(&stack.postgres().url(&name))
        .expect("the stack's URL")
}

/// Asks again and again until there is an answer; a failing query is repeated too.
pub(crate) async fn until<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let asking = async {
        loop {
            ticks.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    };
    tokio::time::timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never came: {what}"))
}
