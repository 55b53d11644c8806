//! A handler or a command that waits, and that it holds up no others for long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_core::{CommandMessage, LetterCode};
use redress_devstack::{Drop, FaultProxy};
use redress_participant::{Participant, ParticipantConfig, Stats};
use redress_wire::{DeadLetter, Malformed};
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Instance, command, name, told_in_order, until};
use crate::till::{How, Put, Till, pile, put};

/// An operator has it in psql, and has gone to lunch.
#[tokio::test(flavor = "multi_thread")]
async fn locked_row_fails_only_the_commands_that_need_it() {
    let mut fixture = Fixture::new().await;
    let mut somebody = fixture.pool.begin().await.unwrap();
    sqlx::query("SELECT slot FROM drawer FOR UPDATE").execute(&mut *somebody).await.unwrap();
    let config =
        ParticipantConfig { lock_wait_max: Duration::from_millis(200), ..ParticipantConfig::default() };
    fixture.send(&[put(1, How::Done), put(2, How::Drawer), pile(3, How::Done), put(4, How::Drawer)]).await;
    let till = fixture.till_with(config).await;
    let told = told_in_order(fixture.replies(4).await);
    // Postgres goes on with a line of its own source, which depends on its version.
    let lines: Vec<&str> = told.lines().map(|line| line.split(" at line ").next().unwrap()).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    done {"slot":1,"note":"done"}
    failed: a handler waited in vain for a row that another transaction holds: error returned from database: canceling statement due to lock timeout
    done {"slot":3,"note":"piled"}
    failed: a handler waited in vain for a row that another transaction holds: error returned from database: canceling statement due to lock timeout
    "#);
    assert_eq!(till.counted(), "done 2, failed 2, batch_retries 1", "nothing is tried again in place");
    assert_eq!(fixture.effects().await, ["put:1", "pile:3"]);
    somebody.rollback().await.unwrap();
    let again = CommandMessage { attempt: 2, ..put(2, How::Drawer) };
    assert_eq!(fixture.ask(again).await, r#"done {"slot":2,"note":"out of the drawer"}"#);
    fixture.leave([till]).await;
}

/// An instance that has vanished from the network keeps its claims until the database misses it.
#[tokio::test(flavor = "multi_thread")]
async fn command_handled_elsewhere_waits_for_its_answer() {
    let mut fixture = Fixture::new().await;
    let mut elsewhere = fixture.pool.begin().await.unwrap();
    sqlx::query("INSERT INTO inbox (key) VALUES ($1)")
        .bind(put(1, How::Done).key.to_string())
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    let config = ParticipantConfig {
        lock_wait_max: Duration::from_millis(50),
        database_down_pause: Duration::from_millis(20),
        tries_max: 2,
        ..ParticipantConfig::default()
    };
    fixture.send(&[put(1, How::Done), put(2, How::Done)]).await;
    let till = fixture.till_with(config).await;
    assert_eq!(told_in_order(fixture.replies(1).await), r#"done {"slot":2,"note":"done"}"#);
    let redeliveries = || fixture.wire.stats().redeliveries.load(Ordering::Relaxed);
    until("it has come more often than it may be tried", async || redeliveries() >= 8).await;
    elsewhere.rollback().await.unwrap();
    assert_eq!(told_in_order(fixture.replies(1).await), r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(till.count("failed") + till.count("dead_letters"), 0);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_does_not_end_fails_at_once_and_alone() {
    let mut fixture = Fixture::new().await;
    let config =
        ParticipantConfig { handler_time_max: Duration::from_millis(300), ..ParticipantConfig::default() };
    fixture.send(&[put(1, How::Done), put(2, How::Hang), pile(3, How::Done)]).await;
    let till = fixture.till_with(config).await;
    insta::assert_snapshot!(told_in_order(fixture.replies(3).await), @r#"
    done {"slot":1,"note":"done"}
    failed: the handler did not end within 300ms; what it did was rolled back; have it give up earlier what it waits for, or raise `handler_time_max`
    done {"slot":3,"note":"piled"}
    "#);
    assert_eq!(till.till.entered.available_permits(), 1, "it has had its time");
    assert_eq!(fixture.effects().await, ["put:1", "pile:3"]);
    assert_eq!(fixture.wire.stats().redeliveries.load(Ordering::Relaxed), 0);
    fixture.leave([till]).await;
}

/// The participant does not know which one it is until each runs by itself.
#[tokio::test(flavor = "multi_thread")]
async fn set_that_does_not_end_fails_only_its_culprit() {
    let mut fixture = Fixture::new().await;
    let config =
        ParticipantConfig { handler_time_max: Duration::from_millis(300), ..ParticipantConfig::default() };
    fixture.send(&[pile(1, How::Done), pile(2, How::Hang), pile(3, How::Done), put(4, How::Done)]).await;
    let till = fixture.till_with(config).await;
    insta::assert_snapshot!(told_in_order(fixture.replies(4).await), @r#"
    done {"slot":1,"note":"piled"}
    failed: the handler did not end within 300ms; what it did was rolled back; have it give up earlier what it waits for, or raise `handler_time_max`
    done {"slot":3,"note":"piled"}
    done {"slot":4,"note":"done"}
    "#);
    assert_eq!(fixture.effects().await, ["pile:1", "pile:3", "put:4"]);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn full_disk_is_no_fault_of_a_command() {
    let mut fixture = Fixture::new().await;
    let config = ParticipantConfig {
        database_down_pause: Duration::from_millis(20),
        tries_max: 2,
        ..ParticipantConfig::default()
    };
    let is_full = async |is_full: bool| {
        sqlx::query("UPDATE disk SET is_full = $1").bind(is_full).execute(&fixture.pool).await.unwrap();
    };
    is_full(true).await;
    fixture.send(&[put(1, How::LargeAtCommit), put(2, How::Large), put(3, How::Done)]).await;
    let till = fixture.till_with(config).await;
    let redeliveries = || fixture.wire.stats().redeliveries.load(Ordering::Relaxed);
    // Each of them many times more than it may be tried.
    until("both have come again and again", async || redeliveries() >= 20).await;
    is_full(false).await;
    insta::assert_snapshot!(told_in_order(fixture.replies(3).await), @r#"
    done {"slot":1,"note":"large"}
    done {"slot":2,"note":"large"}
    done {"slot":3,"note":"done"}
    "#);
    assert_eq!(till.count("failed") + till.count("dead_letters"), 0);
    fixture.leave([till]).await;
}

/// After a stall there are thousands of them, and they must not cost a transaction each.
#[tokio::test(flavor = "multi_thread")]
async fn answered_command_never_runs_alone() {
    const COPIES: usize = 50;
    let mut fixture = Fixture::new().await;
    let commands = |attempt| -> Vec<CommandMessage> {
        (1..=COPIES as u128).map(|saga| CommandMessage { attempt, ..put(saga, How::Done) }).collect()
    };
    let till = fixture.till().await;
    fixture.send(&commands(1)).await;
    fixture.replies(COPIES).await;
    fixture.stop(till).await;
    fixture.send(&commands(2)).await;
    // Others had them before, twice each.
    let mut elsewhere = fixture.wire.commands(&name("till"));
    let mut seen = 0;
    while seen < 2 * COPIES {
        for delivery in elsewhere.next_batch(COPIES).await {
            seen += usize::from(delivery.deliveries <= 2);
            delivery.handle().nak(Duration::ZERO).await;
        }
    }
    drop(elsewhere);
    sqlx::raw_sql("ALTER TABLE inbox_tries ADD CONSTRAINT nobody_runs_alone CHECK (false)")
        .execute(&fixture.pool)
        .await
        .unwrap();
    let till = fixture.till().await;
    let told = told_in_order(fixture.replies(COPIES).await);
    assert_eq!(told.matches("done {").count(), COPIES, "{told}");
    assert_eq!(till.counted(), format!("duplicates {COPIES}"));
    fixture.leave([till]).await;
}

/// Fills the broker's stream of dead letters.
async fn fill_dead_letters(fixture: &Fixture) {
    let letter = Malformed {
        code: LetterCode::Unreadable,
        reason: "to fill the stream".to_owned(),
        address: None,
        subject: "elsewhere".to_owned(),
        headers: Default::default(),
        payload: vec![b'x'; 200_000],
    };
    let letter = DeadLetter::new(name("till"), letter);
    while fixture.wire.publish_dead_letter(&letter).await.is_ok() {}
    while fixture.wire.publish_dead_letter(&letter.reduced()).await.is_ok() {}
}

fn that_refuses_at_once() -> ParticipantConfig {
    ParticipantConfig {
        unknown_command_age: Duration::ZERO,
        database_down_pause: Duration::from_millis(1),
        ..ParticipantConfig::default()
    }
}

/// The message does not fit into the full stream, its head goes into the database, and it never comes again.
#[tokio::test(flavor = "multi_thread")]
async fn poison_that_the_broker_refuses_is_kept_in_the_database() {
    let mut fixture = Fixture::new().await;
    fill_dead_letters(&fixture).await;
    let till = fixture.till_with(that_refuses_at_once()).await;
    let told = fixture.ask(command(1_000, redress_core::Phase::Action, "juggle", &"x".repeat(250_000))).await;
    assert_eq!(told, "refused: service `till` knows no action `juggle`");
    let kept: Vec<(String, String, i32, i64, String)> = sqlx::query_as(
        "SELECT reason, subject, octet_length(payload), payload_bytes, not_kept FROM inbox_dead_letters",
    )
    .fetch_all(&fixture.pool)
    .await
    .unwrap();
    let subject = fixture.wire.topology().command_subject("till", "juggle");
    let full = "the broker's stream is full; the message is sent again when it is due";
    let reason = "service `till` knows no action `juggle`";
    assert_eq!(kept, [(reason.into(), subject, 32 << 10, 250_002, full.into())]);
    fixture.ask(put(1, How::Done)).await;
    assert_eq!(till.counted(), "done 1, dead_letters 1, dead_letters_kept_here 1");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_that_cannot_be_kept_ends_all_the_same() {
    let mut fixture = Fixture::new().await;
    fill_dead_letters(&fixture).await;
    sqlx::raw_sql("ALTER TABLE inbox_dead_letters ADD CONSTRAINT no_room CHECK (false)")
        .execute(&fixture.pool)
        .await
        .unwrap();
    let till = fixture.till_with(that_refuses_at_once()).await;
    let told = fixture.ask(command(1_000, redress_core::Phase::Action, "juggle", &"x".repeat(250_000))).await;
    assert_eq!(told, "refused: service `till` knows no action `juggle`");
    fixture.ask(put(1, How::Done)).await;
    assert_eq!(till.counted(), "done 1, dead_letters 1, dead_letters_lost 1");
    fixture.leave([till]).await;
}

/// A pool without our hooks, and so small that one lost connection would be the last.
#[tokio::test(flavor = "multi_thread")]
async fn pool_of_the_caller_survives_a_lost_connection() {
    for wanted in [&b"BEGIN"[..], b"INTO inbox", b"SAVEPOINT", b"COMMIT"] {
        let mut fixture = Fixture::new().await;
        let server = redress_devstack::shared().await.postgres().port();
        let (proxy, port) = FaultProxy::before(server).await.unwrap();
        let url = fixture.database_url.replace(&format!(":{server}/"), &format!(":{port}/"));
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(1));
        let pool = pool.connect(&url).await.unwrap();
        let config = ParticipantConfig {
            silence_max: Duration::from_millis(300),
            database_down_pause: Duration::from_millis(50),
            ..ParticipantConfig::default()
        };
        let till = serve_on(&fixture, pool, config);
        proxy.drop_on_match(Drop::Connection, wanted);
        fixture.send(&[put(1, How::Done)]).await;
        let wanted = String::from_utf8_lossy(wanted);
        assert_eq!(told_in_order(fixture.replies(1).await), r#"done {"slot":1,"note":"done"}"#, "{wanted}");
        assert!(proxy.has_dropped(), "{wanted}");
        assert_eq!(fixture.effects().await, ["put:1"], "{wanted}");
        fixture.leave([till]).await;
    }
}

fn serve_on(fixture: &Fixture, pool: sqlx::PgPool, config: ParticipantConfig) -> Instance {
    let till = Till::default();
    let participant = Participant::new("till").config(config).handle::<Put>();
    let (stats, shutdown): (std::sync::Arc<Stats>, _) = (participant.stats(), CancellationToken::new());
    let serving =
        participant.serve(till.clone(), pool, fixture.wire.clone(), shutdown.clone().cancelled_owned());
    Instance { till, stats, shutdown, task: tokio::spawn(serving) }
}
