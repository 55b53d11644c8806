//! The database's clock is set back and forward under a coordinator, or while none runs.

use std::time::Duration;

use redress_coordinator::{Config, Engine, Keep};
use sqlx::AssertSqlSafe;

use crate::fixture::{Fixture, start, start_with, until};
use crate::party::{How, rush, sell};

/// A clock that can be set, in front of the database's own.
const CLOCK: &str = "CREATE SCHEMA shifted; \
    CREATE TABLE shifted.clock (by interval NOT NULL); \
    INSERT INTO shifted.clock VALUES ('0'); \
    CREATE FUNCTION shifted.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE \
        AS 'SELECT pg_catalog.clock_timestamp() + by FROM shifted.clock'; \
    CREATE FUNCTION shifted.now() RETURNS timestamptz LANGUAGE sql STABLE \
        AS 'SELECT pg_catalog.now() + by FROM shifted.clock'";

/// A fixture whose coordinators see a clock that can be set.
async fn fixture_with_a_clock() -> Fixture {
    let fixture = Fixture::new().await;
    // The tables are there before the clock is: their defaults are of no interest here.
    drop(Engine::open(fixture.config(), vec![sell()], fixture.wire.clone()).await.unwrap());
    sqlx::raw_sql(CLOCK).execute(&fixture.pool).await.unwrap();
    let path = format!("ALTER DATABASE {} SET search_path = public, shifted, pg_catalog", fixture.database);
    sqlx::raw_sql(AssertSqlSafe(path)).execute(&fixture.pool).await.unwrap();
    fixture
}

async fn set_clock(fixture: &Fixture, by: &'static str) {
    let set = sqlx::query("UPDATE shifted.clock SET by = $1::text::interval").bind(by);
    assert_eq!(set.execute(&fixture.pool).await.unwrap().rows_affected(), 1);
}

async fn asked_for(fixture: &Fixture, step: &str) {
    let seen = async || fixture.party.seen().iter().any(|command| command.key.step == *step).then_some(());
    until("the command", seen).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_is_measured_anew_after_clock_step_back() {
    let fixture = fixture_with_a_clock().await;
    let coordinator = fixture.coordinator(vec![rush(), sell()]).await;
    let id = coordinator.start(start_with("rush", 1, "charge", How::Ignore)).await;
    asked_for(&fixture, "charge").await;
    set_clock(&fixture, "-1 hour").await;
    assert_eq!(coordinator.end_of(id).await, "compensated");
    let next = coordinator.start(start("sell", 1)).await;
    assert_eq!(coordinator.end_of(next).await, "completed");
    assert_eq!(fixture.gaps().await, 0);
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wait_is_measured_anew_after_clock_step_back_during_downtime() {
    let fixture = fixture_with_a_clock().await;
    let before = fixture.coordinator(vec![rush()]).await;
    let id = before.start(start_with("rush", 1, "charge", How::Ignore)).await;
    asked_for(&fixture, "charge").await;
    before.stop().await;
    set_clock(&fixture, "-1 hour").await;
    let after = fixture.coordinator(vec![rush()]).await;
    assert_eq!(after.end_of(id).await, "compensated");
    after.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_step_forward_costs_pending_command_one_attempt() {
    let fixture = fixture_with_a_clock().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start_with("sell", 1, "charge", How::Hold)).await;
    fixture.party.holds(1).await;
    set_clock(&fixture, "1 hour").await;
    fixture.party.holds(2).await;
    fixture.party.let_go().await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    insta::assert_snapshot!(fixture.history(id).await.lines().take(7).collect::<Vec<_>>().join("\n"), @r"
    1 started
    2 sent action reserve 1
    3 done action reserve 1
    4 sent action charge 1
    5 timed-out action charge 1
    6 sent action charge 2
    7 done action charge 1
    ");
    coordinator.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn clock_step_forward_prunes_no_saga() {
    let fixture = fixture_with_a_clock().await;
    let coordinator = fixture.coordinator(vec![sell()]).await;
    let id = coordinator.start(start("sell", 1)).await;
    assert_eq!(coordinator.end_of(id).await, "completed");
    coordinator.stop().await;
    let letter = "INSERT INTO dead_letters (at, reason, subject, payload) VALUES (now() - interval '1 year', '', '', '')";
    sqlx::query(letter).execute(&fixture.pool).await.unwrap();
    set_clock(&fixture, "40 days").await;
    let day = Duration::from_secs(86_400);
    let keep = Keep { sagas: day, keys: Some(day), dead_letters: day };
    let config = Config { keep, prune_every: Duration::ZERO, ..fixture.config() };
    let pruning = fixture.coordinator_with(config, vec![sell()]).await;
    let letters = "SELECT count(*) FROM dead_letters";
    until("the letter is gone", async || (fixture.count(letters).await == 0).then_some(())).await;
    assert_eq!(fixture.count("SELECT count(*) FROM sagas").await, 1);
    assert_eq!(fixture.count("SELECT count(*) FROM idempotency_keys").await, 1);
    pruning.stop().await;
}
