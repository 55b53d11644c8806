//! What a participant is made of, and how it serves.

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use redress_core::ids::InvalidName;
use redress_core::inbox::Retention;
use redress_core::{Command, Name, Phase};
use redress_wire::Wire;
use sqlx::PgPool;
use thiserror::Error;
use tokio::sync::{Notify, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batch::Handlers;
use crate::erased::{Action, ActionSet, Echo, Erased, Undo, UndoSet};
use crate::handler::{Compensate, CompensateAll, Handle, HandleAll, Listen};
use crate::listen::{Ear, Listener, Listening};
use crate::prune;
use crate::settings::{ParticipantSettings, Stats};
use crate::worker::Worker;

/// A service that handles commands: its handlers, its database, its place on the wire.
pub struct Participant<S> {
    service: String,
    pool: PgPool,
    wire: Wire,
    handlers: HashMap<&'static str, Box<dyn Erased<S>>>,
    listeners: HashMap<&'static str, Box<dyn Listener<S>>>,
    /// A command that cannot be registered here, if there was one.
    misplaced: Option<&'static str>,
    echo: bool,
    settings: ParticipantSettings,
    stats: Arc<Stats>,
    _service: PhantomData<fn() -> S>,
}

/// A participant could not serve.
#[derive(Debug, Error)]
pub enum ServeError {
    /// The service or a command has no proper name.
    #[error("the participant cannot be served: {0}")]
    Name(#[from] InvalidName),
    /// A command of another service was registered.
    #[error("command `{command}` belongs to another service than `{service}`: register it there")]
    OtherService {
        /// The command.
        command: String,
        /// This service.
        service: String,
    },
    /// The inbox would forget everything at once.
    #[error(
        "service `{service}` would answer every command `expired`: its inbox keeps answers for {:?}, no longer than the \
         margin of {:?} in which they count as forgotten; set `retention.keep` to more than `retention.margin`",
        .retention.keep, .retention.margin
    )]
    Retention {
        /// This service.
        service: String,
        /// What it was given.
        retention: Retention,
    },
}

