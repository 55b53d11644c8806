//! Dead letters and their way back: whatever landed among them is replayed to a right end.
//!
//! Sagas of one shape: a payment that decides, and a confirmation that must succeed. What becomes of the confirmation
//! depends on the version of the service `desk` that runs.

mod support;

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
use redress_core::inbox::Retention;
use redress_core::{IdempotencyKey, JsonText, Outcome, Phase, ReplyMessage};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use support::process::run;
use support::until;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

macro_rules! commands {
    ($($name:ident { $field:ident: $type:ty } = $service:literal / $command:literal),+ $(,)?) => {$(
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $name { $field: $type }

        impl Command for $name {
            const SERVICE: &'static str = $service;
            const NAME: &'static str = $command;
            type Reply = ();
        }
    )+};
}

commands! {
    Charge { sale: String } = "till" / "charge",
    Confirm { sale: String } = "desk" / "confirm",
    // As a version of the desk takes it that was never deployed with this saga.
    ConfirmByNumber { sale: u64 } = "desk" / "confirm",
    // The only command of a desk that is older than the saga.
    Greet { sale: String } = "desk" / "greet",
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

struct Till;
struct Desk;
/// Loses its connection whenever it confirms, as a service does that dies of a command.
struct MortalDesk;

impl Handle<Charge> for Till {
    async fn handle(&self, _: &mut Tx<'_>, _: Charge) -> Answer<()> {
        done(())
    }
}

impl Handle<Confirm> for Desk {
    async fn handle(&self, tx: &mut Tx<'_>, confirm: Confirm) -> Answer<()> {
        sqlx::query("INSERT INTO confirmed VALUES ($1)").bind(confirm.sale).execute(tx).await?;
        done(())
    }
}

impl Handle<ConfirmByNumber> for Desk {
    async fn handle(&self, _: &mut Tx<'_>, _: ConfirmByNumber) -> Answer<()> {
        done(())
    }
}

impl Handle<Greet> for Desk {
    async fn handle(&self, _: &mut Tx<'_>, _: Greet) -> Answer<()> {
        done(())
    }
}

impl Handle<Confirm> for MortalDesk {
    async fn handle(&self, tx: &mut Tx<'_>, _: Confirm) -> Answer<()> {
        sqlx::query("SELECT pg_terminate_backend(pg_backend_pid())").execute(tx).await?;
        done(())
    }
}

/// A coordinator with its API, and the databases of two services.
struct Installation {
    stack: Arc<Stack>,
    name: String,
    journal: PgPool,
    desk: PgPool,
    wire: Wire,
    engine: Engine,
    client: Client,
    /// Of the API.
    url: String,
    shutdown: CancellationToken,
}

/// A service that runs until it is stopped.
struct Serving(CancellationToken, JoinHandle<()>);

impl Serving {
    async fn stop(self) {
        self.0.cancel();
        self.1.await.expect("it ends well");
    }
}

/// As short as a test wants it.
fn impatient() -> ParticipantConfig {
    ParticipantConfig {
        unknown_command_age: Duration::ZERO,
        database_down_pause: Duration::from_millis(1),
        tries_max: 1,
        forward_every: Duration::from_millis(50),
        ..ParticipantConfig::default()
    }
}

impl Installation {
    async fn new() -> Self {
        static INSTALLATIONS: AtomicU32 = AtomicU32::new(0);
        let number = INSTALLATIONS.fetch_add(1, Ordering::Relaxed);
        let (stack, name) =
            (redress::devstack::shared().await, format!("letters{}x{number}", std::process::id()));
        let wire = wire(&stack, &name, 16 << 20).await;
        let (journal, desk) =
            (database(&stack, &name).await, database(&stack, &format!("{name}_desk")).await);
        inbox_migrator().run(&desk).await.expect("the inbox is made");
        sqlx::query("CREATE TABLE confirmed (sale text)").execute(&desk).await.expect("the table is made");
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
        let installation = Self { stack, name, journal, desk, wire, engine, client, url, shutdown };
        let till = database(&installation.stack, &format!("{}_till", installation.name)).await;
        inbox_migrator().run(&till).await.expect("the inbox is made");
        installation.serve_on(till, Participant::new("till").handle::<Charge>(), Till);
        installation
    }

    fn serve_on<S: Send + Sync + 'static>(
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

    fn desk<S: Send + Sync + 'static>(&self, participant: Participant<S>, service: S) -> Serving {
        self.serve_on(self.desk.clone(), participant.config(impatient()), service)
    }

    /// The desk that confirms.
    fn good_desk(&self) -> Serving {
        self.desk(Participant::new("desk").handle::<Confirm>(), Desk)
    }

    async fn start(&self, sale: &str) -> SagaId {
        let (saga, key, input) = ("sell".to_owned(), sale.to_owned(), json!({ "sale": sale }));
        let request = StartRequest { saga, key, input, ..StartRequest::default() };
        self.engine.start_request(request).await.expect("the saga is accepted").id
    }

    async fn status(&self, id: SagaId) -> &'static str {
        self.engine.saga(id).await.expect("the journal answers").expect("it is there").status
    }

    async fn until_status(&self, id: SagaId, status: &str) {
        until(&format!("saga {id} {status}"), async || (self.status(id).await == status).then_some(())).await;
    }

    /// The only letter with this code that waits for an operator, with its message.
    async fn letter(&self, code: LetterCode) -> DeadLetter {
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

    async fn replay(&self, id: Uuid) -> Result<DeadLetter, String> {
        let replayed = self.client.change_dead_letter(id, LetterVerb::Replay, "ann", "it is mended").await;
        replayed.map_err(|error| match error {
            ClientError::Problem(problem) => format!("{} {}", problem.status, problem.word()),
            other => other.to_string(),
        })
    }

    async fn confirmed(&self) -> Vec<String> {
        sqlx::query_scalar("SELECT sale FROM confirmed ORDER BY 1").fetch_all(&self.desk).await.expect("rows")
    }

    async fn text(&self, sql: &'static str) -> String {
        let text: Option<String> = sqlx::query_scalar(sql).fetch_one(&self.journal).await.expect("a row");
        text.unwrap_or_default()
    }

    async fn stop(self) {
        self.shutdown.cancel();
    }
}

