//! Starts, one request at a time: the key decides first.
//!
//! A key that was used before names its saga, also after a change: a newer version of the definition that wants more, a
//! coordinator that drains or injects no failures. So a refusal is only given once the key was looked up in the
//! journal; an ordinary new start needs no such query, as the insertion itself finds the key.

use std::pin::pin;
use std::sync::Arc;

use redress_core::fault::FaultBook;
use redress_core::{SagaDefinition, SagaId};
use tokio::sync::oneshot;

use crate::config::Admission;
use crate::engine::Engine;
use crate::journal::{Connection, PgJournal};
use crate::pauses::within;
use crate::ports::{Bus, Clock, Inserted, Journal, JournalError, StoredStart};
use crate::prepared::Prepared;
use crate::requests::{KEY_BYTES_MAX, StartError, StartRequest, Started};
use crate::starter::Waiting;
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
        SagaId(self.parts.decider.clock.new_id())
    }

    /// The same as [`start`](Self::start); if the saga is new, it gets this id.
    pub(crate) async fn start_as(&self, id: SagaId, request: StartRequest) -> Result<Started, StartError> {
        check_key(&request.key)?;
        let in_time = pin!(async {
            match self.prepare(id, &request) {
                Ok(prepared) => {
                    drop(request);
                    self.insert(prepared).await
                }
                Err(refusal) => {
                    let known = self.parts.decider.journal.start_of(&request.key).await?;
                    known_or(known, &request, refusal)
                }
            }
        });
        let limit = self.parts.config.start_timeout;
        let given_up = || Err(JournalError::given_up().into());
        within(&self.parts.decider.clock, limit, in_time).await.unwrap_or_else(given_up)
    }

    /// Hands a start to the batches and waits for its answer.
    async fn insert(&self, prepared: Prepared) -> Result<Started, StartError> {
        let id = prepared.id;
        let (answer, answered) = oneshot::channel();
        let closed = || StartError::Journal(JournalError::Panicked);
        let room = self.parts.starts_room.take(prepared.bytes()).await;
        let waiting = Waiting { prepared, answer, room };
        self.parts.starts.send(waiting).await.map_err(|_| closed())?;
        started(id, answered.await.map_err(|_| closed())??)
    }

    /// Reads and checks a start; a refusal holds only if its key is new.
    fn prepare(&self, id: SagaId, request: &StartRequest) -> Result<Prepared, StartError> {
        match self.parts.config.admission {
            Admission::Open => {}
            Admission::Draining => return Err(StartError::Draining),
        }
        tags::check(&request.tags)?;
        let definition = self.definition_for(request)?;
        let faults = match request.given_faults() {
            None => Vec::new(),
            Some(_) if !self.parts.config.allow_faults => return Err(StartError::FaultsNotAllowed),
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
        let registry = &self.parts.decider.rules.registry;
        let newest = registry
            .newest(&request.saga)
            .ok_or_else(|| StartError::UnknownSaga(request.saga.chars().take(80).collect()))?;
        match request.version {
            None => Ok(newest),
            Some(version) => registry
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
        let now = self.parts.decider.now();
        let (saga, _) = prepared.begin(now, &mut FaultBook::default(), redress_core::decide::start_unsent);
        let inserted = crate::journal::insert(transaction, self.parts.config.state_format, &[saga]).await?;
        started(prepared.id, inserted.first().copied().unwrap_or(Inserted::New))
    }
}

/// Returns true if a journal can hold it as an idempotency key.
pub(crate) fn is_key(text: &str) -> bool {
    !text.is_empty() && text.len() <= KEY_BYTES_MAX && text.bytes().all(|byte| byte.is_ascii_graphic())
}

/// A key that no journal can hold was never used as one.
fn check_key(key: &str) -> Result<(), StartError> {
    if is_key(key) { Ok(()) } else { Err(StartError::InvalidKey) }
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
