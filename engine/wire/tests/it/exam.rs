//! JetStream sits the exam that the bus in memory has passed.

use std::collections::HashMap;
use std::time::Duration;

use redress_core::CommandMessage;
use redress_devstack::Stack;
use redress_testkit::exam::{self, ExaminedBus};
use redress_wire::delivery::Handle;
use redress_wire::{Inflow, Wire};

use crate::place::{command, name, own_server, prefix, publish, settings, soon, wire_of};

struct Examinee {
    stack: Stack,
    wire: Wire,
    till: Inflow<CommandMessage>,
    taken: HashMap<u64, Handle>,
}

impl ExaminedBus for Examinee {
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
        let delivery = soon("a command", self.till.next_batch(1)).await.remove(0);
        let (message, _, handle) = delivery.split();
        let token = self.taken.len() as u64;
        self.taken.insert(token, handle);
        (token, message.unwrap())
    }

    async fn acknowledge(&mut self, token: u64) {
        self.taken[&token].ack().await;
    }

    async fn give_back(&mut self, token: u64) {
        self.taken[&token].nak(Duration::ZERO).await;
    }

    async fn wipe(&mut self) {
        self.stack.nats().wipe_store().await.unwrap();
    }
}

#[tokio::test]
async fn jetstream_passes() {
    let stack = own_server().await;
    let wire = wire_of(&stack.nats().url(), &prefix(), settings()).await;
    let till = wire.commands(&name("till"));
    // Its stream and its consumer exist before anything is published.
    publish(&wire, &[]).await;
    let mut examinee = Examinee { stack, wire, till, taken: HashMap::new() };
    exam::bus(&mut examinee, command).await;
    examinee.stack.stop().await;
}
