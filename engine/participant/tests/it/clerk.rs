//! A service whose answers come later: a clerk who is asked for approvals. The command says how it is handled.

use std::sync::Arc;

use redress_core::{CommandMessage, IdempotencyKey, Phase, Rejection};
use redress_macros::{Command, service};
use redress_participant::{
    AnswerError, AnswerOrLater, GiveUp, Given, HandlerError, HandlerOutcome, Service, Tx, UndoneOrLater,
    answer, done, later, reject,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::{PgConnection, PgPool};
use tokio::sync::Semaphore;

use crate::fixture::command;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "till", name = "approve", reply = Approved)]
pub(crate) struct Approve {
    /// `later`, `done` or `reject`.
    pub(crate) now: String,
    /// How it is given up: `fence`, `done`, `reject`, `no`, `err`, or `wait`, which fences when the test says so.
    pub(crate) give_up: String,
}

#[derive(Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Approved {
    pub(crate) by: String,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema, Command)]
#[command(service = "till", name = "recall", reply = Approved, compensates = Approve)]
pub(crate) struct Recall {}

#[derive(Clone)]
pub(crate) struct Clerk {
    /// One permit for each give-up that waits.
    pub(crate) entered: Arc<Semaphore>,
    /// One permit lets one of them go on.
    pub(crate) gate: Arc<Semaphore>,
}

impl Default for Clerk {
    fn default() -> Self {
        Self { entered: Arc::new(Semaphore::new(0)), gate: Arc::new(Semaphore::new(0)) }
    }
}

#[service("till")]
impl Clerk {
    #[action(later, give_up = withdraw)]
    async fn approve(&self, tx: &mut Tx<'_>, command: Approve) -> AnswerOrLater<Approved> {
        let key = tx.idempotency_key().to_string();
        let noted =
            sqlx::query("INSERT INTO approval VALUES ($1, 'asked', $2)").bind(key).bind(command.give_up);
        noted.execute(&mut *tx).await?;
        match command.now.as_str() {
            "done" => done(Approved { by: "the rules".to_owned() }),
            "reject" => reject("not-allowed", "the rules forbid it"),
            _ => later(),
        }
    }

    async fn withdraw(
        &self,
        tx: &mut Tx<'_>,
        key: &IdempotencyKey,
    ) -> Result<GiveUp<Approved>, HandlerError> {
        assert_eq!(key, tx.idempotency_key());
        let noted = "UPDATE approval SET state = 'given up' WHERE key = $1 RETURNING give_up";
        let how: String = sqlx::query_scalar(noted).bind(key.to_string()).fetch_one(&mut *tx).await?;
        match how.as_str() {
            "done" => Ok(GiveUp::Done(Approved { by: "bob".to_owned() })),
            "reject" => Ok(GiveUp::Rejected(Rejection::new("declined", "bob says no"))),
            "no" => Ok(GiveUp::No),
            "err" => Err("the clerk is away".into()),
            "wait" => {
                self.entered.add_permits(1);
                self.gate.acquire().await?.forget();
                Ok(GiveUp::Fenced)
            }
            _ => Ok(GiveUp::Fenced),
        }
    }

    #[compensation(of = approve, later)]
    async fn recall(&self, tx: &mut Tx<'_>, _: Recall) -> UndoneOrLater<Approved> {
        let key = tx.idempotency_key().to_string();
        sqlx::query("INSERT INTO approval VALUES ($1, 'asked', '')").bind(key).execute(tx).await?;
        later()
    }
}

pub(crate) fn service(clerk: Clerk) -> Service {
    Service::of(clerk, || None)
}

pub(crate) async fn create_tables(pool: &PgPool) {
    let table = "CREATE TABLE approval (key text PRIMARY KEY, state text NOT NULL, give_up text NOT NULL)";
    sqlx::raw_sql(table).execute(pool).await.unwrap();
}

/// An approval that is asked for, and given up like this.
pub(crate) fn approve(saga: u128, give_up: &str) -> CommandMessage {
    command(saga, Phase::Action, "approve", &Approve { now: "later".to_owned(), give_up: give_up.to_owned() })
}

pub(crate) fn approve_now(saga: u128, now: &str) -> CommandMessage {
    command(saga, Phase::Action, "approve", &Approve { now: now.to_owned(), give_up: String::new() })
}

pub(crate) fn recall(saga: u128) -> CommandMessage {
    command(saga, Phase::Compensation, "recall", &Recall {})
}

pub(crate) fn settle(saga: u128) -> CommandMessage {
    command(saga, Phase::Settlement, "approve", &())
}

/// The answer of the service, in a transaction with what it means in its own table.
pub(crate) async fn approved_by(
    connection: &mut PgConnection,
    key: &IdempotencyKey,
    by: &str,
) -> Result<Given, AnswerError> {
    let noted = sqlx::query("UPDATE approval SET state = 'approved' WHERE key = $1").bind(key.to_string());
    noted.execute(&mut *connection).await?;
    answer::<Approve>(connection, key, HandlerOutcome::Done(Approved { by: by.to_owned() })).await
}
