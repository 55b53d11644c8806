//! The memory of the inbox, command by command.

use std::time::Duration;

use redress_core::inbox::Retention;
use redress_core::{CommandMessage, JsonText, Phase};
use redress_participant::ParticipantConfig;

use crate::fixture::{Fixture, command, name, now, told_in_order};
use crate::till::{How, Put, put, settle, take_back};

fn again(command: &CommandMessage, attempt: u32) -> CommandMessage {
    CommandMessage { attempt, ..command.clone() }
}

#[tokio::test(flavor = "multi_thread")]
async fn duplicate_command_gets_the_same_answer_and_has_one_effect() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    let command = put(1, How::Done);
    let first = fixture.ask(command.clone()).await;
    assert_eq!(first, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(fixture.ask(again(&command, 2)).await, first);
    assert_eq!(fixture.effects().await, ["put:1"]);
    assert_eq!(till.counted(), "done 1, duplicates 1");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_before_its_action_leaves_a_fence() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    assert_eq!(fixture.ask(take_back(1, How::Done)).await, "done null");
    assert_eq!(fixture.ask(put(1, How::Done)).await, "fenced");
    assert_eq!(fixture.ask(settle(1)).await, "fenced");
    assert_eq!(fixture.ask(again(&take_back(1, How::Done), 2)).await, "done null");
    assert!(fixture.effects().await.is_empty());
    assert_eq!(fixture.inbox().await, ["pay/action/1 fenced", "pay/compensation/1 done"]);
    assert_eq!(till.counted(), "duplicates 1, fenced 1, null_compensations 1, settled 1");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn undo_after_its_action_runs_once() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    fixture.ask(put(1, How::Done)).await;
    let undone = fixture.ask(take_back(1, How::Done)).await;
    assert_eq!(undone, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(fixture.ask(again(&take_back(1, How::Done), 2)).await, undone);
    assert_eq!(fixture.effects().await, ["put:1", "take:1"]);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settlement_reports_the_outcome_or_leaves_a_fence() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    let (done, rejected) = (fixture.ask(put(1, How::Done)).await, fixture.ask(put(2, How::Reject)).await);
    assert_eq!(fixture.ask(settle(1)).await, done);
    assert_eq!(fixture.ask(settle(2)).await, rejected);
    assert_eq!(fixture.ask(settle(3)).await, "fenced");
    assert_eq!(fixture.ask(put(3, How::Done)).await, "fenced");
    assert_eq!(fixture.effects().await, ["put:1"]);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn rejection_is_remembered_and_leaves_no_write_behind() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    let no = fixture.ask(put(1, How::Reject)).await;
    assert_eq!(no, "rejected till-closed: come back tomorrow");
    assert_eq!(fixture.ask(again(&put(1, How::Reject), 2)).await, no);
    assert_eq!(fixture.ask(take_back(1, How::Done)).await, "done null");
    assert!(fixture.effects().await.is_empty());
    assert_eq!(fixture.inbox().await, ["pay/action/1 rejected", "pay/compensation/1 done"]);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failure_is_rolled_back_and_forgotten_and_the_next_attempt_runs() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    assert_eq!(fixture.ask(put(1, How::ErrOnce)).await, "failed: the drawer is stuck");
    assert!(fixture.effects().await.is_empty());
    assert!(fixture.inbox().await.is_empty());
    assert_eq!(fixture.ask(again(&put(1, How::ErrOnce), 2)).await, r#"done {"slot":1,"note":"second time"}"#);
    assert_eq!(fixture.effects().await, ["put:1"]);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_undo_leaves_the_action_as_it_is() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    fixture.ask(put(1, How::Done)).await;
    assert_eq!(fixture.ask(take_back(1, How::Err)).await, "failed: the drawer is stuck");
    assert_eq!(fixture.inbox().await, ["pay/action/1 done"]);
    assert_eq!(fixture.ask(again(&take_back(1, How::Err), 2)).await, "failed: the drawer is stuck");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn changed_payload_under_same_key_is_refused() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    fixture.ask(put(1, How::Done)).await;
    let forged = CommandMessage {
        payload: JsonText::of(&Put { slot: 1_000_000, how: How::Done }).unwrap(),
        ..again(&put(1, How::Done), 2)
    };
    assert!(fixture.ask(forged).await.starts_with("refused: the key "));
    assert_eq!(fixture.effects().await, ["put:1"]);
    assert_eq!(till.counted(), "done 1, dead_letters 1");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_commands_older_than_the_retention_are_expired() {
    let mut fixture = Fixture::new().await;
    let retention = Retention { keep: Duration::from_secs(3_600), margin: Duration::from_secs(600) };
    let till = fixture.till_with(ParticipantConfig { retention, ..ParticipantConfig::default() }).await;
    let old = |command| CommandMessage { action_sent_at: now() - Duration::from_secs(3_100), ..command };
    for command in [put(1, How::Done), take_back(2, How::Done), settle(3)] {
        assert_eq!(fixture.ask(old(command)).await, "expired");
    }
    assert!(fixture.inbox().await.is_empty());
    assert!(fixture.effects().await.is_empty());
    assert_eq!(till.counted(), "expired 3");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn poison_is_refused_and_blocks_no_other_command() {
    let mut fixture = Fixture::new().await;
    let config = ParticipantConfig { unknown_command_age: Duration::ZERO, ..ParticipantConfig::default() };
    let nul = command(1, Phase::Action, "put", &"\0");
    let other_type = command(2, Phase::Action, "put", &"not a struct");
    let unknown = command(3, Phase::Action, "juggle", &());
    let wrong_phase = command(4, Phase::Action, "take-back", &());
    fixture.send(&[nul, other_type, unknown, wrong_phase, put(5, How::Done)]).await;
    let till = fixture.till_with(config).await;
    insta::assert_snapshot!(told_in_order(fixture.replies(5).await), @r#"
    refused: the payload is unusable: a text in it holds a NUL character
    refused: the payload is no `put`: invalid type: string "not a struct", expected struct Put at line 1 column 14
    refused: service `till` knows no action `juggle`
    refused: service `till` knows no action `take-back`
    done {"slot":5,"note":"done"}
    "#);
    assert_eq!(till.counted(), "done 1, dead_letters 4");
    assert_eq!(fixture.inbox().await, ["pay/action/1 done"]);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn young_unknown_command_waits_for_an_instance_that_knows_it() {
    let mut fixture = Fixture::new().await;
    let old_version = redress_participant::Service::new("till", || None, |participant| participant, ());
    let config =
        ParticipantConfig { unknown_command_age: Duration::from_secs(2), ..ParticipantConfig::default() };
    let old = fixture.serve(old_version, Default::default(), config).await;
    fixture.send(&[put(1, How::Done)]).await;
    // The old one has it first; the new one may be too late for it, so both outcomes of the first are answers.
    let new = fixture.till().await;
    old.shutdown.cancel();
    assert_eq!(told_in_order(fixture.replies(1).await), r#"done {"slot":1,"note":"done"}"#);
    fixture.leave([old, new]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn command_of_another_service_cannot_be_registered() {
    let fixture = Fixture::new().await;
    let shop = redress_participant::Service::new(
        "shop",
        || None,
        |participant: redress_participant::Participant<crate::till::Till>| participant.handle::<Put>(),
        Default::default(),
    );
    let shop = fixture.serve(shop, Default::default(), ParticipantConfig::default()).await;
    let error = shop.task.await.unwrap().unwrap_err();
    assert_eq!(error.to_string(), "command `put` belongs to another service than `shop`: register it there");
    fixture.leave([]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn echo_answers_everything_and_remembers_it() {
    let mut fixture = Fixture::new().await;
    let echo = fixture.serve(redress_participant::echo("till"), Default::default(), Default::default()).await;
    for command in [put(1, How::Done), put(1, How::Done), take_back(1, How::Done), settle(1)] {
        let command = CommandMessage { command: name("anything"), ..command };
        assert_eq!(
            fixture.ask(CommandMessage { attempt: now().timestamp_subsec_nanos(), ..command }).await,
            "done null"
        );
    }
    assert_eq!(fixture.inbox().await, ["pay/action/1 done", "pay/compensation/1 done"]);
    assert_eq!(echo.counted(), "done 2, duplicates 1, settled 1");
    fixture.leave([echo]).await;
}
