//! What the inbox remembers, question by question.

use std::time::Duration;

use redress_core::inbox::Retention;
use redress_core::{CommandMessage, JsonText, Phase};
use redress_participant::ParticipantSettings;

use crate::place::{Place, command, name, now, told_in_order};
use crate::till::{How, Put, put, settle, take_back};

fn again(command: &CommandMessage, attempt: u32) -> CommandMessage {
    CommandMessage { attempt, ..command.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_question_gets_the_same_answer_and_has_one_effect() {
    let mut place = Place::new().await;
    let till = place.till().await;
    let question = put(1, How::Done);
    let first = place.ask(question.clone()).await;
    assert_eq!(first, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(place.ask(again(&question, 2)).await, first);
    assert_eq!(place.effects().await, ["put:1"]);
    assert_eq!(till.counted(), "done 1, duplicates 1");
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_before_its_action_leaves_a_fence() {
    let mut place = Place::new().await;
    let till = place.till().await;
    assert_eq!(place.ask(take_back(1, How::Done)).await, "done null");
    assert_eq!(place.ask(put(1, How::Done)).await, "fenced");
    assert_eq!(place.ask(settle(1)).await, "fenced");
    assert_eq!(place.ask(again(&take_back(1, How::Done), 2)).await, "done null");
    assert!(place.effects().await.is_empty());
    assert_eq!(place.inbox().await, ["pay/action/1 fenced", "pay/compensation/1 done"]);
    assert_eq!(till.counted(), "duplicates 1, fenced 1, null_compensations 1, settled 1");
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_after_its_action_runs_once() {
    let mut place = Place::new().await;
    let till = place.till().await;
    place.ask(put(1, How::Done)).await;
    let undone = place.ask(take_back(1, How::Done)).await;
    assert_eq!(undone, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(place.ask(again(&take_back(1, How::Done), 2)).await, undone);
    assert_eq!(place.effects().await, ["put:1", "take:1"]);
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_settlement_says_what_happened_or_makes_sure_that_it_never_will() {
    let mut place = Place::new().await;
    let till = place.till().await;
    let (done, rejected) = (place.ask(put(1, How::Done)).await, place.ask(put(2, How::Reject)).await);
    assert_eq!(place.ask(settle(1)).await, done);
    assert_eq!(place.ask(settle(2)).await, rejected);
    assert_eq!(place.ask(settle(3)).await, "fenced");
    assert_eq!(place.ask(put(3, How::Done)).await, "fenced");
    assert_eq!(place.effects().await, ["put:1"]);
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejection_is_remembered_and_leaves_no_write_behind() {
    let mut place = Place::new().await;
    let till = place.till().await;
    let no = place.ask(put(1, How::Reject)).await;
    assert_eq!(no, "rejected till-closed: come back tomorrow");
    assert_eq!(place.ask(again(&put(1, How::Reject), 2)).await, no);
    assert_eq!(place.ask(take_back(1, How::Done)).await, "done null");
    assert!(place.effects().await.is_empty());
    assert_eq!(place.inbox().await, ["pay/action/1 rejected", "pay/compensation/1 done"]);
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failure_is_rolled_back_and_forgotten_and_the_next_attempt_runs() {
    let mut place = Place::new().await;
    let till = place.till().await;
    assert_eq!(place.ask(put(1, How::ErrOnce)).await, "failed: the drawer is stuck");
    assert!(place.effects().await.is_empty());
    assert!(place.inbox().await.is_empty());
    assert_eq!(place.ask(again(&put(1, How::ErrOnce), 2)).await, r#"done {"slot":1,"note":"second time"}"#);
    assert_eq!(place.effects().await, ["put:1"]);
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_undo_that_fails_leaves_the_action_as_it_is() {
    let mut place = Place::new().await;
    let till = place.till().await;
    place.ask(put(1, How::Done)).await;
    assert_eq!(place.ask(take_back(1, How::Err)).await, "failed: the drawer is stuck");
    assert_eq!(place.inbox().await, ["pay/action/1 done"]);
    assert_eq!(place.ask(again(&take_back(1, How::Err), 2)).await, "failed: the drawer is stuck");
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_payload_under_the_same_key_is_refused() {
    let mut place = Place::new().await;
    let till = place.till().await;
    place.ask(put(1, How::Done)).await;
    let forged = CommandMessage {
        payload: JsonText::of(&Put { slot: 1_000_000, how: How::Done }).unwrap(),
        ..again(&put(1, How::Done), 2)
    };
    assert!(place.ask(forged).await.starts_with("refused: the key "));
    assert_eq!(place.effects().await, ["put:1"]);
    assert_eq!(till.counted(), "done 1, dead_letters 1");
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_older_than_the_memory_is_expired_and_nothing_else() {
    let mut place = Place::new().await;
    let retention = Retention { keep: Duration::from_secs(3_600), margin: Duration::from_secs(600) };
    let till = place.till_with(ParticipantSettings { retention, ..ParticipantSettings::default() }).await;
    let old = |command| CommandMessage { action_sent_at: now() - Duration::from_secs(3_100), ..command };
    for command in [put(1, How::Done), take_back(2, How::Done), settle(3)] {
        assert_eq!(place.ask(old(command)).await, "expired");
    }
    assert!(place.inbox().await.is_empty());
    assert!(place.effects().await.is_empty());
    assert_eq!(till.counted(), "expired 3");
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_refused_and_blocks_nobody() {
    let mut place = Place::new().await;
    let settings =
        ParticipantSettings { unknown_command_age: Duration::ZERO, ..ParticipantSettings::default() };
    let nul = command(1, Phase::Action, "put", &"\0");
    let other_type = command(2, Phase::Action, "put", &"not a struct");
    let unknown = command(3, Phase::Action, "juggle", &());
    let wrong_phase = command(4, Phase::Action, "take-back", &());
    place.send(&[nul, other_type, unknown, wrong_phase, put(5, How::Done)]).await;
    let till = place.till_with(settings).await;
    insta::assert_snapshot!(told_in_order(place.replies(5).await), @r#"
    refused: the payload is unusable: a text in it holds a NUL character
    refused: the payload is no `put`: invalid type: string "not a struct", expected struct Put at line 1 column 14
    refused: service `till` knows no action `juggle`
    refused: service `till` knows no action `take-back`
    done {"slot":5,"note":"done"}
    "#);
    assert_eq!(till.counted(), "done 1, dead_letters 4");
    assert_eq!(place.inbox().await, ["pay/action/1 done"]);
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_young_unknown_command_waits_for_an_instance_that_knows_it() {
    let mut place = Place::new().await;
    let old_version = redress_participant::Service::new("till", || None, |participant| participant, ());
    let settings =
        ParticipantSettings { unknown_command_age: Duration::from_secs(2), ..ParticipantSettings::default() };
    let old = place.serve(old_version, Default::default(), settings).await;
    place.send(&[put(1, How::Done)]).await;
    // The old one has it first; the new one may be too late for it, so both outcomes of the first are answers.
    let new = place.till().await;
    old.shutdown.cancel();
    assert_eq!(told_in_order(place.replies(1).await), r#"done {"slot":1,"note":"done"}"#);
    place.leave([old, new]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_of_another_service_cannot_be_registered() {
    let place = Place::new().await;
    let shop = redress_participant::Service::new(
        "shop",
        || None,
        |participant: redress_participant::Participant<crate::till::Till>| participant.handle::<Put>(),
        Default::default(),
    );
    let shop = place.serve(shop, Default::default(), ParticipantSettings::default()).await;
    let error = shop.task.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "command `put` belongs to another service than `shop`: register it there");
    place.leave([]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn echo_answers_everything_and_remembers_it() {
    let mut place = Place::new().await;
    let echo = place.serve(redress_participant::echo("till"), Default::default(), Default::default()).await;
    for command in [put(1, How::Done), put(1, How::Done), take_back(1, How::Done), settle(1)] {
        let command = CommandMessage { command: name("anything"), ..command };
        assert_eq!(
            place.ask(CommandMessage { attempt: now().timestamp_subsec_nanos(), ..command }).await,
            "done null"
        );
    }
    assert_eq!(place.inbox().await, ["pay/action/1 done", "pay/compensation/1 done"]);
    assert_eq!(echo.counted(), "done 2, duplicates 1, settled 1");
    place.leave([echo]).await;
}