impl Installation {
    /// The broker's streams, without the wire between.
    async fn streams(&self) -> async_nats::jetstream::Context {
        async_nats::jetstream::new(support::nats(&self.stack).await)
    }

    /// Gives a stream so much room.
    async fn give_room(&self, stream: &str, bytes: i64) {
        let streams = self.streams().await;
        let mut config = streams.get_stream(stream).await.expect("it is there").cached_info().config.clone();
        config.max_bytes = bytes;
        streams.update_stream(config).await.expect("it is changed");
    }

    async fn until_letters(&self, count: usize) {
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

/// A service is older than the saga; then its new version comes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unknown_command_is_replayed_after_the_upgrade() {
    let installation = Installation::new().await;
    let old = installation.desk(Participant::new("desk").handle::<Greet>(), Desk);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::UnknownCommand).await;
    assert_eq!((&*letter.source, letter.saga_id), ("desk", Some(id)));
    assert_eq!((letter.step.as_deref(), letter.phase.as_deref()), (Some("confirm"), Some("action")));
    assert_eq!(letter.payload, Some(JsonText::parse(br#"{"sale":"one"}"#).expect("JSON")), "as it came");
    let subject = installation.wire.topology().command_subject("desk", "confirm");
    assert_eq!(letter.subject, subject);
    let headers = letter.headers.clone().expect("headers");
    let header =
        |wanted: &str| headers.iter().find(|(name, _)| name == wanted).map(|(_, value)| value.clone());
    let key = format!("{id}/confirm/action/1");
    assert_eq!(header("Idempotency-Key"), Some(key.clone()));
    assert_eq!(header("Nats-Msg-Id"), Some(format!("{key}#1")), "as it came");
    let reply_to = installation.wire.topology().reply_subject_of("desk", "sell", 1);
    assert_eq!(header("Redress-Reply-To"), Some(reply_to));
    old.stop().await;

    let new = installation.good_desk();
    let replayed = installation.replay(letter.id).await.expect("it can be replayed");
    assert_eq!(replayed.status, "replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    assert_eq!(installation.replay(letter.id).await, Err("409 dead-letter-refused".to_owned()));
    let audit = "SELECT string_agg(concat_ws(' ', actor, verb, reason, saga_id = letters.saga), ', ') FROM audit_log, \
                 (SELECT id, saga_id AS saga FROM dead_letters) AS letters WHERE letters.id = letter_id";
    assert_eq!(installation.text(audit).await, "ann replay-dead-letter it is mended t");
    new.stop().await;
    installation.stop().await;
}

/// A version of a service cannot read what it is sent; then it is taken back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn unreadable_payload_is_replayed_after_the_fix() {
    let installation = Installation::new().await;
    let bad = installation.desk(Participant::new("desk").handle::<ConfirmByNumber>(), Desk);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::Unreadable).await;
    bad.stop().await;
    let good = installation.good_desk();
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    // Also the operator asks again, and the inbox answers.
    let query = LetterQuery { status: Some(LetterStatus::Replayed), ..LetterQuery::default() };
    assert_eq!(installation.client.dead_letters(&query).await.expect("an answer").items.len(), 1);
    good.stop().await;
    installation.stop().await;
}

/// A command is the end of its service's connection each time that it runs, until it is given up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn command_of_which_the_service_died_is_replayed_after_the_fix() {
    let installation = Installation::new().await;
    let mortal = installation.desk(Participant::new("desk").handle::<Confirm>(), MortalDesk);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::DeliveryLimit).await;
    mortal.stop().await;
    let good = installation.good_desk();
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    good.stop().await;
    installation.stop().await;
}

