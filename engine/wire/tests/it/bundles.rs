//! Replies that travel in one message: taken one by one, settled together.

use std::time::Duration;

use redress_core::{Outcome, ReplyMessage};
use redress_wire::{Consumer, Delivery, Wire};

use crate::fixture::{beside_shared, command, commands, name, reply, soon, stored, wire};

/// Three replies in one message, and a consumer of them.
async fn three() -> (Wire, Consumer<ReplyMessage>) {
    let wire = wire().await;
    let replies: Vec<ReplyMessage> =
        commands(0..3).iter().map(|command| reply(command, Outcome::Fenced)).collect();
    assert_eq!(wire.publish_replies(&replies).await, [Ok(()), Ok(()), Ok(())]);
    assert_eq!(messages(&wire).await, 1);
    let replies = wire.replies(&name("place-order"), 1);
    (wire, replies)
}

async fn messages(wire: &Wire) -> u64 {
    stored(&beside_shared().await, &wire.topology().replies_stream()).await
}

/// The sagas of these replies, by the numbers of their commands.
fn sagas(batch: &[Delivery<ReplyMessage>]) -> Vec<u32> {
    let number = |delivery: &Delivery<ReplyMessage>| {
        let key = &delivery.message.as_ref().unwrap().key;
        (0..3).find(|number| command(*number).key == *key).unwrap()
    };
    batch.iter().map(number).collect()
}

#[tokio::test]
async fn bundle_is_gone_when_its_last_reply_is_settled() {
    let (wire, mut replies) = three().await;
    let batch = soon("the replies", replies.next_batch(9)).await;
    assert_eq!(sagas(&batch), [0, 1, 2]);
    // One that is settled twice counts once.
    for handle in [batch[0].handle(), batch[0].handle(), batch[1].handle()] {
        handle.ack().await;
    }
    wire.flush().await;
    assert_eq!(messages(&wire).await, 1);
    batch[2].handle().term().await;
    soon("it is gone", async { while messages(&wire).await != 0 {} }).await;
}

#[tokio::test]
async fn bundle_comes_again_if_one_of_its_replies_is_put_back() {
    let (wire, mut replies) = three().await;
    let batch = soon("the replies", replies.next_batch(9)).await;
    batch[1].handle().nak(Duration::from_millis(50)).await;
    for settled in [&batch[0], &batch[2]] {
        settled.handle().ack().await;
    }
    let again = soon("the replies again", replies.next_batch(9)).await;
    assert_eq!((sagas(&again), again[0].deliveries), (vec![0, 1, 2], 2));
    for delivery in &again {
        delivery.handle().ack().await;
    }
    soon("it is gone", async { while messages(&wire).await != 0 {} }).await;
}

#[tokio::test]
async fn rest_of_a_bundle_is_taken_with_the_next_batch_or_given_back() {
    let (_wire, mut replies) = three().await;
    let first = soon("a reply", replies.next_batch(2)).await;
    let second = soon("a reply", replies.next_batch(2)).await;
    assert_eq!((sagas(&first), sagas(&second)), (vec![0, 1], vec![2]));

    let (wire, mut leaving) = three().await;
    let taken = soon("a reply", leaving.next_batch(1)).await;
    taken[0].handle().ack().await;
    drop(leaving);
    let again = soon("the replies again", wire.replies(&name("place-order"), 1).next_batch(9)).await;
    assert_eq!(sagas(&again), [0, 1, 2]);
}
