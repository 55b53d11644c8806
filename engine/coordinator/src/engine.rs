//! The coordinator as a handle, and the loops that carry it. Its other methods stand with their subject: `start`,
//! `engine_reads`, `operator`, `engine_letters`, `engine_faults`, `health`.
//!
//! Cheap to clone. [`Engine::run`] drives replies and timers; starts and reads work without it, but nothing goes on.

use std::sync::Arc;

use redress_core::{SagaDefinition, Timestamp};
use redress_wire::Wire;
use redress_wire::streams::StreamError;
use tokio::sync::{Notify, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batch_size::{BatchSize, SharedLimit};
use crate::broker::Broker;
use crate::broker_watch::BrokerWatch;
use crate::clock::JournalClock;
use crate::config::Config;
use crate::decider::Decider;
use crate::end_watch;
use crate::gauges::Gauges;
use crate::housekeeping::Housekeeping;
use crate::intake::Intake;
use crate::journal::PgJournal;
use crate::kept::KeptStates;
use crate::letter_intake::LetterIntake;
use crate::metrics::Metrics;
use crate::ports::{Bus, Clock, JournalLetters, JournalReads, JournalUpkeep};
use crate::probes::Probes;
use crate::publisher::Publisher;
use crate::registry::Registry;
use crate::reply_lag::ReplyLag;
use crate::requests::OpenError;
use crate::room::Room;
use crate::rules::Rules;
use crate::sequencer::Sequencer;
use crate::starter::{Starter, Waiting};
use crate::system_clock::SystemClock;
use crate::timers::Timers;

/// Starts that may wait for their batch; beyond, callers wait their turn.
const STARTS_WAITING_MAX: usize = 10_000;

/// A coordinator.
///
/// One handle has all methods, some two dozen, because every caller (the HTTP API, a user's program, a test) needs
/// starts, reads and operator commands of the same coordinator; they are grouped by files.
///
/// The type parameters are its [ports](crate::ports): the real ones unless a test or a simulation hands in others.
pub struct Engine<J = PgJournal, B = Wire, C = SystemClock> {
    pub(crate) parts: Arc<Parts<J, B, C>>,
}

/// The parts of a coordinator. Its loops have their own, and none of them has all.
pub(crate) struct Parts<J, B, C> {
    pub(crate) config: Config,
    /// Reads, decides, writes.
    pub(crate) decider: Arc<Decider<J, C>>,
    /// Does what follows a commit.
    pub(crate) publisher: Arc<Publisher<J, B, C>>,
    /// Starts that wait for their batch.
    pub(crate) starts: mpsc::Sender<Waiting>,
    pub(crate) starts_room: Room,
    /// The units of work, and the publishing that no loop waits for.
    pub(crate) tasks: TaskTracker,
    /// True once sagas may move.
    pub(crate) started: watch::Sender<bool>,
    /// The time of its opening, by the journal's clock.
    pub(crate) opened_at: Timestamp,
    pub(crate) probes: Probes,
}

impl<J, B, C> Clone for Engine<J, B, C> {
    fn clone(&self) -> Self {
        Self { parts: self.parts.clone() }
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
        &self.parts.publisher.bus
    }
}

impl<J: JournalReads + JournalUpkeep + JournalLetters, B: Bus, C: Clock> Engine<J, B, C> {
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
        let (metrics, tasks) = (Arc::new(Metrics::new(&bus)), TaskTracker::new());
        let decider = Arc::new(Decider {
            journal,
            rules: Rules::new(registry, config.decide, clock.clone()),
            journal_clock: JournalClock::new(clock.clone(), opened_at),
            kept: KeptStates::new(clock.clone()),
            clock,
            batch_retries: metrics.batch_retries.clone(),
            states_kept: metrics.states_kept.clone(),
        });
        let publisher = Arc::new(Publisher {
            decider: decider.clone(),
            batch_max: batch_size(&config, config.batch_max),
            broker: Arc::new(Broker::new(bus.health(), opened_at)),
            reply_lag: ReplyLag::default(),
            bus,
            waiters: Arc::default(),
            metrics,
            crash: config.crash.clone(),
            places_changed: Notify::new(),
            outgoing_room: Room::new(config.outgoing_bytes_max),
        });
        let started = watch::Sender::new(!config.start_paused);
        let (starts, waiting) = mpsc::channel(STARTS_WAITING_MAX);
        let starter = Starter {
            decider: decider.clone(),
            publisher: publisher.clone(),
            tasks: tasks.clone(),
            started: started.subscribe(),
            limit: SharedLimit::new(batch_size(&config, config.start_batch_max)),
        };
        tokio::spawn(starter.run(waiting));
        let (of_watch, waiters) = (Arc::downgrade(&decider), Arc::downgrade(&publisher.waiters));
        let (bus, clock) = (publisher.bus.clone(), decider.clock.clone());
        tokio::spawn(end_watch::run(of_watch, waiters, bus, clock));
        let starts_room = Room::new(config.starts_waiting_bytes_max);
        let probes = Probes::default();
        let parts =
            Parts { config, decider, publisher, starts, starts_room, tasks, started, opened_at, probes };
        Ok(Self { parts: Arc::new(parts) })
    }

    /// Takes replies and turns timers until `shutdown`; the batches in flight are finished first.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut started = self.parts.started.subscribe();
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            _ = started.wait_for(|started| *started) => {}
        }
        let loops = TaskTracker::new();
        loops.spawn(self.broker_watch().run(shutdown.clone()));
        loops.spawn(self.housekeeping().run(shutdown.clone()));
        loops.spawn(self.letter_intake().run(shutdown.clone()));
        for (saga, version) in self.parts.decider.rules.registry.known() {
            loops.spawn(self.intake().run(saga, version, shutdown.clone()));
        }
        loops.spawn(self.sequencer().run(shutdown.clone()));
        loops.spawn(self.timers().run(shutdown));
        loops.close();
        loops.wait().await;
        self.parts.tasks.close();
        self.parts.tasks.wait().await;
        self.parts.tasks.reopen();
    }

    fn broker_watch(&self) -> BrokerWatch<J, B, C> {
        let Parts { config, decider, publisher, tasks, .. } = &*self.parts;
        BrokerWatch {
            decider: decider.clone(),
            bus: publisher.bus.clone(),
            broker: publisher.broker.clone(),
            tasks: tasks.clone(),
            poll: config.broker_poll,
        }
    }

    fn housekeeping(&self) -> Housekeeping<J, B, C> {
        let Parts { config, decider, publisher, tasks, .. } = &*self.parts;
        Housekeeping {
            gauges: Gauges::new(
                decider.clone(),
                publisher.bus.clone(),
                publisher.metrics.clone(),
                config.stalled_after,
            ),
            decider: decider.clone(),
            metrics: publisher.metrics.clone(),
            tasks: tasks.clone(),
            keep: config.keep,
            letter_room: config.letter_room,
            prune_every: config.prune_every,
        }
    }

    fn intake(&self) -> Intake<J, B, C> {
        let Parts { config, decider, publisher, tasks, .. } = &*self.parts;
        Intake {
            decider: decider.clone(),
            publisher: publisher.clone(),
            tasks: tasks.clone(),
            lanes: config.lanes,
            limit: SharedLimit::new(batch_size(config, config.batch_max)),
        }
    }

    fn letter_intake(&self) -> LetterIntake<J, B, C> {
        let Parts { config, decider, publisher, tasks, .. } = &*self.parts;
        LetterIntake {
            decider: decider.clone(),
            publisher: publisher.clone(),
            tasks: tasks.clone(),
            limit: SharedLimit::new(batch_size(config, config.batch_max)),
        }
    }

    fn sequencer(&self) -> Sequencer<J, B, C> {
        let Parts { config, decider, publisher, .. } = &*self.parts;
        Sequencer {
            decider: decider.clone(),
            publisher: publisher.clone(),
            limit: SharedLimit::new(batch_size(config, config.batch_max)),
        }
    }

    fn timers(&self) -> Timers<J, B, C> {
        let Parts { config, decider, publisher, .. } = &*self.parts;
        Timers {
            decider: decider.clone(),
            publisher: publisher.clone(),
            poll: config.timer_poll,
            limit: SharedLimit::new(batch_size(config, config.timer_batch_max)),
        }
    }

    /// Returns true if this process can go on by itself: if not, a new one must take its place.
    pub fn is_alive(&self) -> bool {
        self.parts.publisher.bus.is_alive()
    }
}

impl<J, B, C> Engine<J, B, C> {
    /// Lets sagas move, if this coordinator was started paused; returns true if it was.
    pub fn begin(&self) -> bool {
        !self.parts.started.send_replace(true)
    }

    /// The definitions that it knows.
    pub fn definitions(&self) -> &[Arc<SagaDefinition>] {
        self.parts.decider.rules.registry.all()
    }

    /// The coordinator's metrics.
    pub fn metrics(&self) -> &Metrics {
        self.parts.publisher.metrics.seeded(self.definitions())
    }
}

/// A batch of at most so many rows.
fn batch_size(config: &Config, rows: usize) -> BatchSize {
    BatchSize { rows, bytes: config.batch_bytes_max }
}

/// Takes the streams for this journal. Any other trouble with them is waited out by the loops that use them.
async fn claim_streams(wire: &Wire, journal: &PgJournal) -> Result<(), OpenError> {
    match wire.claim_streams(&journal.id().await?).await {
        Err(error @ StreamError::Stranger { .. }) => Err(OpenError::Stranger(error)),
        Err(error) => {
            tracing::warn!(%error, "failed to prepare the streams; retrying");
            Ok(())
        }
        Ok(()) => Ok(()),
    }
}
