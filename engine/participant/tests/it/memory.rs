//! What the inbox forgets, and what is only heard.

use std::time::Duration;

use redress_core::CommandMessage;
use redress_core::inbox::Retention;
use redress_core::message::NotificationMessage;
use redress_core::{Command, JsonText};
use redress_participant::ParticipantSettings;

use crate::place::{Place, name, now, saga};
use crate::till::{How, Put, put, settle, take_back};

const DAY: Duration = Duration::from_secs(86_400);

/// Day 0: charged. The saga parks. Much later, after the pruning, an operator tries again: no second charge, and no
/// amends that never was.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_pruned_is_neither_done_again_nor_undone_in_vain() {
    let mut place = Place::new().await;
    let retention = Retention { keep: 30 * DAY, margin: DAY };
    let settings = ParticipantSettings {
        retention,
        prune_every: Duration::from_millis(50),
        ..ParticipantSettings::default()
    };
    let till = place.till_with(settings).await;
    assert_eq!(place.ask(put(1, How::Done)).await, "done {\"slot\":1,\"note\":\"done\"}");
    assert_eq!(place.ask(put(2, How::Done)).await, "done {\"slot\":2,\"note\":\"done\"}");
    // The first one was 40 days ago.
    sqlx::query("UPDATE inbox SET handled_at = now() - interval '40 days' WHERE key LIKE '%000000000001/%'")
        .execute(&place.pool)
        .await
        .unwrap();
    crate::place::until("the old row is pruned", async || till.count("pruned") == 1).await;
    assert_eq!(place.inbox().await, ["pay/action/1 done"], "the young one stays");
    let old = |command| CommandMessage { action_sent_at: now() - 40 * DAY, attempt: 9, ..command };
    for command in [put(1, How::Done), take_back(1, How::Done), settle(1)] {
        assert_eq!(place.ask(old(command)).await, "expired");
    }
    assert_eq!(place.effects().await, ["put:1", "put:2"]);
    place.leave([till]).await;
}

/// Longer ago than any saga can be: then no key is old enough, not every one.
#[tokio::test(flavor = "multi_thread")]
async fn a_memory_that_reaches_back_before_1970_forgets_no_young_key() {
    let mut place = Place::new().await;
    let settings = ParticipantSettings {
        retention: Retention { keep: 60 * 366 * DAY, margin: DAY },
        prune_every: Duration::from_millis(50),
        ..ParticipantSettings::default()
    };
    let till = place.till_with(settings).await;
    place.ask(put(1, How::Done)).await;
    sqlx::raw_sql(
        "UPDATE inbox SET handled_at = '1900-01-01'; \
         INSERT INTO inbox_tries (key, tried_at) VALUES ('any', '1900-01-01')",
    )
    .execute(&place.pool)
    .await
    .unwrap();
    // Last words are pruned after the rows of the inbox.
    crate::place::until("it was pruned", async || till.count("pruned") > 0).await;
    assert_eq!(place.inbox().await, ["pay/action/1 done"]);
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_memory_that_forgets_everything_is_refused_at_the_start() {
    let place = Place::new().await;
    let retention = Retention { keep: DAY, margin: DAY };
    let till = place.till_with(ParticipantSettings { retention, ..ParticipantSettings::default() }).await;
    // Whoever does serve it ends well.
    till.shutdown.cancel();
    let error = till.task.await.unwrap().unwrap_err();
    assert_eq!(
        error.to_string(),
        "service `till` would answer every command `expired`: its inbox keeps answers for 86400s, no longer than the \
         margin of 86400s in which they count as forgotten; set `retention.keep` to more than `retention.margin`"
    );
    place.leave([]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_notification_is_heard_once_by_one_instance_and_lost_if_that_fails() {
    let place = Place::new().await;
    let instances = [place.till().await, place.till().await];
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
    // Whoever subscribes after the sending hears nothing, so the first one is sent until it is heard.
    crate::place::until("somebody listens", async || {
        place.wire.notify(&[tell(1, How::Done)]).await;
        heard() > 0
    })
    .await;
    place.wire.notify(&[tell(2, How::Err), tell(3, How::Panic), tell(4, How::Done)]).await;
    // How many were heard does not tell: the first one may have been sent more than once.
    let told = async || place.effects().await.contains(&"told:4".to_owned());
    crate::place::until("all are heard or lost", async || lost() == 2 && told().await).await;
    let effects = place.effects().await;
    assert!(
        !effects.contains(&"told:2".to_owned()) && !effects.contains(&"told:3".to_owned()),
        "{effects:?}"
    );
    assert_eq!(effects.iter().filter(|effect| *effect == "told:4").count(), 1);
    assert!(place.inbox().await.is_empty(), "nothing is remembered");
    place.leave(instances).await;
}
