//! The setting: a coordinator with its API, a service that takes the money, and the versions of another one.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redress::client::{
    Client, ClientConfig, ClientError, DeadLetter, LetterCode, LetterQuery, LetterStatus, LetterVerb,
};
use redress::devstack::Stack;
use redress::sqlx::{self, PgPool};
use redress::{
    Answer, Command, Config, Engine, Handle, Participant, ParticipantConfig, SagaDefinition, SagaId,
    StartRequest, Topology, Tx, Wire, WireConfig, done, inbox_migrator, saga,
};
use redress_api::{Access, bind, serve};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::support::{nats, until};

macro_rules! commands {
    ($($name:ident { $field:ident: $type:ty } = $service:literal / $command:literal),+ $(,)?) => {$(
        #[derive(Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $name { $field: $type }

        impl Command for $name {
            const SERVICE: &'static str = $service;
            const NAME: &'static str = $command;
            type Reply = ();
        }
    )+};
}

commands! {
    Charge { sale: String } = "till" / "charge",
    Confirm { sale: String } = "office" / "confirm",
    // As a version of the office takes it that was never deployed with this saga.
    ConfirmByNumber { sale: u64 } = "office" / "confirm",
    // The only command of a office that is older than the saga.
    Greet { sale: String } = "office" / "greet",
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Sale {
    sale: String,
}

fn sell() -> SagaDefinition {
    saga::<Sale>("sell", 1)
        .pivot("charge", |s| Charge { sale: s.sale.clone() })
        .retriable("confirm", |s| Confirm { sale: s.sale.clone() })
        .build()
}

pub(crate) struct Till;
pub(crate) struct Office;
/// Loses its connection whenever it confirms, as a service does that dies of a command.
pub(crate) struct MortalOffice;

impl Handle<Charge> for Till {
    async fn handle(&self, _: &mut Tx<'_>, _: Charge) -> Answer<()> {
        done(())
    }
}

impl Handle<Confirm> for Office {
    async fn handle(&self, tx: &mut Tx<'_>, confirm: Confirm) -> Answer<()> {
        sqlx::query("INSERT INTO confirmed VALUES ($1)").bind(confirm.sale).execute(tx).await?;
        done(())
    }
}

impl Handle<ConfirmByNumber> for Office {
    async fn handle(&self, _: &mut Tx<'_>, _: ConfirmByNumber) -> Answer<()> {
        done(())
    }
}

impl Handle<Greet> for Office {
    async fn handle(&self, _: &mut Tx<'_>, _: Greet) -> Answer<()> {
        done(())
    }
}

impl Handle<Confirm> for MortalOffice {
    async fn handle(&self, tx: &mut Tx<'_>, _: Confirm) -> Answer<()> {
        sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(tx).await?;
        done(())
    }
}

/// A coordinator with its API, and the databases of two services.
pub(crate) struct Installation {
    pub(crate) stack: Arc<Stack>,
    pub(crate) name: String,
    pub(crate) journal: PgPool,
    pub(crate) office: PgPool,
    pub(crate) wire: Wire,
    pub(crate) engine: Engine,
    pub(crate) client: Client,
    /// Of the API.
    pub(crate) url: String,
    pub(crate) shutdown: CancellationToken,
}

/// A service that runs until it is stopped.
pub(crate) struct Serving(CancellationToken, JoinHandle<()>);

impl Serving {
    pub(crate) async fn stop(self) {
        self.0.cancel();
        self.1.await.expect("it ends well");
    }
}

/// As short as a test wants it.
pub(crate) fn impatient() -> ParticipantConfig {
    ParticipantConfig {
        unknown_command_age: Duration::ZERO,
        database_down_pause: Duration::from_millis(1),
        tries_max: 1,
        forward_every: Duration::from_millis(50),
        ..ParticipantConfig::default()
    }
}

impl Installation {
    pub(crate) async fn new() -> Self {
        static INSTALLATIONS: AtomicU32 = AtomicU32::new(0);
        let number = INSTALLATIONS.fetch_add(1, Ordering::Relaxed);
        let (stack, name) =
            (redress::devstack::shared().await, format!("letters{}x{number}", std::process::id()));
        let wire = wire(&stack, &name, 16 << 20).await;
        let (journal, office) =
            (database(&stack, &name).await, database(&stack, &format!("{name}_office")).await);
        inbox_migrator().run(&office).await.expect("the inbox is made");
        sqlx::query("CREATE TABLE confirmed (sale text)").execute(&office).await.expect("the table is made");
        let config =
            Config { timer_poll: Duration::from_millis(50), ..Config::new(stack.postgres().url(&name)) };
        let engine = Engine::open(config, vec![sell()], wire.clone()).await.expect("the coordinator opens");
        let shutdown = CancellationToken::new();
        let (running, token) = (engine.clone(), shutdown.clone());
        tokio::spawn(async move { running.run(token).await });
        let listener =
            bind("127.0.0.1:0".parse().expect("an address"), &Access::Loopback).await.expect("it listens");
        let url = format!("http://{}", listener.local_addr().expect("it has an address"));
        tokio::spawn(serve(listener, engine.clone(), Access::Loopback, shutdown.clone()));
        let client = Client::new(ClientConfig::new(&url)).expect("a client");
        let installation = Self { stack, name, journal, office, wire, engine, client, url, shutdown };
        let till = database(&installation.stack, &format!("{}_till", installation.name)).await;
        inbox_migrator().run(&till).await.expect("the inbox is made");
        installation.serve_on(till, Participant::new("till").handle::<Charge>(), Till);
        installation
    }

    pub(crate) fn serve_on<S: Send + Sync + 'static>(
        &self,
        pool: PgPool,
        participant: Participant<S>,
        service: S,
    ) -> Serving {
        let (stop, wire) = (self.shutdown.child_token(), self.wire.clone());
        let token = stop.clone();
        let task = tokio::spawn(async move {
            let shutdown = async move { token.cancelled().await };
            participant.serve(service, pool, wire, shutdown).await.expect("it serves");
        });
        Serving(stop, task)
    }

    pub(crate) fn office<S: Send + Sync + 'static>(
        &self,
        participant: Participant<S>,
        service: S,
    ) -> Serving {
        self.serve_on(self.office.clone(), participant.config(impatient()), service)
    }

    /// The office that confirms.
    pub(crate) fn good_office(&self) -> Serving {
        self.office(Participant::new("office").handle::<Confirm>(), Office)
    }

    pub(crate) async fn start(&self, sale: &str) -> SagaId {
        let (saga, key, input) = ("sell".to_owned(), sale.to_owned(), json!({ "sale": sale }));
        let request = StartRequest { saga, key, input, ..StartRequest::default() };
        self.engine.start_request(request).await.expect("the saga is accepted").id
    }

    pub(crate) async fn status(&self, id: SagaId) -> &'static str {
        self.engine.saga(id).await.expect("the journal answers").expect("it is there").status
    }

    pub(crate) async fn until_status(&self, id: SagaId, status: &str) {
        until(&format!("saga {id} {status}"), async || (self.status(id).await == status).then_some(())).await;
    }

    /// The only letter with this code that waits for an operator, with its message.
    pub(crate) async fn letter(&self, code: LetterCode) -> DeadLetter {
        let query =
            LetterQuery { code: Some(code), status: Some(LetterStatus::Kept), ..LetterQuery::default() };
        let id = until(&format!("a dead letter: {code}"), async || {
            let page = self.client.dead_letters(&query).await.expect("the API answers");
            assert!(page.items.len() < 2, "one message is one letter: {:?}", page.items);
            page.items.first().map(|letter| letter.id)
        })
        .await;
        self.client.dead_letter(id).await.expect("it is there")
    }

    pub(crate) async fn replay(&self, id: Uuid) -> Result<DeadLetter, String> {
        let replayed = self.client.change_dead_letter(id, LetterVerb::Replay, "ann", "it is mended").await;
        replayed.map_err(|error| match error {
            ClientError::Problem(problem) => format!("{} {}", problem.status, problem.word()),
            other => other.to_string(),
        })
    }

    pub(crate) async fn confirmed(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT sale FROM confirmed ORDER BY 1")
            .fetch_all(&self.office)
            .await
            .expect("rows")
    }

    pub(crate) async fn text(&self, sql: &'static str) -> String {
        let text: Option<String> = sqlx::query_scalar(sql).fetch_one(&self.journal).await.expect("a row");
        text.unwrap_or_default()
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
    }
}

