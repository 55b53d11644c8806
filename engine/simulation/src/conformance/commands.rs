//! The promises of a bus to participants.

use redress_core::CommandMessage;

use super::fixture::command;

/// A bus that passes the conformance suite, as one taker of the commands of a service sees it: the service of
/// [`command`].
#[expect(async_fn_in_trait, reason = "the conformance suite awaits one thing after the other, on one task")]
pub trait ConformingBus {
    /// Publishes a command.
    async fn publish(&mut self, command: &CommandMessage);
    /// Takes the next one and gives the right to settle it; waits for it.
    async fn take(&mut self) -> (u64, CommandMessage);
    /// It is done.
    async fn acknowledge(&mut self, token: u64);
    /// Not now, but soon.
    async fn give_back(&mut self, token: u64);
    /// The taker dies, and says nothing of it any more; another one takes from now on.
    async fn die(&mut self, token: u64);
    /// Loses everything that it holds.
    async fn wipe(&mut self);
}

/// Checks that a bus delivers at least once until it is acknowledged, and goes on after it has forgotten all.
///
/// # Panics
/// If it does not.
pub async fn commands(bus: &mut impl ConformingBus) {
    bus.publish(&command(1)).await;
    let (token, taken) = bus.take().await;
    assert_eq!(taken, command(1), "it arrives as it was");
    bus.give_back(token).await;
    let (token, again) = bus.take().await;
    assert_eq!(again, command(1), "what is given back comes again");
    bus.acknowledge(token).await;
    bus.publish(&command(2)).await;
    bus.publish(&command(3)).await;
    let (second, third) = (bus.take().await, bus.take().await);
    let mut taken = [second.1, third.1];
    taken.sort_by_key(|command| command.key.clone());
    assert_eq!(
        taken,
        [command(2), command(3)],
        "what is acknowledged does not come again, and the rest does"
    );
    bus.acknowledge(second.0).await;
    bus.wipe().await;
    bus.publish(&command(4)).await;
    let (token, after) = bus.take().await;
    assert_eq!(after, command(4), "what was wiped is gone, and it goes on");
    bus.acknowledge(token).await;
}

/// Checks that a bus gives the messages of a taker that died to another taker. A sitting of its own, for a bus that
/// waits no longer for an acknowledgement than a test can.
///
/// # Panics
/// If it does not.
pub async fn commands_of_takers_that_die(bus: &mut impl ConformingBus) {
    bus.publish(&command(1)).await;
    // Twice, since one redelivery is no promise.
    for _ in 0..2 {
        let (token, taken) = bus.take().await;
        assert_eq!(taken, command(1), "what was neither acknowledged nor given back comes again");
        bus.die(token).await;
    }
    let (token, again) = bus.take().await;
    assert_eq!(again, command(1), "and again, until somebody acknowledges it");
    bus.acknowledge(token).await;
    bus.publish(&command(2)).await;
    let (token, next) = bus.take().await;
    assert_eq!(next, command(2), "what is acknowledged in the end does not come again");
    bus.acknowledge(token).await;
}