fn reply_to(id: SagaId, step: &str, outcome: Outcome) -> ReplyMessage {
    let name = |text: &str| redress::Name::new(text).expect("a name");
    ReplyMessage {
        key: IdempotencyKey { saga_id: id, step: name(step), phase: Phase::Action, generation: 1 },
        attempt: 1,
        saga: name("sell"),
        version: 1,
        service: name("desk"),
        outcome,
    }
}

/// A reply that takes back a promise is one again when it is replayed: the end stays, and nothing happens twice.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replayed_contradiction_changes_no_end() {
    let installation = Installation::new().await;
    let desk = installation.good_desk();
    let id = installation.start("one").await;
    installation.until_status(id, "completed").await;
    let contradiction = reply_to(id, "confirm", Outcome::Fenced);
    installation.wire.publish_replies(&[contradiction]).await.remove(0).expect("it is stored");
    let letter = installation.letter(LetterCode::Contradiction).await;
    assert_eq!((&*letter.source, letter.saga_id), ("coordinator", Some(id)));
    installation.replay(letter.id).await.expect("it can be replayed");
    let again = installation.letter(LetterCode::Contradiction).await;
    assert_ne!(again.id, letter.id, "it is a contradiction again, and another letter");
    assert_eq!((again.headers, again.payload), (letter.headers, letter.payload));
    assert_eq!(installation.status(id).await, "completed");
    assert_eq!(installation.confirmed().await, ["one"]);
    let discard = LetterVerb::Discard;
    let discarded = installation.client.change_dead_letter(again.id, discard, "ann", "known").await;
    assert_eq!(discarded.expect("it can be discarded").decision.expect("a decision").reason, "known");
    assert_eq!(installation.replay(again.id).await, Err("409 dead-letter-refused".to_owned()));
    desk.stop().await;
    installation.stop().await;
}

