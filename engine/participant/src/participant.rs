//! The handlers of a service as its author registers them, and the start of its work.

mod without_inbox;

use std::collections::HashMap;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use redress_core::{Command, Name, Phase};
use redress_postgres::{Cutoff, Leases};
use redress_wire::Wire;
use sqlx::PgPool;

use crate::at_least_once::Repeats;
use crate::call_dispatch::{CalledAction, CalledUndo, TypedCall};
use crate::call_out::{CallOut, UndoByCall};
use crate::claims::Claims;
use crate::config::{CommandLimits, ParticipantConfig, Stats};
use crate::database_time::DatabaseTime;
use crate::dispatch::{Echo, Typed};
use crate::handler::{Compensate, CompensateAll, Handle, HandleAll, Listen};
use crate::handlers::{Handlers, Runner};
use crate::inbox::Inbox;
use crate::later::{CompensateLater, HandleLater};
use crate::listen::{Hearer, Listening, TypedListener};
use crate::pace::Pace;
use crate::places::connections;
use crate::post::Post;
use crate::serve::serve;
use crate::serve_error::ServeError;
use crate::ways::{Action, ActionSet, GivingUp, LaterAction, LaterUndo, Undo, UndoSet};
use crate::worker::Worker;

/// A service that handles commands: its handlers, and how it is tuned. [`Participant::serve`] gives it its database and its
/// place on the wire.
pub struct Participant<S> {
    service: String,
    handlers: HashMap<&'static str, Runner<S>>,
    /// By the command whose open questions they give up.
    give_ups: HashMap<&'static str, Runner<S>>,
    limits: HashMap<&'static str, CommandLimits>,
    /// Handlers that may run again, and that the inbox knows nothing of.
    repeated: HashMap<&'static str, Box<dyn Repeats<S>>>,
    listeners: HashMap<&'static str, Hearer<S>>,
    /// A command that cannot be registered here, if there was one.
    misplaced: Option<&'static str>,
    echo: bool,
    config: ParticipantConfig,
    stats: Arc<Stats>,
    _service: PhantomData<fn() -> S>,
}

