//! The journal as a coordinator has it in a storm: time passes in every unit of work, answers are lost, and it may be
//! away. A planted bug of the journal is one of this wrapper.

use std::time::Duration;

use redress_coordinator::ports::{
    Changes, DeadLetter, Inserted, Journal, JournalError, JournalLetters, JournalReads, JournalUpkeep, Keep,
    LetterFilter, LetterGroup, LetterRoom, LetterRow, LetterStep, ListFilter, Listed, NewSaga, OpenSaga,
    OpenSagas, RegisterError, Rows, SagaRow, Selection, Snapshot, Standing, StoredStart, UnderWay,
};
use redress_core::fault::{FaultBook, Strike};
use redress_core::history::HistoryEntry;
use redress_core::{Name, SagaDefinition, SagaId, Timestamp};
use uuid::Uuid;

use super::life::Life;
use super::mutants::Mutation;
use super::stage::Stage;
use crate::memory::MemoryJournal;

/// The likelihood, in 256, that the journal is away when a unit of work begins.
const AWAY: u8 = 3;
/// The likelihood, in 256, that the answer to a commit is lost.
const ANSWER_LOST: u8 = 4;

/// The journal of one coordinator.
#[derive(Clone)]
pub(super) struct StormyJournal {
    stage: Stage,
    life: Life,
    inner: MemoryJournal,
    mutation: Option<Mutation>,
}

/// The sagas of a unit of work that was written.
struct Written {
    sagas: Vec<SagaId>,
    set_aside: Vec<SagaId>,
}

impl Written {
    fn of(changes: &Changes) -> Self {
        let sagas = changes.sagas.iter().map(|change| change.id).collect();
        Self { sagas, set_aside: changes.set_aside.clone() }
    }
}

impl StormyJournal {
    pub(super) fn new(stage: &Stage, life: &Life) -> Self {
        let (inner, mutation) = stage.with(|world| (world.journal.clone(), world.mutation));
        Self { stage: stage.clone(), life: life.clone(), inner, mutation }
    }

    /// Begins a unit of work, if the journal is there.
    async fn begin(&self) -> Result<(), JournalError> {
        self.stage.moment(&self.life).await;
        let is_away = self.stage.with(|world| world.strikes(AWAY, "journal away"));
        if is_away { Err(JournalError::Unavailable("the journal is away".into())) } else { Ok(()) }
    }

    /// Ends a unit of work that is committed, or not.
    async fn end<T>(&self, result: Result<(Written, T), JournalError>) -> Result<T, JournalError> {
        let result = self.stage.with(|world| match result {
            Ok((written, result)) => {
                world.has_written(&written.sagas, &written.set_aside);
                Ok(result)
            }
            Err(error) => {
                world.has_not_written(&error);
                Err(error)
            }
        })?;
        self.stage.moment(&self.life).await;
        if self.stage.with(|world| world.strikes(ANSWER_LOST, "commit not answered")) {
            return Err(JournalError::CommitUnknown("the answer is lost".into()));
        }
        Ok(result)
    }

    /// Writes what was decided without a lock.
    async fn write(&self, mut changes: Changes) -> Result<(), JournalError> {
        if self.mutation == Some(Mutation::DropTheRevisionGuard) {
            for change in &mut changes.sagas {
                change.revision = self.inner.look(change.id, |row| row.map_or(0, |row| row.revision));
            }
        }
        self.inner.transact(Selection::Unlocked(Vec::new()), 1, |_| (changes, ())).await
    }

    /// Returns true if nothing is due: such a look takes no time.
    fn finds_nothing(&self, selection: &Selection) -> bool {
        let is_due = |at: Timestamp| at <= self.stage.with(|world| world.clock());
        match selection {
            Selection::Due { .. } => !self.inner.next_wake_at().is_some_and(is_due),
            Selection::Unlocked(_)
            | Selection::Known { .. }
            | Selection::These(_)
            | Selection::Alone(_)
            | Selection::Waiting { .. } => false,
        }
    }
}

/// The timer finds no saga that has moved since it began.
fn forget_due_at(selection: &Selection, snapshot: &mut Snapshot) {
    if matches!(selection, Selection::Due { .. }) {
        snapshot.sagas.retain(|stored| stored.revision == 1);
    }
}

