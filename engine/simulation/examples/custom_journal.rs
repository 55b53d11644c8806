//! A journal of one's own: it sits the conformance suite, and a coordinator runs a saga on it.
//!
//! `cargo run -p redress-simulation --example custom_journal`
//!
//! This one keeps its sagas in memory and prints every unit of work that it has committed. One that keeps them
//! elsewhere implements the same four traits; what each method must promise is in `redress_coordinator::ports`, and the
//! conformance suite says which promise is not kept.

#![expect(clippy::print_stdout, reason = "a program talks to its user")]

use std::time::Duration;

use redress_coordinator::ports::{
    Changes, DeadLetter, Inserted, Journal, JournalError, JournalLetters, JournalReads, JournalUpkeep, Keep,
    LetterFilter, LetterGroup, LetterRoom, LetterRow, LetterStep, ListFilter, Listed, NewSaga, OpenSaga,
    OpenSagas, RegisterError, Rows, SagaRow, Selection, Snapshot, Standing, StoredStart, UnderWay,
};
use redress_coordinator::{Config, Engine, StartRequest, SystemClock};
use redress_core::fault::{FaultBook, Strike};
use redress_core::history::HistoryEntry;
use redress_core::{JsonText, Name, Outcome, Phase, SagaDefinition, SagaId, Timestamp};
use redress_simulation::conformance;
use redress_simulation::memory::{MemoryBus, MemoryJournal};
use redress_testkit::fixtures;
use redress_testkit::participants::reply;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

/// The errors of this program go to its user as they are.
type Failure = Box<dyn std::error::Error>;

/// A journal that prints the units of work that it has committed.
#[derive(Clone)]
struct PrintingJournal(MemoryJournal);

impl PrintingJournal {
    /// An empty one. Its clock begins at the epoch, as its sagas do not outlive the program.
    fn new() -> Self {
        let began = std::time::Instant::now();
        Self(MemoryJournal::new(move || Timestamp::UNIX_EPOCH + began.elapsed()))
    }
}

impl Journal for PrintingJournal {
    async fn transact<T: Send + 'static>(
        &self,
        selection: Selection,
        bytes_max: usize,
        decide: impl FnOnce(Snapshot) -> (Changes, T) + Send + 'static,
    ) -> Result<T, JournalError> {
        let decide = move |snapshot| {
            let (changes, result) = decide(snapshot);
            let rows: Vec<String> =
                changes.history.iter().map(|(id, row)| format!("{id}: {}", row.event)).collect();
            (changes, (rows, result))
        };
        let (rows, result) = self.0.transact(selection, bytes_max, decide).await?;
        rows.iter().for_each(|row| println!("{row}"));
        Ok(result)
    }

    async fn insert(&self, sagas: Vec<NewSaga>, struck: Vec<Strike>) -> Result<Vec<Inserted>, JournalError> {
        self.0.insert(sagas, struck).await
    }

    async fn dead_letter(&self, letters: Vec<DeadLetter>) -> Result<(), JournalError> {
        self.0.dead_letter(letters).await
    }

    async fn start_of(&self, key: &str) -> Result<Option<StoredStart>, JournalError> {
        self.0.start_of(key).await
    }

    async fn has_operator_command(&self, command_id: Uuid) -> Result<bool, JournalError> {
        self.0.has_operator_command(command_id).await
    }

    async fn read_faults(&self) -> Result<FaultBook, JournalError> {
        self.0.read_faults().await
    }

    async fn look_for_faults(&self) -> Result<(), JournalError> {
        self.0.look_for_faults().await
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        self.0.now().await
    }

    async fn should_isolate(&self, error: &JournalError) -> bool {
        self.0.should_isolate(error).await
    }

    async fn id(&self) -> Result<String, JournalError> {
        self.0.id().await
    }

    async fn register(&self, definition: &SagaDefinition) -> Result<(), RegisterError> {
        self.0.register(definition).await
    }
}

impl JournalReads for PrintingJournal {
    async fn saga(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        self.0.saga(id).await
    }

    async fn at_rest(&self, ids: &[SagaId]) -> Result<Vec<SagaId>, JournalError> {
        self.0.at_rest(ids).await
    }

    async fn sagas(&self, filter: &ListFilter) -> Result<Listed, JournalError> {
        self.0.sagas(filter).await
    }

    async fn open_with_tag(
        &self,
        tag: &(String, String),
        after: Option<SagaId>,
        limit: i64,
    ) -> Result<Rows<OpenSaga>, JournalError> {
        self.0.open_with_tag(tag, after, limit).await
    }

    async fn history(&self, id: SagaId, after: i32, limit: i64) -> Result<Rows<HistoryEntry>, JournalError> {
        self.0.history(id, after, limit).await
    }

    async fn place_holder(&self, id: SagaId, step: &Name) -> Result<Option<SagaId>, JournalError> {
        self.0.place_holder(id, step).await
    }

    async fn census(&self) -> Result<Vec<(String, u32, String, i64)>, JournalError> {
        self.0.census().await
    }

