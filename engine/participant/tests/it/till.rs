//! The service under test: a till whose commands say how their handler ends.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_core::{Command, Phase};
use redress_core::{CommandMessage, Rejection};
use redress_participant::{
    Answer, Compensate, CompensateAll, Handle, HandleAll, HandlerError, HandlerOutcome, Keyed, Listen,
    Service, Tx, Undone, done, reject,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sqlx::PgPool;
use tokio::sync::Semaphore;

use crate::fixture::command;
pub(crate) use crate::how::How;

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Put {
    pub(crate) slot: i64,
    pub(crate) how: How,
}

#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct TakeBack {
    pub(crate) slot: i64,
    pub(crate) how: How,
}

/// Set-oriented.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Pile {
    pub(crate) slot: i64,
    pub(crate) how: How,
}

/// Set-oriented.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Unpile {
    pub(crate) slot: i64,
    pub(crate) how: How,
}

/// Its fields are not in order of the alphabet: a reply comes back byte for byte.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
pub(crate) struct Receipt {
    pub(crate) slot: i64,
    pub(crate) note: String,
}

macro_rules! commands {
    ($($command:ident = $name:literal),+) => {
        $(impl Command for $command {
            const SERVICE: &'static str = "till";
            const NAME: &'static str = $name;
            type Reply = Receipt;
        })+
    };
}

commands!(Put = "put", TakeBack = "take-back", Pile = "pile", Unpile = "unpile");

pub(crate) fn put(saga: u128, how: How) -> CommandMessage {
    command(saga, Phase::Action, Put::NAME, &Put { slot: saga as i64, how })
}

pub(crate) fn take_back(saga: u128, how: How) -> CommandMessage {
    command(saga, Phase::Compensation, TakeBack::NAME, &TakeBack { slot: saga as i64, how })
}

pub(crate) fn pile(saga: u128, how: How) -> CommandMessage {
    command(saga, Phase::Action, Pile::NAME, &Pile { slot: saga as i64, how })
}

pub(crate) fn unpile(saga: u128, how: How) -> CommandMessage {
    command(saga, Phase::Compensation, Unpile::NAME, &Unpile { slot: saga as i64, how })
}

pub(crate) fn settle(saga: u128) -> CommandMessage {
    command(saga, Phase::Settlement, Put::NAME, &())
}

/// The handlers, and the records of their calls for the test.
#[derive(Clone)]
pub(crate) struct Till {
    /// Of each call, how many commands it had.
    pub(crate) calls: Arc<Mutex<Vec<usize>>>,
    /// One permit for each handler that has begun to wait.
    pub(crate) entered: Arc<Semaphore>,
    /// One permit lets one of them go on.
    pub(crate) gate: Arc<Semaphore>,
    /// Handlers that wait for the test at the same time.
    inside: Arc<AtomicU32>,
    /// The most of them.
    pub(crate) most_inside: Arc<AtomicU32>,
    once: Arc<AtomicU32>,
}

impl Default for Till {
    fn default() -> Self {
        let closed = || Arc::new(Semaphore::new(0));
        let (inside, most_inside) = (Arc::default(), Arc::default());
        Self {
            calls: Arc::default(),
            entered: closed(),
            gate: closed(),
            inside,
            most_inside,
            once: Arc::default(),
        }
    }
}

pub(crate) fn service(till: Till) -> Service {
    Service::new(
        "till",
        || None,
        |participant| {
            participant
                .handle::<Put>()
                .compensate::<TakeBack>()
                .handle_all::<Pile>()
                .compensate_all::<Unpile>()
                .listen::<Put>()
        },
        till,
    )
}

/// The statement with which a handler loses what it works on.
fn what_loses(how: How) -> &'static str {
    if how == How::LoseTransaction { "ROLLBACK" } else { "SELECT pg_terminate_backend(pg_backend_pid())" }
}

impl Till {
    pub(crate) async fn create_tables(pool: &PgPool) {
        sqlx::raw_sql(
            "CREATE TABLE effect (key text, kind text, slot bigint);
             CREATE TABLE checked_at_commit (slot bigint UNIQUE DEFERRABLE INITIALLY DEFERRED);
             CREATE TABLE drawer (slot bigint PRIMARY KEY);
             INSERT INTO drawer VALUES (1);
             CREATE TABLE disk (is_full boolean);
             INSERT INTO disk VALUES (false);
             CREATE TABLE large (slot bigint);
             CREATE FUNCTION need_room() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
                 IF (SELECT is_full FROM disk) THEN
                     RAISE EXCEPTION 'no space left on device' USING ERRCODE = 'disk_full';
                 END IF;
                 RETURN NULL;
             END $$;
             CREATE CONSTRAINT TRIGGER need_room AFTER INSERT ON large DEFERRABLE INITIALLY DEFERRED
                 FOR EACH ROW EXECUTE FUNCTION need_room()",
        )
        .execute(pool)
        .await
        .unwrap();
    }

