//! The adapters in memory pass the conformance suite.

use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use redress_coordinator::SystemClock;
use redress_coordinator::ports::{DeadLetter, JournalUpkeep};
use redress_core::decide::{Context, Event, decide};
use redress_core::fault::FaultBook;
use redress_core::{CommandMessage, Outcome, ReplyMessage, Timestamp};
use redress_testkit::participants::reply;

use super::fixture::{begun, definition, insert, moved, read, saga_id, write};
use super::*;
use crate::memory::{MemoryBus, MemoryJournal};

/// A journal whose clock goes on by a millisecond whenever it is read.
fn memory_journal() -> MemoryJournal {
    let ticks = AtomicI64::new(1_800_000_000_000);
    MemoryJournal::new(move || {
        let now = ticks.fetch_add(1, Ordering::Relaxed);
        Timestamp::from_timestamp_millis(now).expect("a time in this century")
    })
}

/// How long a message stays with its taker.
const ACK_WAIT: std::time::Duration = std::time::Duration::from_millis(20);

struct Participant(MemoryBus<SystemClock>);

impl FarEnd for Participant {
    async fn next_command(&mut self) -> CommandMessage {
        let (token, command) = self.0.next_command().await;
        self.0.with(|store, _| store.commands.acknowledge(token));
        command
    }

    async fn reply(&mut self, reply: ReplyMessage) {
        self.0.with(|store, now| store.replies.publish(reply, now));
    }

    async fn give_up(&self, letter: DeadLetter) {
        self.0.with(|store, now| store.letters.publish(letter, now));
    }
}

impl ConformingBus for MemoryBus<SystemClock> {
    async fn publish(&mut self, command: &CommandMessage) {
        self.with(|store, now| store.commands.publish(command.clone(), now));
    }

    async fn take(&mut self) -> (u64, CommandMessage) {
        self.next_command().await
    }

    async fn acknowledge(&mut self, token: u64) {
        self.with(|store, _| store.commands.acknowledge(token));
    }

    async fn give_back(&mut self, token: u64) {
        self.with(|store, now| store.commands.give_back(token, now));
    }

    async fn die(&mut self, _: u64) {}

    async fn wipe(&mut self) {
        self.with(|store, _| store.wipe());
    }
}

#[tokio::test]
async fn memory_journal_passes_the_conformance_suite() {
    journal(&memory_journal()).await;
}

#[tokio::test]
async fn memory_bus_passes_the_conformance_suite() {
    commands(&mut MemoryBus::new(SystemClock)).await;
    commands_of_takers_that_die(&mut MemoryBus::new(SystemClock).ack_wait(ACK_WAIT)).await;
    let bus = MemoryBus::new(SystemClock);
    replies(&bus, &mut Participant(bus.clone())).await;
}

/// A saga that waits for nothing but an answer that comes later is not stalled.
#[tokio::test]
async fn awaiting_saga_is_not_stalled() {
    let (journal, id) = (memory_journal(), saga_id(1));
    insert(&journal, begun(id, "one", Timestamp::UNIX_EPOCH)).await;
    let stalled = async || journal.stalled(Duration::from_secs(60)).await.expect("they can be counted");
    assert_eq!(stalled().await, 1, "it was begun long ago");
    let (revision, state) = read(&journal, id).await;
    let (definition, mut faults) = (definition(), FaultBook::default());
    let mut ctx = Context {
        definition: &definition,
        saga_id: id,
        now: Timestamp::UNIX_EPOCH,
        jitter: 0.0,
        faults: &mut faults,
        traceparent: None,
    };
    let accepted = Event::Reply(reply(&command(1), Outcome::Accepted));
    let awaiting = decide(&mut ctx, state, accepted).state;
    assert!(awaiting.is_awaiting(), "its participant has accepted the command");
    write(&journal, moved([(id, revision, &awaiting)])).await.expect("it can be written");
    assert_eq!(stalled().await, 0);
}