impl Journal for StormyJournal {
    async fn transact<T: Send + 'static>(
        &self,
        selection: Selection,
        bytes_max: usize,
        decide: impl FnOnce(Snapshot) -> (Changes, T) + Send + 'static,
    ) -> Result<T, JournalError> {
        if self.finds_nothing(&selection) {
            self.life.go_on().await;
            return self.inner.transact(selection, bytes_max, decide).await;
        }
        self.begin().await?;
        if let Selection::Unlocked(_) | Selection::Known { .. } = selection {
            let read = |snapshot| (Changes::default(), snapshot);
            let (changes, result) = decide(self.inner.transact(selection, bytes_max, read).await?);
            let written = Written::of(&changes);
            // Others go on between the read and the write.
            self.stage.moment(&self.life).await;
            let result = self.write(changes).await.map(|()| (written, result));
            return self.end(result).await;
        }
        let forgets = self.mutation == Some(Mutation::ForgetDueAt);
        let asked = selection.clone();
        let decide = move |mut snapshot: Snapshot| {
            if forgets {
                forget_due_at(&asked, &mut snapshot);
            }
            let (changes, result) = decide(snapshot);
            let written = Written::of(&changes);
            (changes, (written, result))
        };
        let result = self.inner.transact(selection, bytes_max, decide).await;
        self.end(result).await
    }

    async fn insert(&self, sagas: Vec<NewSaga>, struck: Vec<Strike>) -> Result<Vec<Inserted>, JournalError> {
        self.begin().await?;
        let ids: Vec<SagaId> = sagas.iter().map(|saga| saga.id).collect();
        let mut inserted = self.inner.insert(sagas, struck).await?;
        let new: Vec<SagaId> =
            ids.iter().zip(&inserted).filter(|(_, i)| **i == Inserted::New).map(|(id, _)| *id).collect();
        self.stage.with(|world| new.iter().for_each(|id| world.has_begun(*id)));
        if self.mutation == Some(Mutation::ClaimWithoutReading) {
            inserted.fill(Inserted::New);
        }
        self.end(Ok((Written { sagas: new, set_aside: Vec::new() }, inserted))).await
    }

    async fn dead_letter(&self, letters: Vec<DeadLetter>) -> Result<(), JournalError> {
        self.begin().await?;
        self.inner.dead_letter(letters).await
    }

    async fn start_of(&self, key: &str) -> Result<Option<StoredStart>, JournalError> {
        self.begin().await?;
        self.inner.start_of(key).await
    }

    async fn has_operator_command(&self, command_id: Uuid) -> Result<bool, JournalError> {
        self.life.go_on().await;
        self.inner.has_operator_command(command_id).await
    }

    async fn read_faults(&self) -> Result<FaultBook, JournalError> {
        self.life.go_on().await;
        self.inner.read_faults().await
    }

    async fn look_for_faults(&self) -> Result<(), JournalError> {
        self.life.go_on().await;
        self.inner.look_for_faults().await
    }

    async fn now(&self) -> Result<Timestamp, JournalError> {
        self.inner.now().await
    }

    async fn should_isolate(&self, _: &JournalError) -> bool {
        self.life.go_on().await;
        self.stage.with(|world| world.rng.bool())
    }

    async fn id(&self) -> Result<String, JournalError> {
        self.inner.id().await
    }

    async fn register(&self, definition: &SagaDefinition) -> Result<(), RegisterError> {
        self.inner.register(definition).await
    }
}

impl JournalReads for StormyJournal {
    async fn saga(&self, id: SagaId) -> Result<Option<SagaRow>, JournalError> {
        self.begin().await?;
        self.inner.saga(id).await
    }

    async fn at_rest(&self, ids: &[SagaId]) -> Result<Vec<SagaId>, JournalError> {
        self.life.go_on().await;
        self.inner.at_rest(ids).await
    }

    async fn sagas(&self, filter: &ListFilter) -> Result<Listed, JournalError> {
        self.begin().await?;
        self.inner.sagas(filter).await
    }

    async fn open_with_tag(
        &self,
        tag: &(String, String),
        after: Option<SagaId>,
        limit: i64,
    ) -> Result<Rows<OpenSaga>, JournalError> {
        self.begin().await?;
        self.inner.open_with_tag(tag, after, limit).await
    }

    async fn history(&self, id: SagaId, after: i32, limit: i64) -> Result<Rows<HistoryEntry>, JournalError> {
        self.begin().await?;
        self.inner.history(id, after, limit).await
    }

