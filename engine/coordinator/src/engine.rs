//! The coordinator as a handle: start, look, cancel, and the loops that carry it.
//!
//! Cheap to clone. [`Engine::run`] drives replies and timers; starts and reads work without it, but nothing goes on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redress_core::decide::{Context, Decision};
use redress_core::fault::{Fault, FaultBook};
use redress_core::history::HistoryEntry;
use redress_core::plan::{Plan, plan};
use redress_core::{JsonText, Name, SagaDefinition, SagaId, Timestamp};
use redress_wire::{Wire, WireHealth};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::config::{Admission, Config};
use crate::journal::{JournalError, ListFilter, ListedFault, OpenSagas, PgJournal, SagaRow, UnderWay};
use crate::metrics::Metrics;
use crate::ports::{Inserted, NewSaga};
use crate::registry::Registry;
use crate::requests::{
    FaultError, KEY_BYTES_MAX, LiveVersion, Mode, OpenError, PlanError, Readiness, StartError, StartRequest,
    Started,
};
use crate::starter::{self, JournalClock, Prepared, Waiting};
use crate::view::{Page, SagaView};
use crate::waiters::{Ended, Forget, Waiters};
use crate::work::Outgoing;
use crate::{fingerprint, housekeeping, intake};

/// Starts that may wait for their batch; beyond, callers wait their turn.
const STARTS_WAITING_MAX: usize = 10_000;
/// How often whoever waits for an end also looks into the journal: another coordinator may have ended the saga.
const END_POLL: Duration = Duration::from_millis(500);

/// A coordinator.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
    starts: mpsc::Sender<Waiting>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) registry: Registry,
    pub(crate) journal: PgJournal,
    pub(crate) wire: Wire,
    pub(crate) clock: Arc<JournalClock>,
    pub(crate) waiters: Waiters,
    pub(crate) metrics: Metrics,
    pub(crate) tasks: TaskTracker,
    /// Cancelled, as it were, once sagas may move.
    pub(crate) begun: CancellationToken,
    /// When it was opened, by the journal's clock.
    pub(crate) opened_at: Timestamp,
}

impl Engine {
    /// Opens the journal, brings its tables up to date and registers the definitions.
    ///
    /// # Errors
    /// [`OpenError`] if the database does not answer or a definition differs from the deployed one.
    pub async fn open(
        config: Config,
        definitions: Vec<SagaDefinition>,
        wire: Wire,
    ) -> Result<Self, OpenError> {
        let registry =
            Registry::new(definitions).map_err(|(saga, version)| OpenError::DefinedTwice(saga, version))?;
        let config = config.with_countable_ages();
        let journal = PgJournal::connect(&config).await?;
        journal.migrate().await?;
        for definition in registry.all() {
            journal.register(definition).await?;
        }
        let begun = CancellationToken::new();
        if !config.start_paused {
            begun.cancel();
        }
        let opened_at = journal.now().await?;
        let clock = Arc::new(JournalClock::new(opened_at));
        let shared = Arc::new(Shared {
            config,
            registry,
            journal,
            wire,
            clock,
            waiters: Waiters::default(),
            metrics: Metrics::default(),
            tasks: TaskTracker::new(),
            begun,
            opened_at,
        });
        let (starts, waiting) = mpsc::channel(STARTS_WAITING_MAX);
        tokio::spawn(starter::run(shared.clone(), waiting));
        Ok(Self { shared, starts })
    }

