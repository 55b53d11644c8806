//! Batches that read the inbox first, and insert their answers: a command that was handled elsewhere meanwhile has one
//! effect and one answer nevertheless.
//!
//! In some tests two instances have the same command in their hands at the same time, which claims would not allow; in the
//! others it comes for the first time, and another one has answered it.

use std::time::Duration;

use redress_core::inbox::Fingerprint;
use redress_core::{CommandMessage, JsonText};

use crate::fixture::{Fixture, Instance, now, told};
use crate::till::{How, put, take_back};

/// Sagas that are not those of the tests.
const OF_PROOFS: u128 = 1_000;
/// Of a participant whose handlers are short as a rule, on a busy machine, too.
const PROOFS_MAX: u128 = 5_000;

/// Two instances that put on their lanes, and not beside them: a batch on a lane reads first.
async fn two_short(fixture: &mut Fixture) -> [Instance; 2] {
    let tills = [fixture.till().await, fixture.till().await];
    let mut in_a_row = [0; 2];
    for saga in OF_PROOFS..OF_PROOFS + PROOFS_MAX {
        let counts = |till: &Instance| (till.count("done"), till.count("ran_beside"));
        let before = tills.each_ref().map(counts);
        assert_eq!(
            fixture.ask(put(saga, How::Done)).await,
            format!(r#"done {{"slot":{saga},"note":"done"}}"#)
        );
        for ((till, before), in_a_row) in tills.iter().zip(before).zip(&mut in_a_row) {
            match counts(till) {
                (done, beside) if beside == before.1 => *in_a_row += done - before.0,
                (_, _) => *in_a_row = 0,
            }
        }
        // The first was the probe.
        if in_a_row.iter().all(|&in_a_row| in_a_row > 2) {
            sqlx::query("DELETE FROM effect").execute(&fixture.pool).await.unwrap();
            sqlx::query("DELETE FROM inbox").execute(&fixture.pool).await.unwrap();
            return tills;
        }
    }
    panic!("one of them is never short: {in_a_row:?}");
}

/// Waits until a handler of one of them waits for the test; gives that one and the other.
async fn entered(tills: [Instance; 2]) -> (Instance, Instance) {
    let [one, other] = tills;
    let is_one = tokio::select! {
        permit = one.till.entered.acquire() => { permit.unwrap().forget(); true }
        permit = other.till.entered.acquire() => { permit.unwrap().forget(); false }
    };
    if is_one { (one, other) } else { (other, one) }
}

/// Both have the same command in hand, in the order in which they got it.
async fn both_at_work(fixture: &mut Fixture, command: &CommandMessage) -> (Instance, Instance) {
    let tills = two_short(fixture).await;
    fixture.send(std::slice::from_ref(command)).await;
    let (first, second) = entered(tills).await;
    fixture.send(&[CommandMessage { attempt: 2, ..command.clone() }]).await;
    second.till.entered.acquire().await.unwrap().forget();
    (first, second)
}

#[tokio::test(flavor = "multi_thread")]
async fn twins_that_run_at_the_same_time_have_one_effect_and_one_answer() {
    let mut fixture = Fixture::new().await;
    let (first, second) = both_at_work(&mut fixture, &put(1, How::Wait)).await;
    let done_before = first.count("done") + second.count("done");
    first.till.gate.add_permits(1);
    second.till.gate.add_permits(1);
    let replies: Vec<String> = fixture.replies(2).await.iter().map(|reply| told(&reply.outcome)).collect();
    assert_eq!(replies, [r#"done {"slot":1,"note":"waited"}"#; 2]);
    assert_eq!(fixture.effects().await, ["put:1"]);
    assert_eq!(first.count("done") + second.count("done"), done_before + 1);
    assert_eq!(first.count("duplicates") + second.count("duplicates"), 1);
    assert_eq!(first.count("batch_retries") + second.count("batch_retries"), 1);
    fixture.leave([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn action_that_is_undone_while_it_runs_is_fenced() {
    let mut fixture = Fixture::new().await;
    let tills = two_short(&mut fixture).await;
    fixture.send(&[put(1, How::Wait)]).await;
    let (first, second) = entered(tills).await;
    // The one that is at work puts it back, and the other one takes it.
    assert_eq!(fixture.ask(take_back(1, How::Done)).await, "done null");
    first.till.gate.add_permits(1);
    assert_eq!(told(&fixture.replies(1).await[0].outcome), "fenced");
    assert!(fixture.effects().await.is_empty());
    assert_eq!(fixture.inbox().await, ["pay/action/1 fenced", "pay/compensation/1 done"]);
    fixture.leave([first, second]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_fails_of_what_its_twin_did_is_answered_with_it() {
    let mut fixture = Fixture::new().await;
    let (first, second) = both_at_work(&mut fixture, &put(1, How::WaitAndLook)).await;
    first.till.gate.add_permits(1);
    let done = r#"done {"slot":1,"note":"it was free"}"#;
    assert_eq!(told(&fixture.replies(1).await[0].outcome), done);
    second.till.gate.add_permits(1);
    assert_eq!(told(&fixture.replies(1).await[0].outcome), done);
    assert_eq!(fixture.effects().await, ["put:1"]);
    assert_eq!(first.count("failed") + second.count("failed"), 0, "a failure that was rolled back is none");
    fixture.leave([first, second]).await;
}

/// How often they have run a batch in vain, and how many commands beside the batches.
fn retries_and_beside(tills: &[Instance; 2]) -> (u64, u64) {
    let sum = |name| tills.iter().map(|till| till.count(name)).sum();
    (sum("batch_retries"), sum("ran_beside"))
}

/// So many batches were run in vain; a handler that stalls on a busy machine runs beside, where all is read.
fn assert_retries(tills: &[Instance; 2], before: (u64, u64), wanted: u64) {
    let (retries, beside) = retries_and_beside(tills);
    if beside == before.1 {
        assert_eq!(retries - before.0, wanted);
    }
}

/// The answer to the first saga's command.
const FIRST: &str = r#"done {"slot":1,"note":"done"}"#;

/// Another instance has answered this command as the first saga's, and nothing else is left of that.
async fn answer_elsewhere(fixture: &mut Fixture, of: &CommandMessage) {
    let like = put(1, How::Done);
    assert_eq!(fixture.ask(like.clone()).await, FIRST);
    let moved = sqlx::query("UPDATE inbox SET key = $2, fingerprint = $3 WHERE key = $1")
        .bind(like.key.to_string())
        .bind(of.key.to_string())
        .bind(Fingerprint::of(&of.command, &of.payload).0.as_slice())
        .execute(&fixture.pool)
        .await;
    assert_eq!(moved.unwrap().rows_affected(), 1);
    sqlx::query("DELETE FROM effect").execute(&fixture.pool).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn action_that_comes_for_the_first_time_is_run_unread_and_taken_back_if_it_is_known() {
    let mut fixture = Fixture::new().await;
    let tills = two_short(&mut fixture).await;
    let before = retries_and_beside(&tills);
    answer_elsewhere(&mut fixture, &put(2, How::Done)).await;
    assert_retries(&tills, before, 0);
    assert_eq!(fixture.ask(put(2, How::Done)).await, FIRST);
    assert!(fixture.effects().await.is_empty(), "what it did once more is taken back");
    assert_retries(&tills, before, 1);
    fixture.leave(tills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn action_that_is_not_young_is_read_before_it_runs() {
    let mut fixture = Fixture::new().await;
    let tills = two_short(&mut fixture).await;
    let before = retries_and_beside(&tills);
    let old = CommandMessage { action_sent_at: now() - Duration::from_secs(120), ..put(2, How::Done) };
    answer_elsewhere(&mut fixture, &old).await;
    assert_eq!(fixture.ask(old).await, FIRST);
    assert_retries(&tills, before, 0);
    fixture.leave(tills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn unreadable_action_that_an_older_version_has_answered_is_answered_with_it() {
    let mut fixture = Fixture::new().await;
    let tills = two_short(&mut fixture).await;
    let payload = JsonText::of(&"of an older version").unwrap();
    let unreadable = CommandMessage { payload, ..put(2, How::Done) };
    answer_elsewhere(&mut fixture, &unreadable).await;
    assert_eq!(fixture.ask(unreadable).await, FIRST);
    fixture.leave(tills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn action_that_comes_after_its_fence_is_fenced_although_it_was_not_read() {
    let mut fixture = Fixture::new().await;
    let tills = two_short(&mut fixture).await;
    let before = retries_and_beside(&tills);
    assert_eq!(fixture.ask(take_back(1, How::Done)).await, "done null");
    assert_eq!(fixture.ask(put(1, How::Done)).await, "fenced");
    assert!(fixture.effects().await.is_empty());
    assert_retries(&tills, before, 1);
    fixture.leave(tills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_loses_its_transaction_is_not_answered_done() {
    let mut fixture = Fixture::new().await;
    let tills = two_short(&mut fixture).await;
    let answer = fixture.ask(put(1, How::LoseTransaction)).await;
    assert!(answer.starts_with("failed: "), "{answer}");
    assert!(fixture.inbox().await.is_empty());
    assert!(fixture.effects().await.is_empty());
    fixture.leave(tills).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn handler_that_fails_alone_leaves_no_claim() {
    let mut fixture = Fixture::new().await;
    let tills = two_short(&mut fixture).await;
    assert_eq!(fixture.ask(put(1, How::Err)).await, "failed: the drawer is stuck");
    assert!(fixture.inbox().await.is_empty());
    assert!(fixture.effects().await.is_empty());
    let again = CommandMessage { attempt: 2, ..put(1, How::Done) };
    assert_eq!(fixture.ask(again).await, r#"done {"slot":1,"note":"done"}"#);
    fixture.leave(tills).await;
}
