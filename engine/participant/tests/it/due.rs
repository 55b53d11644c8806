//! Answers that were given later: by any process, in any weather, and published once they are committed.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_core::inbox::Retention;
use redress_core::{CommandMessage, IdempotencyKey};
use redress_devstack::{Data, Durability, Stack, StackConfig, StopMode};
use redress_participant::{AnswerError, Given, HandlerOutcome, ParticipantConfig, answer};
use sqlx::{Connection, PgConnection};

use crate::clerk::{Approve, Approved, Clerk, approve, approved_by, create_tables, recall, service, settle};
use crate::fixture::{Fixture, Instance, now, told, until};

const DAY: Duration = Duration::from_secs(86_400);

async fn start(fixture: &Fixture, config: ParticipantConfig) -> (Instance, Clerk) {
    let clerk = Clerk::default();
    (fixture.serve(service(clerk.clone()), Default::default(), config).await, clerk)
}

async fn new_fixture() -> Fixture {
    let fixture = Fixture::new().await;
    create_tables(&fixture.pool).await;
    fixture
}

/// Another process, which has the service's database and nothing else.
async fn answer_elsewhere(fixture: &Fixture, key: &IdempotencyKey) -> Result<Given, AnswerError> {
    let mut connection = PgConnection::connect(&fixture.database_url).await.unwrap();
    let mut tx = connection.begin().await.unwrap();
    let given = approved_by(&mut tx, key, "ann").await;
    tx.commit().await.unwrap();
    connection.close().await.unwrap();
    given
}

