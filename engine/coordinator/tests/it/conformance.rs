//! Postgres and JetStream pass the conformance suite that the adapters in memory have passed.

use redress_coordinator::journal::PgJournal;
use redress_coordinator::ports::DeadLetter;
use redress_core::{CommandMessage, ReplyMessage};
use redress_simulation::conformance::{self, FarEnd};
use redress_wire::{Consumer, Wire};

use crate::fixture::{Fixture, name};

#[tokio::test(flavor = "multi_thread")]
async fn postgres_journal_passes_conformance_suite() {
    let fixture = Fixture::new().await;
    let journal = PgJournal::connect(&fixture.config()).await.unwrap();
    journal.migrate(redress_coordinator::Migrations::Apply).await.unwrap();
    conformance::journal(&journal).await;
}

/// The participants of JetStream.
struct Participants {
    wire: Wire,
    commands: Consumer<CommandMessage>,
}

impl FarEnd for Participants {
    async fn next_command(&mut self) -> CommandMessage {
        let (message, _, handle) = self.commands.next_batch(1).await.remove(0).split();
        handle.ack().await;
        message.unwrap()
    }

    async fn reply(&mut self, reply: ReplyMessage) {
        self.wire.publish_replies(&[reply]).await.remove(0).unwrap();
    }

    async fn give_up(&self, letter: DeadLetter) {
        let DeadLetter { id, source, code, saga_id: _, reason, subject, headers, payload, missing } = letter;
        let service = name(&source);
        let letter =
            redress_wire::DeadLetter { id, service, code, subject, reason, headers, payload, missing };
        self.wire.publish_dead_letter(&letter).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn jetstream_passes_conformance_suite() {
    let wire = Fixture::new().await.wire;
    wire.ensure_streams().await.unwrap();
    let mut participants = Participants { commands: wire.commands(&name("world")), wire: wire.clone() };
    conformance::replies(&wire, &mut participants).await;
}
