//! Pruning of the inbox, and notifications.

use std::time::Duration;

use redress_core::CommandMessage;
use redress_core::inbox::Retention;
use redress_core::message::NotificationMessage;
use redress_core::{Command, JsonText};
use redress_participant::ParticipantConfig;

use crate::fixture::{Fixture, name, now, saga};
use crate::till::{How, Put, put, settle, take_back};

const DAY: Duration = Duration::from_secs(86_400);

/// Day 0: charged. The saga parks. Much later, after the pruning, an operator tries again: no second charge, and no
/// compensation that finds nothing to undo.
#[tokio::test(flavor = "multi_thread")]
async fn pruned_action_is_neither_done_again_nor_undone_in_vain() {
    let mut fixture = Fixture::new().await;
    let retention = Retention { keep: 30 * DAY, margin: DAY };
    let config = ParticipantConfig {
        retention,
        prune_every: Duration::from_millis(50),
        ..ParticipantConfig::default()
    };
    let till = fixture.till_with(config).await;
    assert_eq!(fixture.ask(put(1, How::Done)).await, "done {\"slot\":1,\"note\":\"done\"}");
    assert_eq!(fixture.ask(put(2, How::Done)).await, "done {\"slot\":2,\"note\":\"done\"}");
    // The first one was 40 days ago.
    sqlx::query("UPDATE inbox SET handled_at = now() - interval '40 days' WHERE key LIKE '%000000000001/%'")
        .execute(&fixture.pool)
        .await
        .unwrap();
    crate::fixture::until("the old row is pruned", async || till.count("pruned") == 1).await;
    assert_eq!(fixture.inbox().await, ["pay/action/1 done"], "the young one stays");
    let old = |command| CommandMessage { action_sent_at: now() - 40 * DAY, attempt: 9, ..command };
    for command in [put(1, How::Done), take_back(1, How::Done), settle(1)] {
        assert_eq!(fixture.ask(old(command)).await, "expired");
    }
    assert_eq!(fixture.effects().await, ["put:1", "put:2"]);
    fixture.leave([till]).await;
}

/// Longer ago than any saga can be: then no key is old enough, not every one.
#[tokio::test(flavor = "multi_thread")]
async fn retention_that_reaches_back_before_1970_prunes_no_young_key() {
    let mut fixture = Fixture::new().await;
    let config = ParticipantConfig {
        retention: Retention { keep: 60 * 366 * DAY, margin: DAY },
        prune_every: Duration::from_millis(50),
        ..ParticipantConfig::default()
    };
    let till = fixture.till_with(config).await;
    fixture.ask(put(1, How::Done)).await;
    sqlx::raw_sql(
        "UPDATE inbox SET handled_at = '1900-01-01'; \
         INSERT INTO inbox_tries (key, tried_at) VALUES ('any', '1900-01-01')",
    )
    .execute(&fixture.pool)
    .await
    .unwrap();
    // Attempt markers are pruned after the rows of the inbox.
    crate::fixture::until("it was pruned", async || till.count("pruned") > 0).await;
    assert_eq!(fixture.inbox().await, ["pay/action/1 done"]);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn retention_that_forgets_everything_is_refused_at_the_start() {
    let fixture = Fixture::new().await;
    let retention = Retention { keep: DAY, margin: DAY };
    let till = fixture.till_with(ParticipantConfig { retention, ..ParticipantConfig::default() }).await;
    // An instance that serves all the same ends without an error.
    till.shutdown.cancel();
    let error = till.task.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "service `till` would answer every command `expired`: its inbox keeps answers for 86400s, no longer than the \
         margin of 86400s in which they count as forgotten; set `retention.keep` to more than `retention.margin`"
    );
    fixture.leave([]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn notification_is_heard_once_and_lost_if_its_listener_fails() {
    let fixture = Fixture::new().await;
    let instances = [fixture.till().await, fixture.till().await];
    let tell = |slot: i64, how| NotificationMessage {
        saga_id: saga(1),
        saga: name("test"),
        version: 1,
        step: name("tell"),
        service: name("till"),
        command: name(Put::NAME),
        traceparent: None,
        payload: JsonText::of(&Put { slot, how }).unwrap(),
    };
    let heard = || instances.iter().map(|till| till.count("heard")).sum::<u64>();
    let lost = || instances.iter().map(|till| till.count("unheard")).sum::<u64>();
    // A listener that subscribes after the sending hears nothing, so the first one is sent until it is heard.
    crate::fixture::until("somebody listens", async || {
        fixture.wire.notify(&[tell(1, How::Done)]).await;
        heard() > 0
    })
    .await;
    fixture.wire.notify(&[tell(2, How::Err), tell(3, How::Panic), tell(4, How::Done)]).await;
    // How many were heard does not tell: the first one may have been sent more than once.
    let told = async || fixture.effects().await.contains(&"told:4".to_owned());
    crate::fixture::until("all are heard or lost", async || lost() == 2 && told().await).await;
    let effects = fixture.effects().await;
    assert!(
        !effects.contains(&"told:2".to_owned()) && !effects.contains(&"told:3".to_owned()),
        "{effects:?}"
    );
    assert_eq!(effects.iter().filter(|effect| *effect == "told:4").count(), 1);
    assert!(fixture.inbox().await.is_empty(), "nothing is remembered");
    fixture.leave(instances).await;
}