impl<S: Send + Sync + 'static> Participant<S> {
    /// A participant named `service`, without handlers yet.
    pub fn new(service: &str) -> Self {
        Self {
            service: service.to_owned(),
            handlers: HashMap::new(),
            give_ups: HashMap::new(),
            limits: HashMap::new(),
            repeated: HashMap::new(),
            listeners: HashMap::new(),
            misplaced: None,
            echo: false,
            config: ParticipantConfig::default(),
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
        self.register::<C>(Runner::Inside(Typed::<Action<C>>::boxed()))
    }

    /// Registers the handler of the compensation `C`.
    #[must_use]
    pub fn compensate<C: Command>(self) -> Self
    where
        S: Compensate<C>,
    {
        self.register::<C>(Runner::Inside(Typed::<Undo<C>>::boxed()))
    }

    /// Registers the set-oriented handler of the action `C`.
    #[must_use]
    pub fn handle_all<C: Command>(self) -> Self
    where
        S: HandleAll<C>,
    {
        self.register::<C>(Runner::Inside(Typed::<ActionSet<C>>::boxed()))
    }

    /// Registers the set-oriented handler of the compensation `C`.
    #[must_use]
    pub fn compensate_all<C: Command>(self) -> Self
    where
        S: CompensateAll<C>,
    {
        self.register::<C>(Runner::Inside(Typed::<UndoSet<C>>::boxed()))
    }

    /// Registers the handler that carries out the action `C` by a call to a third party.
    #[must_use]
    pub fn call_out<C: Command>(self) -> Self
    where
        S: CallOut<C>,
    {
        self.register::<C>(Runner::CallsOut(TypedCall::<CalledAction<C>>::boxed()))
    }

    /// Registers the handler that carries out the compensation `C` by a call to a third party.
    #[must_use]
    pub fn undo_by_call<C: Command>(self) -> Self
    where
        S: UndoByCall<C>,
    {
        self.register::<C>(Runner::CallsOut(TypedCall::<CalledUndo<C>>::boxed()))
    }

    /// Registers the handler of the action `C`, whose answer may come later.
    #[must_use]
    pub fn handle_later<C: Command>(mut self) -> Self
    where
        S: HandleLater<C>,
    {
        self.give_ups.insert(C::NAME, Runner::Inside(Typed::<GivingUp<C>>::boxed()));
        self.register::<C>(Runner::Inside(Typed::<LaterAction<C>>::boxed()))
    }

    /// Registers the handler of the compensation `C`, whose answer may come later.
    #[must_use]
    pub fn compensate_later<C: Command>(self) -> Self
    where
        S: CompensateLater<C>,
    {
        self.register::<C>(Runner::Inside(Typed::<LaterUndo<C>>::boxed()))
    }

    /// Registers the listener to the notification `C`.
    #[must_use]
    pub fn listen<C: Command>(self) -> Self
    where
        S: Listen<C>,
    {
        self.hear::<C>(Hearer::InTransaction(Box::new(TypedListener::<C>(PhantomData))))
    }

    fn hear<C: Command>(mut self, hearer: Hearer<S>) -> Self {
        if C::SERVICE != self.service {
            self.misplaced.get_or_insert(C::NAME);
        }
        self.listeners.insert(C::NAME, hearer);
        self
    }

    /// Sets the limits of the command `C`, an action or a compensation, instead of those of the service.
    #[must_use]
    pub fn limits<C: Command>(mut self, limits: CommandLimits) -> Self {
        if C::SERVICE != self.service {
            self.misplaced.get_or_insert(C::NAME);
        }
        self.limits.insert(C::NAME, limits);
        self
    }

    fn register<C: Command>(mut self, handler: Runner<S>) -> Self {
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
    pub fn config(mut self, config: ParticipantConfig) -> Self {
        self.config = config.clamp_ages();
        self
    }

    /// Its counters, shared.
    pub fn stats(&self) -> Arc<Stats> {
        self.stats.clone()
    }

    /// Returns true if a command of this name has a handler in this phase.
    pub(crate) fn handles(&self, phase: Phase, command: &str) -> bool {
        if self.repeated.contains_key(command) {
            return phase == Phase::Action;
        }
        self.handlers.get(command).map_or(self.echo, |handler| handler.phase() == phase)
    }

    /// The connections that it needs with this tuning.
    pub(crate) fn connections(&self, config: &ParticipantConfig) -> u32 {
        let of_service = config.limits_of(CommandLimits::default()).1;
        let limits = self
            .handlers
            .keys()
            .chain(self.give_ups.keys())
            .map(|command| self.limits.get(command).copied().unwrap_or_default());
        let mut concurrency: Vec<usize> = limits.map(|limits| config.limits_of(limits).1).collect();
        if self.echo {
            concurrency.extend([of_service; 2]);
        }
        connections(config.lanes, &concurrency)
    }

    /// The inbox of this service in the database of `pool`, its handlers behind it.
    pub(crate) fn into_inbox(self, author: Arc<S>, pool: PgPool) -> Result<Inbox<S>, ServeError> {
        if let Some(command) = self.misplaced {
            return Err(ServeError::OtherService { command: command.to_owned(), service: self.service });
        }
        let retention = self.config.retention;
        if retention.keep <= retention.margin {
            return Err(ServeError::Retention { service: self.service, retention });
        }
        let service = Name::new(&self.service)?;
        let mut handlers = Handlers::default();
        for (command, runner) in self.handlers.into_iter().chain(self.give_ups) {
            let limits = self.limits.get(command).copied().unwrap_or_default();
            handlers.add(Some(Name::new(command)?), runner, self.config.limits_of(limits));
        }
        if self.echo {
            for phase in [Phase::Action, Phase::Compensation] {
                let echo = Runner::Inside(Box::new(Echo(phase)));
                handlers.add(None, echo, self.config.limits_of(CommandLimits::default()));
            }
        }
        let handler_time_max = handlers.time_max().unwrap_or(self.config.handler_time_max);
        let leases = Leases::new(pool.clone(), Cutoff::default());
        let (config, stats) = (self.config, self.stats);
        let (pace, claims, database_time) = (Pace::default(), Claims::default(), DatabaseTime::default());
        Ok(Inbox {
            service,
            handlers,
            author,
            pool,
            leases,
            config,
            stats,
            pace,
            claims,
            database_time,
            handler_time_max,
        })
    }

    fn take_listening(
        &mut self,
        post: &Post,
        author: Arc<S>,
        pool: Option<PgPool>,
    ) -> Result<Listening<S>, ServeError> {
        let mut listeners = HashMap::new();
        for (command, listener) in std::mem::take(&mut self.listeners) {
            listeners.insert(Name::new(command)?, listener);
        }
        Ok(Listening {
            service: post.service.clone(),
            author,
            listeners,
            pool,
            wire: post.wire.clone(),
            stats: post.stats.clone(),
            limits: post.config.limits(),
        })
    }

    fn post(&self, wire: Wire) -> Result<Arc<Post>, ServeError> {
        if let Some(command) = self.misplaced {
            let service = self.service.clone();
            return Err(ServeError::OtherService { command: command.to_owned(), service });
        }
        let service = Name::new(&self.service)?;
        Ok(Arc::new(Post::new(service, wire, self.stats.clone(), self.config.clone())))
    }

    /// Serves on this database and this wire until `shutdown` completes; commands in flight are finished first.
    ///
    /// # Errors
    /// [`ServeError`] at once, if a name is none. Trouble with the database or the broker is waited out.
    pub async fn serve(
        mut self,
        handlers: S,
        pool: PgPool,
        wire: Wire,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let (author, post) = (Arc::new(handlers), self.post(wire)?);
        let repeated = self.take_repeated(&post, author.clone())?;
        let listening = self.take_listening(&post, author.clone(), Some(pool.clone()))?;
        let inbox = Arc::new(self.into_inbox(author, pool)?);
        let worker = Arc::new(Worker::new(inbox, post, repeated));
        worker.inbox.config.monitor.watch(&worker);
        serve(worker, listening, shutdown).await
    }
}
