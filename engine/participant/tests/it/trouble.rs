//! Slow handlers, lost connections, collisions, shutdown.

use std::sync::atomic::Ordering;
use std::time::Duration;

use redress_core::CommandMessage;
use redress_core::fault::FaultKind;
use redress_participant::{FaultObedience, ParticipantSettings};

use crate::place::{Place, told_in_order};
use crate::till::{How, put};

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

#[tokio::test(flavor = "multi_thread")]
async fn an_outage_of_the_database_counts_as_no_delivery() {
    let mut place = Place::new().await;
    let settings = ParticipantSettings {
        deliveries_max: 4,
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
async fn a_message_that_is_never_settled_is_given_up() {
    let mut place = Place::new().await;
    let settings = ParticipantSettings {
        deliveries_max: 1,
        faults: FaultObedience::Abandon,
        ..ParticipantSettings::default()
    };
    let till = place.till_with(settings).await;
    let crash = CommandMessage { fault: Some(FaultKind::CrashAfterCommit), ..put(1, How::Done) };
    assert_eq!(place.ask(crash).await, "refused: it was delivered 2 times and never settled");
    assert_eq!(till.counted(), "done 1, dead_letters 1, injected 1");
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