/// The saga could not be read when its reply came; mended, it goes on with that reply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn reply_to_an_unreadable_saga_is_replayed_once_it_is_mended() {
    let installation = Installation::new().await;
    let id = installation.start("one").await;
    until("the confirmation is asked for", async || {
        let saga = installation.engine.saga(id).await.ok()??;
        (serde_json::to_value(saga).ok()?["steps"][1]["status"] == "running").then_some(())
    })
    .await;
    sqlx::query("CREATE TABLE aside AS SELECT state FROM sagas")
        .execute(&installation.journal)
        .await
        .expect("kept");
    sqlx::query("UPDATE sagas SET state = 'broken'").execute(&installation.journal).await.expect("broken");
    let desk = installation.good_desk();
    let letter = installation.letter(LetterCode::Undecidable).await;
    let mended = "UPDATE sagas SET state = aside.state FROM aside";
    sqlx::query(mended).execute(&installation.journal).await.expect("mended");
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    desk.stop().await;
    installation.stop().await;
}

/// The inbox has forgotten what it could say of the action: the original time decides, and nothing is done.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_older_than_the_inbox_remembers_is_answered_expired() {
    let installation = Installation::new().await;
    let old = installation.desk(Participant::new("desk").handle::<Greet>(), Desk);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::UnknownCommand).await;
    old.stop().await;
    let retention = Retention { keep: Duration::from_millis(1), margin: Duration::ZERO };
    let forgetful = Participant::new("desk").handle::<Confirm>();
    let stats = forgetful.stats();
    let config = ParticipantConfig { retention, ..impatient() };
    let forgetful = installation.serve_on(installation.desk.clone(), forgetful.config(config), Desk);
    installation.replay(letter.id).await.expect("it can be replayed");
    until("the answer is `expired`", async || (stats.expired.load(Ordering::Relaxed) == 1).then_some(()))
        .await;
    assert_eq!(installation.status(id).await, "parked");
    assert_eq!(installation.confirmed().await, [""; 0]);
    forgetful.stop().await;
    installation.stop().await;
}

/// By hundreds, as after an upgrade in the wrong order: grouped, replayed by what they have in common, page by page.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letters_are_grouped_and_changed_by_what_they_have_in_common() {
    const SALES: usize = 60;
    let installation = Installation::new().await;
    let old = installation.desk(Participant::new("desk").handle::<Greet>(), Desk);
    let mut ids = Vec::new();
    for number in 0..SALES {
        ids.push(installation.start(&format!("{number:02}")).await);
    }
    let unknown = LetterQuery { code: Some(LetterCode::UnknownCommand), ..LetterQuery::default() };
    until("all letters", async || {
        let groups = installation.client.dead_letter_groups(&unknown).await.expect("the API answers");
        groups.iter().any(|group| group.source == "desk" && group.count == SALES as u64).then_some(())
    })
    .await;
    let of_one = LetterQuery { saga: Some(ids[0]), ..unknown.clone() };
    let change = async |query: &LetterQuery, verb| {
        installation.client.change_dead_letters(query, verb, "ann", "all of them").await.expect("an answer")
    };
    let discarded = change(&of_one, LetterVerb::Discard).await;
    assert_eq!((discarded.matched, discarded.discarded, discarded.next), (1, 1, None));
    old.stop().await;
    let new = installation.good_desk();
    let (mut replayed, mut query) = (0, unknown.clone());
    loop {
        let page = change(&query, LetterVerb::Replay).await;
        assert_eq!((page.matched, page.refused.len()), (page.replayed, 0));
        replayed += page.replayed;
        query.cursor = page.next;
        if query.cursor.is_none() {
            break;
        }
    }
    assert_eq!(replayed, SALES as u64 - 1);
    for id in &ids[1..] {
        installation.until_status(*id, "completed").await;
    }
    assert_eq!(installation.confirmed().await.len(), SALES - 1, "each once, and not the discarded one");
    assert_eq!(installation.status(ids[0]).await, "parked");
    let again =
        change(&LetterQuery { status: Some(LetterStatus::Replayed), ..unknown }, LetterVerb::Replay).await;
    assert_eq!((again.replayed, again.refused["already-replayed"]), (0, again.matched));
    new.stop().await;
    installation.stop().await;
}