    async fn under_way(&self, versions: &[(Name, u32)], since: Timestamp) -> Result<UnderWay, JournalError> {
        self.0.under_way(versions, since).await
    }

    async fn ready(&self) -> Result<(), JournalError> {
        self.0.ready().await
    }
}

impl JournalUpkeep for PrintingJournal {
    async fn open_sagas(&self) -> Result<Vec<OpenSagas>, JournalError> {
        self.0.open_sagas().await
    }

    async fn stalled(&self, after: Duration) -> Result<i64, JournalError> {
        self.0.stalled(after).await
    }

    async fn standing(&self) -> Result<Standing, JournalError> {
        self.0.standing().await
    }

    async fn asleep(&self, versions: &[(Name, u32)]) -> Result<Vec<SagaId>, JournalError> {
        self.0.asleep(versions).await
    }

    async fn wake(&self, ids: Vec<SagaId>) -> Result<(), JournalError> {
        self.0.wake(ids).await
    }

    async fn untold_places(
        &self,
        versions: &[(Name, u32)],
        limit: i64,
    ) -> Result<Vec<(SagaId, Name)>, JournalError> {
        self.0.untold_places(versions, limit).await
    }

    async fn tidy_places(&self, limit: i64) -> Result<u64, JournalError> {
        self.0.tidy_places(limit).await
    }

    async fn places_waiting(&self) -> Result<i64, JournalError> {
        self.0.places_waiting().await
    }

    async fn prune_sagas(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        self.0.prune_sagas(keep, limit).await
    }

    async fn prune_keys(&self, age: Duration, limit: i64) -> Result<u64, JournalError> {
        self.0.prune_keys(age, limit).await
    }

    async fn prune_dead_letters(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        self.0.prune_dead_letters(keep, limit).await
    }

    async fn prune_audit(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        self.0.prune_audit(keep, limit).await
    }

    async fn prune_faults(&self, limit: i64) -> Result<u64, JournalError> {
        self.0.prune_faults(limit).await
    }
}

impl JournalLetters for PrintingJournal {
    async fn letters(&self, filter: &LetterFilter) -> Result<Rows<LetterRow>, JournalError> {
        self.0.letters(filter).await
    }

    async fn letter(&self, id: Uuid) -> Result<Option<LetterRow>, JournalError> {
        self.0.letter(id).await
    }

    async fn letter_groups(&self, filter: &LetterFilter) -> Result<Vec<LetterGroup>, JournalError> {
        self.0.letter_groups(filter).await
    }

    async fn move_letter(&self, step: LetterStep) -> Result<bool, JournalError> {
        self.0.move_letter(step).await
    }

    async fn give_back_letters(&self, after: Duration) -> Result<u64, JournalError> {
        self.0.give_back_letters(after).await
    }

    async fn prune_excess_letters(&self, room: LetterRoom, limit: i64) -> Result<u64, JournalError> {
        self.0.prune_excess_letters(room, limit).await
    }
}

/// Participants that carry out whatever they are asked.
async fn participants(bus: MemoryBus<SystemClock>) {
    loop {
        let (token, command) = bus.next_command().await;
        let outcome = match command.key.phase {
            Phase::Action | Phase::Compensation => Outcome::Done { reply: JsonText::null() },
            Phase::Settlement => Outcome::Fenced,
        };
        bus.with(|store, now| {
            store.replies.publish(reply(&command, outcome), now);
            store.commands.acknowledge(token);
        });
    }
}

/// Runs one saga to its end on this journal, and returns its status.
async fn run_a_saga(journal: PrintingJournal) -> Result<&'static str, Failure> {
    let bus = MemoryBus::new(SystemClock);
    tokio::spawn(participants(bus.clone()));
    let definitions = vec![fixtures::five_steps(2, 3)];
    let saga = definitions[0].name.to_string();
    let engine = Engine::on(Config::new(""), definitions, journal, bus, SystemClock).await?;
    let (running, shutdown) = (engine.clone(), CancellationToken::new());
    let loops = tokio::spawn({
        let shutdown = shutdown.clone();
        async move { running.run(shutdown).await }
    });
    let request =
        StartRequest { saga, input: serde_json::json!({}), key: "order-1".to_owned(), ..Default::default() };
    let started = engine.start_request(request).await?;
    let ended = engine.wait_ended(started.id, Duration::from_secs(10)).await?;
    shutdown.cancel();
    loops.await?;
    Ok(ended.map_or("lost", |saga| saga.status))
}

#[tokio::main]
async fn main() -> Result<(), Failure> {
    conformance::journal(&PrintingJournal::new()).await;
    println!("the journal has passed the conformance suite");
    println!("the saga is {}", run_a_saga(PrintingJournal::new()).await?);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn custom_journal_passes_the_conformance_suite() {
        conformance::journal(&PrintingJournal::new()).await;
    }

    #[tokio::test]
    async fn saga_completes_on_a_custom_journal() {
        assert_eq!(run_a_saga(PrintingJournal::new()).await.unwrap(), "completed");
    }
}
