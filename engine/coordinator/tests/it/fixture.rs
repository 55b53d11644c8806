//! The fixture of a test: a database, a prefix, coordinators, and queries on the journal.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redress_coordinator::{Config, Engine, OperatorRequest, StartRequest};
use redress_core::decide::{OperatorCommand, Verb};
use redress_core::{Name, SagaDefinition, SagaId};
use redress_devstack::Stack;
use redress_wire::{Topology, Wire, WireConfig};
use serde_json::json;
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool, Row};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::party::{How, Party};

/// Longer than any of these tests takes when all is well.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct Fixture {
    pub(crate) stack: Arc<Stack>,
    pub(crate) database: String,
    pub(crate) pool: PgPool,
    pub(crate) wire: Wire,
    pub(crate) party: Party,
}

/// A coordinator at work.
pub(crate) struct Running {
    pub(crate) engine: Engine,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

pub(crate) fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// Asks again and again until it gets an answer.
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

impl Fixture {
    pub(crate) async fn new() -> Self {
        Self::on(redress_devstack::shared().await).await
    }

    /// On servers that may be its own.
    pub(crate) async fn on(stack: Arc<Stack>) -> Self {
        Self::with(stack, WireConfig::for_tests()).await
    }

    /// With a broker that delivers nothing again on a machine that is slow, however slow.
    pub(crate) async fn patient() -> Self {
        let settings = WireConfig { ack_wait: PATIENCE, ..WireConfig::for_tests() };
        Self::with(redress_devstack::shared().await, settings).await
    }

    async fn with(stack: Arc<Stack>, settings: WireConfig) -> Self {
        static FIXTURES: AtomicU32 = AtomicU32::new(0);
        let fixture = FIXTURES.fetch_add(1, Ordering::Relaxed);
        let database = format!("coordinator_{}_{fixture}", std::process::id());
        redress_coordinator::journal::ensure_database(&stack.postgres().url(&database)).await.unwrap();
        let pool = PgPool::connect_lazy(&stack.postgres().url(&database)).unwrap();
        let topology = Topology::new(&database.replace('_', "-")).unwrap();
        // The server sets aside the bytes that a stream may hold, and there is a stream of each kind per test.
        let settings = WireConfig { stream_bytes_max: 8 << 20, ..settings };
        let wire = Wire::connect(&stack.nats().url(), topology, settings).await.unwrap();
        let party = Party::open(&wire);
        Self { stack, database, pool, wire, party }
    }

    pub(crate) fn config(&self) -> Config {
        let mut config = Config::new(self.stack.postgres().url(&self.database));
        config.timer_poll = Duration::from_millis(50);
        config.acquire_timeout = Duration::from_secs(10);
        (config.work_connections, config.read_connections) = (4, 2);
        config
    }

    /// A coordinator that knows these definitions.
    pub(crate) async fn coordinator(&self, definitions: Vec<SagaDefinition>) -> Running {
        self.coordinator_with(self.config(), definitions).await
    }

    pub(crate) async fn coordinator_with(&self, config: Config, definitions: Vec<SagaDefinition>) -> Running {
        let engine = Engine::open(config, definitions, self.wire.clone()).await.unwrap();
        let shutdown = CancellationToken::new();
        let (running, token) = (engine.clone(), shutdown.clone());
        let task = tokio::spawn(async move { running.run(token).await });
        Running { engine, shutdown, task }
    }

    /// One number from the journal.
    pub(crate) async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.pool).await.unwrap()
    }

    pub(crate) async fn execute(&self, sql: &'static str, id: SagaId) {
        assert_eq!(
            sqlx::query(sql).bind(id.0).execute(&self.pool).await.unwrap().rows_affected(),
            1,
            "{sql}"
        );
    }

    /// A saga's history, a line per row.
    pub(crate) async fn history(&self, id: SagaId) -> String {
        let rows = sqlx::query(
            "SELECT concat_ws(' ', seq, event, phase, step, CASE WHEN step IS NOT NULL THEN attempt END) AS line \
             FROM saga_history WHERE saga_id = $1 ORDER BY seq",
        )
        .bind(id.0)
        .fetch_all(&self.pool)
        .await
        .unwrap();
        rows.iter().map(|row| row.get::<String, _>("line")).collect::<Vec<_>>().join("\n")
    }

    /// Why dead letters were written, in order.
    pub(crate) async fn dead_letters(&self) -> Vec<String> {
        let sql = "SELECT reason FROM dead_letters ORDER BY id";
        sqlx::query_scalar(sql).fetch_all(&self.pool).await.unwrap()
    }

    /// Sagas whose history has a gap, or another length than their state says.
    pub(crate) async fn gaps(&self) -> i64 {
        self.count(
            "SELECT count(*) FROM sagas s, LATERAL ( \
                 SELECT count(*) AS rows, max(seq) AS last FROM saga_history WHERE saga_id = s.id \
             ) AS h WHERE h.rows <> h.last OR h.last <> (convert_from(state, 'UTF8')::jsonb ->> 'history_length')::int",
        )
        .await
    }

    /// Makes a saga look as if it had been started years ago.
    pub(crate) async fn age(&self, id: SagaId) {
        for (table, column) in [("sagas", "id"), ("saga_history", "saga_id"), ("idempotency_keys", "saga_id")]
        {
            let sql = format!(
                "UPDATE {table} SET {column} = ('018f0000-0000' || substr({column}::text, 14))::uuid WHERE {column} = $1"
            );
            sqlx::query(AssertSqlSafe(sql)).bind(id.0).execute(&self.pool).await.unwrap();
        }
    }

    /// Takes the database away from all clients, or gives it back.
    pub(crate) async fn database_up(&self, up: bool) {
        let mut admin = PgConnection::connect(&self.stack.postgres().admin_url()).await.unwrap();
        let database = &self.database;
        let sql = format!(
            "ALTER DATABASE {database} ALLOW_CONNECTIONS {up}; \
             SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database}' AND NOT {up}"
        );
        sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut admin).await.unwrap();
    }
}

/// A start; the key is the saga's name and number.
pub(crate) fn start(saga: &str, number: u64) -> StartRequest {
    start_with(saga, number, "", How::Do)
}

/// A start of a saga whose `step` goes as said.
pub(crate) fn start_with(saga: &str, number: u64, step: &str, how: How) -> StartRequest {
    StartRequest {
        saga: saga.to_owned(),
        input: json!({ "number": number, "step": step, "how": how }),
        key: format!("{saga}-{number}"),
        ..StartRequest::default()
    }
}

/// An operator's command to cancel.
pub(crate) fn cancel(actor: &str, reason: &str) -> OperatorRequest {
    order(Verb::Cancel, actor, reason)
}

pub(crate) fn order(verb: Verb, actor: &str, reason: &str) -> OperatorRequest {
    let command = OperatorCommand { verb, actor: actor.to_owned(), reason: reason.to_owned() };
    OperatorRequest { command, if_match: None }
}

impl Running {
    /// Starts a saga.
    pub(crate) async fn start(&self, request: StartRequest) -> SagaId {
        self.engine.start_request(request).await.unwrap().id
    }

    /// Waits for a saga's end and gives its status.
    pub(crate) async fn end_of(&self, id: SagaId) -> &'static str {
        let view = self.engine.wait_ended(id, PATIENCE).await.unwrap().unwrap();
        assert!(view.rests(), "never ended: {view:#?}");
        view.status
    }

    /// Ends its loops wherever they are, as the death of a process would.
    pub(crate) fn kill(self) {
        self.task.abort();
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.expect("it drains").unwrap();
    }
}
