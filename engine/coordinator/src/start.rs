//! Starts, one request at a time: the key decides first.
//!
//! A key that was used before names its saga, also after a change: a newer version of the definition that wants more, a
//! coordinator that drains or injects no failures. So a refusal is only given once the key was looked up in the
//! journal; an ordinary new start needs no such query, as the insertion itself finds the key.

use std::sync::Arc;

use redress_core::decide::{Context, Decision};
use redress_core::fault::{Fault, FaultBook};
use redress_core::{JsonText, SagaDefinition, SagaId, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

use crate::batch::Outgoing;
use crate::config::Admission;
use crate::engine::Engine;
use crate::journal::{Connection, PgJournal};
use crate::pauses::within;
use crate::ports::{Bus, Clock, Inserted, Journal, JournalError, NewSaga, StoredStart};
use crate::requests::{KEY_BYTES_MAX, StartError, StartRequest, Started};
use crate::shared::Shared;
use crate::starter::{Prepared, Waiting};
use crate::{fingerprint, tags};

impl<J: Journal, B: Bus, C: Clock> Engine<J, B, C> {
    /// Starts a saga as a client asks for it, or finds the one that was started with this key; programs that have the
    /// definition use [`start`](Self::start).
    ///
    /// Once this has answered `Ok`, the saga ends, even if processes or machines die on the way.
    ///
    /// # Errors
    /// [`StartError`]; if the database is not available the same request can be made again.
    pub async fn start_request(&self, request: StartRequest) -> Result<Started, StartError> {
        self.start_as(self.new_id(), request).await
    }

    /// Ids are ordered by the time of the start.
    pub(crate) fn new_id(&self) -> SagaId {
        SagaId(self.shared.clock.new_id())
    }

    /// The same as [`start`](Self::start); if the saga is new, it gets this id.
    pub(crate) async fn start_as(&self, id: SagaId, request: StartRequest) -> Result<Started, StartError> {
        check_key(&request.key)?;
        let in_time = async {
            match self.prepare(id, &request) {
                Ok(prepared) => {
                    drop(request);
                    self.insert(prepared).await
                }
                Err(refusal) => {
                    let known = self.shared.journal.start_of(&request.key).await?;
                    known_or(known, &request, refusal)
                }
            }
        };
        let limit = self.shared.config.start_timeout;
        let given_up = || Err(JournalError::given_up().into());
        within(&self.shared.clock, limit, in_time).await.unwrap_or_else(given_up)
    }

    /// Hands a start to the batches and waits for its answer.
    async fn insert(&self, prepared: Prepared) -> Result<Started, StartError> {
        let id = prepared.id;
        let (answer, answered) = oneshot::channel();
        let closed = || StartError::Journal(JournalError::Panicked);
        let room =
            room(&self.shared.starts_room, self.shared.config.starts_waiting_bytes_max, prepared.bytes());
        let waiting = Waiting { prepared, answer, room: room.await };
        self.starts.send(waiting).await.map_err(|_| closed())?;
        started(id, answered.await.map_err(|_| closed())??)
    }

    /// Reads and checks a start; a refusal holds only if its key is new.
    fn prepare(&self, id: SagaId, request: &StartRequest) -> Result<Prepared, StartError> {
        match self.shared.config.admission {
            Admission::Open => {}
            Admission::Draining => return Err(StartError::Draining),
        }
        tags::check(&request.tags)?;
        let definition = self.definition_for(request)?;
        let faults = match request.given_faults() {
            None => Vec::new(),
            Some(_) if !self.shared.config.allow_faults => return Err(StartError::FaultsNotAllowed),
            Some(given) => {
                redress_core::fault::of_saga(definition, given.clone()).map_err(StartError::InvalidFaults)?
            }
        };
        let data = definition.read_input(&request.input)?;
        Ok(Prepared {
            id,
            definition: definition.clone(),
            key: request.key.clone(),
            fingerprint: fingerprint::of(request),
            input: request.input.to_string().into_bytes(),
            tags: serde_json::to_value(&request.tags).unwrap_or_default(),
            data,
            faults,
            traceparent: request.traceparent.clone(),
        })
    }

    fn definition_for(&self, request: &StartRequest) -> Result<&Arc<SagaDefinition>, StartError> {
        let newest = self
            .shared
            .registry
            .newest(&request.saga)
            .ok_or_else(|| StartError::UnknownSaga(request.saga.chars().take(80).collect()))?;
        match request.version {
            None => Ok(newest),
            Some(version) => self
                .shared
                .registry
                .get(&newest.name, version)
                .ok_or_else(|| StartError::UnknownVersion(newest.name.to_string(), version)),
        }
    }
}

impl<B: Bus, C: Clock> Engine<PgJournal, B, C> {
    /// Starts a saga inside a transaction of the caller's, on the journal's own database.
    ///
    /// It exists if the caller commits; its first command is sent by the timer then.
    ///
    /// # Errors
    /// [`StartError`]; the transaction is then to be rolled back.
    pub async fn start_in(
        &self,
        transaction: &mut Connection,
        request: StartRequest,
    ) -> Result<Started, StartError> {
        check_key(&request.key)?;
        let prepared = match self.prepare(self.new_id(), &request) {
            Ok(prepared) => prepared,
            Err(refusal) => {
                let known = crate::journal::start_of(transaction, &request.key).await?;
                return known_or(known, &request, refusal);
            }
        };
        let now = self.shared.journal_clock.now();
        let (saga, _) =
            self.shared.begin(&prepared, now, &mut FaultBook::default(), redress_core::decide::start_unsent);
        let inserted = crate::journal::insert(transaction, self.shared.config.state_format, &[saga]).await?;
        started(prepared.id, inserted.first().copied().unwrap_or(Inserted::New))
    }
}

/// A key that no journal can hold was never used as one.
fn check_key(key: &str) -> Result<(), StartError> {
    let is_visible = key.bytes().all(|byte| byte.is_ascii_graphic());
    if key.is_empty() || key.len() > KEY_BYTES_MAX || !is_visible {
        return Err(StartError::InvalidKey);
    }
    Ok(())
}

/// The saga that the key names, or the refusal if it names none.
fn known_or(
    known: Option<StoredStart>,
    request: &StartRequest,
    refusal: StartError,
) -> Result<Started, StartError> {
    match known {
        None => Err(refusal),
        Some(known) if fingerprint::of(request).is_of(&known.fingerprint) => {
            Ok(Started { id: known.id, created: false })
        }
        Some(known) => Err(StartError::KeyReused(known.id)),
    }
}

fn started(id: SagaId, inserted: Inserted) -> Result<Started, StartError> {
    match inserted {
        Inserted::New => Ok(Started { id, created: true }),
        // A start whose commit was answered late finds itself.
        Inserted::Same(same) => Ok(Started { id: same, created: same == id }),
        Inserted::Other(other) => Err(StartError::KeyReused(other)),
    }
}

/// So many bytes of a room that has `all`; a start that is larger than the room takes all of it.
async fn room(of: &Arc<Semaphore>, all: usize, bytes: usize) -> OwnedSemaphorePermit {
    let permits = u32::try_from(bytes.min(all)).unwrap_or(u32::MAX);
    of.clone().acquire_many_owned(permits).await.expect("the rooms are never closed")
}

impl<J, B, C> Shared<J, B, C> {
    /// Waits until the outgoing messages have room among those that are on their way.
    pub(crate) async fn room_for(&self, outgoing: &Outgoing) -> OwnedSemaphorePermit {
        room(&self.outgoing_room, self.config.outgoing_bytes_max, outgoing.bytes()).await
    }

    /// The first decision of a saga, as a row to insert and the commands that go with it.
    pub(crate) fn begin(
        &self,
        start: &Prepared,
        now: Timestamp,
        faults: &mut FaultBook,
        first: impl FnOnce(&mut Context<'_>, JsonText, Vec<Fault>) -> Decision,
    ) -> (NewSaga, Outgoing) {
        let definition = &*start.definition;
        let mut context = Context {
            definition,
            saga_id: start.id,
            now,
            jitter: 0.0,
            faults,
            traceparent: start.traceparent.clone(),
        };
        let decision = first(&mut context, start.data.clone(), start.faults.clone());
        let saga = NewSaga {
            id: start.id,
            saga: definition.name.clone(),
            version: definition.version,
            key: start.key.clone(),
            fingerprint: start.fingerprint.clone(),
            input: start.input.clone(),
            tags: start.tags.clone(),
            state: decision.state,
            history: decision.history,
        };
        (saga, Outgoing { commands: decision.commands, notifications: decision.notifications })
    }
}
