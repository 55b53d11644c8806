//! Injected failures: only participants that are configured to obey them do so.

use redress_core::CommandMessage;
use redress_core::fault::FaultKind;
use redress_participant::{FaultMode, ParticipantConfig};

use crate::fixture::{Fixture, Instance};
use crate::till::{How, put, take_back};

async fn obedient(fixture: &Fixture) -> Instance {
    let config = ParticipantConfig { faults: FaultMode::Abandon, ..ParticipantConfig::default() };
    fixture.till_with(config).await
}

fn with(fault: FaultKind, command: CommandMessage) -> CommandMessage {
    CommandMessage { fault: Some(fault), ..command }
}

fn again(command: CommandMessage) -> CommandMessage {
    CommandMessage { attempt: command.attempt + 1, ..command }
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_rejection_is_remembered_like_a_real_one() {
    let mut fixture = Fixture::new().await;
    let till = obedient(&fixture).await;
    let reject = FaultKind::Reject { code: "no-luck".to_owned() };
    let no = fixture.ask(with(reject, put(1, How::Done))).await;
    assert_eq!(no, "rejected no-luck: injected rejection");
    assert_eq!(fixture.ask(again(put(1, How::Done))).await, no);
    assert!(fixture.effects().await.is_empty());
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_failure_is_forgotten() {
    let mut fixture = Fixture::new().await;
    let till = obedient(&fixture).await;
    assert_eq!(fixture.ask(with(FaultKind::Fail, put(1, How::Done))).await, "failed: injected failure");
    assert!(fixture.inbox().await.is_empty());
    assert_eq!(fixture.ask(again(put(1, How::Done))).await, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(fixture.ask(with(FaultKind::Fail, take_back(1, How::Done))).await, "failed: injected failure");
    assert_eq!(fixture.effects().await, ["put:1"]);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dropped_reply_comes_back_from_the_inbox() {
    let mut fixture = Fixture::new().await;
    let till = obedient(&fixture).await;
    fixture.send(&[with(FaultKind::DropReply, put(1, How::Done))]).await;
    assert_eq!(fixture.ask(again(put(1, How::Done))).await, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(fixture.effects().await, ["put:1"]);
    assert_eq!(till.counted(), "done 1, duplicates 1, injected 1");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn crash_after_the_commit_is_answered_from_the_inbox() {
    let mut fixture = Fixture::new().await;
    let till = obedient(&fixture).await;
    let reply = fixture.ask(with(FaultKind::CrashAfterCommit, put(1, How::Done))).await;
    assert_eq!(reply, r#"done {"slot":1,"note":"done"}"#);
    assert_eq!(fixture.effects().await, ["put:1"]);
    assert_eq!(till.counted(), "done 1, duplicates 1, injected 1");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn injected_delay_holds_up_one_command_and_no_other() {
    let mut fixture = Fixture::new().await;
    let till = obedient(&fixture).await;
    let slow = with(FaultKind::Delay { ms: 700 }, put(1, How::Done));
    fixture.send(&[slow.clone(), put(2, How::Done)]).await;
    let order: Vec<_> = fixture.replies(2).await.into_iter().map(|reply| reply.key).collect();
    assert_eq!(order, [put(2, How::Done).key, slow.key]);
    fixture.leave([till]).await;
}

/// Leads through all kinds; one that is new must be given its fixture here.
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
        FaultKind::CrashAfterReply => Some(FaultKind::CallLost),
        FaultKind::CallLost => Some(FaultKind::CallLate),
        FaultKind::CallLate => Some(FaultKind::CallTwice),
        FaultKind::CallTwice => Some(FaultKind::CallFailed),
        FaultKind::CallFailed => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn faults_are_ignored_unless_configured() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till().await;
    let faults = std::iter::successors(Some(FaultKind::Fail), after);
    for (saga, fault) in (1..).zip(faults) {
        let told = fixture.ask(with(fault.clone(), put(saga, How::Done))).await;
        assert!(told.starts_with("done"), "{fault:?}: {told}");
    }
    // Each once: nothing came again, and nothing was injected.
    assert_eq!(till.counted(), "done 14");
    fixture.leave([till]).await;
}
