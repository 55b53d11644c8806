//! Steps that are ordered by a key: one at a time for each key, in the order of the starts, whatever dies on the way.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_coordinator::StartRequest;
use redress_core::decide::Verb;
use redress_core::{
    Command, CommandMessage, Compensates, IdempotencyKey, JsonText, Outcome, Phase, Rejection, RetryPolicy,
    SagaDefinition, SagaId, saga,
};
use redress_wire::Wire;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use tokio::sync::{Notify, watch};

use crate::fixture::{Fixture, Running, name, order, until};
use crate::party::reply;

/// The input of the sagas here.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
struct Posting {
    account: u64,
    /// Its number among the starts of its account.
    nth: u64,
    /// How long the ledger takes, in milliseconds.
    ms: u64,
    is_refused: bool,
    is_held: bool,
}

macro_rules! commands {
    ($($name:ident = $command:literal),+) => {$(
        #[derive(Serialize, Deserialize, JsonSchema)]
        struct $name { posting: Posting }

        impl Command for $name {
            const SERVICE: &'static str = "ledger";
            const NAME: &'static str = $command;
            type Reply = ();
        }
    )+};
}

commands!(Open = "open", Book = "book", Unbook = "unbook");

impl Compensates<Book> for Unbook {}

fn post() -> SagaDefinition {
    saga::<Posting>("post", 1)
        .step("open", |p| Open { posting: p.clone() })
        .no_compensation()
        .step("book", |p| Book { posting: p.clone() })
        .compensate(|p| Unbook { posting: p.clone() })
        .retry(RetryPolicy::ACTION.backoff(20, 50))
        .ordered_by(|p| p.account)
        .build()
}

/// A ledger with a table of what it has done, and when. It carries out any number of commands at once, each one once.
#[derive(Clone)]
struct Ledger {
    wire: Wire,
    pool: PgPool,
    answers: Arc<Mutex<HashMap<IdempotencyKey, watch::Receiver<Option<Outcome>>>>>,
    /// Lets those go that are held.
    released: Arc<Notify>,
}

#[derive(Deserialize)]
struct Payload {
    posting: Posting,
}

impl Ledger {
    async fn open(fixture: &Fixture) -> Self {
        sqlx::query(
            "CREATE TABLE bookings (account bigint, nth bigint, began timestamptz, ended timestamptz)",
        )
        .execute(&fixture.pool)
        .await
        .unwrap();
        let (wire, pool) = (fixture.wire.clone(), fixture.pool.clone());
        let ledger = Self { wire, pool, answers: Arc::default(), released: Arc::default() };
        let (of_loop, mut commands) = (ledger.clone(), fixture.wire.commands(&name("ledger")));
        tokio::spawn(async move {
            loop {
                for delivery in commands.next_batch(500).await {
                    let (command, _, ack) = delivery.split();
                    let (ledger, command) = (of_loop.clone(), command.unwrap());
                    tokio::spawn(async move {
                        let outcome = ledger.answer(&command).await;
                        for result in ledger.wire.publish_replies(&[reply(&command, outcome)]).await {
                            result.unwrap();
                        }
                        ack.ack().await;
                    });
                }
            }
        });
        ledger
    }

    /// The answer to a command: of one that is under way or was answered, the same.
    async fn answer(&self, command: &CommandMessage) -> Outcome {
        if command.key.phase == Phase::Compensation {
            return Outcome::Done { reply: JsonText::null() };
        }
        let (say, mut said) = watch::channel(None);
        let is_first = {
            let mut answers = self.answers.lock().unwrap();
            let known = answers.get(&command.key.of_action()).cloned();
            let is_first = known.is_none();
            match known {
                Some(known) => said = known,
                None => drop(answers.insert(command.key.of_action(), said.clone())),
            }
            is_first
        };
        if is_first {
            let outcome = match command.key.phase {
                Phase::Settlement => Outcome::Fenced,
                Phase::Action | Phase::Compensation => self.carry_out(command).await,
            };
            say.send_replace(Some(outcome));
        }
        let outcome = said.wait_for(Option::is_some).await.unwrap().clone();
        outcome.expect("it was said")
    }

