//! What a service waits for, and that nobody else waits for long.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_core::CommandMessage;
use redress_devstack::{Loot, Thief};
use redress_participant::{Participant, ParticipantSettings, Stats};
use redress_wire::DeadLetter;
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::place::{Instance, Place, command, name, told_in_order, until};
use crate::till::{How, Put, Till, pile, put};

/// Somebody has it in psql, and has gone to lunch.
#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_somebody_holds_fails_those_who_need_it_and_nobody_else() {
    let mut place = Place::new().await;
    let mut somebody = place.pool.begin().await.unwrap();
    sqlx::query("SELECT slot FROM drawer FOR UPDATE").execute(&mut *somebody).await.unwrap();
    let settings =
        ParticipantSettings { lock_wait_max: Duration::from_millis(200), ..ParticipantSettings::default() };
    place.send(&[put(1, How::Done), put(2, How::Drawer), pile(3, How::Done), put(4, How::Drawer)]).await;
    let till = place.till_with(settings).await;
    let told = told_in_order(place.replies(4).await);
    // Postgres goes on with a line of its own source, which depends on its version.
    let lines: Vec<&str> = told.lines().map(|line| line.split(" at line ").next().unwrap()).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    done {"slot":1,"note":"done"}
    failed: a handler waited in vain for a row that another transaction holds: error returned from database: canceling statement due to lock timeout
    done {"slot":3,"note":"piled"}
    failed: a handler waited in vain for a row that another transaction holds: error returned from database: canceling statement due to lock timeout
    "#);
    assert_eq!(till.counted(), "done 2, failed 2, batch_retries 1", "nothing is tried again in place");
    assert_eq!(place.effects().await, ["put:1", "pile:3"]);
    somebody.rollback().await.unwrap();
    let again = CommandMessage { attempt: 2, ..put(2, How::Drawer) };
    assert_eq!(place.ask(again).await, r#"done {"slot":2,"note":"out of the drawer"}"#);
    place.leave([till]).await;
}

