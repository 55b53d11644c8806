//! Long handlers beside short ones, and beside each other.

use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use redress_core::CommandMessage;
use redress_participant::{CommandLimits, Monitor, Participant, ParticipantConfig, Service};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Instance, told, told_in_order, until};
use crate::till::{How, Pile, Put, TakeBack, Till, pile, put, settle, take_back};

/// A till with a limit for one of its commands.
async fn till_with_limits(fixture: &Fixture, limits: CommandLimits, config: ParticipantConfig) -> Instance {
    let till = Till::default();
    let register = move |participant: Participant<Till>| {
        participant.handle::<Put>().limits::<Put>(limits).compensate::<TakeBack>().handle_all::<Pile>()
    };
    fixture.serve(Service::new("till", || None, register, till.clone()), till, config).await
}

fn at_once(concurrency: usize) -> CommandLimits {
    CommandLimits { concurrency: Some(concurrency), ..CommandLimits::default() }
}

/// Waits until this many handlers wait for the test.
async fn entered(instance: &Instance, handlers: u32) {
    instance.till.entered.acquire_many(handlers).await.unwrap().forget();
}

/// Waits until the broker has delivered this many again, and no session of the service has waited for a row meanwhile.
async fn come_again_and_wait_for_no_row(fixture: &Fixture, redeliveries: u64) {
    until("they have come again", async || {
        let waiting = "SELECT count(*) FROM pg_stat_activity \
                       WHERE datname = current_database() AND wait_event_type = 'Lock'";
        assert_eq!(sqlx::query_scalar::<_, i64>(waiting).fetch_one(&fixture.pool).await.unwrap(), 0);
        fixture.wire.stats().redeliveries.load(Ordering::Relaxed) >= redeliveries
    })
    .await;
}

/// The long ones wait until all short ones are answered.
#[tokio::test(flavor = "multi_thread")]
async fn long_commands_run_beside_each_other_and_hold_up_no_short_one() {
    const LONG: usize = 40;
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    fixture.send(&(1..=LONG as u128).map(|saga| put(saga, How::Wait)).collect::<Vec<_>>()).await;
    entered(&till, 2).await;
    for saga in 101..=120 {
        assert!(fixture.ask(pile(saga, How::Done)).await.starts_with("done"));
    }
    // Sixteen of a kind at a time, of which two were waited for.
    entered(&till, 14).await;
    till.till.gate.add_permits(LONG);
    let replies = fixture.replies(LONG).await;
    assert!(replies.iter().all(|reply| told(&reply.outcome).starts_with("done")));
    assert_eq!(till.till.most_inside.load(Ordering::Relaxed), 16);
    until("all have ended", async || till.count("running_beside") + till.count("waiting_beside") == 0).await;
    fixture.leave([till]).await;
}

/// However many come, as many run as may, a bounded number waits here, and the rest with the broker.
#[tokio::test(flavor = "multi_thread")]
async fn slow_consumer_is_bounded_and_seen() {
    let mut fixture = Fixture::new().await;
    let monitor = Monitor::default();
    let config = ParticipantConfig { monitor: monitor.clone(), ..ParticipantConfig::default() };
    let till = till_with_limits(&fixture, at_once(2), config).await;
    let all: Vec<_> = (1..=300).map(|saga| put(saga, How::Wait)).collect();
    fixture.send(&all).await;
    let of_put = |name: &str| {
        let series = format!("redress_service_{name}{{service=\"till\",command=\"put\",phase=\"action\"}} ");
        let metrics = monitor.metrics();
        let line = metrics.lines().find_map(|line| line.strip_prefix(&series)).map(str::to_owned);
        line.unwrap_or_else(|| panic!("no {series} in {metrics}")).parse::<usize>().unwrap()
    };
    until("all places are taken, and there is no room to wait", async || {
        of_put("commands_running") == 2 && till.count("put_back_full") > 0
    })
    .await;
    assert_eq!(of_put("concurrency"), 2);
    let waiting = of_put("commands_waiting");
    assert!((1..300).contains(&waiting), "{waiting}");
    assert!(
        monitor
            .metrics()
            .contains("redress_service_commands_put_back_total{service=\"till\",reason=\"no-room\"}")
    );
    till.till.gate.add_permits(all.len());
    fixture.replies(all.len()).await;
    until("all have ended", async || of_put("commands_running") + of_put("commands_waiting") == 0).await;
    fixture.leave([till]).await;
}

