//! Approvals: answers that come later, through a whole installation. One is given by the service, one by a person over HTTP,
//! one by a person on the command line, one is given up on cancel, and one cannot be given up and is waited for.

#![expect(clippy::unwrap_used, reason = "a test may panic; the helpers below are not in a test function")]

use redress::{
    AnswerOrLater, Command, GiveUp, Given, HandlerError, HandlerOutcome, IdempotencyKey, SagaDefinition,
    Service, ServiceConfig, StartRequest, Tx, UndoneOrLater, answer, done, later, saga, service,
};
use redress_api::Access;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use sqlx::PgPool;

use tokio_util::sync::CancellationToken;

use crate::support::{SERVICES, World, until};

#[derive(Serialize, Deserialize, JsonSchema)]
struct Purchase {
    amount: i64,
    #[serde(default)]
    approved_by: Option<String>,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "approval", name = "approve", reply = Approved, crate = ::redress)]
struct Approve {
    amount: i64,
}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Approved {
    by: String,
}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "approval", name = "recall", compensates = Approve, crate = ::redress)]
struct Recall {}

#[derive(Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "approval", name = "buy", crate = ::redress)]
struct Buy {
    amount: i64,
}

#[rustfmt::skip] // A saga reads as a table.
fn purchase() -> SagaDefinition {
    saga::<Purchase>("purchase", 1)
        .step("approve", |p| Approve { amount: p.amount })
            .people_may_answer()
            .on_reply(|p, approved| p.approved_by = Some(approved.by))
            .compensate(|_| Recall {})
        .pivot("buy", |p| Buy { amount: p.amount })
        .build()
}

#[derive(Clone)]
struct Approvals;

#[service("approval", crate = ::redress)]
impl Approvals {
    #[action(later, give_up = withdraw)]
    async fn approve(&self, tx: &mut Tx<'_>, command: Approve) -> AnswerOrLater<Approved> {
        let asked = sqlx::query("INSERT INTO approvals (key, amount, state) VALUES ($1, $2, 'asked')");
        asked.bind(tx.idempotency_key().to_string()).bind(command.amount).execute(tx).await?;
        later()
    }

    /// What is above 1,000 lies with the board already.
    async fn withdraw(
        &self,
        tx: &mut Tx<'_>,
        key: &IdempotencyKey,
    ) -> Result<GiveUp<Approved>, HandlerError> {
        let withdrawn =
            sqlx::query("UPDATE approvals SET state = 'withdrawn' WHERE key = $1 AND amount <= 1000");
        match withdrawn.bind(key.to_string()).execute(tx).await?.rows_affected() {
            0 => Ok(GiveUp::No),
            _ => Ok(GiveUp::Fenced),
        }
    }

    /// Recalled by hand, too.
    #[compensation(of = approve, later)]
    async fn recall(&self, tx: &mut Tx<'_>, _: Recall) -> UndoneOrLater<()> {
        let asked = sqlx::query("INSERT INTO approvals (key, amount, state) VALUES ($1, 0, 'recall asked')");
        asked.bind(tx.idempotency_key().to_string()).execute(tx).await?;
        later()
    }

    #[action(no_compensation)]
    async fn buy(&self, tx: &mut Tx<'_>, command: Buy) -> redress::Answer<()> {
        if command.amount == 13 {
            return redress::reject("sold-out", "there is none left");
        }
        sqlx::query("SELECT 1").execute(tx).await?;
        done(())
    }
}

/// The installation, its engine behind HTTP, and the service with its database.
struct Office {
    world: World,
    engine: redress::Engine,
    url: String,
    pool: PgPool,
    stop: CancellationToken,
    running: Vec<tokio::task::JoinHandle<()>>,
}

impl Office {
    async fn open() -> Self {
        let world = World::with(redress::devstack::shared().await, 0, &[&SERVICES]).await;
        let pool = world.pool_of("approval").await;
        let table =
            "CREATE TABLE approvals (key text PRIMARY KEY, amount bigint NOT NULL, state text NOT NULL)";
        sqlx::raw_sql(table).execute(&pool).await.unwrap();
        let engine = world.engine(vec![purchase()]).await;
        let stop = CancellationToken::new();
        let listener = redress_api::bind("127.0.0.1:0".parse().unwrap(), &Access::Loopback).await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let (of_api, of_engine, of_service) = (stop.clone(), stop.clone(), stop.clone());
        let (api, running) = (engine.clone(), engine.clone());
        let (database, wire) = (world.database_of("approval"), world.wire().await);
        let running = vec![
            tokio::spawn(async move {
                redress_api::serve(listener, api, Access::Loopback, of_api).await.unwrap();
            }),
            tokio::spawn(async move { running.run(of_engine).await }),
            tokio::spawn(async move {
                let service = Service::of(Approvals, || None);
                service.run(&database, wire, ServiceConfig::default(), of_service).await.unwrap();
            }),
        ];
        Self { world, engine, url, pool, stop, running }
    }

    /// A purchase whose approval is awaited.
    async fn awaiting(&self, amount: i64, key: &str) -> String {
        let request = StartRequest {
            saga: "purchase".to_owned(),
            input: json!({ "amount": amount }),
            key: key.to_owned(),
            ..StartRequest::default()
        };
        let id = self.engine.start_request(request).await.unwrap().id.to_string();
        self.comes_to(&id, "approve", "awaiting").await;
        id
    }

    async fn saga(&self, id: &str) -> Value {
        let response = self.world.http.get(format!("{}/v1/sagas/{id}", self.url)).send().await.unwrap();
        response.json().await.unwrap()
    }

