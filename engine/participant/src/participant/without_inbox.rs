//! Handlers and listeners of a participant that need neither inbox nor database.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use redress_core::{Command, Name};
use redress_wire::Wire;

use super::Participant;
use crate::ack_mode::AckMode;
use crate::at_least_once::{HandleAtLeastOnce, ListenWithoutDatabase, TypedRepeats};
use crate::listen::{Hearer, TypedBareListener};
use crate::post::Post;
use crate::repeated::Repeated;
use crate::serve_error::ServeError;
use crate::serve_without_database::serve_without_database;

impl<S: Send + Sync + 'static> Participant<S> {
    /// Registers the handler of the action `C` that may run again: without an inbox, and without a database.
    ///
    /// Its limits are those of the command: `concurrency` of it run at the same time.
    #[must_use]
    pub fn handle_at_least_once<C: Command>(mut self) -> Self
    where
        S: HandleAtLeastOnce<C>,
    {
        if C::SERVICE != self.service {
            self.misplaced.get_or_insert(C::NAME);
        }
        self.repeated.insert(C::NAME, Box::new(TypedRepeats::<C>(PhantomData)));
        self
    }

    /// Registers the listener to the notification `C` that needs no database.
    #[must_use]
    pub fn listen_without_database<C: Command>(self) -> Self
    where
        S: ListenWithoutDatabase<C>,
    {
        self.hear::<C>(Hearer::Bare(Box::new(TypedBareListener::<C>(PhantomData))))
    }

    /// Serves on this wire until `shutdown` completes, without a database: handlers that are registered by
    /// [`handle_at_least_once`](Self::handle_at_least_once), and listeners that need none.
    ///
    /// # Errors
    /// [`ServeError`] at once, if a name is none, or if a handler needs a database. Trouble with the broker is waited out.
    pub async fn serve_without_database(
        mut self,
        handlers: S,
        wire: Wire,
        shutdown: impl Future<Output = ()> + Send,
    ) -> Result<(), ServeError> {
        let (author, post) = (Arc::new(handlers), self.post(wire)?);
        if let Some(command) = self.needs_database() {
            let (command, service) = (command.to_owned(), self.service);
            return Err(ServeError::NeedsDatabase { command, service });
        }
        let repeated = self.take_repeated(&post, author.clone())?;
        let listening = self.take_listening(&post, author, None)?;
        serve_without_database(repeated, listening, shutdown).await
    }

    /// When a command of this name, or a notification, is acknowledged; `None` if neither a handler nor a listener is for
    /// it. A command that has both is handled.
    pub(crate) fn ack_mode(&self, command: &str) -> Option<AckMode> {
        if self.repeated.contains_key(command) {
            return Some(AckMode::AfterReply);
        }
        if self.handlers.contains_key(command) {
            return Some(AckMode::AfterCommit);
        }
        if self.listeners.contains_key(command) {
            return Some(AckMode::BeforeHandling);
        }
        self.echo.then_some(AckMode::AfterCommit)
    }

    /// A command that is handled in a transaction, if there is one: then the service needs a database.
    pub(crate) fn needs_database(&self) -> Option<&'static str> {
        let in_transaction = |(command, hearer): (&&'static str, &Hearer<S>)| match hearer {
            Hearer::InTransaction(_) => Some(*command),
            Hearer::Bare(_) => None,
        };
        let listened = self.listeners.iter().find_map(in_transaction);
        let everything = self.echo.then_some("*");
        self.handlers.keys().min().copied().or(listened).or(everything)
    }

    /// The handlers that the inbox knows nothing of, taken out of it.
    pub(super) fn take_repeated(
        &mut self,
        post: &Arc<Post>,
        author: Arc<S>,
    ) -> Result<Arc<Repeated<S>>, ServeError> {
        let mut repeated = Repeated::new(post.clone(), author);
        for (command, handler) in std::mem::take(&mut self.repeated) {
            let limits = self.limits.get(command).copied().unwrap_or_default();
            let (limits, concurrency) = self.config.limits_of(limits);
            repeated.add(Name::new(command)?, handler, limits.handler, concurrency);
        }
        Ok(Arc::new(repeated))
    }
}
