//! Slow handlers, lost connections, collisions, shutdown.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_devstack::{Drop, FaultProxy};
use redress_participant::{Monitor, ParticipantConfig};
use redress_wire::WireConfig;

use crate::fixture::{Fixture, told, told_in_order, until};
use crate::till::{How, put, take_back};

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_meets_another_transaction_does_not_fail() {
    let mut fixture = Fixture::new().await;
    fixture.send(&[put(1, How::Done), put(2, How::CollideOnce)]).await;
    let till = fixture.till().await;
    insta::assert_snapshot!(told_in_order(fixture.replies(2).await), @r#"
    done {"slot":1,"note":"done"}
    done {"slot":2,"note":"second time"}
    "#);
    assert_eq!(till.counted(), "done 2, batch_retries 1");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn lost_connection_costs_a_redelivery_and_nothing_else() {
    let mut fixture = Fixture::new().await;
    fixture.send(&[put(1, How::Done), put(2, How::LoseConnectionOnce)]).await;
    let till = fixture.till().await;
    insta::assert_snapshot!(told_in_order(fixture.replies(2).await), @r#"
    done {"slot":1,"note":"done"}
    done {"slot":2,"note":"second time"}
    "#);
    assert_eq!(fixture.effects().await, ["put:1", "put:2"]);
    assert_eq!(till.count("failed"), 0);
    fixture.leave([till]).await;
}

/// The others are compensations: refused, they would park their sagas.
#[tokio::test(flavor = "multi_thread")]
async fn command_that_loses_its_connection_each_time_is_given_up_alone() {
    let mut fixture = Fixture::new().await;
    let config = ParticipantConfig {
        database_down_pause: Duration::from_millis(50),
        tries_max: 3,
        ..ParticipantConfig::default()
    };
    let till = fixture.till_with(config.clone()).await;
    fixture.send(&(1..=5).map(|saga| put(saga, How::Done)).collect::<Vec<_>>()).await;
    fixture.replies(5).await;
    fixture.stop(till).await;
    let mut commands: Vec<_> = (1..=5).map(|saga| take_back(saga, How::Done)).collect();
    commands.insert(2, put(9, How::LoseConnection));
    fixture.send(&commands).await;
    let till = fixture.till_with(config).await;
    insta::assert_snapshot!(told_in_order(fixture.replies(6).await), @r#"
    done {"slot":1,"note":"done"}
    done {"slot":2,"note":"done"}
    done {"slot":3,"note":"done"}
    done {"slot":4,"note":"done"}
    done {"slot":5,"note":"done"}
    refused: it was run 3 times and never settled
    "#);
    let undone = fixture.effects().await.into_iter().filter(|effect| effect.starts_with("take:"));
    assert_eq!(undone.count(), 5);
    fixture.leave([till]).await;
}

/// As one that needs more memory than there is: the instance that handles it dies, and the others in its batch with it.
#[tokio::test(flavor = "multi_thread")]
async fn command_that_ends_its_process_each_time_is_given_up_alone() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    let amends: Vec<_> = (1..=20).map(|saga| take_back(saga, How::Done)).collect();
    fixture.send(&(1..=20).map(|saga| put(saga, How::Done)).collect::<Vec<_>>()).await;
    fixture.replies(20).await;
    fixture.stop(till).await;
    fixture.send(&[put(99, How::Wait)]).await;
    fixture.send(&amends).await;
    let config = ParticipantConfig { tries_max: 3, ..ParticipantConfig::default() };
    // With others at first; the first command in the stream comes first each time.
    for _ in 0..2 + config.tries_max {
        fixture.dies_in_its_handler(config.clone()).await;
    }
    let till = fixture.till_with(config).await;
    // An instance that dies takes acknowledgements along, so some replies come twice.
    let mut outcomes = BTreeMap::new();
    while outcomes.len() < 21 {
        outcomes.extend(fixture.replies(1).await.into_iter().map(|reply| (reply.key, told(&reply.outcome))));
    }
    let refused: Vec<&String> = outcomes.values().filter(|told| !told.starts_with("done")).collect();
    assert_eq!(refused, ["refused: it was run 3 times and never settled"]);
    let undone = fixture.effects().await.into_iter().filter(|effect| effect.starts_with("take:"));
    assert_eq!(undone.count(), 20, "each once");
    fixture.leave([till]).await;
}

/// The database's machine vanishes from the network: no end of file, no error, nothing.
#[tokio::test(flavor = "multi_thread")]
async fn silent_connection_is_given_up() {
    for wanted in [&b"BEGIN"[..], b"INTO inbox", b"SAVEPOINT", b"inbox_answer", b"COMMIT"] {
        let mut fixture = Fixture::new().await;
        let server = redress_devstack::shared().await.postgres().port();
        let (proxy, port) = FaultProxy::before(server).await.unwrap();
        fixture.database_url = fixture.database_url.replace(&format!(":{server}/"), &format!(":{port}/"));
        let config = ParticipantConfig {
            silence_max: Duration::from_millis(300),
            database_down_pause: Duration::from_millis(50),
            ..ParticipantConfig::default()
        };
        let till = fixture.till_with(config).await;
        proxy.drop_on_match(Drop::Connection, wanted);
        let commands = [put(1, How::Done), put(2, How::Done)];
        fixture.send(&commands).await;
        let told = told_in_order(fixture.replies(2).await);
        let wanted = String::from_utf8_lossy(wanted);
        assert!(proxy.has_dropped(), "{wanted}");
        assert_eq!(told.matches("done").count(), 4, "{wanted}: {told}");
        assert_eq!(fixture.effects().await, ["put:1", "put:2"], "{wanted}");
        fixture.leave([till]).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn database_outage_counts_as_no_delivery() {
    let mut fixture = Fixture::new().await;
    let monitor = Monitor::default();
    let shown = |name: &str, value: u32| format!("redress_service_{name}{{service=\"till\"}} {value}\n");
    let config = ParticipantConfig {
        tries_max: 1,
        database_down_pause: Duration::from_millis(50),
        monitor: monitor.clone(),
        ..ParticipantConfig::default()
    };
    let till = fixture.till_with(config).await;
    fixture.ask(put(1, How::Done)).await;
    fixture.pool.close().await;
    fixture.database_up(false).await;
    fixture.send(&[put(2, How::Done), put(3, How::Done)]).await;
    until("the outage is seen", async || monitor.metrics().contains(&shown("inbox_up", 0))).await;
    let health = monitor.health().await;
    assert!(health[0].database != "ok" && !health[0].is_ready(), "{health:?}");
    // The outage itself is what varies: it outlasts `ack_wait`, so that what was delivered comes again. Whether it did,
    // is asked below; the second command may have stayed with the broker meanwhile.
    tokio::time::sleep(WireConfig::for_tests().ack_wait + Duration::from_secs(1)).await;
    fixture.database_up(true).await;
    fixture.pool = sqlx::PgPool::connect(&fixture.database_url).await.unwrap();
    insta::assert_snapshot!(told_in_order(fixture.replies(2).await), @r#"
    done {"slot":2,"note":"done"}
    done {"slot":3,"note":"done"}
    "#);
    assert_eq!(till.counted(), "done 3");
    let metrics = monitor.metrics();
    assert!(metrics.contains(&shown("inbox_up", 1)), "{metrics}");
    assert!(metrics.contains(&shown("inbox_outages_total", 1)), "{metrics}");
    assert!(till.count("put_back") >= 1 && monitor.health().await[0].is_ready());
    let redeliveries = fixture.wire.stats().redeliveries.load(Ordering::Relaxed);
    assert!(redeliveries >= 1, "a command came again during the outage");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn slow_handler_keeps_its_message() {
    let mut fixture = Fixture::new().await;
    assert!(fixture.wire.config().ack_wait < Duration::from_secs(5));
    let tills = [fixture.till().await, fixture.till().await];
    assert_eq!(fixture.ask(put(1, How::Slow)).await, r#"done {"slot":1,"note":"slow"}"#);
    assert_eq!(fixture.wire.stats().redeliveries.load(Ordering::Relaxed), 0);
    fixture.leave(tills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_finishes_commands_in_flight() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    fixture.send(&[put(1, How::Wait)]).await;
    till.till.entered.acquire().await.unwrap().forget();
    till.shutdown.cancel();
    tokio::task::yield_now().await;
    assert!(!till.task.is_finished());
    till.till.gate.add_permits(1);
    assert_eq!(told_in_order(fixture.replies(1).await), r#"done {"slot":1,"note":"waited"}"#);
    assert_eq!(fixture.effects().await, ["put:1"]);
    fixture.leave([till]).await;
}
