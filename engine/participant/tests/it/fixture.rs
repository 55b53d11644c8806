//! The setting of a test: a database, a prefix, instances of the till, and the coordinator's end of the wire.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redress_core::{
    CommandMessage, IdempotencyKey, JsonText, Name, Outcome, Phase, ReplyMessage, SagaId, Timestamp,
};
use redress_participant::{ParticipantConfig, ServeError, Service, Stats, inbox_migrator};
use redress_wire::{Consumer, Topology, Wire, WireConfig};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::till::{Till, service};

/// Longer than any of these tests takes when all is well.
const PATIENCE: Duration = Duration::from_secs(60);

/// Room for most of these tests in each stream, in bytes: the server sets it aside, and has 4 GiB for all of them.
pub(crate) const STREAM_BYTES_MAX: i64 = 8 << 20;
/// Room for those that send more than that.
const STREAM_BYTES_MAX_LARGE: i64 = 16 << 20;

pub(crate) struct Fixture {
    database: String,
    pub(crate) database_url: String,
    admin_url: String,
    pub(crate) pool: PgPool,
    pub(crate) wire: Wire,
    replies: Consumer<ReplyMessage>,
    waiting: Vec<ReplyMessage>,
}

/// An instance of the till.
pub(crate) struct Instance {
    pub(crate) till: Till,
    pub(crate) stats: Arc<Stats>,
    pub(crate) shutdown: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), ServeError>>,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Asks again and again until it is so.
