//! The people around the coordinators: a supervisor that starts them, clients, operators, callers that wait for an end.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use redress_coordinator::ports::Keep;
use redress_coordinator::{Config, Engine, EventError, OperatorRequest, StartError, StartRequest, Started};
use redress_core::decide::{OperatorCommand, Verb};
use redress_core::{SagaDefinition, SagaId};

use super::clock::SimulatedClock;
use super::life::Life;
use super::mutants::Mutation;
use super::stage::Stage;
use super::stormy_bus::StormyBus;
use super::stormy_journal::StormyJournal;
use super::world::EventToCome;

/// The longest time for which a coordinator that died is away, in milliseconds.
const DOWN_MS_MAX: i64 = 20_000;
/// Pause between two looks of the timers, and at the broker: a simulation has less time than a coordinator.
const POLL: Duration = Duration::from_secs(1);
/// Pause between two prunings.
const PRUNE_EVERY: Duration = Duration::from_secs(30);
/// How long ended sagas are kept: longer than a client repeats its start.
const KEPT: Duration = Duration::from_secs(300);

/// How long a client waits for an answer: longer than a coordinator that lives takes to give one.
const PATIENCE: Duration = Duration::from_secs(15);

/// A production coordinator on the adapters of a simulation.
type Coordinator = Engine<StormyJournal, StormyBus, SimulatedClock>;

/// A coordinator, or the time at which the next one begins.
enum Process {
    Running(Life, Coordinator),
    DownUntil(i64),
}

/// All people around the coordinators, and these themselves.
#[derive(Clone)]
pub(super) struct People {
    pub(super) stage: Stage,
    definitions: &'static [SagaDefinition],
    processes: Arc<Mutex<[Process; 2]>>,
}

fn config(mutation: Option<Mutation>) -> Config {
    let mut config = Config::new(String::new());
    config.timer_poll = POLL;
    config.broker_poll = POLL;
    config.prune_every = PRUNE_EVERY;
    config.keep = Keep { sagas: KEPT, keys: None, dead_letters: KEPT };
    config.decide = Mutation::decide(mutation);
    config
}

impl People {
    pub(super) fn new(stage: &Stage, definitions: &'static [SagaDefinition]) -> Self {
        let processes = Arc::new(Mutex::new([Process::DownUntil(0), Process::DownUntil(0)]));
        Self { stage: stage.clone(), definitions, processes }
    }

    fn processes<T>(&self, change: impl FnOnce(&mut [Process; 2]) -> T) -> T {
        change(&mut self.processes.lock().expect("no thread panics while it holds the processes"))
    }

    /// Stops all coordinators.
    pub(super) fn leave(&self) {
        self.processes(|processes| *processes = [Process::DownUntil(0), Process::DownUntil(0)]);
    }

    /// Starts the coordinators anew that have died, after a while.
    pub(super) async fn supervise(&self) {
        for nth in 0..2 {
            let (now_ms, down_ms) = self.stage.with(|world| (world.now_ms, world.rng.i64(0..DOWN_MS_MAX)));
            let is_time = self.processes(|processes| {
                if matches!(&processes[nth], Process::Running(life, _) if life.is_over()) {
                    processes[nth] = Process::DownUntil(now_ms + down_ms);
                }
                matches!(processes[nth], Process::DownUntil(at) if at <= now_ms)
            });
            if is_time {
                let process = self.begin().await;
                self.processes(|processes| processes[nth] = process);
            }
        }
    }

    async fn begin(&self) -> Process {
        let (stage, life) = (&self.stage, Life::default());
        let (journal, bus) = (StormyJournal::new(stage, &life), StormyBus::new(stage, &life));
        let (config, clock) = stage.with(|world| (config(world.mutation), world.time.of(&life)));
        let opened = Coordinator::on(config, self.definitions.to_vec(), journal, bus, clock).await;
        let engine = opened.expect("the definitions are as they were");
        let (running, shutdown) = (engine.clone(), life.shutdown.clone());
        tokio::spawn(async move { running.run(shutdown).await });
        tokio::spawn(wait_for_ends(stage.clone(), engine.clone()));
        Process::Running(life, engine)
    }

    /// One of the coordinators that are there.
    fn engine(&self) -> Option<Coordinator> {
        let nth = self.stage.with(|world| world.rng.usize(..2));
        self.processes(|processes| match &processes[nth] {
            Process::Running(_, engine) => Some(engine.clone()),
            Process::DownUntil(_) => None,
        })
    }

    /// A client: asks one coordinator or the other until its saga has begun, and once more.
    pub(super) async fn client(self, request: StartRequest) {
        let first = self.start(&request).await;
        let again = self.start(&request).await;
        self.stage.with(|world| {
            if first.id != again.id {
                world.fail(Some(first.id), format!("its key has begun {} as well", again.id));
            }
            world.clients_done += 1;
        });
    }

    async fn start(&self, request: &StartRequest) -> Started {
        loop {
            if let Some(engine) = self.engine() {
                let start = engine.start_request(request.clone());
                match tokio::time::timeout(PATIENCE, start).await {
                    Ok(Ok(started)) => return started,
                    // Its coordinator has died, or the journal is away.
                    Err(_) => {}
                    Ok(Err(StartError::Journal(error))) if error.is_unavailable() => {}
                    Ok(Err(error)) => {
                        self.stage.with(|world| world.fail(None, format!("a start was refused: {error}")));
                        std::future::pending::<()>().await;
                    }
                }
            }
            let pause_ms = self.stage.with(|world| world.rng.u64(..2_000));
            tokio::time::sleep(Duration::from_millis(pause_ms)).await;
        }
    }

    /// The sender of an event asks a coordinator, and once more if it does not answer.
    pub(super) fn send(&self, event: EventToCome) {
        let (engine, stage) = (self.engine(), self.stage.clone());
        tokio::spawn(async move {
            let sent = async {
                let engine = engine?;
                let sending = engine.send_event(event.id, event.event.clone());
                tokio::time::timeout(PATIENCE, sending).await.ok()
            };
            let verdict = match sent.await {
                Some(Ok(sent)) => Some(sent.verdict),
                Some(Err(EventError::Refused { .. } | EventError::NotFound(_))) => Some("event refused"),
                Some(Err(error @ (EventError::VersionNotHere(..) | EventError::InvalidKey))) => {
                    let wrong = format!("an event was not decided on: {error}");
                    return stage.with(|world| world.fail(Some(event.id), wrong));
                }
                // Its coordinator has died, or the journal is away.
                Some(Err(EventError::Journal(_))) | None => None,
            };
            stage.with(|world| world.event_sent(event, verdict));
        });
    }

    /// An operator gives a command; whether it is carried out is its own affair. A resolution speaks of the saga as the
    /// operator has seen it: carried out later, it could clear up a contradiction at which no operator has looked.
    pub(super) fn operate(&self, id: SagaId, verb: Verb, revision: i64) {
        let Some(engine) = self.engine() else { return };
        let if_match = matches!(verb, Verb::Resolve { .. }).then(|| vec![revision]);
        let command = OperatorCommand { verb, actor: "ann".to_owned(), reason: "why not".to_owned() };
        tokio::spawn(async move {
            let _ = engine.operate(id, OperatorRequest { command, if_match }).await;
        });
    }
}

/// A caller that waits for the ends of all sagas, and looks into the journal when it hears of one.
async fn wait_for_ends(stage: Stage, engine: Coordinator) {
    let mut ends = engine.watch_ended();
    drop(engine);
    while let Some(ended) = ends.recv().await {
        stage.with(|world| world.check_ended(ended.id, ended.status));
    }
}