/// While the broker refuses it, the service's own database keeps the letter; then it goes on, and is the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_that_the_broker_refused_comes_once_it_has_room() {
    let installation = Installation::new().await;
    let old = installation.desk(Participant::new("desk").handle::<Greet>(), Desk);
    let first = installation.start("one").await;
    installation.until_status(first, "parked").await;
    installation.until_letters(1).await;
    let stream = installation.wire.topology().dead_letters_stream();
    installation.give_room(&stream, 1).await;
    let id = installation.start("two").await;
    installation.until_status(id, "parked").await;
    let kept = "SELECT letter_id FROM inbox_dead_letters";
    let kept: Vec<Uuid> = sqlx::query_scalar(kept).fetch_all(&installation.desk).await.expect("rows");
    installation.until_letters(1).await;
    installation.give_room(&stream, 16 << 20).await;
    installation.until_letters(2).await;
    let letter = installation.client.dead_letter(kept[0]).await.expect("it is the same letter");
    assert_eq!((letter.saga_id, letter.missing), (Some(id), None));
    until("it is kept in one place", async || {
        let rows = sqlx::query_scalar("SELECT count(*) FROM inbox_dead_letters");
        let rows: i64 = rows.fetch_one(&installation.desk).await.expect("a number");
        (rows == 0).then_some(())
    })
    .await;
    old.stop().await;
    let new = installation.good_desk();
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    new.stop().await;
    installation.stop().await;
}

fn odd_letter(installation: &Installation) -> redress::wire::DeadLetter {
    redress::wire::DeadLetter {
        id: Uuid::now_v7(),
        service: redress::Name::new("desk").expect("a name"),
        code: LetterCode::Unreadable,
        subject: installation.wire.topology().command_subject("desk", "confirm"),
        reason: "it is no JSON".to_owned(),
        headers: vec![
            ("Nats-Expected-Stream".to_owned(), "ELSEWHERE".to_owned()),
            ("Odd".to_owned(), "one".to_owned()),
            ("Odd".to_owned(), "another".to_owned()),
        ],
        payload: b"\x00\xff{".to_vec(),
        missing: None,
    }
}

/// Published twice, delivered again with all others when the consumer is lost, and one letter all the same; with
/// headers and body as they came.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_is_stored_once_and_as_it_came() {
    let installation = Installation::new().await;
    let letter = odd_letter(&installation);
    for _ in 0..2 {
        installation.wire.publish_dead_letter(&letter).await.expect("it is stored");
    }
    let another = redress::wire::DeadLetter { id: Uuid::now_v7(), ..letter.clone() };
    installation.wire.publish_dead_letter(&another).await.expect("it is stored");
    installation.until_letters(2).await;
    let topology = installation.wire.topology();
    let stream =
        installation.streams().await.get_stream(topology.dead_letters_stream()).await.expect("it is there");
    stream.delete_consumer(&topology.dead_letters_consumer()).await.expect("it is deleted");
    let last = redress::wire::DeadLetter { id: Uuid::now_v7(), ..letter.clone() };
    installation.wire.publish_dead_letter(&last).await.expect("it is stored");
    installation.until_letters(3).await;
    let kept = installation.client.dead_letter(letter.id).await.expect("it is there");
    assert_eq!(kept.headers.expect("headers"), letter.headers);
    assert_eq!(kept.payload_base64.as_deref(), Some("AP97"));
    assert_eq!((kept.payload, kept.payload_text.as_deref()), (None, Some("\0\u{fffd}{")));
    installation.stop().await;
}