pub(crate) async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let mut ticks = tokio::time::interval(Duration::from_millis(20));
    let asking = async {
        while !is_so().await {
            ticks.tick().await;
        }
    };
    timeout(PATIENCE, asking).await.unwrap_or_else(|_| panic!("never came: {what}"));
}

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::with_broker(&redress_devstack::shared().await.nats().url(), STREAM_BYTES_MAX).await
    }

    /// One with more room for messages.
    pub(crate) async fn large() -> Self {
        Self::with_broker(&redress_devstack::shared().await.nats().url(), STREAM_BYTES_MAX_LARGE).await
    }

    /// One whose messages go over a broker of its own.
    pub(crate) async fn on_broker(nats_url: &str) -> Self {
        Self::with_broker(nats_url, STREAM_BYTES_MAX).await
    }

    async fn with_broker(nats_url: &str, stream_bytes_max: i64) -> Self {
        static COUNTER: AtomicU32 = AtomicU32::new(0);
        let servers = redress_devstack::shared().await;
        let admin_url = servers.postgres().admin_url();
        let fixture = COUNTER.fetch_add(1, Ordering::Relaxed);
        let born = std::time::SystemTime::UNIX_EPOCH.elapsed().unwrap().as_millis();
        let database = format!("participant_{born}_{}_{fixture}", std::process::id());
        let mut admin = PgConnection::connect(&admin_url).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(format!("CREATE DATABASE {database}")))
            .execute(&mut admin)
            .await
            .unwrap();
        let database_url = servers.postgres().url(&database);
        let pool = PgPool::connect(&database_url).await.unwrap();
        inbox_migrator().run(&pool).await.unwrap();
        Till::create_tables(&pool).await;
        let prefix = database.replace('_', "-");
        let topology = Topology::new(&prefix).unwrap();
        // The server sets aside what a stream may hold, and there is a stream of each kind per test.
        let config = WireConfig { stream_bytes_max, ..WireConfig::for_tests() };
        let wire = Wire::connect(nats_url, topology, config).await.unwrap();
        let replies = wire.replies(&name("test"), 1);
        Self { database, database_url, admin_url, pool, wire, replies, waiting: Vec::new() }
    }

    /// Starts an instance of the till.
    pub(crate) async fn till(&self) -> Instance {
        self.till_with(ParticipantConfig::default()).await
    }

    pub(crate) async fn till_with(&self, config: ParticipantConfig) -> Instance {
        let till = Till::default();
        self.serve(service(till.clone()), till, config).await
    }

    pub(crate) async fn serve(&self, service: Service, till: Till, config: ParticipantConfig) -> Instance {
        let pool = service.connect(&self.database_url, &config).await.unwrap();
        let shutdown = CancellationToken::new();
        let (stats, serving) = service.start(pool, self.wire.clone(), config, shutdown.clone());
        Instance { till, stats, shutdown, task: tokio::spawn(serving) }
    }

    /// The database's name.
    pub(crate) fn database(&self) -> &str {
        &self.database
    }

    /// A URL from which databases and roles are made.
    pub(crate) fn admin_url(&self) -> &str {
        &self.admin_url
    }

    /// Ends an instance, politely.
    pub(crate) async fn stop(&self, instance: Instance) {
        instance.shutdown.cancel();
        timeout(PATIENCE, instance.task).await.unwrap().unwrap().unwrap();
    }

    /// Runs an instance, in a runtime of its own, until a handler of it waits; then it is gone as after SIGKILL.
    pub(crate) async fn dies_in_its_handler(&self, config: ParticipantConfig) {
        let nats = redress_devstack::shared().await.nats().url();
        let (url, topology) = (self.database_url.clone(), self.wire.topology().clone());
        let life = async move {
            let settings_of_wire =
                WireConfig { stream_bytes_max: STREAM_BYTES_MAX, ..WireConfig::for_tests() };
            let wire = Wire::connect(&nats, topology, settings_of_wire).await.unwrap();
            let till = Till::default();
            let service = service(till.clone());
            let pool = service.connect(&url, &config).await.unwrap();
            let (_, serving) = service.start(pool, wire, config, CancellationToken::new());
            tokio::spawn(serving);
            timeout(PATIENCE, till.entered.acquire()).await.unwrap().unwrap().forget();
        };
        let process = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
            runtime.block_on(life);
            runtime.shutdown_background();
        });
        tokio::task::spawn_blocking(|| process.join().unwrap()).await.unwrap();
    }

    /// Publishes commands, in this order.
    pub(crate) async fn send(&self, commands: &[CommandMessage]) {
        for result in self.wire.publish_commands(commands).await {
            result.unwrap();
        }
    }

    /// The next `count` replies.
    pub(crate) async fn replies(&mut self, count: usize) -> Vec<ReplyMessage> {
        while self.waiting.len() < count {
            let batch = timeout(PATIENCE, self.replies.next_batch(1_000)).await.unwrap_or_else(|_| {
                panic!("{} of {count} replies came: {:#?}", self.waiting.len(), self.waiting)
            });
            for delivery in batch {
                let (message, _, handle) = delivery.split();
                handle.ack().await;
                self.waiting.push(message.unwrap());
            }
        }
        self.waiting.drain(..count).collect()
    }

    /// Publishes one command and gives its outcome, as the test's one line.
    pub(crate) async fn ask(&mut self, command: CommandMessage) -> String {
        let key = command.key.clone();
        self.send(&[command]).await;
        let reply = self.replies(1).await.remove(0);
        assert_eq!(reply.key, key, "the reply names its command");
        told(&reply.outcome)
    }

    /// The effects that were written, as `kind:slot`, in order of slot and kind.
    pub(crate) async fn effects(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT kind || ':' || slot FROM effect ORDER BY slot, kind")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// The inbox, as `step/phase/generation outcome`, in key order.
    pub(crate) async fn inbox(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT substr(key, 38) || ' ' || outcome FROM inbox ORDER BY key")
            .fetch_all(&self.pool)
            .await
            .unwrap()
    }

    /// Removes the database.
    pub(crate) async fn leave(self, instances: impl IntoIterator<Item = Instance>) {
        for instance in instances {
            instance.shutdown.cancel();
            timeout(PATIENCE, instance.task).await.unwrap().unwrap().unwrap();
        }
        self.pool.close().await;
        let mut admin = PgConnection::connect(&self.admin_url).await.unwrap();
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.database);
        sqlx::raw_sql(AssertSqlSafe(drop)).execute(&mut admin).await.unwrap();
    }

    /// Takes the database away from all its clients, or gives it back.
    pub(crate) async fn database_up(&self, up: bool) {
        let mut admin = PgConnection::connect(&self.admin_url).await.unwrap();
        let (database, allowed) = (&self.database, if up { "true" } else { "false" });
        let sql = format!(
            "ALTER DATABASE {database} ALLOW_CONNECTIONS {allowed}; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND NOT {allowed}"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
}

impl Instance {
    /// Its counts, without the zeros; and without where the commands ran and how often they came or went back, since that
    /// depends on the machine.
    pub(crate) fn counted(&self) -> String {
        let depends = |name: &str| {
            name.ends_with("_beside")
                || name.starts_with("put_back")
                || ["redelivered", "outages", "database_down", "in_batches"].contains(&name)
        };
        let is_told = |(name, count): &(&str, u64)| *count > 0 && !depends(name);
        let counts = self.stats.read().into_iter().filter(is_told);
        counts.map(|(name, count)| format!("{name} {count}")).collect::<Vec<_>>().join(", ")
    }

    pub(crate) fn count(&self, wanted: &str) -> u64 {
        self.stats.read().into_iter().find(|(name, _)| *name == wanted).unwrap().1
    }
}

/// A saga's id; the same number is the same saga.
pub(crate) fn saga(number: u128) -> SagaId {
    SagaId(Uuid::from_u128(0x0190163d_8694_739b_aea5_000000000000 + number))
}

/// A command of saga `number`, first attempt, sent just now.
pub(crate) fn command(
    number: u128,
    phase: Phase,
    command: &str,
    payload: &impl serde::Serialize,
) -> CommandMessage {
    CommandMessage {
        key: IdempotencyKey { saga_id: saga(number), step: name("pay"), phase, generation: 1 },
        attempt: 1,
        saga: name("test"),
        version: 1,
        service: name("till"),
        command: name(command),
        action_sent_at: now(),
        fault: None,
        traceparent: None,
        payload: JsonText::of(payload).unwrap(),
    }
}

pub(crate) fn now() -> Timestamp {
    chrono::Utc::now()
}

/// An outcome in one line.
pub(crate) fn told(outcome: &Outcome) -> String {
    match outcome {
        Outcome::Done { reply } => format!("done {reply}"),
        Outcome::Rejected(rejection) => format!("rejected {}: {}", rejection.code, rejection.message),
        Outcome::Failed { message } => format!("failed: {message}"),
        Outcome::Fenced => "fenced".to_owned(),
        Outcome::Expired => "expired".to_owned(),
        Outcome::Refused { reason } => format!("refused: {reason}"),
        Outcome::Accepted => "accepted".to_owned(),
        Outcome::InDoubt { reason } => format!("in doubt: {reason}"),
    }
}

/// The outcomes by saga number, then attempt.
pub(crate) fn told_in_order(mut replies: Vec<ReplyMessage>) -> String {
    replies.sort_by_key(|reply| (reply.key.saga_id, reply.key.phase, reply.attempt));
    replies.iter().map(|reply| told(&reply.outcome)).collect::<Vec<_>>().join("\n")
}