/// How many answers are marked as not yet published, and how many rows keep an address.
async fn marked(fixture: &Fixture) -> (i64, i64) {
    sqlx::query_as("SELECT count(reply_due_at), count(asked_saga) FROM inbox")
        .fetch_one(&fixture.pool)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_given_while_no_instance_runs_is_published_by_the_next_one() {
    let mut fixture = new_fixture().await;
    let (first, _) = start(&fixture, ParticipantConfig::default()).await;
    let key = approve(1, "fence").key;
    assert_eq!(fixture.ask(approve(1, "fence")).await, "accepted");
    fixture.stop(first).await;
    assert_eq!(answer_elsewhere(&fixture, &key).await.unwrap(), Given::Now);
    assert_eq!(marked(&fixture).await, (1, 1));
    let (second, _) = start(&fixture, ParticipantConfig::default()).await;
    assert_eq!(told(&fixture.replies(1).await[0].outcome), r#"done {"by":"ann"}"#);
    until("the mark is taken off", async || marked(&fixture).await == (0, 0)).await;
    assert_eq!(second.count("answered_later"), 1);
    fixture.leave([second]).await;
}

/// It died after it had taken the answer, perhaps after it had published it.
#[tokio::test(flavor = "multi_thread")]
async fn answer_taken_by_an_instance_that_died_is_published_by_another_one() {
    let mut fixture = new_fixture().await;
    let (first, _) = start(&fixture, ParticipantConfig::default()).await;
    assert_eq!(fixture.ask(approve(1, "fence")).await, "accepted");
    fixture.stop(first).await;
    answer_elsewhere(&fixture, &approve(1, "").key).await.unwrap();
    let taken: Vec<String> = sqlx::query_scalar("SELECT key FROM inbox_take_due(10, interval '1 second')")
        .fetch_all(&fixture.pool)
        .await
        .unwrap();
    assert_eq!(taken, [approve(1, "").key.to_string()]);
    let none: Vec<String> = sqlx::query_scalar("SELECT key FROM inbox_take_due(10, interval '1 second')")
        .fetch_all(&fixture.pool)
        .await
        .unwrap();
    assert!(none.is_empty(), "it is put off");
    let (second, _) = start(&fixture, ParticipantConfig::default()).await;
    assert_eq!(told(&fixture.replies(1).await[0].outcome), r#"done {"by":"ann"}"#);
    // Of an instance that was only slow, and takes a mark off that is not its own any more.
    until("the mark is taken off", async || marked(&fixture).await == (0, 0)).await;
    fixture.leave([second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answer_given_while_the_broker_is_away_is_published_when_it_is_back() {
    let options =
        StackConfig { durability: Durability::Relaxed, data: Data::Ephemeral, postgres: false, nats: true };
    let stack = Stack::start(options, &|line| eprintln!("{line}")).await.unwrap();
    let mut fixture = Fixture::on_broker(&stack.nats().url()).await;
    create_tables(&fixture.pool).await;
    let (instance, _) = start(&fixture, ParticipantConfig::default()).await;
    assert_eq!(fixture.ask(approve(1, "fence")).await, "accepted");
    stack.nats().stop(StopMode::Fast).await.unwrap();
    answer_elsewhere(&fixture, &approve(1, "").key).await.unwrap();
    until("an instance has tried in vain", async || {
        fixture.wire.stats().publish_failures.load(Ordering::Relaxed) > 0
    })
    .await;
    assert_eq!(marked(&fixture).await, (1, 1));
    stack.nats().restart(StopMode::Fast).await.unwrap();
    assert_eq!(told(&fixture.replies(1).await[0].outcome), r#"done {"by":"ann"}"#);
    until("the mark is taken off", async || marked(&fixture).await == (0, 0)).await;
    fixture.leave([instance]).await;
}

/// Asked in spring, answered in summer: nothing is forgotten meanwhile, and nothing is expired.
#[tokio::test(flavor = "multi_thread")]
async fn open_question_outlives_every_retention() {
    let mut fixture = new_fixture().await;
    let config = ParticipantConfig {
        retention: Retention { keep: 30 * DAY, margin: DAY },
        prune_every: Duration::from_millis(50),
        ..ParticipantConfig::default()
    };
    let (instance, _) = start(&fixture, config).await;
    let old = |command| CommandMessage { action_sent_at: now() - 90 * DAY, attempt: 9, ..command };
    // The first is answered, and its answer is old; the second is open; the third has an answer that is not published.
    for number in [1, 2, 3] {
        assert_eq!(fixture.ask(approve(number, "fence")).await, "accepted");
    }
    answer_elsewhere(&fixture, &approve(1, "").key).await.unwrap();
    fixture.replies(1).await;
    until("the mark is taken off", async || marked(&fixture).await == (0, 2)).await;
    sqlx::raw_sql(
        "UPDATE inbox SET outcome = 'done', reply = 'null', reply_due_at = 'infinity' WHERE key LIKE '%000000000003/%'; \
         UPDATE inbox SET handled_at = now() - interval '90 days'",
    )
    .execute(&fixture.pool)
    .await
    .unwrap();
    until("the answered one is pruned", async || instance.count("pruned") == 1).await;
    assert_eq!(fixture.inbox().await, ["pay/action/1 open", "pay/action/1 done"]);
    assert_eq!(fixture.ask(old(approve(1, "fence"))).await, "expired");
    assert_eq!(fixture.ask(old(approve(2, "fence"))).await, "accepted");
    answer_elsewhere(&fixture, &approve(2, "").key).await.unwrap();
    assert_eq!(told(&fixture.replies(1).await[0].outcome), r#"done {"by":"ann"}"#);
    assert_eq!(fixture.ask(old(settle(2))).await, r#"done {"by":"ann"}"#, "remembered from its answer on");
    assert_eq!(fixture.ask(old(recall(2))).await, "accepted", "there is something to undo");
    fixture.leave([instance]).await;
}

/// The answer commits after the settlement has found the question open, and before it has fenced it.
#[tokio::test(flavor = "multi_thread")]
async fn answer_that_overtakes_the_fence_is_the_answer_to_the_settlement() {
    let mut fixture = new_fixture().await;
    let (instance, clerk) = start(&fixture, ParticipantConfig::default()).await;
    assert_eq!(fixture.ask(approve(1, "wait")).await, "accepted");
    fixture.send(&[settle(1)]).await;
    clerk.entered.acquire().await.unwrap().forget();
    // Only the inbox's row: that of the approval is held by the handler.
    let mut connection = fixture.pool.acquire().await.unwrap();
    let (key, outcome) = (approve(1, "").key, HandlerOutcome::Done(Approved { by: "ann".to_owned() }));
    assert_eq!(answer::<Approve>(&mut connection, &key, outcome).await.unwrap(), Given::Now);
    drop(connection);
    clerk.gate.add_permits(1);
    let mut outcomes = BTreeMap::new();
    for reply in fixture.replies(2).await {
        outcomes.insert(reply.key.phase.as_str(), told(&reply.outcome));
    }
    let done = r#"done {"by":"ann"}"#.to_owned();
    assert_eq!(outcomes, BTreeMap::from([("action", done.clone()), ("settlement", done)]));
    let state: String =
        sqlx::query_scalar("SELECT state FROM approval").fetch_one(&fixture.pool).await.unwrap();
    assert_eq!(state, "asked", "what the handler wrote for the fence is gone");
    fixture.leave([instance]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn racing_answers_and_fences_agree() {
    const QUESTIONS: u128 = 60;
    let mut fixture = new_fixture().await;
    let instances = [
        start(&fixture, ParticipantConfig::default()).await.0,
        start(&fixture, ParticipantConfig::default()).await.0,
    ];
    let numbers = || 1..=QUESTIONS;
    fixture.send(&numbers().map(|number| approve(number, "fence")).collect::<Vec<_>>()).await;
    fixture.replies(QUESTIONS as usize).await;
    let settlements: Vec<_> = numbers().map(settle).collect();
    let answering = async {
        let mut given = BTreeMap::new();
        for number in numbers().rev() {
            let key = approve(number, "").key;
            given.insert(key.saga_id, answer_elsewhere(&fixture, &key).await);
        }
        given
    };
    let (given, ()) = tokio::join!(answering, fixture.send(&settlements));
    let answered = given.values().filter(|given| given.is_ok()).count();
    let mut settled = BTreeMap::new();
    for reply in fixture.replies(QUESTIONS as usize + answered).await {
        if let Some(other) = settled.insert(reply.key.saga_id, told(&reply.outcome)) {
            assert_eq!(other, told(&reply.outcome), "the answer and the settlement say the same");
        }
    }
    for (saga, given) in given {
        match (given, settled[&saga].as_str()) {
            (Ok(Given::Now), r#"done {"by":"ann"}"#) | (Err(AnswerError::Fenced { .. }), "fenced") => {}
            (given, settled) => panic!("{saga}: {given:?}, and the settlement says {settled}"),
        }
    }
    fixture.leave(instances).await;
}
