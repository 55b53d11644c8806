//! The coordinator as a handle, and the loops that carry it. Its other methods stand with their subject: `start`,
//! `engine_reads`, `operator`, `engine_faults`, `health`.
//!
//! Cheap to clone. [`Engine::run`] drives replies and timers; starts and reads work without it, but nothing goes on.

use std::sync::Arc;

use redress_core::SagaDefinition;
use redress_wire::Wire;
use redress_wire::streams::StreamError;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::Broker;
use crate::clock::JournalClock;
use crate::config::Config;
use crate::journal::PgJournal;
use crate::metrics::Metrics;
use crate::ports::{Bus, Clock, JournalReads, JournalUpkeep};
use crate::probes::Probes;
use crate::registry::Registry;
use crate::requests::OpenError;
use crate::rules::Rules;
use crate::shared::Shared;
use crate::starter::{self, Waiting};
use crate::system_clock::SystemClock;
use crate::{broker_watch, end_watch, housekeeping, intake, timers};

/// Starts that may wait for their batch; beyond, callers wait their turn.
const STARTS_WAITING_MAX: usize = 10_000;

/// A coordinator.
///
/// One handle has all methods, some two dozen, because every caller (the HTTP API, a user's program, a test) needs
/// starts, reads and operator commands of the same coordinator; they are grouped by files.
///
/// The type parameters are its [ports](crate::ports): the real ones unless a test or a simulation hands in others.
pub struct Engine<J = PgJournal, B = Wire, C = SystemClock> {
    pub(crate) shared: Arc<Shared<J, B, C>>,
    pub(crate) starts: mpsc::Sender<Waiting>,
}

impl<J, B, C> Clone for Engine<J, B, C> {
    fn clone(&self) -> Self {
        Self { shared: self.shared.clone(), starts: self.starts.clone() }
    }
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
        let topology = wire.clone();
        let registry = Registry::new(definitions, move |reply| topology.raw_reply(reply))
            .map_err(|(saga, version)| OpenError::DefinedTwice(saga, version))?;
        let config = config.clamp_ages();
        let journal = PgJournal::connect(&config).await?;
        journal.migrate(config.migrations).await?;
        for definition in registry.all() {
            journal.register(definition).await?;
        }
        claim_streams(&wire, &journal).await?;
        Self::begun(config, registry, journal, wire, SystemClock).await
    }

    /// The broker's connection.
    pub fn wire(&self) -> &Wire {
        &self.shared.bus
    }
}

impl<J: JournalReads + JournalUpkeep, B: Bus, C: Clock> Engine<J, B, C> {
    /// Opens a coordinator on ports of the caller's, and registers the definitions.
    ///
    /// The settings of `config` that speak of a database are the journal's business, and not used here.
    ///
    /// # Errors
    /// [`OpenError`] if two definitions have the same name and version, the journal does not answer, or a definition
    /// differs from the deployed one.
    pub async fn on(
        config: Config,
        definitions: Vec<SagaDefinition>,
        journal: J,
        bus: B,
        clock: C,
    ) -> Result<Self, OpenError> {
        let writer = bus.clone();
        let registry = Registry::new(definitions, move |reply| writer.raw_reply(reply))
            .map_err(|(saga, version)| OpenError::DefinedTwice(saga, version))?;
        for definition in registry.all() {
            journal.register(definition).await?;
        }
        Self::begun(config.clamp_ages(), registry, journal, bus, clock).await
    }

    /// Begins to take starts.
    async fn begun(
        config: Config,
        registry: Registry,
        journal: J,
        bus: B,
        clock: C,
    ) -> Result<Self, OpenError> {
        let opened_at = journal.now().await?;
        let shared = Arc::new(Shared {
            starts_room: Arc::new(Semaphore::new(config.starts_waiting_bytes_max)),
            outgoing_room: Arc::new(Semaphore::new(config.outgoing_bytes_max)),
            rules: Arc::new(Rules::new(registry.clone(), config.decide, clock.clone())),
            broker: Arc::new(Broker::new(bus.health(), opened_at)),
            journal_clock: Arc::new(JournalClock::new(clock.clone(), opened_at)),
            started: watch::Sender::new(!config.start_paused),
            waiters: Arc::default(),
            metrics: Metrics::default(),
            tasks: TaskTracker::new(),
            probes: Probes::default(),
            config,
            registry,
            journal,
            bus,
            clock,
            opened_at,
        });
        let (starts, waiting) = mpsc::channel(STARTS_WAITING_MAX);
        tokio::spawn(starter::run(shared.clone(), waiting));
        tokio::spawn(end_watch::run(Arc::downgrade(&shared), shared.clock.clone()));
        Ok(Self { shared, starts })
    }

    /// Takes replies and turns timers until `shutdown`; the batches in flight are finished first.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut started = self.shared.started.subscribe();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = started.wait_for(|started| *started) => {}
        }
        let loops = TaskTracker::new();
        loops.spawn(broker_watch::watch(self.shared.clone(), shutdown.clone()));
        loops.spawn(housekeeping::run(self.shared.clone(), shutdown.clone()));
        for (saga, version) in self.shared.registry.known() {
            loops.spawn(intake::replies(self.shared.clone(), saga, version, shutdown.clone()));
        }
        loops.spawn(timers::run(self.shared.clone(), shutdown));
        loops.close();
        loops.wait().await;
        self.shared.tasks.close();
        self.shared.tasks.wait().await;
        self.shared.tasks.reopen();
    }

    /// Returns true if this process can go on by itself: if not, a new one must take its place.
    pub fn is_alive(&self) -> bool {
        self.shared.bus.is_alive()
    }
}

impl<J, B, C> Engine<J, B, C> {
    /// Lets sagas move, if this coordinator was started paused; returns true if it was.
    pub fn begin(&self) -> bool {
        !self.shared.started.send_replace(true)
    }

    /// The definitions that it knows.
    pub fn definitions(&self) -> &[Arc<SagaDefinition>] {
        self.shared.registry.all()
    }

    /// The coordinator's metrics.
    pub fn metrics(&self) -> &Metrics {
        &self.shared.metrics
    }
}

/// Takes the streams for this journal. Any other trouble with them is waited out by the loops that use them.
async fn claim_streams(wire: &Wire, journal: &PgJournal) -> Result<(), OpenError> {
    match wire.claim_streams(&journal.id().await?).await {
        Err(error @ StreamError::Stranger { .. }) => Err(OpenError::Stranger(error)),
        Err(error) => {
            tracing::warn!(%error, "streams not ready yet");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
