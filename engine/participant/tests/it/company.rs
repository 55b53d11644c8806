//! Instances beside each other: older ones, newer ones, and those of another installation.

use std::time::Duration;

use redress_participant::{Participant, ParticipantConfig, ServeError, Stats};
use sqlx::postgres::PgPoolOptions;
use tokio_util::sync::CancellationToken;

use crate::fixture::{Fixture, Instance, command, told};
use crate::till::{How, Put, Till, put, service, take_back};

/// An instance of a version that knows one command only, and refuses others at once.
async fn old_instance(fixture: &Fixture) -> Instance {
    let pool = PgPoolOptions::new().max_connections(2).connect(&fixture.database_url).await.unwrap();
    let config = ParticipantConfig { unknown_command_age: Duration::ZERO, ..ParticipantConfig::default() };
    let till = Till::default();
    let participant = Participant::new("till").config(config).handle::<Put>();
    let (stats, shutdown): (std::sync::Arc<Stats>, _) = (participant.stats(), CancellationToken::new());
    let serving =
        participant.serve(till.clone(), pool, fixture.wire.clone(), shutdown.clone().cancelled_owned());
    Instance { till, stats, shutdown, task: tokio::spawn(serving) }
}

#[tokio::test(flavor = "multi_thread")]
async fn new_command_reaches_the_new_instance_among_nine_old_ones() {
    let mut fixture = Fixture::new().await;
    let mut instances = vec![fixture.till().await];
    for _ in 0..9 {
        instances.push(old_instance(&fixture).await);
    }
    fixture.send(&(1..=40).map(|saga| put(saga, How::Done)).collect::<Vec<_>>()).await;
    fixture.replies(40).await;
    // Known to the new one only.
    fixture.send(&(1..=40).map(|saga| take_back(saga, How::Done)).collect::<Vec<_>>()).await;
    for reply in fixture.replies(40).await {
        assert!(told(&reply.outcome).starts_with("done"), "{}", told(&reply.outcome));
    }
    assert!(instances.iter().all(|instance| instance.count("dead_letters") == 0));
    // A command that none of them knows is refused as before.
    let refused = fixture.ask(command(99, redress_core::Phase::Action, "juggle", &1)).await;
    assert_eq!(refused, "refused: service `till` knows no action `juggle`");
    fixture.leave(instances).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn instance_with_another_database_is_refused() {
    let mut fixture = Fixture::new().await;
    let other = Fixture::new().await;
    let till = fixture.till().await;
    assert!(fixture.ask(put(1, How::Done)).await.starts_with("done"));
    // The same prefix and the same service, in an installation with databases of its own.
    let stranger = service(Till::default());
    let pool = stranger.connect(&other.database_url, &ParticipantConfig::default()).await.unwrap();
    let config = ParticipantConfig::default();
    let (_, serving) = stranger.start(pool, fixture.wire.clone(), config, CancellationToken::new());
    let refused = tokio::time::timeout(Duration::from_secs(30), serving).await.unwrap().unwrap_err();
    assert!(matches!(refused, ServeError::Stranger(_)), "{refused}");
    // A second instance with the same database is none.
    let second = fixture.till().await;
    for saga in 2..=20 {
        assert!(fixture.ask(put(saga, How::Done)).await.starts_with("done"));
    }
    assert_eq!(other.effects().await, [""; 0]);
    other.leave([]).await;
    fixture.leave([till, second]).await;
}
