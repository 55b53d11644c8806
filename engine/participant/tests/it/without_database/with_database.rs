//! The same service with a database, for what it must remember.

use redress_participant::{AckMode, ServiceConfig};

use super::*;
use crate::fixture::Fixture;

/// A service that must remember and owns no tables has its inbox in a schema of a database that others use, too.
#[tokio::test(flavor = "multi_thread")]
async fn service_without_tables_has_its_inbox_in_a_schema_of_any_database() {
    let mut fixture = Fixture::new().await;
    let shutdown = CancellationToken::new();
    let url = format!("{}&options=-csearch_path%3Dprices", fixture.database_url);
    let kept =
        Service::new("prices", || None, |it: Participant<Prices>| it.handle::<Keep>(), Prices::default());
    let config = ServiceConfig::default();
    let pool = kept.open(&url, &config).await.unwrap();
    let (_, serving) = kept.start(pool, fixture.wire.clone(), config.participant, shutdown.clone());
    let task = tokio::spawn(serving);
    let till = fixture.till().await;
    let keep = CommandMessage { service: name("prices"), ..command(1, Phase::Action, "keep", &Keep {}) };
    assert_eq!(fixture.ask(keep.clone()).await, "done null");
    assert_eq!(fixture.ask(again(keep)).await, "done null");
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM prices.inbox").fetch_one(&fixture.pool).await.unwrap();
    assert_eq!((rows, fixture.inbox().await.len()), (1, 0), "the other inbox is in another schema");
    shutdown.cancel();
    timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn service_with_a_database_handles_at_least_once_beside_its_inbox() {
    let mut fixture = Fixture::new().await;
    let register = |it: Participant<Prices>| {
        <Prices as redress_participant::ServiceHandlers>::register(it).handle::<Keep>()
    };
    let mixed = Service::new("prices", || None, register, Prices::default());
    let pool = mixed.connect(&fixture.database_url, &impatient()).await.unwrap();
    let shutdown = CancellationToken::new();
    let (stats, serving) = mixed.start(pool, fixture.wire.clone(), impatient(), shutdown.clone());
    let task = tokio::spawn(serving);
    let keep = CommandMessage { service: name("prices"), ..command(1, Phase::Action, "keep", &Keep {}) };
    assert_eq!(fixture.ask(keep.clone()).await, "done null");
    assert_eq!(fixture.ask(quote(2, Say::Done)).await, r#"done "attempt 1 of test""#);
    // The inbox would answer `fenced`, and that would be a lie.
    let settled = fixture.ask(in_phase(Phase::Settlement, quote(2, Say::Done))).await;
    assert!(settled.starts_with("in doubt: "), "{settled}");
    assert_eq!(fixture.ask(in_phase(Phase::Settlement, keep)).await, "done null");
    assert_eq!(fixture.inbox().await, ["pay/action/1 done"]);
    assert_eq!(stats.read().iter().find(|(name, _)| *name == "in_doubt").unwrap().1, 1);
    shutdown.cancel();
    timeout(PATIENCE, task).await.unwrap().unwrap().unwrap();
    fixture.leave([]).await;
}

#[test]
fn service_says_when_it_acknowledges() {
    let modes =
        ["quote", "shown", "keep", "juggle"].map(|command| service(Prices::default()).ack_mode(command));
    assert_eq!(modes, [Some(AckMode::AfterReply), Some(AckMode::BeforeHandling), None, None]);
    let kept =
        Service::new("prices", || None, |it: Participant<Prices>| it.handle::<Keep>(), Prices::default());
    assert_eq!(kept.ack_mode("keep"), Some(AckMode::AfterCommit));
}
