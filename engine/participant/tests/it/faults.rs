//! Injected failures, and that they are obeyed only by those who were told to.

use redress_core::CommandMessage;
use redress_core::fault::FaultKind;
use redress_participant::{FaultObedience, ParticipantSettings};

use crate::place::{Instance, Place};
use crate::till::{How, put, take_back};

async fn obedient(place: &Place) -> Instance {
    let settings = ParticipantSettings { faults: FaultObedience::Abandon, ..ParticipantSettings::default() };
    place.till_with(settings).await
}

fn with(fault: FaultKind, command: CommandMessage) -> CommandMessage {
    CommandMessage { fault: Some(fault), ..command }
}

fn again(command: CommandMessage) -> CommandMessage {
    CommandMessage { attempt: command.attempt + 1, ..command }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_rejection_is_remembered_like_a_real_one() {
    let mut place = Place::new().await;
    let till = obedient(&place).await;
    let reject = FaultKind::Reject { code: "no-luck".to_owned() };
    let no = place.ask(with(reject, put(1, How::Done))).await;
    assert_eq!(no, "rejected no-luck: injected rejection");
    assert_eq!(place.ask(again(put(1, How::Done))).await, no);
    assert!(place.effects().await.is_empty());
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_injected_failure_is_forgotten() {
    let mut place = Place::new().await;
    let till = obedient(&place).await;
    assert_eq!(place.ask(with(FaultKind::Fail, put(1, How::Done))).await, "failed: injected failure");
    assert!(place.inbox().await.is_empty());
    assert_eq!(place.ask(again(put(1, How::Done))).await, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(place.ask(with(FaultKind::Fail, take_back(1, How::Done))).await, "failed: injected failure");
    assert_eq!(place.effects().await, ["put:1"]);
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_dropped_reply_comes_back_from_the_inbox() {
    let mut place = Place::new().await;
    let till = obedient(&place).await;
    place.send(&[with(FaultKind::DropReply, put(1, How::Done))]).await;
    assert_eq!(place.ask(again(put(1, How::Done))).await, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(place.effects().await, ["put:1"]);
    assert_eq!(till.counted(), "done 1, duplicates 1, injected 1");
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_crash_after_the_commit_is_answered_from_the_inbox() {
    let mut place = Place::new().await;
    let till = obedient(&place).await;
    let reply = place.ask(with(FaultKind::CrashAfterCommit, put(1, How::Done))).await;
    assert_eq!(reply, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(place.effects().await, ["put:1"]);
    assert_eq!(till.counted(), "done 1, duplicates 1, injected 1");
    place.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_delay_holds_up_one_command_and_no_other() {
    let mut place = Place::new().await;
    let till = obedient(&place).await;
    let slow = with(FaultKind::Delay { ms: 700 }, put(1, How::Done));
    place.send(&[slow.clone(), put(2, How::Done)]).await;
    let order: Vec<_> = place.replies(2).await.into_iter().map(|reply| reply.key).collect();
    assert_eq!(order, [put(2, How::Done).key, slow.key]);
    place.leave([till]).await;
}

/// Leads through all kinds; one that is new must be given its place here.
fn after(kind: &FaultKind) -> Option<FaultKind> {
    const LATER_MS: u64 = 600_000;
    match kind {
        FaultKind::Fail => Some(FaultKind::Reject { code: "no-luck".to_owned() }),
        FaultKind::Reject { .. } => Some(FaultKind::Delay { ms: LATER_MS }),
        FaultKind::Delay { .. } => Some(FaultKind::DropCommand),
        FaultKind::DropCommand => Some(FaultKind::DropReply),
        FaultKind::DropReply => Some(FaultKind::DelayReply { ms: LATER_MS }),
        FaultKind::DelayReply { .. } => Some(FaultKind::Duplicate),
        FaultKind::Duplicate => Some(FaultKind::CrashBeforeCommit),
        FaultKind::CrashBeforeCommit => Some(FaultKind::CrashAfterCommit),
        FaultKind::CrashAfterCommit => Some(FaultKind::CrashAfterReply),
        FaultKind::CrashAfterReply => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_not_told_to_obey_does_not() {
    let mut place = Place::new().await;
    let till = place.till().await;
    let faults = std::iter::successors(Some(FaultKind::Fail), after);
    for (saga, fault) in (1..).zip(faults) {
        let told = place.ask(with(fault.clone(), put(saga, How::Done))).await;
        assert!(told.starts_with("done"), "{fault:?}: {told}");
    }
    // Each once: nothing came again, and nothing was injected.
    assert_eq!(till.counted(), "done 10");
    place.leave([till]).await;
}
