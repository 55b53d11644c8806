//! Ends of sagas, as coordinators tell each other of them.

use std::time::Duration;

use redress_core::SagaId;
use redress_wire::Wire;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::fixture::{beside_shared, prefix, soon, wire_config, wire_of};
use crate::unreadable::{BLOCKS, inject_by_hand};

fn sagas(numbers: std::ops::Range<u128>) -> Vec<SagaId> {
    numbers.map(|number| SagaId(Uuid::from_u128(number))).collect()
}

/// What a coordinator hears, a list for each message.
struct Listener {
    heard: mpsc::UnboundedReceiver<Vec<SagaId>>,
}

impl Listener {
    /// One that listens, for as long as the test's runtime lives.
    async fn at(wire: &Wire) -> Self {
        let (sender, heard) = mpsc::unbounded_channel();
        let listening = wire.clone();
        tokio::spawn(async move {
            let heard = |sagas| {
                let _ = sender.send(sagas);
            };
            listening.hear_ended(heard).await;
        });
        let mut listener = Self { heard };
        listener.until_it_hears(wire, sagas(1..2)).await;
        listener
    }

    /// Tells it of these again and again until it hears of them.
    async fn until_it_hears(&mut self, wire: &Wire, sagas: Vec<SagaId>) {
        let mut ticks = tokio::time::interval(Duration::from_millis(50));
        soon("the listener hears", async {
            loop {
                tokio::select! {
                    heard = self.heard.recv() => if heard.unwrap() == sagas { break },
                    _ = ticks.tick() => wire.tell_ended(&sagas).await,
                }
            }
        })
        .await;
    }

    /// The next list that has not come for a test to see that it is heard.
    async fn next(&mut self) -> Vec<SagaId> {
        loop {
            let heard = soon("a hint", self.heard.recv()).await.unwrap();
            if heard != sagas(1..2) {
                return heard;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ends_are_heard_by_every_coordinator_in_messages_of_bounded_size() {
    let (url, prefix) = (redress_devstack::shared().await.nats().url(), prefix());
    let (one, other) =
        (wire_of(&url, &prefix, wire_config()).await, wire_of(&url, &prefix, wire_config()).await);
    let mut listeners = [Listener::at(&one).await, Listener::at(&other).await];
    one.tell_ended(&[]).await;
    one.tell_ended(&sagas(2..1_003)).await;
    for listener in &mut listeners {
        for expected in [2..502, 502..1_002, 1_002..1_003] {
            assert_eq!(listener.next().await, sagas(expected));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn garbage_is_not_heard_and_the_hint_after_it_is() {
    let wire = wire_of(&redress_devstack::shared().await.nats().url(), &prefix(), wire_config()).await;
    let mut listener = Listener::at(&wire).await;
    let (stranger, subject) = (beside_shared().await.client(), wire.topology().ended_subject());
    for bytes in [0, 1, 15, 17, 16 * 501, 1 << 20] {
        stranger.publish(subject.clone(), vec![7; bytes].into()).await.unwrap();
    }
    stranger.publish(subject, [[1; 16], [2; 16]].concat().into()).await.unwrap();
    let forged = [[1; 16], [2; 16]].map(|id| SagaId(Uuid::from_bytes(id)));
    assert_eq!(listener.next().await, forged, "what has the form of a hint is heard, and nothing before it");
}

#[tokio::test(flavor = "multi_thread")]
async fn listener_survives_a_hint_that_ends_its_client() {
    let wire = wire_of(&redress_devstack::shared().await.nats().url(), &prefix(), wire_config()).await;
    let mut listener = Listener::at(&wire).await;
    inject_by_hand(&wire.topology().ended_subject(), BLOCKS[0]).await;
    // The server sends what is told from now on after it.
    listener.until_it_hears(&wire, sagas(2..4)).await;
}
