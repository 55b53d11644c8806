//! The port of the source of truth, in three parts: what moves sagas, what people read, what keeps it small.

use std::future::Future;
use std::time::Duration;

use redress_core::fault::{FaultBook, Strike};
use redress_core::history::HistoryEntry;
use redress_core::{Name, SagaDefinition, SagaId, Timestamp};
use uuid::Uuid;

use super::data::{Changes, DeadLetter, Inserted, NewSaga, Selection, Snapshot, StoredStart};
use super::errors::{JournalError, RegisterError};
use super::reads::{ListFilter, Listed, OpenSaga, OpenSagas, Rows, SagaRow, Standing, UnderWay};

/// The source of truth: the part of it on which sagas begin and move. Cheap to clone.
///
/// Every call may be dropped while it waits; what it began is then finished, or undone as a whole.
pub trait Journal: Clone + Send + Sync + 'static {
    /// Reads the selected sagas, as far as `bytes_max` goes (but always one), hands them to `decide` with the names of
    /// those that it left, writes the changes that it returns, and commits.
    ///
    /// # Errors
    /// [`JournalError`]. Nothing has happened then, but for [`JournalError::CommitUnknown`]: then the same may be tried
    /// again, and the decision will be made on the state that the journal then has.
    fn transact<T: Send + 'static>(
        &self,
        selection: Selection,
        bytes_max: usize,
        decide: impl FnOnce(Snapshot) -> (Changes, T) + Send + 'static,
    ) -> impl Future<Output = Result<T, JournalError>> + Send;

    /// Inserts sagas whose keys are new, all in one transaction, and returns the outcome of each. `struck` has the
    /// strikes of standing faults; those on sagas that are not new are not counted.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    fn insert(
        &self,
        sagas: Vec<NewSaga>,
        struck: Vec<Strike>,
    ) -> impl Future<Output = Result<Vec<Inserted>, JournalError>> + Send;

    /// Keeps messages that could not be used, each once: a letter that is there already stays as it is.
    ///
    /// # Errors
    /// As [`transact`](Self::transact).
    fn dead_letter(&self, letters: Vec<DeadLetter>) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// The start that this key names; one that was committed a moment ago is seen.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be read.
    fn start_of(&self, key: &str) -> impl Future<Output = Result<Option<StoredStart>, JournalError>> + Send;

    /// Returns true if an operator command was carried out: looked up when the answer to its commit was lost.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be read.
    fn has_operator_command(
        &self,
        command_id: Uuid,
    ) -> impl Future<Output = Result<bool, JournalError>> + Send;

    /// The standing faults, not locked.
    ///
    /// # Errors
    /// [`JournalError`] if they cannot be read.
    fn read_faults(&self) -> impl Future<Output = Result<FaultBook, JournalError>> + Send;

    /// Looks up if there are standing faults, which other coordinators may have added.
    ///
    /// # Errors
    /// [`JournalError`] if they cannot be read.
    fn look_for_faults(&self) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// The journal's clock: the times of all sagas are its times. It may step back and forth.
    ///
    /// # Errors
    /// [`JournalError`] if it does not answer.
    fn now(&self) -> impl Future<Output = Result<Timestamp, JournalError>> + Send;

    /// Returns true if the batch may have failed by the fault of one of its members, so that the others may do better
    /// alone: not if the journal is not there.
    fn should_isolate(&self, error: &JournalError) -> impl Future<Output = bool> + Send;

    /// The id of this journal: the streams at the broker carry it.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be read.
    fn id(&self) -> impl Future<Output = Result<String, JournalError>> + Send;

    /// Stores the definition if its version is new, and compares it with the stored one if it is not.
    ///
    /// # Errors
    /// [`RegisterError::Changed`] if it is not the same.
    fn register(&self, definition: &SagaDefinition)
    -> impl Future<Output = Result<(), RegisterError>> + Send;
}

/// The source of truth as people read it: never a lock, never without a limit.
pub trait JournalReads: Journal {
    /// One saga.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot be read.
    fn saga(&self, id: SagaId) -> impl Future<Output = Result<Option<SagaRow>, JournalError>> + Send;

    /// Those of these sagas that have ended or are parked.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn at_rest(&self, ids: &[SagaId]) -> impl Future<Output = Result<Vec<SagaId>, JournalError>> + Send;

    /// A page of sagas, newest first; one that cannot be read is named and hides no other.
    ///
    /// It looks at a bounded number of sagas, and says where it stopped ([`Rest::Unsearched`](super::Rest::Unsearched)).
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn sagas(&self, filter: &ListFilter) -> impl Future<Output = Result<Listed, JournalError>> + Send;

