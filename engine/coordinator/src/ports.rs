//! What the coordinator needs of the outside world, in batches.
//!
//! The vocabulary is that of the core, not of SQL or NATS. The Postgres journal is in [`journal`](crate::journal); the
//! bus is `redress-wire`.

use std::future::Future;

use redress_core::fault::FaultBook;
use redress_core::history::HistoryEntry;
use redress_core::message::NotificationMessage;
use redress_core::state::SagaState;
use redress_core::{CommandMessage, Name, SagaId, Timestamp};

use crate::journal::JournalError;

/// A saga as the journal holds it.
#[derive(Debug)]
pub struct Stored {
    /// The saga.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: Name,
    /// Its definition's version.
    pub version: u32,
    /// The guard of the next write.
    pub revision: i64,
    /// Where it stands, or why that cannot be read.
    pub state: Result<SagaState, String>,
}

/// The sagas of one unit of work, with the journal's clock.
#[derive(Debug)]
pub struct Snapshot {
    /// The journal's clock.
    pub now: Timestamp,
    /// The sagas, in the order of their ids.
    pub sagas: Vec<Stored>,
    /// The standing faults, locked if there are any.
    pub faults: FaultBook,
}

/// What a unit of work writes.
#[derive(Debug, Default)]
pub struct Changes {
    /// New states.
    pub sagas: Vec<Change>,
    /// Rows to append.
    pub history: Vec<(SagaId, HistoryEntry)>,
    /// What nobody could use.
    pub dead_letters: Vec<Buried>,
    /// How often each standing fault struck.
    pub struck: Vec<(i64, u32)>,
    /// Who did what.
    pub audit: Vec<Audit>,
    /// Sagas that cannot be decided: the timer leaves them alone for a while.
    pub set_aside: Vec<SagaId>,
    /// Sagas that met trouble of the database's, which passes: the timer comes back to them soon, and to the others first.
    pub put_off: Vec<SagaId>,
}

impl Changes {
    /// Whether there is nothing to write but states and history.
    pub(crate) const fn are_of_sagas_alone(&self) -> bool {
        self.dead_letters.is_empty()
            && self.struck.is_empty()
            && self.audit.is_empty()
            && self.set_aside.is_empty()
            && self.put_off.is_empty()
    }
}

/// The new state of a saga.
#[derive(Debug)]
pub struct Change {
    /// The saga.
    pub id: SagaId,
    /// The revision on which the decision was made.
    pub revision: i64,
    /// Whether the revision counts on: not if only the timer's mark moved.
    pub moved: bool,
    /// Whether the timer's mark is set anew: its time had come.
    pub fired: bool,
    /// Whether the data differ from what is stored.
    pub new_data: bool,
    /// The state.
    pub state: SagaState,
}

/// Something that nobody could use.
#[derive(Clone, Debug)]
pub struct Buried {
    /// The saga that it was about, if that is known.
    pub saga_id: Option<SagaId>,
    /// Why nobody could use it.
    pub reason: String,
    /// Where it came from.
    pub subject: String,
    /// The headers that it had.
    pub headers: Vec<(String, String)>,
    /// The body that it had.
    pub payload: Vec<u8>,
}

/// Who did what.
#[derive(Clone, Debug)]
pub struct Audit {
    /// The order, to find it again if the answer to its commit was lost.
    pub order_id: uuid::Uuid,
    /// Who.
    pub actor: String,
    /// What, as one word.
    pub verb: &'static str,
    /// To which saga.
    pub saga_id: SagaId,
    /// Why.
    pub reason: String,
}