    async fn carry_out(&self, command: &CommandMessage) -> Outcome {
        let Payload { posting } = command.payload.read().unwrap();
        if command.command != *Book::NAME {
            return Outcome::Done { reply: JsonText::null() };
        }
        let now = "SELECT clock_timestamp()";
        let began: chrono::DateTime<chrono::Utc> =
            sqlx::query_scalar(now).fetch_one(&self.pool).await.unwrap();
        if posting.is_held {
            self.released.notified().await;
        }
        // The work takes its time, as that of a real handler does.
        tokio::time::sleep(Duration::from_millis(posting.ms)).await;
        sqlx::query("INSERT INTO bookings VALUES ($1, $2, $3, clock_timestamp())")
            .bind(posting.account.cast_signed())
            .bind(posting.nth.cast_signed())
            .bind(began)
            .execute(&self.pool)
            .await
            .unwrap();
        if posting.is_refused {
            return Outcome::Rejected(Rejection::new("no", "not today"));
        }
        Outcome::Done { reply: JsonText::null() }
    }
}

fn posting(account: u64, nth: u64, ms: u64) -> Posting {
    Posting { account, nth, ms, is_refused: false, is_held: false }
}

fn start(posting: &Posting) -> StartRequest {
    StartRequest {
        saga: "post".to_owned(),
        input: json!(posting),
        key: format!("post-{}-{}", posting.account, posting.nth),
        ..StartRequest::default()
    }
}

/// Pairs of bookings of one account that are out of order, or at the same time.
const OUT_OF_ORDER: &str = "SELECT count(*) FROM bookings AS a JOIN bookings AS b ON a.account = b.account AND a.nth < b.nth \
                            WHERE a.ended > b.began";
/// Pairs of bookings of different accounts at the same time.
const SIDE_BY_SIDE: &str = "SELECT count(*) FROM bookings AS a JOIN bookings AS b ON a.account < b.account \
                            WHERE a.began < b.ended AND b.began < a.ended";
const OPEN: &str = "SELECT count(*) FROM sagas WHERE ended_at IS NULL";

