//! A transaction is bounded by bytes, whatever its handlers answer.

use std::collections::BTreeSet;

use redress_core::CommandMessage;
use redress_core::message::PAYLOAD_BYTES_MAX;

use crate::fixture::{Fixture, told};
use crate::till::{How, pile, put};

/// Answers of one transaction, in bytes; one more may not fit.
const ANSWER_BYTES_MAX: i64 = 8 << 20;
/// Their answers fit into the stream of replies, and not into one transaction.
const SAGAS: u128 = 40;

/// Transactions that wrote answers, and the bytes of the largest one.
async fn transactions(fixture: &Fixture) -> (i64, i64) {
    sqlx::query_as(
        "SELECT count(*), max(bytes)::bigint \
         FROM (SELECT sum(octet_length(reply)) AS bytes FROM inbox GROUP BY handled_at) AS of_transactions",
    )
    .fetch_one(&fixture.pool)
    .await
    .unwrap()
}

/// Sends commands and waits until each is answered; so much may come twice.
async fn ask_all(fixture: &mut Fixture, commands: &[CommandMessage]) {
    fixture.send(commands).await;
    let mut answered = BTreeSet::new();
    while answered.len() < commands.len() {
        let reply = fixture.replies(1).await.remove(0);
        assert!(told(&reply.outcome).starts_with("done"), "{}", told(&reply.outcome));
        if reply.attempt == commands[0].attempt {
            answered.insert(reply.key);
        }
    }
}

async fn large_answers_stay_within_bounds(command: impl Fn(u128, How) -> CommandMessage) {
    let mut fixture = Fixture::large().await;
    let till = fixture.till().await;
    let heavy: Vec<CommandMessage> = (1..=SAGAS).map(|saga| command(saga, How::Heavy)).collect();
    ask_all(&mut fixture, &heavy).await;
    let (count, largest) = transactions(&fixture).await;
    let bound = ANSWER_BYTES_MAX + PAYLOAD_BYTES_MAX as i64;
    assert!(largest <= bound, "{largest} bytes of answers in one of {count} transactions");
    // They are read back, more than one transaction holds.
    let again = heavy.into_iter().map(|command| CommandMessage { attempt: 2, ..command });
    ask_all(&mut fixture, &again.collect::<Vec<_>>()).await;
    assert_eq!(u128::from(till.count("done")), SAGAS, "none was done twice");
    fixture.leave([till]).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_stay_within_bounds_one_by_one() {
    large_answers_stay_within_bounds(put).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn large_answers_stay_within_bounds_as_a_set() {
    large_answers_stay_within_bounds(pile).await;
}

/// A command that came before the start may be the one that ended the process.
#[tokio::test(flavor = "multi_thread")]
async fn first_batch_after_a_start_is_small_and_later_ones_grow() {
    let mut fixture = Fixture::new().await;
    let commands: Vec<CommandMessage> = (1..=1_000).map(|saga| pile(saga, How::Done)).collect();
    fixture.send(&commands).await;
    let till = fixture.till().await;
    fixture.replies(commands.len()).await;
    let calls = till.till.calls();
    assert!(calls[0] <= 32, "{calls:?}");
    assert!(calls.iter().any(|&size| size > 64), "{calls:?}");
    fixture.leave([till]).await;
}