impl<S: Send + Sync + 'static> Participant<S> {
    /// A participant named `service` with its own database.
    pub fn new(service: &str, pool: PgPool, wire: Wire) -> Self {
        Self {
            service: service.to_owned(),
            pool,
            wire,
            handlers: HashMap::new(),
            listeners: HashMap::new(),
            misplaced: None,
            echo: false,
            settings: ParticipantSettings::default(),
            stats: Arc::default(),
            _service: PhantomData,
        }
    }

    /// Registers the handler of the action `C`.
    #[must_use]
    pub fn handle<C: Command>(self) -> Self
    where
        S: Handle<C>,
    {
        self.register::<C>(Box::new(Action::<C>(PhantomData)))
    }

    /// Registers the handler of the compensation `C`.
    #[must_use]
    pub fn compensate<C: Command>(self) -> Self
    where
        S: Compensate<C>,
    {
        self.register::<C>(Box::new(Undo::<C>(PhantomData)))
    }

    /// Registers the set-oriented handler of the action `C`.
    #[must_use]
    pub fn handle_all<C: Command>(self) -> Self
    where
        S: HandleAll<C>,
    {
        self.register::<C>(Box::new(ActionSet::<C>(PhantomData)))
    }

    /// Registers the set-oriented handler of the compensation `C`.
    #[must_use]
    pub fn compensate_all<C: Command>(self) -> Self
    where
        S: CompensateAll<C>,
    {
        self.register::<C>(Box::new(UndoSet::<C>(PhantomData)))
    }

    /// Registers the listener to the notification `C`.
    #[must_use]
    pub fn listen<C: Command>(mut self) -> Self
    where
        S: Listen<C>,
    {
        if C::SERVICE != self.service {
            self.misplaced.get_or_insert(C::NAME);
        }
        self.listeners.insert(C::NAME, Box::new(Ear::<C>(PhantomData)));
        self
    }

    fn register<C: Command>(mut self, handler: Box<dyn Erased<S>>) -> Self {
        if C::SERVICE != self.service {
            self.misplaced.get_or_insert(C::NAME);
        }
        self.handlers.insert(C::NAME, handler);
        self
    }

    /// Answers every command that has no handler with `null`, for measuring.
    #[must_use]
    pub(crate) fn echo_the_rest(mut self) -> Self {
        self.echo = true;
        self
    }

    /// Other tuning than the default.
    #[must_use]
    pub fn settings(mut self, settings: ParticipantSettings) -> Self {
        self.settings = settings.with_countable_ages();
        self
    }

    /// What it counts, shared.
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// Serves until `shutdown` completes; what is in flight is finished first.
    ///
    /// # Errors
    /// [`ServeError`] at once, if a name is none. Trouble with database or broker is waited out.
    pub async fn serve(
        self,
        handlers: S,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        if let Some(command) = self.misplaced {
            return Err(ServeError::OtherService { command: command.to_owned(), service: self.service });
        }
        let retention = self.settings.retention;
        if retention.keep <= retention.margin {
            return Err(ServeError::Retention { service: self.service, retention });
        }
        let service = Name::new(&self.service)?;
        let mut by_command = HashMap::new();
        for (command, handler) in self.handlers {
            by_command.insert(Name::new(command)?, handler);
        }
        let author = Arc::new(handlers);
        let mut listeners = HashMap::new();
        for (command, listener) in self.listeners {
            listeners.insert(Name::new(command)?, listener);
        }
        let listening = Listening {
            service: service.clone(),
            author: author.clone(),
            listeners,
            pool: self.pool.clone(),
            wire: self.wire.clone(),
            stats: self.stats.clone(),
            limits: self.settings.limits(),
        };
        let echo = |phase| self.echo.then(|| Box::new(Echo(phase)) as Box<dyn Erased<S>>);
        let worker = Arc::new(Worker {
            handlers: Handlers {
                by_command,
                actions_without_name: echo(Phase::Action),
                undos_without_name: echo(Phase::Compensation),
            },
            service,
            author,
            pool: self.pool,
            wire: self.wire,
            settings: self.settings,
            stats: self.stats,
            database_down: Notify::new(),
        });
        let stop = CancellationToken::new();
        let listening = tokio::spawn(listening.run(stop.clone()));
        let pruning = tokio::spawn(prune::run(worker.clone(), stop.clone()));
        take(worker, shutdown).await;
        stop.cancel();
        // A listener that panics is caught where it is called, and pruning only deletes.
        let _ = tokio::join!(listening, pruning);
        Ok(())
    }
}

/// Takes batches until the shutdown; a batch in its task is never cancelled.
async fn take<S: Send + Sync + 'static>(worker: Arc<Worker<S>>, shutdown: impl Future<Output = ()> + Send) {
    let mut inflow = worker.wire.commands(&worker.service);
    let lanes = Arc::new(Semaphore::new(worker.settings.lanes));
    let tasks = TaskTracker::new();
    let mut shutdown = std::pin::pin!(shutdown);
    tracing::info!(service = %worker.service, "participant is serving");
    loop {
        let lane = lanes.clone().acquire_owned().await.expect("the lanes are never closed");
        let batch = tokio::select! {
            biased;
            () = &mut shutdown => break,
            () = worker.database_down.notified() => {
                // What the broker has sent already is dropped with the consumer, and comes again elsewhere or later.
                inflow = worker.wire.commands(&worker.service);
                tokio::select! {
                    biased;
                    () = &mut shutdown => break,
                    () = worker.database_is_back() => continue,
                }
            }
            batch = inflow.next_batch(worker.settings.batch_max) => batch,
        };
        let worker = worker.clone();
        tasks.spawn(async move {
            worker.process(batch).await;
            drop(lane);
        });
    }
    tasks.close();
    tasks.wait().await;
    tracing::info!(service = %worker.service, "participant has stopped");
}