    pub(crate) fn calls(&self) -> Vec<usize> {
        self.calls.lock().unwrap().clone()
    }

    /// Writes an effect, and then ends as it is told.
    async fn act(&self, tx: &mut Tx<'_>, kind: &str, slot: i64, how: How) -> Answer<Receipt> {
        sqlx::query("INSERT INTO effect VALUES ($1, $2, $3)")
            .bind(tx.idempotency_key().to_string())
            .bind(kind)
            .bind(slot)
            .execute(&mut **tx)
            .await?;
        let receipt = |note: &str| done(Receipt { slot, note: note.to_owned() });
        match how {
            How::Done => receipt("done"),
            How::Reject => reject("till-closed", "come back tomorrow"),
            How::Err => Err("the drawer is stuck".into()),
            How::ErrOnce if self.first_time() => Err("the drawer is stuck".into()),
            How::Panic => panic!("the drawer is on fire"),
            How::Huge => receipt(&"x".repeat(300_000)),
            How::Heavy => receipt(&"x".repeat(250_000)),
            How::Nul => receipt("a\0b"),
            How::Wait => {
                let inside = self.inside.fetch_add(1, Ordering::Relaxed) + 1;
                self.most_inside.fetch_max(inside, Ordering::Relaxed);
                self.entered.add_permits(1);
                self.gate.acquire().await?.forget();
                self.inside.fetch_sub(1, Ordering::Relaxed);
                receipt("waited")
            }
            How::WaitAndLook => {
                self.entered.add_permits(1);
                self.gate.acquire().await?.forget();
                let taken = "SELECT count(*) FROM effect WHERE slot = $1";
                let taken: i64 = sqlx::query_scalar(taken).bind(slot).fetch_one(&mut **tx).await?;
                if taken > 1 { Err("the slot is taken".into()) } else { receipt("it was free") }
            }
            How::Hang => {
                self.entered.add_permits(1);
                std::future::pending().await
            }
            How::ErrOnce => receipt("second time"),
            How::Second | How::Idle => self.take_time(tx, slot, how).await,
            How::CollideOnce
            | How::WrongAtCommit
            | How::LoseConnectionOnce
            | How::LoseConnection
            | How::LoseTransaction
            | How::Slow
            | How::Planner
            | How::Drawer
            | How::LargeAtCommit
            | How::Large => self.act_on_database(tx, slot, how).await,
        }
    }

    /// Takes its time outside the database.
    async fn take_time(&self, tx: &mut Tx<'_>, slot: i64, how: How) -> Answer<Receipt> {
        self.entered.add_permits(1);
        let ms = if how == How::Idle { 2_500 } else { 1_000 };
        tokio::time::sleep(Duration::from_millis(ms)).await;
        let idle = sqlx::query_scalar("SELECT current_setting('idle_in_transaction_session_timeout')");
        done(Receipt { slot, note: idle.fetch_one(&mut **tx).await? })
    }

    /// Ends as it is told by what it does to the database.
    async fn act_on_database(&self, tx: &mut Tx<'_>, slot: i64, how: How) -> Answer<Receipt> {
        let receipt = |note: &str| done(Receipt { slot, note: note.to_owned() });
        match how {
            How::CollideOnce if self.first_time() => {
                sqlx::raw_sql("DO $$ BEGIN RAISE EXCEPTION 'deadlock' USING ERRCODE = '40P01'; END $$")
                    .execute(&mut **tx)
                    .await?;
                receipt("never")
            }
            How::LoseConnectionOnce if !self.first_time() => receipt("second time"),
            How::WrongAtCommit => {
                sqlx::query("INSERT INTO checked_at_commit VALUES ($1), ($1)")
                    .bind(slot)
                    .execute(&mut **tx)
                    .await?;
                receipt("done")
            }
            How::LoseConnectionOnce | How::LoseConnection | How::LoseTransaction => {
                sqlx::raw_sql(what_loses(how)).execute(&mut **tx).await?;
                receipt("never")
            }
            How::Slow => {
                sqlx::raw_sql("SELECT pg_sleep(5)").execute(&mut **tx).await?;
                receipt("slow")
            }
            How::Planner => {
                let planner = "SELECT coalesce(string_agg(name || '=' || setting, ' '), 'as ever') FROM pg_settings \
                               WHERE (name LIKE 'enable%' OR name IN ('jit', 'plan_cache_mode')) \
                                 AND setting <> boot_val";
                receipt(&sqlx::query_scalar::<_, String>(planner).fetch_one(&mut **tx).await?)
            }
            How::Drawer => {
                sqlx::query("SELECT slot FROM drawer FOR UPDATE").execute(&mut **tx).await?;
                receipt("out of the drawer")
            }
            How::LargeAtCommit => {
                sqlx::raw_sql("INSERT INTO large VALUES (1)").execute(&mut **tx).await?;
                receipt("large")
            }
            How::Large => {
                let both = "SET CONSTRAINTS ALL IMMEDIATE; INSERT INTO large VALUES (1)";
                sqlx::raw_sql(both).execute(&mut **tx).await?;
                receipt("large")
            }
            How::CollideOnce => receipt("second time"),
            How::Done
            | How::Reject
            | How::Err
            | How::ErrOnce
            | How::Panic
            | How::Huge
            | How::Heavy
            | How::Nul
            | How::Wait
            | How::WaitAndLook
            | How::Second
            | How::Idle
            | How::Hang => unreachable!("it does nothing to the database"),
        }
    }

