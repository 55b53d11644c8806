//! JetStream passes the conformance suite that the bus in memory has passed.

use std::collections::HashMap;
use std::time::Duration;

use redress_core::CommandMessage;
use redress_devstack::Stack;
use redress_simulation::conformance::{self, ConformingBus};
use redress_wire::delivery::AckHandle;
use redress_wire::{Consumer, Wire, WireConfig};

use crate::fixture::{name, own_server, prefix, publish, soon, wire_config, wire_of};

struct Examinee {
    stack: Stack,
    wire: Wire,
    world: Consumer<CommandMessage>,
    taken: HashMap<u64, AckHandle>,
    /// Handed out so far.
    tokens: u64,
}

impl ConformingBus for Examinee {
    async fn publish(&mut self, command: &CommandMessage) {
        // After a wipe the streams are made anew on the way.
        soon("it is stored", async {
            while self.wire.publish_commands(std::slice::from_ref(command)).await[0].is_err() {
                tokio::task::yield_now().await;
            }
        })
        .await;
    }

    async fn take(&mut self) -> (u64, CommandMessage) {
        let delivery = soon("a command", self.world.next_batch(1)).await.remove(0);
        let (message, _, handle) = delivery.split();
        self.tokens += 1;
        let token = self.tokens;
        self.taken.insert(token, handle);
        (token, message.unwrap())
    }

    async fn acknowledge(&mut self, token: u64) {
        self.taken[&token].ack().await;
    }

    async fn give_back(&mut self, token: u64) {
        self.taken[&token].nak(Duration::ZERO).await;
    }

    async fn die(&mut self, token: u64) {
        self.taken.remove(&token);
        self.world = self.wire.commands(&name("world"));
    }

    async fn wipe(&mut self) {
        self.stack.nats().wipe_store().await.unwrap();
    }
}

/// How long JetStream waits for an acknowledgement where takers die.
const ACK_WAIT: Duration = Duration::from_millis(500);

#[tokio::test]
async fn jetstream_passes_conformance_suite() {
    let mut examinee = examinee(own_server().await, wire_config()).await;
    conformance::commands(&mut examinee).await;
    // Elsewhere it waits much longer, so that nothing comes again because a machine is slow.
    let impatient = WireConfig { ack_wait: ACK_WAIT, ..wire_config() };
    let mut examinee = self::examinee(examinee.stack, impatient).await;
    conformance::commands_of_takers_that_die(&mut examinee).await;
    examinee.stack.stop().await;
}

async fn examinee(stack: Stack, config: WireConfig) -> Examinee {
    let wire = wire_of(&stack.nats().url(), &prefix(), config).await;
    let world = wire.commands(&name("world"));
    // Its stream and its consumer exist before anything is published.
    publish(&wire, &[]).await;
    Examinee { stack, wire, world, taken: HashMap::new(), tokens: 0 }
}