    /// Takes replies and turns timers until `shutdown`; what is in flight is finished first.
    pub async fn run(&self, shutdown: CancellationToken) {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = self.shared.begun.cancelled() => {}
        }
        let loops = TaskTracker::new();
        loops.spawn(housekeeping::run(self.shared.clone(), shutdown.clone()));
        for (saga, version) in self.shared.registry.known() {
            loops.spawn(intake::replies(self.shared.clone(), saga, version, shutdown.clone()));
        }
        loops.spawn(intake::timers(self.shared.clone(), shutdown));
        loops.close();
        loops.wait().await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.tasks.reopen();
    }

    /// Lets sagas move, if this coordinator was started paused; says whether it was.
    pub fn begin(&self) -> bool {
        let was_paused = !self.shared.begun.is_cancelled();
        self.shared.begun.cancel();
        was_paused
    }

    /// What a draining coordinator still has to do: the sagas of versions that are known here that were started before
    /// this coordinator was.
    ///
    /// What others take meanwhile is theirs, and what rests is for an operator and any coordinator: neither keeps it.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn under_way(&self) -> Result<UnderWay, JournalError> {
        let known = self.shared.registry.known();
        self.shared.journal.under_way(&known, self.shared.opened_at).await
    }

    /// Versions with sagas that have not ended, those that are not known here among them.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn live(&self) -> Result<Vec<LiveVersion>, JournalError> {
        let open = self.shared.journal.open_sagas().await?;
        let all = self.shared.registry.all();
        let live = open.into_iter().map(|OpenSagas { saga, version, count }| LiveVersion {
            known_here: all.iter().any(|d| *d.name == *saga && d.version == version),
            saga,
            version,
            open: count,
        });
        Ok(live.collect())
    }

    /// Starts a saga, or finds the one that was started with this key.
    ///
    /// Once this has answered `Ok`, the saga ends, whatever dies on the way.
    ///
    /// # Errors
    /// [`StartError`]; if the database is not available the same request can be made again.
    pub async fn start(&self, request: StartRequest) -> Result<Started, StartError> {
        let prepared = self.prepare(request)?;
        let id = prepared.id;
        let (answer, answered) = oneshot::channel();
        let closed = || StartError::Journal(JournalError::Panicked);
        let inserted = async {
            self.starts.send(Waiting { prepared, answer }).await.map_err(|_| closed())?;
            answered.await.map_err(|_| closed())
        };
        match tokio::time::timeout(self.shared.config.start_timeout, inserted).await {
            Ok(inserted) => started(id, inserted??),
            Err(_) => Err(JournalError::unavailable().into()),
        }
    }

    /// Starts a saga inside a transaction of the caller's, on the journal's own database.
    ///
    /// It exists if the caller commits; its first command is sent by the timer then.
    ///
    /// # Errors
    /// [`StartError`]; the transaction is then to be rolled back.
    pub async fn start_in(
        &self,
        transaction: &mut crate::journal::Connection,
        request: StartRequest,
    ) -> Result<Started, StartError> {
        let prepared = self.prepare(request)?;
        let now = self.shared.clock.now();
        let (saga, _) =
            self.shared.begin(&prepared, now, &mut FaultBook::default(), redress_core::decide::start_unsent);
        let inserted = crate::journal::insert(transaction, &[saga]).await?;
        started(prepared.id, inserted.first().copied().unwrap_or(Inserted::New))
    }

    fn prepare(&self, request: StartRequest) -> Result<Prepared, StartError> {
        match self.shared.config.admission {
            Admission::Open => {}
            Admission::Draining => return Err(StartError::Draining),
        }
        let visible = |b: u8| b.is_ascii_graphic();
        if request.key.is_empty() || request.key.len() > KEY_BYTES_MAX || !request.key.bytes().all(visible) {
            return Err(StartError::InvalidKey);
        }
        if request.tags.iter().any(|(name, value)| name.contains('\0') || value.contains('\0')) {
            return Err(StartError::InvalidTag);
        }
        let definition = self.definition_for(&request)?;
        let faults = match &request.faults {
            None => Vec::new(),
            Some(_) if !self.shared.config.allow_faults => return Err(StartError::FaultsNotAllowed),
            Some(given) => {
                redress_core::fault::of_saga(definition, given.clone()).map_err(StartError::InvalidFaults)?
            }
        };
        let data = definition.read_input(&request.input)?;
        let fingerprint = fingerprint::of(&request);
        let place = self
            .shared
            .registry
            .all()
            .iter()
            .position(|d| d.name == definition.name && d.version == definition.version);
        Ok(Prepared {
            id: SagaId(Uuid::now_v7()),
            definition: place.expect("the definition came from the registry"),
            key: request.key,
            fingerprint,
            input: request.input.to_string().into_bytes(),
            tags: serde_json::to_value(&request.tags).unwrap_or_default(),
            data,
            faults,
            traceparent: request.traceparent,
        })
    }

    fn definition_for(&self, request: &StartRequest) -> Result<&SagaDefinition, StartError> {
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

    /// Whatever was started before this, and goes on, is stalled.
    fn stalled_before(&self) -> Timestamp {
        self.shared.clock.now() - self.shared.config.stalled_after
    }

    /// A saga as it is now.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn saga(&self, id: SagaId) -> Result<Option<SagaView>, JournalError> {
        Ok(self.shared.journal.saga(id).await?.map(|row| self.view(row)))
    }

    fn view(&self, row: SagaRow) -> SagaView {
        let definition =
            Name::new(&row.saga).ok().and_then(|name| self.shared.registry.get(&name, row.version));
        SagaView::new(row, definition, self.stalled_before())
    }

    /// A page of sagas, newest first; `next` is the id to go on after.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn sagas(&self, mut filter: ListFilter) -> Result<Page<SagaView>, JournalError> {
        let limit = filter.limit;
        filter.limit += 1;
        filter.stalled_before = filter.stalled.then(|| self.stalled_before());
        let mut rows = self.shared.journal.sagas(&filter).await?;
        let more = i64::try_from(rows.len()).unwrap_or(i64::MAX) > limit;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let id = |row: &Result<SagaRow, SagaId>| row.as_ref().map_or_else(|id| *id, |row| row.id).to_string();
        let next = rows.last().filter(|_| more).map(id);
        let mut page = Page { items: Vec::with_capacity(rows.len()), next, unreadable: Vec::new() };
        for row in rows {
            match row {
                Ok(row) => page.items.push(self.view(row)),
                Err(id) => page.unreadable.push(id.to_string()),
            }
        }
        Ok(page)
    }

    /// A page of what happened to a saga, oldest first, after row number `after`; nothing if there is no such saga.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn history(
        &self,
        id: SagaId,
        after: u32,
        limit: i64,
    ) -> Result<Option<Page<HistoryEntry>>, JournalError> {
        let after = i32::try_from(after).unwrap_or(i32::MAX);
        let mut items = self.shared.journal.history(id, after, limit + 1).await?;
        if items.is_empty() && self.shared.journal.saga(id).await?.is_none() {
            return Ok(None);
        }
        let limit = usize::try_from(limit).unwrap_or(usize::MAX);
        let more = items.len() > limit;
        items.truncate(limit);
        let next = items.last().filter(|_| more).map(|entry| entry.seq.to_string());
        Ok(Some(Page { items, next, unreadable: Vec::new() }))
    }

    /// What a saga would still do and what it would undo now; nothing if there is no such saga, an error inside if its
    /// definition is not known here or fails on its data.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn plan(&self, id: SagaId) -> Result<Option<Result<Plan, PlanError>>, JournalError> {
        let Some(row) = self.shared.journal.saga(id).await? else { return Ok(None) };
        let definition =
            Name::new(&row.saga).ok().and_then(|name| self.shared.registry.get(&name, row.version));
        Ok(Some(match definition {
            None => Err(PlanError::VersionNotHere(row.saga, row.version)),
            Some(definition) => plan(definition, &row.state).map_err(PlanError::Closure),
        }))
    }

    /// Waits until a saga has ended or is parked, at most so long; then gives it as it is.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn wait_ended(&self, id: SagaId, timeout: Duration) -> Result<Option<SagaView>, JournalError> {
        let deadline = tokio::time::Instant::now() + timeout;
        // Also when whoever waits goes away in the middle.
        let _forgotten = Forget { waiters: &self.shared.waiters, id };
        loop {
            let ended = self.shared.waiters.wait_for(id);
            let view = self.saga(id).await?;
            let settled = view.as_ref().is_none_or(SagaView::rests);
            if settled || tokio::time::Instant::now() >= deadline {
                return Ok(view);
            }
            let look_again = deadline.min(tokio::time::Instant::now() + END_POLL);
            // Either way the journal is asked again.
            let _ = tokio::time::timeout_at(look_again, ended).await;
        }
    }

    /// Sagas whose end is waited for here.
    pub fn waiting(&self) -> usize {
        self.shared.waiters.waited_for()
    }

    /// Every saga that this coordinator ends or parks from now on.
    pub fn watch_ended(&self) -> mpsc::UnboundedReceiver<Ended> {
        self.shared.waiters.watch()
    }

    /// The definitions that it knows.
    pub fn definitions(&self) -> &[SagaDefinition] {
        self.shared.registry.all()
    }

    /// Whether failures may be injected.
    pub fn allows_faults(&self) -> bool {
        self.shared.config.allow_faults
    }

    /// The standing faults.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn faults(&self) -> Result<Vec<ListedFault>, JournalError> {
        self.shared.journal.faults().await
    }

    /// Adds a standing fault and gives its number.
    ///
    /// # Errors
    /// [`FaultError::NotAllowed`] unless faults are allowed; [`FaultError::StrikesNothing`] if no definition here has
    /// what it names.
    pub async fn add_fault(&self, fault: &Fault) -> Result<i64, FaultError> {
        if !self.shared.config.allow_faults {
            return Err(FaultError::NotAllowed);
        }
        fault.check_reach(&self.shared.registry.all().iter().collect::<Vec<_>>())?;
        Ok(self.shared.journal.add_fault(fault).await?)
    }

    /// Takes all standing faults away and says how many there were.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn clear_faults(&self) -> Result<u64, JournalError> {
        self.shared.journal.clear_faults().await
    }

    /// How many sagas stand where: definition, version, status, number.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn census(&self) -> Result<Vec<(String, u32, String, i64)>, JournalError> {
        self.shared.journal.census().await
    }

    /// Whether database and broker are there.
    pub async fn readiness(&self) -> Readiness {
        let database = match self.shared.journal.ping().await {
            Ok(()) => "ok".to_owned(),
            Err(error) => error.to_string(),
        };
        let broker = match self.shared.wire.health() {
            WireHealth::Connected => "ok".to_owned(),
            WireHealth::Disconnected => "not connected; commands go out when it is back".to_owned(),
        };
        let live = self.live().await.unwrap_or_default();
        let waiting_versions = live.into_iter().filter(|live| !live.known_here).collect();
        let mode = match (self.shared.begun.is_cancelled(), self.shared.config.admission) {
            (false, _) => Mode::Paused,
            (true, Admission::Draining) => Mode::Draining,
            (true, Admission::Open) => Mode::Serving,
        };
        let ready = database == "ok" && broker == "ok";
        Readiness { ready, database, broker, mode, waiting_versions }
    }

    /// The settings of the database on which durability depends.
    ///
    /// # Errors
    /// [`JournalError`] if the database does not answer.
    pub async fn durability(&self) -> Result<BTreeMap<String, String>, JournalError> {
        self.shared.journal.durability().await
    }

    /// What it counts.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }

    /// The broker's connection.
    pub fn wire(&self) -> &Wire {
        &self.shared.wire
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

impl Shared {
    /// The first decision of a saga, as a row to insert and the commands that go with it.
    pub(crate) fn begin(
        &self,
        start: &Prepared,
        now: Timestamp,
        faults: &mut FaultBook,
        first: impl FnOnce(&mut Context<'_>, JsonText, Vec<Fault>) -> Decision,
    ) -> (NewSaga, Outgoing) {
        let definition = &self.registry.all()[start.definition];
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
            fingerprint: start.fingerprint,
            input: start.input.clone(),
            tags: start.tags.clone(),
            state: decision.state,
            history: decision.history,
        };
        (saga, Outgoing { commands: decision.commands, notifications: decision.notifications })
    }
}
