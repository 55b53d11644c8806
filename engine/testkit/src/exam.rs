//! One exam for all adapters: what Redress relies on in a journal and in a bus.
//!
//! The simulator proves the protocol on the adapters in memory; that says something about Postgres and JetStream only
//! because these sit the same exam. The adapters are wrapped by their own tests, which call [`journal`] and [`bus`].

use redress_core::decide::{Context, start};
use redress_core::fault::FaultBook;
use redress_core::history::{HistoryEntry, HistoryEvent};
use redress_core::state::{SagaState, Status};
use redress_core::{CommandMessage, JsonText, SagaDefinition, SagaId, Timestamp};

use crate::memory::{self, CommitError, Inserted, MemoryJournal};
use crate::specimen;

/// A journal that sits the exam.
#[expect(async_fn_in_trait, reason = "the exam awaits one thing after the other, on one task")]
pub trait ExaminedJournal {
    /// Begins a saga of [`definition`] under this key, due at once; gives its id, or that of the saga that has the key.
    async fn insert(&mut self, key: &str, id: SagaId, state: SagaState, rows: Vec<HistoryEntry>) -> Inserted;
    /// Revision and state of a saga, as they are now.
    async fn read(&mut self, id: SagaId) -> (u64, SagaState);
    /// Writes changes to what was read, as a whole or not at all.
    async fn commit(&mut self, changes: Vec<memory::Change>) -> Result<(), CommitError>;
    /// The sagas that are due.
    async fn due(&mut self) -> Vec<SagaId>;
    /// How many rows a saga's history has.
    async fn rows(&mut self, id: SagaId) -> usize;
}

/// The definition of the sagas of the exam.
pub fn definition() -> SagaDefinition {
    specimen::five_steps(2, 8)
}

/// What every journal must do.
///
/// # Panics
/// If it does not.
pub async fn journal(journal: &mut impl ExaminedJournal, now: Timestamp) {
    let [first, second] = [1, 2].map(|number| SagaId(uuid::Uuid::from_u128(number)));
    let (state, rows) = begun(now);
    assert_eq!(journal.insert("one", first, state.clone(), rows.clone()).await, Inserted::New);
    assert_eq!(
        journal.insert("one", second, state.clone(), rows.clone()).await,
        Inserted::Same(first),
        "a key is one saga"
    );
    assert_eq!(journal.insert("two", second, state, rows).await, Inserted::New);

    let (revision, read) = journal.read(first).await;
    assert_eq!(read.status, Status::Running);
    journal.commit(vec![moved(first, revision, &read)]).await.expect("nobody else has moved it");
    let (next, _) = journal.read(first).await;
    assert!(next > revision, "every move counts");
    let stale = journal.commit(vec![moved(first, revision, &read)]).await;
    assert_eq!(
        stale,
        Err(CommitError::Collision(first)),
        "a saga that has moved since it was read is not written"
    );

    let rows = journal.rows(second).await;
    let (of_second, state) = journal.read(second).await;
    let half = vec![moved(second, of_second, &state), moved(first, revision, &read)];
    assert!(journal.commit(half).await.is_err(), "one of a batch has moved");
    assert_eq!(journal.read(second).await.0, of_second, "and nothing of the batch is written");
    assert_eq!(journal.rows(second).await, rows, "nor is its history");

    let (revision, read) = journal.read(first).await;
    let mut ended = moved(first, revision, &read);
    ended.state.status = Status::Completed;
    ended.state.ended_at = Some(now);
    journal.commit(vec![ended]).await.expect("it ends");
    assert_eq!(
        journal.due().await,
        [second],
        "what has ended is never due, and what is open is when its time has come"
    );
    let (revision, read) = journal.read(first).await;
    let mut revived = moved(first, revision, &read);
    revived.state.status = Status::Running;
    revived.state.ended_at = None;
    assert_eq!(journal.commit(vec![revived]).await, Err(CommitError::WayOut(first)), "an end has no way out");
    journal.commit(vec![moved(first, revision, &read)]).await.expect("what comes after the end is noted");
}

/// A saga that has just been started, long ago.
fn begun(now: Timestamp) -> (SagaState, Vec<HistoryEntry>) {
    let definition = definition();
    let mut faults = FaultBook::default();
    let mut ctx = Context {
        definition: &definition,
        saga_id: SagaId(uuid::Uuid::nil()),
        now: now - chrono::TimeDelta::hours(1),
        jitter: 0.0,
        faults: &mut faults,
        traceparent: None,
    };
    let data = definition.read_input(&serde_json::json!({})).expect("the specimen needs no input");
    let first = start(&mut ctx, data, Vec::new());
    (first.state, first.history)
}