    async fn place_holder(&self, id: SagaId, step: &Name) -> Result<Option<SagaId>, JournalError> {
        self.begin().await?;
        self.inner.place_holder(id, step).await
    }

    async fn census(&self) -> Result<Vec<(String, u32, String, i64)>, JournalError> {
        self.begin().await?;
        self.inner.census().await
    }

    async fn under_way(&self, versions: &[(Name, u32)], since: Timestamp) -> Result<UnderWay, JournalError> {
        self.begin().await?;
        self.inner.under_way(versions, since).await
    }

    async fn ready(&self) -> Result<(), JournalError> {
        self.begin().await
    }
}

impl JournalUpkeep for StormyJournal {
    async fn open_sagas(&self) -> Result<Vec<OpenSagas>, JournalError> {
        self.life.go_on().await;
        self.inner.open_sagas().await
    }

    async fn stalled(&self, after: Duration) -> Result<i64, JournalError> {
        self.life.go_on().await;
        self.inner.stalled(after).await
    }

    /// At once: no decision depends on it, and no search for a planted bug should.
    async fn standing(&self) -> Result<Standing, JournalError> {
        self.inner.standing().await
    }

    async fn asleep(&self, versions: &[(Name, u32)]) -> Result<Vec<SagaId>, JournalError> {
        self.begin().await?;
        self.inner.asleep(versions).await
    }

    async fn wake(&self, ids: Vec<SagaId>) -> Result<(), JournalError> {
        self.begin().await?;
        self.inner.wake(ids).await
    }

    async fn untold_places(
        &self,
        versions: &[(Name, u32)],
        limit: i64,
    ) -> Result<Vec<(SagaId, Name)>, JournalError> {
        // Such a look takes no time.
        if self.inner.places_are_still() {
            self.life.go_on().await;
        } else {
            self.begin().await?;
        }
        self.inner.untold_places(versions, limit).await
    }

    async fn tidy_places(&self, limit: i64) -> Result<u64, JournalError> {
        self.life.go_on().await;
        self.inner.tidy_places(limit).await
    }

    async fn places_waiting(&self) -> Result<i64, JournalError> {
        self.life.go_on().await;
        self.inner.places_waiting().await
    }

    async fn prune_sagas(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        self.life.go_on().await;
        self.stage.with(|world| world.keep_for_the_record());
        if self.mutation == Some(Mutation::PruneAnOpenSaga) {
            self.inner.ids().first().into_iter().for_each(|id| self.inner.lose(*id));
        }
        let pruned = self.inner.prune_sagas(keep, limit).await;
        self.stage.with(|world| world.has_pruned());
        pruned
    }

    async fn prune_keys(&self, age: Duration, limit: i64) -> Result<u64, JournalError> {
        self.life.go_on().await;
        self.inner.prune_keys(age, limit).await
    }

    async fn prune_dead_letters(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        self.life.go_on().await;
        self.inner.prune_dead_letters(keep, limit).await
    }

    async fn prune_audit(&self, keep: Keep, limit: i64) -> Result<u64, JournalError> {
        self.life.go_on().await;
        self.inner.prune_audit(keep, limit).await
    }

    async fn prune_faults(&self, limit: i64) -> Result<u64, JournalError> {
        self.life.go_on().await;
        self.inner.prune_faults(limit).await
    }
}

impl JournalLetters for StormyJournal {
    async fn letters(&self, filter: &LetterFilter) -> Result<Rows<LetterRow>, JournalError> {
        self.life.go_on().await;
        self.inner.letters(filter).await
    }

    async fn letter(&self, id: Uuid) -> Result<Option<LetterRow>, JournalError> {
        self.life.go_on().await;
        self.inner.letter(id).await
    }

    async fn letter_groups(&self, filter: &LetterFilter) -> Result<Vec<LetterGroup>, JournalError> {
        self.life.go_on().await;
        self.inner.letter_groups(filter).await
    }

    async fn move_letter(&self, step: LetterStep) -> Result<bool, JournalError> {
        self.life.go_on().await;
        self.inner.move_letter(step).await
    }

    async fn give_back_letters(&self, after: Duration) -> Result<u64, JournalError> {
        self.life.go_on().await;
        self.inner.give_back_letters(after).await
    }

    async fn prune_excess_letters(&self, room: LetterRoom, limit: i64) -> Result<u64, JournalError> {
        self.life.go_on().await;
        self.inner.prune_excess_letters(room, limit).await
    }
}
