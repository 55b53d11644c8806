//! A service whose effects can be counted: each run of a handler appends a row, in the inbox transaction.
//!
//! The demo services keep their own books under unique keys, which refuse a second effect even where the inbox would
//! let it through. Here no key, no check and no status stands in the way, so that an effect done twice is seen twice.

use std::collections::BTreeMap;

use redress::{
    Answer, Command, Compensate, Compensates, Handle, Participant, SagaDefinition, StartRequest, Tx, Undone,
    done, inbox_migrator, reject, saga,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::json;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use super::{PATIENCE, World};

/// Sagas that are counted; every other one is undone.
pub(crate) const COUNTED: i64 = 60;

macro_rules! commands {
    ($($command:ident = $name:literal),+ $(,)?) => {$(
        #[derive(Serialize, Deserialize, JsonSchema)]
        pub(crate) struct $command {
            slot: i64,
        }

        impl Command for $command {
            const SERVICE: &'static str = "tally";
            const NAME: &'static str = $name;
            type Reply = ();
        }
    )+};
}

commands!(Add = "add", Subtract = "subtract", Decide = "decide", Confirm = "confirm");

impl Compensates<Add> for Subtract {}

#[derive(Serialize, Deserialize, JsonSchema)]
struct Slot {
    slot: i64,
}

fn count() -> SagaDefinition {
    saga::<Slot>("count", 1)
        .step("add", |s| Add { slot: s.slot })
        .compensate(|s| Subtract { slot: s.slot })
        .pivot("decide", |s| Decide { slot: s.slot })
        .retriable("confirm", |s| Confirm { slot: s.slot })
        .build()
}

struct Tally;

async fn append(tx: &mut Tx<'_>, slot: i64, command: &str) -> Result<(), sqlx::Error> {
    let row = sqlx::query("INSERT INTO carried_out (slot, command) VALUES ($1, $2)");
    row.bind(slot).bind(command).execute(&mut **tx).await.map(drop)
}

impl Handle<Add> for Tally {
    async fn handle(&self, tx: &mut Tx<'_>, command: Add) -> Answer<()> {
        append(tx, command.slot, Add::NAME).await?;
        done(())
    }
}

impl Handle<Decide> for Tally {
    async fn handle(&self, tx: &mut Tx<'_>, command: Decide) -> Answer<()> {
        if command.slot % 2 == 1 {
            return reject("odd", "every other saga is undone");
        }
        append(tx, command.slot, Decide::NAME).await?;
        done(())
    }
}

impl Handle<Confirm> for Tally {
    async fn handle(&self, tx: &mut Tx<'_>, command: Confirm) -> Answer<()> {
        append(tx, command.slot, Confirm::NAME).await?;
        done(())
    }
}

impl Compensate<Subtract> for Tally {
    async fn compensate(&self, tx: &mut Tx<'_>, command: Subtract) -> Undone<()> {
        append(tx, command.slot, Subtract::NAME).await?;
        Ok(())
    }
}

/// The commands that each saga must have had carried out, and how often.
fn expected() -> BTreeMap<(i64, String), i64> {
    let of = |slot: i64| {
        if slot % 2 == 1 { ["add", "subtract"].as_slice() } else { &["add", "decide", "confirm"] }
    };
    (0..COUNTED)
        .flat_map(|slot| of(slot).iter().map(move |command| ((slot, (*command).to_owned()), 1)))
        .collect()
}

async fn carried_out(pool: &PgPool) -> BTreeMap<(i64, String), i64> {
    let rows: Vec<(i64, String, i64)> =
        sqlx::query_as("SELECT slot, command, count(*) FROM carried_out GROUP BY slot, command")
            .fetch_all(pool)
            .await
            .expect("the tally can be read");
    rows.into_iter().map(|(slot, command, times)| ((slot, command), times)).collect()
}

/// Leads the sagas to their ends in a world of its own, and compares the effects with the expected ones, once `quiet`
/// says that no more will come.
pub(crate) async fn counts_once(world: &World, quiet: impl Future<Output = ()>) {
    let pool = world.pool_of("tally").await;
    inbox_migrator().run(&pool).await.expect("the inbox is made");
    let table = "CREATE TABLE carried_out (slot bigint NOT NULL, command text NOT NULL)";
    sqlx::query(table).execute(&pool).await.expect("the table is made");
    let shutdown = CancellationToken::new();
    let tally = Participant::new("tally")
        .handle::<Add>()
        .compensate::<Subtract>()
        .handle::<Decide>()
        .handle::<Confirm>();
    let stop = shutdown.clone();
    let (tables, wire) = (pool.clone(), world.wire().await);
    let serving = tokio::spawn(async move { tally.serve(Tally, tables, wire, stop.cancelled_owned()).await });
    let engine = world.engine(vec![count()]).await;
    let (running, stop) = (engine.clone(), shutdown.clone());
    let running = tokio::spawn(async move { running.run(stop).await });

    let mut started = Vec::new();
    for slot in 0..COUNTED {
        let request = StartRequest {
            saga: "count".to_owned(),
            input: json!({ "slot": slot }),
            key: format!("count-{slot}"),
            ..StartRequest::default()
        };
        started.push(engine.start_request(request).await.expect("the saga is accepted").id);
    }
    for id in started {
        engine.wait_ended(id, PATIENCE).await.expect("the journal answers").expect("it exists");
    }
    quiet.await;
    assert_eq!(carried_out(&pool).await, expected(), "each command took effect once");
    shutdown.cancel();
    serving.await.expect("serving does not panic").expect("it serves");
    running.await.expect("the coordinator does not panic");
}