/// One account's client: starts one saga after the other, at one coordinator or the other.
async fn client(coordinators: [redress_coordinator::Engine; 2], account: u64, sagas: u64) {
    for nth in 0..sagas {
        let chance = account * 31 + nth * 17;
        let posting = Posting { is_refused: chance % 7 == 3, ..posting(account, nth, chance % 13) };
        let engine = &coordinators[usize::from(chance.is_multiple_of(3))];
        let id = engine.start_request(start(&posting)).await.unwrap().id;
        if chance % 11 == 5 {
            // It may be too late, and then the saga goes on.
            let _ = engine.operate(id, order(Verb::Cancel, "ann", "changed her mind")).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_of_one_key_run_in_the_order_of_the_starts_though_a_coordinator_dies() {
    let fixture = Fixture::new().await;
    let _ledger = Ledger::open(&fixture).await;
    let one = fixture.coordinator(vec![post()]).await;
    let other = fixture.coordinator(vec![post()]).await;
    let engines = || [one.engine.clone(), other.engine.clone()];
    let clients: Vec<_> = (0..5).map(|account| tokio::spawn(client(engines(), account, 40))).collect();
    let booked = async || (fixture.count("SELECT count(*) FROM bookings").await >= 40).then_some(());
    until("forty bookings", booked).await;
    // Its loops end wherever they are; starts go on at both.
    other.kill();
    for client in clients {
        client.await.unwrap();
    }
    until("all ends", async || (fixture.count(OPEN).await == 0).then_some(())).await;
    assert_eq!(fixture.count("SELECT count(*) FROM sagas").await, 200);
    assert_eq!(fixture.count(OUT_OF_ORDER).await, 0, "bookings of one account overlap or are out of order");
    assert!(fixture.count(SIDE_BY_SIDE).await > 0, "accounts wait for each other");
    let twice = "SELECT count(*) - count(DISTINCT (account, nth)) FROM bookings";
    assert_eq!(fixture.count(twice).await, 0);
    assert!(fixture.count("SELECT count(*) FROM sagas WHERE status = 'compensated'").await > 20);
    assert_eq!(fixture.gaps().await, 0);
    until("no place is left", async || {
        (fixture.count("SELECT count(*) FROM saga_places").await == 0).then_some(())
    })
    .await;
    one.stop().await;
}

/// The first of a key stands, and those behind it wait: visibly, without being due, and cancelled at once.
#[tokio::test(flavor = "multi_thread")]
async fn saga_behind_a_held_key_waits_visibly_and_can_be_cancelled() {
    let fixture = Fixture::new().await;
    let ledger = Ledger::open(&fixture).await;
    let coordinator = fixture.coordinator(vec![post()]).await;
    let holds = Posting { is_held: true, ..posting(1, 1, 0) };
    let first = coordinator.start(start(&holds)).await;
    let second = coordinator.start(start(&posting(1, 2, 0))).await;
    let third = coordinator.start(start(&posting(1, 3, 0))).await;
    let queued = async |id| {
        let view = coordinator.engine.saga(id).await.unwrap().unwrap();
        let step = view.steps.into_iter().find(|step| step.name == "book").unwrap();
        step.queued.filter(|_| step.status == "queued")
    };
    for id in [second, third] {
        let waits = until("it waits", async || queued(id).await).await;
        assert_eq!((waits.key.as_str(), waits.behind), ("1", Some(first)));
    }
    let waiting = coordinator.engine.saga(third).await.unwrap().unwrap();
    assert_eq!(waiting.due_at, None, "nothing looks at it meanwhile");
    let awaiting = "SELECT count(*) FROM sagas WHERE awaiting";
    // The first one waits itself, until its place is found to be the first.
    until("it is sent", async || queued(first).await.is_none().then_some(())).await;
    assert_eq!(fixture.count(awaiting).await, 2, "they are as they should be");
    coordinator.engine.operate(second, order(Verb::Cancel, "ann", "why not")).await.unwrap();
    assert_eq!(coordinator.end_of(second).await, "compensated");
    assert_eq!(queued(third).await.and_then(|waits| waits.behind), Some(first), "the key is still held");
    let other = coordinator.start(start(&posting(2, 1, 0))).await;
    assert_eq!(coordinator.end_of(other).await, "completed", "another key does not wait");
    ledger.released.notify_one();
    for id in [first, third] {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    assert_eq!(fixture.count(OUT_OF_ORDER).await, 0);
    coordinator.stop().await;
}

/// A start that is not committed yet stands before those that are committed after it, and holds them up for so long.
#[tokio::test(flavor = "multi_thread")]
async fn start_that_commits_later_is_not_overtaken() {
    let fixture = Fixture::new().await;
    let _ledger = Ledger::open(&fixture).await;
    let coordinator = fixture.coordinator(vec![post()]).await;
    let mut transaction = fixture.pool.begin().await.unwrap();
    let first = coordinator.engine.start_in(&mut transaction, start(&posting(1, 1, 0))).await.unwrap().id;
    let engine = coordinator.engine.clone();
    let second =
        tokio::spawn(async move { engine.start_request(start(&posting(1, 2, 0))).await.unwrap().id });
    until("the second one waits for the first", async || {
        let waiting = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted";
        (fixture.count(waiting).await > 0).then_some(())
    })
    .await;
    transaction.commit().await.unwrap();
    let second = second.await.unwrap();
    for id in [first, second] {
        assert_eq!(coordinator.end_of(id).await, "completed");
    }
    assert_eq!(fixture.count("SELECT count(*) FROM bookings").await, 2);
    assert_eq!(fixture.count(OUT_OF_ORDER).await, 0);
    coordinator.stop().await;
}

/// A coordinator that dies between the commit that lets go and the look leaves nothing but a row for the next one.
#[tokio::test(flavor = "multi_thread")]
async fn place_that_was_let_go_by_a_dead_coordinator_is_passed_on() {
    let fixture = Fixture::new().await;
    let ledger = Ledger::open(&fixture).await;
    let coordinator = fixture.coordinator(vec![post()]).await;
    let first = coordinator.start(start(&Posting { is_held: true, ..posting(1, 1, 0) })).await;
    let second = coordinator.start(start(&posting(1, 2, 0))).await;
    is_queued(&coordinator, second).await;
    coordinator.stop().await;
    // As such a coordinator leaves it: the first has ended and let go, and the second was not told.
    let ended = "UPDATE sagas SET status = 'closed', ended_at = now(), due_at = NULL, wake_at = NULL, \
                 revision = revision + 1 WHERE id = $1";
    fixture.execute(ended, first).await;
    fixture.execute("UPDATE saga_places SET standing = 'let-go' WHERE saga_id = $1", first).await;
    ledger.released.notify_one();
    let next = fixture.coordinator(vec![post()]).await;
    assert_eq!(next.end_of(second).await, "completed");
    next.stop().await;
}

async fn is_queued(coordinator: &Running, id: SagaId) {
    until("it waits", async || {
        let view = coordinator.engine.saga(id).await.unwrap().unwrap();
        view.steps.iter().any(|step| step.status == "queued").then_some(())
    })
    .await;
}