/// What cannot be published as it came is not published at all.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_without_its_message_or_its_way_is_not_replayed() {
    let installation = Installation::new().await;
    let letter = odd_letter(&installation);
    let stray =
        redress::wire::DeadLetter { id: Uuid::now_v7(), subject: "elsewhere".to_owned(), ..letter.clone() };
    for letter in [letter.reduced(), stray.clone()] {
        installation.wire.publish_dead_letter(&letter).await.expect("it is stored");
    }
    installation.until_letters(2).await;
    let query = LetterQuery::default();
    let page = installation
        .client
        .change_dead_letters(&query, LetterVerb::Replay, "ann", "all")
        .await
        .expect("an answer");
    assert_eq!(page.refused, [("incomplete".to_owned(), 1), ("unaddressed".to_owned(), 1)].into());
    assert_eq!(installation.replay(letter.id).await, Err("409 dead-letter-refused".to_owned()));
    assert_eq!(installation.replay(Uuid::now_v7()).await, Err("404 unknown-dead-letter".to_owned()));
    let kept = LetterQuery { status: Some(LetterStatus::Kept), ..query };
    assert_eq!(installation.client.dead_letters(&kept).await.expect("an answer").items.len(), 2);
    installation.stop().await;
}

/// The broker has no room for the message: the letter is kept as before, and replayed later.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn letter_whose_message_is_not_published_is_kept() {
    let installation = Installation::new().await;
    let old = installation.desk(Participant::new("desk").handle::<Greet>(), Desk);
    let id = installation.start("one").await;
    installation.until_status(id, "parked").await;
    let letter = installation.letter(LetterCode::UnknownCommand).await;
    // A service that starts brings its streams into line.
    old.stop().await;
    let stream = installation.wire.topology().commands_stream();
    installation.give_room(&stream, 1).await;
    assert_eq!(installation.replay(letter.id).await, Err("503 not-published".to_owned()));
    assert_eq!(installation.letter(LetterCode::UnknownCommand).await.decision, None);
    installation.give_room(&stream, 16 << 20).await;
    let new = installation.good_desk();
    installation.replay(letter.id).await.expect("it can be replayed");
    installation.until_status(id, "completed").await;
    assert_eq!(installation.confirmed().await, ["one"]);
    new.stop().await;
    installation.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_show_letters_and_decide_on_them() {
    let installation = Installation::new().await;
    let letter = odd_letter(&installation);
    installation.wire.publish_dead_letter(&letter).await.expect("it is stored");
    installation.until_letters(1).await;
    let environment = [("REDRESS_URL", installation.url.clone()), ("REDRESS_ACTOR", "ann".to_owned())];
    let redress =
        async |arguments: &[&str]| run(&[&["dead-letters"][..], arguments].concat(), &environment).await;
    let id = letter.id.to_string();
    let listed = redress(&[]).await.stdout;
    assert!(listed.contains(&id) && listed.contains("unreadable"), "{listed}");
    let shown = redress(&["show", &id]).await.stdout;
    assert!(shown.contains("Odd: another") && shown.contains("\\u{0}"), "{shown}");
    let groups = redress(&["groups", "--output", "json"]).await.json();
    assert_eq!(groups["items"], json!([{ "source": "desk", "code": "unreadable", "count": 1 }]));
    assert_eq!(redress(&["discard"]).await.code, Some(2), "all of them are meant by no accident");
    let discarded =
        redress(&["discard", "--source", "desk", "--reason", "no use", "--output", "jsonl"]).await.json();
    assert_eq!(discarded, json!({ "matched": 1, "discarded": 1, "refused": {} }));
    let shown = redress(&["show", &id, "--output", "json"]).await.json();
    assert_eq!(
        (&shown["decision"]["actor"], &shown["decision"]["reason"]),
        (&json!("ann"), &json!("no use"))
    );
    assert_eq!(redress(&["list"]).await.stdout, "no dead letters\n");
    let again = redress(&["replay", &id]).await;
    assert!(again.code == Some(6) && again.stderr.contains("discarded before"), "{}", again.stderr);
    assert_eq!(redress(&["show", &Uuid::now_v7().to_string()]).await.code, Some(5));
    installation.stop().await;
}