/// The same state with one more row.
fn moved(id: SagaId, revision: u64, state: &SagaState) -> memory::Change {
    let mut state = state.clone();
    state.history_length += 1;
    let row = HistoryEntry {
        seq: state.history_length,
        at: state.started_at,
        event: HistoryEvent::Late,
        step: None,
        phase: None,
        attempt: None,
        detail: JsonText::of(&serde_json::json!({})).expect("an empty object"),
    };
    memory::Change { id, revision, state, history: vec![row] }
}

/// A bus that sits the exam, as one taker of the commands of a service sees it.
#[expect(async_fn_in_trait, reason = "the exam awaits one thing after the other, on one task")]
pub trait ExaminedBus {
    /// Publishes a command.
    async fn publish(&mut self, command: &CommandMessage);
    /// Takes the next one and gives the right to settle it; waits for it.
    async fn take(&mut self) -> (u64, CommandMessage);
    /// It is done.
    async fn acknowledge(&mut self, token: u64);
    /// Not now, but soon.
    async fn give_back(&mut self, token: u64);
    /// Whoever took it dies, and says nothing of it any more; another one takes from now on.
    async fn die(&mut self, token: u64);
    /// Loses everything that it holds.
    async fn wipe(&mut self);
}

/// What every bus must do: deliver at least once until it is acknowledged, and go on after it has forgotten all.
///
/// # Panics
/// If it does not.
pub async fn bus(bus: &mut impl ExaminedBus, command: impl Fn(u32) -> CommandMessage) {
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

/// What every bus must do with what was taken by somebody who died: give it to somebody else. A sitting of its own, for a
/// bus that waits no longer for an acknowledgement than a test can.
///
/// # Panics
/// If it does not.
pub async fn bus_whose_takers_die(bus: &mut impl ExaminedBus, command: impl Fn(u32) -> CommandMessage) {
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

impl ExaminedJournal for MemoryJournal {
    async fn insert(&mut self, key: &str, id: SagaId, state: SagaState, rows: Vec<HistoryEntry>) -> Inserted {
        let definition = definition();
        let row = memory::Row { definition: (definition.name, definition.version), revision: 1, state };
        Self::insert(self, key, id, row, rows)
    }

    async fn read(&mut self, id: SagaId) -> (u64, SagaState) {
        let row = Self::read(self, id).expect("it was inserted");
        (row.revision, row.state.clone())
    }

    async fn commit(&mut self, changes: Vec<memory::Change>) -> Result<(), CommitError> {
        Self::commit(self, changes)
    }

    async fn due(&mut self) -> Vec<SagaId> {
        Self::due(self, Timestamp::MAX_UTC)
    }

    async fn rows(&mut self, id: SagaId) -> usize {
        self.history(id).len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::memory::MemoryBus;
    use chrono::TimeDelta;
    use futures_util::FutureExt;
    use redress_core::{IdempotencyKey, Name, Phase};

    /// How long a message stays with whoever took it.
    const ACK_WAIT: TimeDelta = TimeDelta::seconds(1);

    /// The bus in memory, with the time that it is told.
    #[derive(Default)]
    struct Examinee {
        bus: MemoryBus<CommandMessage>,
        now: Timestamp,
    }

    impl ExaminedBus for Examinee {
        async fn publish(&mut self, command: &CommandMessage) {
            self.bus.publish(command.clone(), self.now);
        }

        async fn take(&mut self) -> (u64, CommandMessage) {
            self.bus.take(0, self.now, self.now + ACK_WAIT).expect("there is one")
        }

        async fn acknowledge(&mut self, token: u64) {
            self.bus.acknowledge(token);
        }

        async fn give_back(&mut self, token: u64) {
            self.bus.give_back(token, self.now);
        }

        async fn die(&mut self, _: u64) {
            assert_eq!(self.bus.ready(self.now), 0, "what is taken is nobody else's for a while");
            self.now += ACK_WAIT;
        }

        async fn wipe(&mut self) {
            self.bus.wipe();
        }
    }

    fn command(number: u32) -> CommandMessage {
        let name = |text: &str| Name::new(text).unwrap();
        CommandMessage {
            key: IdempotencyKey {
                saga_id: SagaId(uuid::Uuid::from_u128(number.into())),
                step: name("create"),
                phase: Phase::Action,
                generation: 1,
            },
            attempt: 1,
            saga: name("specimen"),
            version: 1,
            service: name("world"),
            command: name("create"),
            action_sent_at: Timestamp::UNIX_EPOCH,
            fault: None,
            traceparent: None,
            payload: JsonText::null(),
        }
    }

    #[test]
    fn the_journal_in_memory_passes() {
        let sitting = journal(&mut MemoryJournal::default(), Timestamp::UNIX_EPOCH).now_or_never();
        sitting.expect("memory does not wait");
    }

    #[test]
    fn the_bus_in_memory_passes() {
        bus(&mut Examinee::default(), command).now_or_never().expect("memory does not wait");
        let sitting = bus_whose_takers_die(&mut Examinee::default(), command).now_or_never();
        sitting.expect("memory does not wait");
    }
}
