//! Slow handlers, lost connections, collisions, shutdown.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_devstack::{Loot, Thief};
use redress_participant::ParticipantSettings;

use crate::place::{Place, told, told_in_order};
use crate::till::{How, put, take_back};

#[tokio::test(flavor = "multi_thread")]
async fn a_handler_that_meets_another_transaction_does_not_fail() {
    let mut place = Place::new().await;
    place.send(&[put(1, How::Done), put(2, How::CollideOnce)]).await;
    let till = place.till().await;
    insta::assert_snapshot!(told_in_order(place.replies(2).await), @r#"
    done {"slot":1,"note":"done"}
    done {"slot":2,"note":"second time"}
    "#);
    assert_eq!(till.counted(), "done 2, batch_retries 1");
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_connection_costs_a_redelivery_and_nothing_else() {
    let mut place = Place::new().await;
    place.send(&[put(1, How::Done), put(2, How::LoseConnectionOnce)]).await;
    let till = place.till().await;
    insta::assert_snapshot!(told_in_order(place.replies(2).await), @r#"
    done {"slot":1,"note":"done"}
    done {"slot":2,"note":"second time"}
    "#);
    assert_eq!(place.effects().await, ["put:1", "put:2"]);
    assert_eq!(till.count("failed"), 0);
    place.leave([till]).await;
}

/// The others are amends: refused, they would park their sagas.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_loses_its_connection_each_time_is_given_up_alone() {
    let mut place = Place::new().await;
    let settings = ParticipantSettings {
        database_down_pause: Duration::from_millis(50),
        tries_max: 3,
        ..ParticipantSettings::default()
    };
    let till = place.till_with(settings.clone()).await;
    place.send(&(1..=5).map(|saga| put(saga, How::Done)).collect::<Vec<_>>()).await;
    place.replies(5).await;
    place.stop(till).await;
    let mut commands: Vec<_> = (1..=5).map(|saga| take_back(saga, How::Done)).collect();
    commands.insert(2, put(9, How::LoseConnection));
    place.send(&commands).await;
    let till = place.till_with(settings).await;
    insta::assert_snapshot!(told_in_order(place.replies(6).await), @r#"
    done {"slot":1,"note":"done"}
    done {"slot":2,"note":"done"}
    done {"slot":3,"note":"done"}
    done {"slot":4,"note":"done"}
    done {"slot":5,"note":"done"}
    refused: it was run 3 times and never settled
    "#);
    let undone = place.effects().await.into_iter().filter(|effect| effect.starts_with("take:"));
    assert_eq!(undone.count(), 5);
    place.leave([till]).await;
}

/// As one that needs more memory than there is: whoever handles it dies, and the others in its batch with it.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_ends_its_process_each_time_is_given_up_alone() {
    let mut place = Place::new().await;
    let till = place.till().await;
    let amends: Vec<_> = (1..=20).map(|saga| take_back(saga, How::Done)).collect();
    place.send(&(1..=20).map(|saga| put(saga, How::Done)).collect::<Vec<_>>()).await;
    place.replies(20).await;
    place.stop(till).await;
    place.send(&[put(99, How::Wait)]).await;
    place.send(&amends).await;
    let settings = ParticipantSettings { tries_max: 3, ..ParticipantSettings::default() };
    // With others at first; whoever is first in the stream comes first each time.
    for _ in 0..2 + settings.tries_max {
        place.dies_in_its_handler(settings.clone()).await;
    }
    let till = place.till_with(settings).await;
    // Whoever dies takes acknowledgements along, so some come twice.
    let mut outcomes = BTreeMap::new();
    while outcomes.len() < 21 {
        outcomes.extend(place.replies(1).await.into_iter().map(|reply| (reply.key, told(&reply.outcome))));
    }
    let refused: Vec<&String> = outcomes.values().filter(|told| !told.starts_with("done")).collect();
    assert_eq!(refused, ["refused: it was run 3 times and never settled"]);
    let undone = place.effects().await.into_iter().filter(|effect| effect.starts_with("take:"));
    assert_eq!(undone.count(), 20, "each once");
    place.leave([till]).await;
}

/// The database's machine vanishes from the network: no end of file, no error, nothing.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_says_nothing_any_more_is_given_up() {
    for wanted in [&b"BEGIN"[..], b"INTO inbox", b"SAVEPOINT", b"UPDATE inbox", b"COMMIT"] {
        let mut place = Place::new().await;
        let server = redress_devstack::shared().await.postgres().port();
        let (thief, port) = Thief::before(server).await.unwrap();
        place.database_url = place.database_url.replace(&format!(":{server}/"), &format!(":{port}/"));
        let settings = ParticipantSettings {
            silence_max: Duration::from_millis(300),
            database_down_pause: Duration::from_millis(50),
            ..ParticipantSettings::default()
        };
        let till = place.till_with(settings).await;
        thief.wants(Loot::Connection, wanted);
        let commands = [put(1, How::Done), put(2, How::Done)];
        place.send(&commands).await;
        let told = told_in_order(place.replies(2).await);
        let wanted = String::from_utf8_lossy(wanted);
        assert!(thief.has_stolen(), "{wanted}");
        assert_eq!(told.matches("done").count(), 4, "{wanted}: {told}");
        assert_eq!(place.effects().await, ["put:1", "put:2"], "{wanted}");
        place.leave([till]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_counts_as_no_delivery() {
    let mut place = Place::new().await;
    let settings = ParticipantSettings {
        tries_max: 1,
        database_down_pause: Duration::from_millis(50),
        ..ParticipantSettings::default()
    };
    let till = place.till_with(settings).await;
    place.ask(put(1, How::Done)).await;
    place.pool.close().await;
    place.database_up(false).await;
    place.send(&[put(2, How::Done), put(3, How::Done)]).await;
    // Long enough for some sixty deliveries, if each pause were one; the outage itself is what is tested.
    tokio::time::sleep(Duration::from_secs(3)).await;
    place.database_up(true).await;
    place.pool = sqlx::PgPool::connect(&place.database_url).await.unwrap();
    insta::assert_snapshot!(told_in_order(place.replies(2).await), @r#"
    done {"slot":2,"note":"done"}
    done {"slot":3,"note":"done"}
    "#);
    assert_eq!(till.counted(), "done 3");
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_handler_keeps_its_message() {
    let mut place = Place::new().await;
    assert!(place.wire.settings().ack_wait < Duration::from_secs(5));
    let tills = [place.till().await, place.till().await];
    assert_eq!(place.ask(put(1, How::Slow)).await, r#"done {"slot":1,"note":"slow"}"#);
    assert_eq!(place.wire.stats().redeliveries.load(Ordering::Relaxed), 0);
    place.leave(tills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_shutdown_finishes_what_is_in_flight() {
    let mut place = Place::new().await;
    let till = place.till().await;
    place.send(&[put(1, How::Wait)]).await;
    till.till.entered.acquire().await.unwrap().forget();
    till.shutdown.cancel();
    tokio::task::yield_now().await;
    assert!(!till.task.is_finished());
    till.till.gate.add_permits(1);
    assert_eq!(told_in_order(place.replies(1).await), r#"done {"slot":1,"note":"waited"}"#);
    assert_eq!(place.effects().await, ["put:1"]);
    place.leave([till]).await;
}