/// An instance that has vanished from the network keeps its claims until the database misses it.
#[tokio::test(flavor = "multi_thread")]
async fn a_question_that_is_handled_elsewhere_waits_for_its_answer() {
    let mut place = Place::new().await;
    let mut elsewhere = place.pool.begin().await.unwrap();
    sqlx::query("INSERT INTO inbox (key) VALUES ($1)")
        .bind(put(1, How::Done).key.to_string())
        .execute(&mut *elsewhere)
        .await
        .unwrap();
    let settings = ParticipantSettings {
        lock_wait_max: Duration::from_millis(50),
        database_down_pause: Duration::from_millis(20),
        tries_max: 2,
        ..ParticipantSettings::default()
    };
    place.send(&[put(1, How::Done), put(2, How::Done)]).await;
    let till = place.till_with(settings).await;
    assert_eq!(told_in_order(place.replies(1).await), r#"done {"slot":2,"note":"done"}"#);
    let redeliveries = || place.wire.stats().redeliveries.load(Ordering::Relaxed);
    until("it has come more often than it may be tried", async || redeliveries() >= 8).await;
    elsewhere.rollback().await.unwrap();
    assert_eq!(told_in_order(place.replies(1).await), r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(till.count("failed") + till.count("dead_letters"), 0);
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_does_not_end_fails_at_once_and_alone() {
    let mut place = Place::new().await;
    let settings = ParticipantSettings {
        handler_time_max: Duration::from_millis(300),
        ..ParticipantSettings::default()
    };
    place.send(&[put(1, How::Done), put(2, How::Hang), pile(3, How::Done)]).await;
    let till = place.till_with(settings).await;
    insta::assert_snapshot!(told_in_order(place.replies(3).await), @r#"
    done {"slot":1,"note":"done"}
    failed: the handler did not end within 300ms; what it did was rolled back; have it give up earlier what it waits for, or raise `handler_time_max`
    done {"slot":3,"note":"piled"}
    "#);
    assert_eq!(till.till.entered.available_permits(), 1, "it has had its time");
    assert_eq!(place.effects().await, ["put:1", "pile:3"]);
    assert_eq!(place.wire.stats().redeliveries.load(Ordering::Relaxed), 0);
    place.leave([till]).await;
}

/// Nobody knows which one it is until each runs by itself.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_set_that_does_not_end_only_the_culprit_fails() {
    let mut place = Place::new().await;
    let settings = ParticipantSettings {
        handler_time_max: Duration::from_millis(300),
        ..ParticipantSettings::default()
    };
    place.send(&[pile(1, How::Done), pile(2, How::Hang), pile(3, How::Done), put(4, How::Done)]).await;
    let till = place.till_with(settings).await;
    insta::assert_snapshot!(told_in_order(place.replies(4).await), @r#"
    done {"slot":1,"note":"piled"}
    failed: the handler did not end within 300ms; what it did was rolled back; have it give up earlier what it waits for, or raise `handler_time_max`
    done {"slot":3,"note":"piled"}
    done {"slot":4,"note":"done"}
    "#);
    assert_eq!(place.effects().await, ["pile:1", "pile:3", "put:4"]);
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_full_disk_is_no_fault_of_a_command() {
    let mut place = Place::new().await;
    let settings = ParticipantSettings {
        database_down_pause: Duration::from_millis(20),
        tries_max: 2,
        ..ParticipantSettings::default()
    };
    let is_full = async |is_full: bool| {
        sqlx::query("UPDATE disk SET is_full = $1").bind(is_full).execute(&place.pool).await.unwrap();
    };
    is_full(true).await;
    place.send(&[put(1, How::LargeAtCommit), put(2, How::Large), put(3, How::Done)]).await;
    let till = place.till_with(settings).await;
    let redeliveries = || place.wire.stats().redeliveries.load(Ordering::Relaxed);
    // Each of them many times more than it may be tried.
    until("both have come again and again", async || redeliveries() >= 20).await;
    is_full(false).await;
    insta::assert_snapshot!(told_in_order(place.replies(3).await), @r#"
    done {"slot":1,"note":"large"}
    done {"slot":2,"note":"large"}
    done {"slot":3,"note":"done"}
    "#);
    assert_eq!(till.count("failed") + till.count("dead_letters"), 0);
    place.leave([till]).await;
}

/// After a stall there are thousands of them, and they must not cost a transaction each.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_answered_already_never_runs_alone() {
    const COPIES: usize = 50;
    let mut place = Place::new().await;
    let commands = |attempt| -> Vec<CommandMessage> {
        (1..=COPIES as u128).map(|saga| CommandMessage { attempt, ..put(saga, How::Done) }).collect()
    };
    let till = place.till().await;
    place.send(&commands(1)).await;
    place.replies(COPIES).await;
    place.stop(till).await;
    place.send(&commands(2)).await;
    // Others had them before, twice each.
    let mut elsewhere = place.wire.commands(&name("till"));
    let mut seen = 0;
    while seen < 2 * COPIES {
        for delivery in elsewhere.next_batch(COPIES).await {
            seen += usize::from(delivery.deliveries <= 2);
            delivery.handle().nak(Duration::ZERO).await;
        }
    }
    drop(elsewhere);
    sqlx::raw_sql("ALTER TABLE inbox_tries ADD CONSTRAINT nobody_runs_alone CHECK (false)")
        .execute(&place.pool)
        .await
        .unwrap();
    let till = place.till().await;
    let told = told_in_order(place.replies(COPIES).await);
    assert_eq!(told.matches("done {").count(), COPIES, "{told}");
    assert_eq!(till.counted(), format!("duplicates {COPIES}"));
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_that_cannot_be_kept_does_not_keep_the_service_busy() {
    let mut place = Place::new().await;
    let letter = DeadLetter {
        service: name("till"),
        subject: "elsewhere".to_owned(),
        reason: "to fill the stream".to_owned(),
        headers: Default::default(),
        payload: vec![b'x'; 200_000],
    };
    while place.wire.publish_dead_letter(&letter).await.is_ok() {}
    let settings = ParticipantSettings {
        unknown_command_age: Duration::ZERO,
        database_down_pause: Duration::from_millis(1),
        ..ParticipantSettings::default()
    };
    let till = place.till_with(settings).await;
    place.send(&[command(1_000, redress_core::Phase::Action, "juggle", &"x".repeat(250_000))]).await;
    // Time for many deliveries, if it came again after each millisecond.
    for saga in 1..=20 {
        place.ask(put(saga, How::Done)).await;
    }
    assert_eq!(place.wire.stats().redeliveries.load(Ordering::Relaxed), 0);
    assert_eq!(till.counted(), "done 20", "neither kept nor lost");
    place.leave([till]).await;
}

/// A pool without our hooks, and so small that one lost connection would be the last.
#[tokio::test(flavor = "multi_thread")]
async fn a_pool_of_the_callers_own_survives_a_lost_connection() {
    for wanted in [&b"BEGIN"[..], b"INTO inbox", b"SAVEPOINT", b"COMMIT"] {
        let mut place = Place::new().await;
        let server = redress_devstack::shared().await.postgres().port();
        let (thief, port) = Thief::before(server).await.unwrap();
        let url = place.database_url.replace(&format!(":{server}/"), &format!(":{port}/"));
        let pool = PgPoolOptions::new().max_connections(1).acquire_timeout(Duration::from_secs(1));
        let pool = pool.connect(&url).await.unwrap();
        let settings = ParticipantSettings {
            silence_max: Duration::from_millis(300),
            database_down_pause: Duration::from_millis(50),
            ..ParticipantSettings::default()
        };
        let till = serve_on(&place, pool, settings);
        thief.wants(Loot::Connection, wanted);
        place.send(&[put(1, How::Done)]).await;
        let wanted = String::from_utf8_lossy(wanted);
        assert_eq!(told_in_order(place.replies(1).await), r#"done {"slot":1,"note":"done"}"#, "{wanted}");
        assert!(thief.has_stolen(), "{wanted}");
        assert_eq!(place.effects().await, ["put:1"], "{wanted}");
        place.leave([till]).await;
    }
}

fn serve_on(place: &Place, pool: sqlx::PgPool, settings: ParticipantSettings) -> Instance {
    let till = Till::default();
    let participant = Participant::new("till", pool, place.wire.clone()).settings(settings).handle::<Put>();
    let (stats, shutdown): (std::sync::Arc<Stats>, _) = (participant.stats(), CancellationToken::new());
    let serving = participant.serve(till.clone(), shutdown.clone().cancelled_owned());
    Instance { till, stats, shutdown, task: tokio::spawn(serving) }
}