    /// A page of the sagas that bear this label and have not ended, newest first, of at most `limit` after the saga
    /// `after`.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn open_with_tag(
        &self,
        tag: &(String, String),
        after: Option<SagaId>,
        limit: i64,
    ) -> impl Future<Output = Result<Rows<OpenSaga>, JournalError>> + Send;

    /// A page of a saga's history, oldest first, of at most `limit` rows after the row `after`.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer or a row is unreadable.
    fn history(
        &self,
        id: SagaId,
        after: i32,
        limit: i64,
    ) -> impl Future<Output = Result<Rows<HistoryEntry>, JournalError>> + Send;

    /// The saga that is the first of the key in whose order this step waits, unless that is its own.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn place_holder(
        &self,
        id: SagaId,
        step: &Name,
    ) -> impl Future<Output = Result<Option<SagaId>, JournalError>> + Send;

    /// The number of sagas that have not ended, by definition, version and status.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn census(&self) -> impl Future<Output = Result<Vec<(String, u32, String, i64)>, JournalError>> + Send;

    /// The sagas of these versions that are not over, of those that were started before `since`.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn under_way(
        &self,
        versions: &[(Name, u32)],
        since: Timestamp,
    ) -> impl Future<Output = Result<UnderWay, JournalError>> + Send;

    /// Checks that the journal can be written.
    ///
    /// # Errors
    /// [`JournalError`] if it cannot.
    fn ready(&self) -> impl Future<Output = Result<(), JournalError>> + Send;
}

/// What keeps the source of truth small and its sagas moving. No call touches the state of a saga that is open.
pub trait JournalUpkeep: Journal {
    /// The number of sagas that still need their definition: those that have not ended, and those that were closed while
    /// the outcome of a step is still being verified.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn open_sagas(&self) -> impl Future<Output = Result<Vec<OpenSagas>, JournalError>> + Send;

    /// The number of sagas that go on by themselves, but for longer than this.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn stalled(&self, after: Duration) -> impl Future<Output = Result<i64, JournalError>> + Send;

    /// The age of the oldest open saga and the number of parked ones, by definition.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn standing(&self) -> impl Future<Output = Result<Standing, JournalError>> + Send;

    /// The sagas of these versions that wait for their time, but for those of which the state
    /// [says](redress_core::state::SagaState::is_awaiting) that they await something from outside: nothing of theirs is
    /// under way, and there may be any number of them.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn asleep(
        &self,
        versions: &[(Name, u32)],
    ) -> impl Future<Output = Result<Vec<SagaId>, JournalError>> + Send;

    /// Lets the timer look at these sagas at once, but for those that another unit of work moves at the moment.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn wake(&self, ids: Vec<SagaId>) -> impl Future<Output = Result<(), JournalError>> + Send;

    /// At most `limit` places that are the first of a key in which something has changed, of sagas of these versions that do
    /// not know it. It is told until they do.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn untold_places(
        &self,
        versions: &[(Name, u32)],
        limit: i64,
    ) -> impl Future<Output = Result<Vec<(SagaId, Name)>, JournalError>> + Send;

    /// Forgets at most `limit` changes of keys whose first saga knows that it is the first; returns the number.
    ///
    /// # Errors
    /// [`JournalError`] if the journal refuses; then nothing was forgotten.
    fn tidy_places(&self, limit: i64) -> impl Future<Output = Result<u64, JournalError>> + Send;

    /// The number of places that stand behind another one of their key.
    ///
    /// # Errors
    /// [`JournalError`] if the journal does not answer.
    fn places_waiting(&self) -> impl Future<Output = Result<i64, JournalError>> + Send;

    /// Removes at most `limit` sagas that ended before the time for which they are kept and wait for nothing any more,
    /// with all that belongs to them; returns the number.
    ///
    /// # Errors
    /// [`JournalError`] if the journal refuses; then nothing was removed.
    fn prune_sagas(&self, keep: Keep, limit: i64) -> impl Future<Output = Result<u64, JournalError>> + Send;

    /// Removes at most `limit` keys of starts whose sagas ended more than `age` ago; returns the number. The key of a saga
    /// that is open stays.
    ///
    /// # Errors
    /// [`JournalError`] if the journal refuses; then nothing was removed.
    fn prune_keys(&self, age: Duration, limit: i64)
    -> impl Future<Output = Result<u64, JournalError>> + Send;

    /// Removes at most `limit` dead letters that are older than they must be kept and speak of no open saga; returns
    /// the number.
    ///
    /// # Errors
    /// [`JournalError`] if the journal refuses; then nothing was removed.
    fn prune_dead_letters(
        &self,
        keep: Keep,
        limit: i64,
    ) -> impl Future<Output = Result<u64, JournalError>> + Send;

    /// Removes at most `limit` rows of the audit log whose saga is gone and that are as old as it was; returns the
    /// number.
    ///
    /// # Errors
    /// [`JournalError`] if the journal refuses; then nothing was removed.
    fn prune_audit(&self, keep: Keep, limit: i64) -> impl Future<Output = Result<u64, JournalError>> + Send;

    /// Removes at most `limit` standing faults that are used up and were added long ago; returns the number.
    ///
    /// # Errors
    /// [`JournalError`] if the journal refuses; then nothing was removed.
    fn prune_faults(&self, limit: i64) -> impl Future<Output = Result<u64, JournalError>> + Send;
}

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Sagas that have ended, from their end: as long as a client may repeat a start, and an operator may ask about it.
    pub sagas: Duration,
    /// The keys of their starts, from the end of the saga, if not as long as the saga: never longer. A key that is gone is
    /// like one that never was, and a start with it begins a new saga.
    pub keys: Option<Duration>,
    /// Dead letters, from when they came; those of open sagas are kept in any case.
    pub dead_letters: Duration,
}