    fn first_time(&self) -> bool {
        self.once.fetch_add(1, Ordering::Relaxed) == 0
    }

    /// Decides all rejections before it writes, and writes all at once.
    async fn act_on_set(
        &self,
        tx: &mut Tx<'_>,
        kind: &str,
        set: Vec<(String, i64, How)>,
    ) -> Result<Vec<HandlerOutcome<Receipt>>, HandlerError> {
        self.calls.lock().unwrap().push(set.len());
        if set.iter().any(|(_, _, how)| *how == How::Second) {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
        if set.iter().any(|(_, _, how)| *how == How::Hang) {
            std::future::pending::<()>().await;
        }
        let good = set.iter().filter(|(_, _, how)| *how != How::Reject);
        let (keys, slots): (Vec<String>, Vec<i64>) = good.map(|(key, slot, _)| (key.clone(), *slot)).unzip();
        sqlx::query(
            "INSERT INTO effect SELECT key, $1, slot FROM unnest($2::text[], $3::bigint[]) AS t (key, slot)",
        )
        .bind(kind)
        .bind(keys)
        .bind(slots)
        .execute(&mut **tx)
        .await?;
        set.into_iter()
            .map(|(_, slot, how)| match how {
                How::Reject => {
                    Ok(HandlerOutcome::Rejected(Rejection::new("till-closed", "come back tomorrow")))
                }
                How::Err => Err("the drawer is stuck".into()),
                How::Huge => Ok(HandlerOutcome::Done(Receipt { slot, note: "x".repeat(300_000) })),
                How::Heavy => Ok(HandlerOutcome::Done(Receipt { slot, note: "x".repeat(250_000) })),
                _ => Ok(HandlerOutcome::Done(Receipt { slot, note: "piled".to_owned() })),
            })
            .collect()
    }
}

impl Handle<Put> for Till {
    async fn handle(&self, tx: &mut Tx<'_>, command: Put) -> Answer<Receipt> {
        self.act(tx, "put", command.slot, command.how).await
    }
}

impl Listen<Put> for Till {
    async fn listen(&self, tx: &mut Tx<'_>, notification: Put) -> Result<(), HandlerError> {
        self.act(tx, "told", notification.slot, notification.how).await.map(drop)
    }
}

impl Compensate<TakeBack> for Till {
    async fn compensate(&self, tx: &mut Tx<'_>, command: TakeBack) -> Undone<Receipt> {
        match self.act(tx, "take", command.slot, command.how).await? {
            HandlerOutcome::Done(receipt) => Ok(receipt),
            HandlerOutcome::Rejected(rejection) => Err(rejection.message.into()),
        }
    }
}

impl HandleAll<Pile> for Till {
    async fn handle_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<Pile>>,
    ) -> Result<Vec<HandlerOutcome<Receipt>>, HandlerError> {
        let set = commands.into_iter().map(|c| (c.key.to_string(), c.command.slot, c.command.how));
        self.act_on_set(tx, "pile", set.collect()).await
    }
}

impl CompensateAll<Unpile> for Till {
    async fn compensate_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<Unpile>>,
    ) -> Result<Vec<Receipt>, HandlerError> {
        let set = commands.into_iter().map(|c| (c.key.to_string(), c.command.slot, c.command.how));
        let outcomes = self.act_on_set(tx, "unpile", set.collect()).await?;
        let receipts = outcomes.into_iter().filter_map(|outcome| match outcome {
            HandlerOutcome::Done(receipt) => Some(receipt),
            HandlerOutcome::Rejected(_) => None,
        });
        Ok(receipts.collect())
    }
}