impl Installation {
    /// The broker's streams, without the wire between.
    pub(crate) async fn streams(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(nats(&self.stack).await)
    }

    /// Gives a stream so much room.
    pub(crate) async fn give_room(&self, stream: &str, bytes: i64) {
        let streams = self.streams().await;
        let mut config = streams.get_stream(stream).await.expect("it is there").cached_info().config.clone();
        config.max_bytes = bytes;
        streams.update_stream(config).await.expect("it is changed");
    }

    pub(crate) async fn until_letters(&self, count: usize) {
        until(&format!("{count} letters"), async || {
            let page = self.client.dead_letters(&LetterQuery::default()).await.expect("the API answers");
            (page.items.len() == count).then_some(())
        })
        .await;
    }
}

async fn database(stack: &Stack, name: &str) -> PgPool {
    redress_coordinator::journal::ensure_database(&stack.postgres().url(name)).await.expect("a database");
    PgPool::connect(&stack.postgres().url(name)).await.expect("it answers")
}

async fn wire(stack: &Stack, prefix: &str, stream_bytes_max: i64) -> Wire {
    let settings = WireConfig { ack_wait: Duration::from_secs(2), stream_bytes_max, ..WireConfig::default() };
    let topology = Topology::new(prefix).expect("a prefix");
    Wire::connect(&stack.nats().url(), topology, settings).await.expect("NATS answers")
}