/// Which sagas a unit of work is about.
#[derive(Clone, Debug)]
pub enum Selection {
    /// These, as they are now: if one of them has moved when the decision is written, it is a
    /// [`JournalError::Collision`].
    Unlocked(Vec<SagaId>),
    /// These, whoever else wants them: waits for their locks.
    These(Vec<SagaId>),
    /// This one, if nobody holds it at this moment: a [`JournalError::Held`] otherwise, and at once.
    Alone(SagaId),
    /// Those that are due, at most so many of each known definition, passing over what others hold.
    Due {
        /// Names and versions that this coordinator knows.
        known: Vec<(Name, u32)>,
        /// At most so many of each.
        limit: i64,
    },
}

impl Selection {
    /// Whether nobody else can move the sagas while they are decided on.
    pub(crate) const fn is_locked(&self) -> bool {
        match self {
            Self::Unlocked(_) => false,
            Self::These(_) | Self::Alone(_) | Self::Due { .. } => true,
        }
    }

    /// The same sagas, with locks.
    pub(crate) fn locked(self) -> Self {
        match self {
            Self::Unlocked(ids) => Self::These(ids),
            Self::These(_) | Self::Alone(_) | Self::Due { .. } => self,
        }
    }
}

/// A saga that begins.
#[derive(Clone, Debug)]
pub struct NewSaga {
    /// The saga.
    pub id: SagaId,
    /// Its definition's name.
    pub saga: Name,
    /// Its definition's version.
    pub version: u32,
    /// Key of the start.
    pub key: String,
    /// Fingerprint of the start's body.
    pub fingerprint: [u8; 32],
    /// The input as it was given.
    pub input: Vec<u8>,
    /// Labels.
    pub tags: serde_json::Value,
    /// Its first state.
    pub state: SagaState,
    /// Its first rows.
    pub history: Vec<HistoryEntry>,
}

impl NewSaga {
    /// Its status, if it has ended or parked at its first decision.
    pub(crate) fn at_rest(&self) -> Option<&'static str> {
        let rests = self.state.is_ended() || self.state.parked().is_some();
        rests.then(|| self.state.status_word())
    }
}

/// What became of a start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Inserted {
    /// The saga exists now.
    New,
    /// The key belongs to this saga already, started with the same body.
    Same(SagaId),
    /// The key belongs to a saga that was started with another body.
    Other(SagaId),
}

/// The source of truth.
pub trait Journal: Send + Sync + 'static {
    /// Reads the selected sagas, hands them to `decide`, writes what it says, and commits.
    ///
    /// On an error nothing has happened, but for [`JournalError::CommitUnknown`]: then the same may be asked again, and
    /// the decision will be made on what the journal then says.
    fn transact<T: Send + 'static>(
        &self,
        selection: Selection,
        decide: impl FnOnce(Snapshot) -> (Changes, T) + Send + 'static,
    ) -> impl Future<Output = Result<T, JournalError>> + Send;

    /// Inserts sagas whose keys are new, all in one transaction, and says what became of each.
    fn insert(
        &self,
        sagas: Vec<NewSaga>,
        struck: Vec<(i64, u32)>,
    ) -> impl Future<Output = Result<Vec<Inserted>, JournalError>> + Send;

    /// Keeps what nobody could use.
    fn bury(&self, letters: Vec<Buried>) -> impl Future<Output = Result<(), JournalError>> + Send;
}

/// What carries commands to participants. Failures are the bus's own to log: `due_at` heals.
pub trait Bus: Send + Sync + 'static {
    /// Publishes commands whose decision is committed.
    fn publish(&self, commands: Vec<CommandMessage>) -> impl Future<Output = ()> + Send;

    /// Sends notifications whose decision is committed: once, whatever becomes of them.
    fn tell(&self, notifications: Vec<NotificationMessage>) -> impl Future<Output = ()> + Send;
}

impl Bus for redress_wire::Wire {
    async fn publish(&self, commands: Vec<CommandMessage>) {
        for failure in self.publish_commands(&commands).await.into_iter().filter_map(Result::err) {
            tracing::debug!(error = %failure, "command not stored");
        }
    }

    async fn tell(&self, notifications: Vec<NotificationMessage>) {
        self.notify(&notifications).await;
    }
}