    async fn comes_to(&self, id: &str, step: &str, status: &str) {
        until(status, async || {
            let saga = self.saga(id).await;
            let mut steps = saga["steps"].as_array()?.iter();
            steps.any(|it| it["name"] == step && it["status"] == status).then_some(())
        })
        .await;
    }

    /// How a saga ended, and what its data say of the approval.
    async fn end_of(&self, id: &str) -> (String, Value) {
        self.engine.wait_ended(id.parse().unwrap(), crate::support::PATIENCE).await.unwrap();
        let saga = self.saga(id).await;
        (saga["status"].as_str().unwrap().to_owned(), saga["data"]["approved_by"].clone())
    }

    async fn post(&self, path: &str, body: Value) -> (u16, Value) {
        let response = self.world.http.post(format!("{}{path}", self.url)).json(&body).send().await.unwrap();
        (response.status().as_u16(), response.json().await.unwrap())
    }

    /// The service answers, as its own web server would: in one transaction with its own table.
    async fn approve(&self, id: &str, by: &str) -> Given {
        let key: IdempotencyKey = format!("{id}/approve/action/1").parse().unwrap();
        let mut tx = self.pool.begin().await.unwrap();
        let noted =
            sqlx::query("UPDATE approvals SET state = 'approved' WHERE key = $1").bind(key.to_string());
        noted.execute(&mut *tx).await.unwrap();
        let approved = HandlerOutcome::Done(Approved { by: by.to_owned() });
        let given = answer::<Approve>(&mut tx, &key, approved).await.unwrap();
        tx.commit().await.unwrap();
        given
    }

    async fn states(&self) -> Vec<String> {
        let states = sqlx::query_scalar("SELECT state FROM approvals ORDER BY key");
        states.fetch_all(&self.pool).await.unwrap()
    }

    async fn close(self) {
        self.world.sound_histories().await;
        self.stop.cancel();
        for task in self.running {
            task.await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approval_that_comes_later_is_given_by_the_service_or_by_a_person() {
    let office = Office::open().await;
    let of_service = office.awaiting(10, "service").await;
    let of_person = office.awaiting(20, "person").await;
    let of_command = office.awaiting(30, "command").await;
    assert_eq!(office.approve(&of_service, "ann").await, Given::Now);
    assert_eq!(office.end_of(&of_service).await, ("completed".to_owned(), json!("ann")));

    let body = json!({
        "actor": "carol", "reason": "it was on paper", "answer": { "done": { "reply": { "by": "carol" } } },
    });
    let path = format!("/v1/sagas/{of_person}/steps/approve/answer");
    let (status, problem) = office.post(&path, body.clone()).await;
    assert_eq!(status, 202, "{problem}");
    assert_eq!(office.end_of(&of_person).await, ("completed".to_owned(), json!("carol")));
    assert!(matches!(office.approve(&of_person, "ann").await, Given::Before(_)), "the first answer counts");
    assert_eq!(office.post(&path, body).await.0, 409, "the saga has ended");

    let said = tokio::process::Command::new(env!("CARGO_BIN_EXE_redress"))
        .args([
            "answer",
            &of_command,
            "--step",
            "approve",
            "--reject",
            "too-dear",
            "--message",
            "not this year",
        ])
        .args(["--reason", "the board said so", "--actor", "dora"])
        .env("REDRESS_URL", &office.url)
        .output()
        .await
        .unwrap();
    assert!(said.status.success(), "{}", String::from_utf8_lossy(&said.stderr));
    assert_eq!(office.end_of(&of_command).await, ("compensated".to_owned(), Value::Null));
    let cause = office.saga(&of_command).await["cause"].clone();
    assert_eq!(cause["code"], "too-dear");
    office.close().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn approval_is_given_up_on_cancel_unless_the_service_says_that_it_cannot_be() {
    let office = Office::open().await;
    let small = office.awaiting(10, "small").await;
    let large = office.awaiting(5_000, "large").await;
    let cancel = json!({ "actor": "ann", "reason": "not needed any more" });
    for id in [&small, &large] {
        assert_eq!(office.post(&format!("/v1/sagas/{id}/cancel"), cancel.clone()).await.0, 202);
    }
    assert_eq!(office.end_of(&small).await, ("compensated".to_owned(), Value::Null));
    let key: IdempotencyKey = format!("{small}/approve/action/1").parse().unwrap();
    let mut connection = office.pool.acquire().await.unwrap();
    let late = HandlerOutcome::Done(Approved { by: "bob".to_owned() });
    let refused = answer::<Approve>(&mut connection, &key, late).await.unwrap_err();
    assert!(refused.to_string().contains("was given up"), "{refused}");
    drop(connection);

    // The board decides; the saga waits for it, visibly, and then undoes what it has said.
    until("the saga waits on", async || {
        let saga = office.saga(&large).await;
        let step = saga["steps"].as_array()?.iter().find(|step| step["name"] == "approve")?;
        (saga["status"] == "compensating" && step["status"] != "done").then_some(())
    })
    .await;
    assert_eq!(office.states().await, ["withdrawn", "asked"]);
    assert_eq!(office.approve(&large, "the board").await, Given::Now);
    office.comes_to(&large, "approve", "compensating").await;
    until("it is to be recalled", async || {
        office.states().await.contains(&"recall asked".to_owned()).then_some(())
    })
    .await;
    let key: IdempotencyKey = format!("{large}/approve/compensation/1").parse().unwrap();
    let mut connection = office.pool.acquire().await.unwrap();
    assert_eq!(answer::<Recall>(&mut connection, &key, HandlerOutcome::Done(())).await.unwrap(), Given::Now);
    drop(connection);
    assert_eq!(office.end_of(&large).await.0, "compensated");
    office.close().await;
}