/// Behind a pooler, or in a pool of the caller's own, sessions are set as somebody else likes.
#[tokio::test(flavor = "multi_thread")]
async fn handler_within_its_time_runs_once_whatever_the_session_allows() {
    let mut fixture = Fixture::new().await;
    let session: PgConnectOptions = fixture.database_url.parse().unwrap();
    let session = session.options([("idle_in_transaction_session_timeout", "1000")]);
    let pool = PgPoolOptions::new().max_connections(10).connect_with(session).await.unwrap();
    let second = Duration::from_secs(1);
    let limits = CommandLimits { handler_time_max: Some(4 * second), ..CommandLimits::default() };
    let config = ParticipantConfig { handler_time_max: 2 * second, ..ParticipantConfig::default() };
    let (till, shutdown) = (Till::default(), CancellationToken::new());
    let participant = Participant::new("till").handle::<Put>().limits::<Put>(limits).config(config);
    let stats = participant.stats();
    let serving =
        participant.serve(till.clone(), pool, fixture.wire.clone(), shutdown.clone().cancelled_owned());
    let till = Instance { till, stats, shutdown, task: tokio::spawn(serving) };
    // Longer than a handler of the service may take, and than the session may be idle.
    assert_eq!(fixture.ask(put(1, How::Idle)).await, r#"done {"slot":1,"note":"14s"}"#);
    assert_eq!(till.counted(), "done 1");
    assert_eq!(till.till.entered.available_permits(), 1, "it ran once");
    assert_eq!(fixture.wire.stats().redeliveries.load(Ordering::Relaxed), 0);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn stalled_batch_gives_its_lane_back_and_leaves_the_rest_of_its_kind() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    for short in [put(1, How::Done), pile(2, How::Done)] {
        assert!(fixture.ask(short).await.starts_with("done"));
    }
    // Mostly in one batch.
    fixture.send(&[put(3, How::Wait), put(4, How::Wait)]).await;
    entered(&till, 1).await;
    assert!(fixture.ask(pile(5, How::Done)).await.starts_with("done"), "on a lane of its own");
    till.till.gate.add_permits(1);
    // The second one may wait for the test as long as it likes.
    assert_eq!(
        told(&fixture.replies(1).await[0].outcome).replace('4', "3"),
        r#"done {"slot":3,"note":"waited"}"#
    );
    entered(&till, 1).await;
    till.till.gate.add_permits(1);
    fixture.replies(1).await;
    assert!(till.count("ran_beside") > 0);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twin_of_a_running_command_takes_no_connection_and_is_answered_from_the_inbox() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    fixture.send(&[put(1, How::Wait)]).await;
    entered(&till, 1).await;
    let twin = CommandMessage { attempt: 2, ..put(1, How::Wait) };
    fixture.send(&[twin, settle(1)]).await;
    come_again_and_wait_for_no_row(&fixture, 8).await;
    till.till.gate.add_permits(1);
    let told = told_in_order(fixture.replies(3).await);
    assert_eq!(told.matches(r#"done {"slot":1,"note":"waited"}"#).count(), 3, "{told}");
    assert_eq!(till.counted(), "done 1, duplicates 1, settled 1");
    let tries: i64 =
        sqlx::query_scalar("SELECT count(*) FROM inbox_tries").fetch_one(&fixture.pool).await.unwrap();
    assert_eq!(tries, 0);
    let late = CommandMessage { attempt: 3, ..put(1, How::Wait) };
    assert_eq!(fixture.ask(late).await, r#"done {"slot":1,"note":"waited"}"#);
    assert_eq!(till.count("ran_beside"), 1, "what is answered needs no place");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_more_of_a_command_run_than_its_limit_says() {
    let mut fixture = Fixture::new().await;
    let till = till_with_limits(&fixture, at_once(2), ParticipantConfig::default()).await;
    fixture.send(&(1..=6).map(|saga| put(saga, How::Wait)).collect::<Vec<_>>()).await;
    entered(&till, 2).await;
    until("the others wait", async || till.count("waiting_beside") == 4).await;
    assert_eq!(till.count("running_beside"), 2);
    till.till.gate.add_permits(6);
    fixture.replies(6).await;
    assert_eq!(till.till.most_inside.load(Ordering::Relaxed), 2);
    fixture.leave([till]).await;
}

/// They are put back, so that the broker hands out what is behind them.
#[tokio::test(flavor = "multi_thread")]
async fn what_waits_for_a_place_is_bounded() {
    const LONG: usize = 150;
    // One at a time, and nothing is known of its time but that it is 20 ms at least: a hundred begin within two seconds.
    const WAITING_MAX: u64 = 100;
    let mut fixture = Fixture::new().await;
    let till = till_with_limits(&fixture, at_once(1), ParticipantConfig::default()).await;
    fixture.send(&(1..=LONG as u128).map(|saga| put(saga, How::Wait)).collect::<Vec<_>>()).await;
    let redeliveries = || fixture.wire.stats().redeliveries.load(Ordering::Relaxed);
    until("those that cannot wait come again", async || {
        assert!(till.count("waiting_beside") <= WAITING_MAX);
        redeliveries() >= 49
    })
    .await;
    assert_eq!(till.count("running_beside"), 1);
    assert!(fixture.ask(pile(1_000, How::Done)).await.starts_with("done"));
    till.till.gate.add_permits(LONG);
    fixture.replies(LONG).await;
    assert_eq!(fixture.effects().await.len(), LONG + 1);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn long_sets_run_as_sets() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    fixture.send(&(1..=30).map(|saga| pile(saga, How::Second)).collect::<Vec<_>>()).await;
    fixture.replies(30).await;
    let calls = till.till.calls();
    assert!(calls[0] == 1 && calls.len() < 10, "{calls:?}");
    assert_eq!(calls.iter().sum::<usize>(), 30);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn database_outage_puts_back_what_runs_and_what_waits() {
    let mut fixture = Fixture::new().await;
    let config = ParticipantConfig {
        tries_max: 1,
        database_down_pause: Duration::from_millis(50),
        ..ParticipantConfig::default()
    };
    let till = till_with_limits(&fixture, at_once(1), config).await;
    fixture.send(&(1..=3).map(|saga| put(saga, How::Wait)).collect::<Vec<_>>()).await;
    entered(&till, 1).await;
    until("the others wait", async || till.count("waiting_beside") == 2).await;
    fixture.pool.close().await;
    fixture.database_up(false).await;
    till.till.gate.add_permits(1);
    until("none waits any more", async || till.count("waiting_beside") == 0).await;
    fixture.database_up(true).await;
    fixture.pool = sqlx::PgPool::connect(&fixture.database_url).await.unwrap();
    till.till.gate.add_permits(3);
    fixture.replies(3).await;
    assert_eq!(till.counted(), "done 3");
    assert_eq!(fixture.effects().await, ["put:1", "put:2", "put:3"]);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shutdown_finishes_what_runs_beside_and_puts_back_what_waits() {
    let mut fixture = Fixture::new().await;
    let first = till_with_limits(&fixture, at_once(1), ParticipantConfig::default()).await;
    fixture.send(&[put(1, How::Wait), put(2, How::Done)]).await;
    entered(&first, 1).await;
    until("the other one waits", async || first.count("waiting_beside") == 1).await;
    first.shutdown.cancel();
    let second = fixture.till().await;
    assert_eq!(told_in_order(fixture.replies(1).await), r#"done {"slot":2,"note":"done"}"#);
    assert!(!first.task.is_finished());
    first.till.gate.add_permits(1);
    assert_eq!(told_in_order(fixture.replies(1).await), r#"done {"slot":1,"note":"waited"}"#);
    fixture.leave([first, second]).await;
}

/// A compensation waits for the end of its action, and finds it done.
#[tokio::test(flavor = "multi_thread")]
async fn undo_of_a_running_action_waits_for_it() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    fixture.send(&[put(1, How::Wait)]).await;
    entered(&till, 1).await;
    fixture.send(&[take_back(1, How::Done)]).await;
    come_again_and_wait_for_no_row(&fixture, 2).await;
    till.till.gate.add_permits(1);
    fixture.replies(2).await;
    assert_eq!(fixture.effects().await, ["put:1", "take:1"]);
    fixture.leave([till]).await;
}

/// The looks for later answers use its connections in turn, so that none of them ever rests.
#[tokio::test(flavor = "multi_thread")]
async fn rush_leaves_no_connections_behind() {
    let fixture = Fixture::new().await;
    let resting = PgPoolOptions::new().max_connections(20).idle_timeout(Duration::from_millis(600));
    let pool = resting.connect(&fixture.database_url).await.unwrap();
    let config = ParticipantConfig {
        look_for_answers_every: Duration::from_millis(10),
        ..ParticipantConfig::default()
    };
    let (till, shutdown) = (Till::default(), CancellationToken::new());
    let participant = Participant::new("till").handle::<Put>().config(config);
    let stats = participant.stats();
    let serving = participant.serve(
        till.clone(),
        pool.clone(),
        fixture.wire.clone(),
        shutdown.clone().cancelled_owned(),
    );
    let till = Instance { till, stats, shutdown, task: tokio::spawn(serving) };
    let rush = join_all((0..15).map(|_| pool.acquire())).await;
    assert!(pool.size() >= 15);
    drop(rush);
    until("those of the rush are closed", async || pool.size() <= 3).await;
    fixture.leave([till]).await;
}
