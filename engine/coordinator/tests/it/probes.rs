//! Readiness: probed on connections of its own, and answered by a write.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redress_coordinator::Config;
use redress_core::SagaId;
use redress_devstack::{Data, Durability, Stack, StackConfig};
use sqlx::AssertSqlSafe;
use uuid::Uuid;

use crate::fixture::{Fixture, start, until};
use crate::party::sell;

/// Longer than a probe takes on a busy machine, and shorter than anything that clients wait for here.
const PROMPT: Duration = Duration::from_millis(1_500);

async fn own_servers() -> Arc<Stack> {
    let options =
        StackConfig { durability: Durability::Relaxed, data: Data::Ephemeral, postgres: true, nats: true };
    Arc::new(Stack::start(options, &|_| {}).await.unwrap())
}

/// As after a failover without a restart: sessions stay, and writes are refused on all of them.
#[tokio::test(flavor = "multi_thread")]
async fn read_only_server_is_not_ready_and_keeps_no_session() {
    let fixture = Fixture::on(own_servers().await).await;
    let config = Config { acquire_timeout: Duration::from_millis(500), ..fixture.config() };
    let coordinator = fixture.coordinator_with(config, vec![sell()]).await;
    let id = coordinator.start(start("sell", 1)).await;
    coordinator.end_of(id).await;
    assert!(coordinator.engine.readiness().await.ready);
    // The test's own sessions may write all the same.
    let mut session = fixture.pool.acquire().await.unwrap();
    let turn = async |session: &mut sqlx::PgConnection, to: &str| {
        let system = format!("ALTER SYSTEM SET default_transaction_read_only = {to}");
        sqlx::raw_sql("SET default_transaction_read_only = off").execute(&mut *session).await.unwrap();
        sqlx::raw_sql(AssertSqlSafe(system)).execute(&mut *session).await.unwrap();
        sqlx::raw_sql("SELECT pg_reload_conf()").execute(&mut *session).await.unwrap();
    };
    // Those that are opened meanwhile are refused, and are there for a moment.
    let sessions = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() \
                    AND pid <> pg_backend_pid() AND backend_type = 'client backend' AND backend_start < $1";
    let before: chrono::DateTime<chrono::Utc> =
        sqlx::query_scalar("SELECT clock_timestamp()").fetch_one(&mut *session).await.unwrap();
    turn(&mut session, "on").await;
    until("it is not ready", async || {
        let readiness = coordinator.engine.readiness().await;
        (!readiness.ready && readiness.database.contains("only reads")).then_some(())
    })
    .await;
    let error = coordinator.engine.start_request(start("sell", 2)).await.unwrap_err();
    assert!(error.to_string().contains("can be made again"), "{error}");
    let begun = Instant::now();
    until("no session from before is left", async || {
        // A client that acquires a connection gets none of the old ones.
        let _ = coordinator.engine.history(SagaId(Uuid::nil()), 0, 1).await;
        let left: i64 = sqlx::query_scalar(sessions).bind(before).fetch_one(&mut *session).await.unwrap();
        (left == 0).then_some(())
    })
    .await;
    assert!(begun.elapsed() < Duration::from_secs(10), "they went one by one: {:?}", begun.elapsed());
    // Now each probe has to open a connection, which is refused until its time is over.
    let readiness = coordinator.engine.readiness().await;
    assert!(!readiness.ready && readiness.database.contains("only reads"), "{}", readiness.database);
    turn(&mut session, "off").await;
    until("it is ready again", async || coordinator.engine.readiness().await.ready.then_some(())).await;
    let id = coordinator.start(start("sell", 2)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn probes_do_not_wait_behind_clients() {
    let fixture = Fixture::new().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start("sell", 1)).await;
    coordinator.end_of(id).await;
    // Another transaction holds the rows that clients want; a hundred clients wait.
    let mut somebody = fixture.pool.begin().await.unwrap();
    sqlx::query("LOCK TABLE saga_history IN ACCESS EXCLUSIVE MODE").execute(&mut *somebody).await.unwrap();
    let clients: Vec<_> = (0..100)
        .map(|_| {
            let engine = coordinator.engine.clone();
            tokio::spawn(async move { engine.history(id, 0, 10).await.map(drop) })
        })
        .collect();
    let waiting = "SELECT count(*) FROM pg_locks WHERE relation = 'saga_history'::regclass AND NOT granted";
    until("they wait", async || (fixture.count(waiting).await >= 2).then_some(())).await;
    for round in 0..5 {
        let begun = Instant::now();
        let readiness = coordinator.engine.readiness().await;
        assert!(readiness.ready, "{round}: {readiness:?}");
        coordinator.engine.census().await.unwrap();
        coordinator.engine.live().await.unwrap();
        assert!(begun.elapsed() < PROMPT, "{round}: {:?}", begun.elapsed());
    }
    somebody.rollback().await.unwrap();
    for client in clients {
        // They were answered, or told that it takes too long.
        let _ = client.await.unwrap();
    }
    coordinator.stop().await;
}
