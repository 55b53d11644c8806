//! The promises of a bus to coordinators.

use std::time::Duration;

use redress_coordinator::ports::{Acknowledge, Bus, BusHealth, DeadLetter, Incoming, Replies};
use redress_core::{CommandMessage, Name, Outcome, ReplyMessage};
use redress_testkit::participants::reply;

use super::fixture::command;
use super::letters::taken_letters;

/// The other end of a bus: the participants of [`command`]'s service.
#[expect(async_fn_in_trait, reason = "the conformance suite awaits one thing after the other, on one task")]
pub trait FarEnd {
    /// Takes the next command and acknowledges it; waits for it.
    async fn next_command(&mut self) -> CommandMessage;
    /// Publishes a reply.
    async fn reply(&mut self, reply: ReplyMessage);
    /// Publishes a dead letter of a participant.
    async fn give_up(&self, letter: DeadLetter);
}

/// Checks that a bus carries commands out, and brings each reply to the coordinators of its definition until one of
/// them acknowledges it.
///
/// # Panics
/// If it does not.
pub async fn replies<B: Bus>(bus: &B, far_end: &mut impl FarEnd) {
    assert_eq!(bus.health(), BusHealth::Connected, "it is there");
    assert!(bus.is_alive(), "and can go on");
    let known = bus.incarnation().await.expect("a bus that is there names its store");
    let (saga, version) = (command(1).saga, command(1).version);
    let mut coordinator = bus.replies(&saga, version);

    let not_sent = bus.publish(&[command(1), command(2)]).await;
    assert!(not_sent.is_empty(), "a bus that is there stores what is published: {not_sent:?}");
    let mut asked = [far_end.next_command().await, far_end.next_command().await];
    asked.sort_by_key(|command| command.key.clone());
    assert_eq!(asked, [command(1), command(2)], "commands arrive as they were");

    let answer = |number| reply(&command(number), Outcome::Failed { message: "no".to_owned() });
    far_end.reply(answer(1)).await;
    let (again, acknowledge) = next(&mut coordinator).await;
    assert_eq!(again, answer(1), "a reply arrives as it was");
    acknowledge.nak(Duration::ZERO).await;
    let (again, acknowledge) = next(&mut coordinator).await;
    assert_eq!(again, answer(1), "what is given back comes again");
    acknowledge.ack().await;
    far_end.reply(answer(2)).await;
    let (second, acknowledge) = next(&mut coordinator).await;
    assert_eq!(second, answer(2), "what is acknowledged does not come again");
    acknowledge.term().await;

    let mut stranger = answer(3);
    stranger.saga = Name::new("another").expect("a name");
    far_end.reply(stranger).await;
    far_end.reply(answer(4)).await;
    let (fourth, acknowledge) = next(&mut coordinator).await;
    assert_eq!(fourth, answer(4), "the replies to other definitions come to others");
    acknowledge.ack().await;
    bus.flush().await;
    assert!(bus.incarnation().await == Some(known), "nothing was lost meanwhile");
    let raw = bus.raw_reply(&answer(1));
    assert!(!raw.subject.is_empty() && !raw.payload.is_empty(), "a reply can be kept as it travels: {raw:?}");
    assert!(bus.carries(&raw.subject) && !bus.carries("elsewhere"), "its subject is one of the bus");
    bus.replay("again".to_owned(), &raw).await.expect("a bus that is there stores what is published");
    let (again, acknowledge) = next(&mut coordinator).await;
    assert_eq!(again, answer(1), "what is published again as it was kept is the same reply");
    acknowledge.ack().await;
    taken_letters(bus, async |letter| far_end.give_up(letter).await).await;
}

async fn next<R: Replies>(replies: &mut R) -> (ReplyMessage, R::Acknowledge) {
    let mut batch = replies.next_batch(1).await;
    let Incoming { message, acknowledge, .. } = batch.pop().expect("a batch is never empty");
    assert!(batch.is_empty(), "a batch has at most as many as were asked for");
    (message.unwrap_or_else(|letter| panic!("it was readable: {}", letter.reason)), acknowledge)
}
