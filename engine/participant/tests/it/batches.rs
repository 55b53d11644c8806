//! Many commands in one transaction: each gets its own answer.
//!
//! The commands are published before the instance starts, so that they come as one batch.

use redress_participant::ParticipantConfig;

use crate::fixture::{Fixture, told_in_order};
use crate::till::{How, pile, put, settle, take_back, unpile};

#[tokio::test(flavor = "multi_thread")]
async fn bad_member_of_a_batch_does_not_touch_the_others() {
    let mut fixture = Fixture::new().await;
    let how = [How::Done, How::Reject, How::Done, How::Err, How::Panic, How::Huge, How::Nul, How::Done];
    let commands: Vec<_> = (1..).zip(how).map(|(saga, how)| put(saga, how)).collect();
    fixture.send(&commands).await;
    let till = fixture.till().await;
    insta::assert_snapshot!(told_in_order(fixture.replies(how.len()).await), @r#"
    done {"slot":1,"note":"done"}
    rejected till-closed: come back tomorrow
    done {"slot":3,"note":"done"}
    failed: the drawer is stuck
    failed: the handler panicked; see the service's log for where
    refused: the reply cannot travel: it has 300020 bytes, more than 262144
    refused: the reply cannot travel: a text in it holds a NUL character
    done {"slot":8,"note":"done"}
    "#);
    assert_eq!(fixture.effects().await, ["put:1", "put:3", "put:8"]);
    assert_eq!(till.counted(), "done 3, rejected 1, failed 2, dead_letters 2");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batch_that_cannot_commit_is_run_member_by_member() {
    let mut fixture = Fixture::new().await;
    fixture
        .send(&[put(1, How::Done), put(2, How::WrongAtCommit), pile(3, How::Done), put(4, How::Reject)])
        .await;
    let till = fixture.till().await;
    let told = told_in_order(fixture.replies(4).await);
    // Postgres goes on with a line of its own source, which depends on its version.
    let lines: Vec<&str> = told.lines().map(|line| line.split(" at line ").next().unwrap()).collect();
    insta::assert_snapshot!(lines.join("\n"), @r#"
    done {"slot":1,"note":"done"}
    failed: error returned from database: duplicate key value violates unique constraint "checked_at_commit_slot_key"
    done {"slot":3,"note":"piled"}
    rejected till-closed: come back tomorrow
    "#);
    assert_eq!(fixture.effects().await, ["put:1", "pile:3"]);
    assert_eq!(fixture.inbox().await.len(), 3);
    // Counted once, though the good ones ran twice.
    assert!(till.counted().starts_with("done 2, rejected 1, failed 1"), "{}", till.counted());
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_and_pairs_in_a_batch_are_ruled_on_in_order() {
    let mut fixture = Fixture::new().await;
    let twin = redress_core::CommandMessage { attempt: 2, ..put(1, How::Done) };
    // 1: action, twin, undo; 2: undo, action; 3: settlement, action, undo; 4: fails, so there is nothing to undo.
    fixture
        .send(&[put(1, How::Done), twin, take_back(1, How::Done), take_back(2, How::Done), put(2, How::Done)])
        .await;
    fixture.send(&[settle(3), put(3, How::Done), take_back(3, How::Done)]).await;
    fixture.send(&[put(4, How::Err), take_back(4, How::Done)]).await;
    let till = fixture.till().await;
    insta::assert_snapshot!(told_in_order(fixture.replies(10).await), @r#"
    done {"slot":1,"note":"done"}
    done {"slot":1,"note":"done"}
    done {"slot":1,"note":"done"}
    fenced
    done null
    fenced
    done null
    fenced
    failed: the drawer is stuck
    done null
    "#);
    assert_eq!(fixture.effects().await, ["put:1", "take:1"]);
    insta::assert_snapshot!(fixture.inbox().await.join("\n"), @r"
    pay/action/1 done
    pay/compensation/1 done
    pay/action/1 fenced
    pay/compensation/1 done
    pay/action/1 fenced
    pay/compensation/1 done
    pay/action/1 fenced
    pay/compensation/1 done
    ");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_handler_is_called_once_for_many_commands() {
    let mut fixture = Fixture::new().await;
    let how = |saga| if saga % 10 == 0 { How::Reject } else { How::Done };
    let commands: Vec<_> = (1..=100).map(|saga| pile(saga, how(saga))).collect();
    fixture.send(&commands).await;
    let till = fixture.till().await;
    fixture.replies(100).await;
    assert_eq!(till.counted(), "done 90, rejected 10");
    assert_eq!(till.till.calls().iter().sum::<usize>(), 100);
    assert!(till.till.calls().len() < 10, "{:?}", till.till.calls());
    assert_eq!(fixture.effects().await.len(), 90);
    fixture.send(&(1..=100).map(|saga| unpile(saga, How::Done)).collect::<Vec<_>>()).await;
    fixture.replies(100).await;
    assert_eq!(fixture.effects().await.len(), 180);
    assert_eq!(till.count("null_compensations"), 10);
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_set_is_run_member_by_member() {
    let mut fixture = Fixture::new().await;
    let how = [How::Done, How::Err, How::Reject, How::Huge, How::Done];
    let commands: Vec<_> = (1..).zip(how).map(|(saga, how)| pile(saga, how)).collect();
    fixture.send(&commands).await;
    let till = fixture.till().await;
    insta::assert_snapshot!(told_in_order(fixture.replies(how.len()).await), @r#"
    done {"slot":1,"note":"piled"}
    failed: the drawer is stuck
    rejected till-closed: come back tomorrow
    refused: the reply cannot travel: it has 300020 bytes, more than 262144
    done {"slot":5,"note":"piled"}
    "#);
    assert_eq!(fixture.effects().await, ["pile:1", "pile:5"]);
    assert!(till.till.calls().iter().any(|calls| *calls > 1), "{:?}", till.till.calls());
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn set_of_one_that_is_not_done_leaves_no_effect() {
    let mut fixture = Fixture::new().await;
    let till = fixture.till_with(ParticipantConfig { batch_max: 1, ..ParticipantConfig::default() }).await;
    assert!(fixture.ask(pile(1, How::Huge)).await.starts_with("refused: the reply cannot travel"));
    assert_eq!(fixture.ask(pile(2, How::Err)).await, "failed: the drawer is stuck");
    assert_eq!(fixture.ask(pile(3, How::Reject)).await, "rejected till-closed: come back tomorrow");
    assert!(fixture.effects().await.is_empty());
    fixture.leave([till]).await;
}
