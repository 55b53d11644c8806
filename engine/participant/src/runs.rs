//! A service behind one trait, the type of its handlers forgotten: so services of all types stand in one list.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use redress_core::Phase;
use redress_wire::Wire;
use sqlx::PgPool;
use tokio_util::sync::CancellationToken;

use crate::ack_mode::AckMode;
use crate::config::{ParticipantConfig, Stats};
#[cfg(feature = "testing")]
use crate::execute::Executes;
use crate::participant::Participant;
use crate::serve_error::ServeError;

pub(crate) type Serving = Pin<Box<dyn Future<Output = Result<(), ServeError>> + Send>>;

/// The things that a service does, whatever the type of its handlers.
pub(crate) trait Runs: Send + Sync {
    /// Begins to serve; also gives the counters.
    fn start(
        &self,
        pool: PgPool,
        wire: Wire,
        config: ParticipantConfig,
        shutdown: CancellationToken,
    ) -> (Arc<Stats>, Serving);

    /// Begins to serve without a database; also gives the counters.
    fn start_without_database(
        &self,
        wire: Wire,
        config: ParticipantConfig,
        shutdown: CancellationToken,
    ) -> (Arc<Stats>, Serving);

    /// Returns true if a command of this name has a handler in this phase.
    fn handles(&self, phase: Phase, command: &str) -> bool;

    /// When a command of this name is acknowledged.
    fn ack_mode(&self, command: &str) -> Option<AckMode>;

    /// Returns true if a handler of it needs a database.
    fn needs_database(&self) -> bool;

    /// The connections that it needs with this tuning.
    fn connections(&self, config: &ParticipantConfig) -> u32;

    /// Its inbox with the handlers behind it, and no broker.
    #[cfg(feature = "testing")]
    fn inbox(&self, pool: PgPool, config: ParticipantConfig) -> Result<Box<dyn Executes>, ServeError>;
}

/// A service named `name` with these handlers, which `register` names.
pub(crate) fn runnable<S: Clone + Send + Sync + 'static>(
    name: &'static str,
    register: impl Fn(Participant<S>) -> Participant<S> + Send + Sync + 'static,
    handlers: S,
) -> Arc<dyn Runs> {
    Arc::new(Runnable { name, register, handlers })
}

struct Runnable<S, R> {
    name: &'static str,
    register: R,
    handlers: S,
}

impl<S, R> Runnable<S, R>
where
    S: Send + Sync + 'static,
    R: Fn(Participant<S>) -> Participant<S>,
{
    fn participant(&self) -> Participant<S> {
        (self.register)(Participant::new(self.name))
    }
}

impl<S, R> Runs for Runnable<S, R>
where
    S: Clone + Send + Sync + 'static,
    R: Fn(Participant<S>) -> Participant<S> + Send + Sync,
{
    fn start(
        &self,
        pool: PgPool,
        wire: Wire,
        config: ParticipantConfig,
        shutdown: CancellationToken,
    ) -> (Arc<Stats>, Serving) {
        let (participant, handlers) = (self.participant().config(config), self.handlers.clone());
        let stats = participant.stats();
        let serving =
            async move { participant.serve(handlers, pool, wire, shutdown.cancelled_owned()).await };
        (stats, Box::pin(serving))
    }

    fn start_without_database(
        &self,
        wire: Wire,
        config: ParticipantConfig,
        shutdown: CancellationToken,
    ) -> (Arc<Stats>, Serving) {
        let (participant, handlers) = (self.participant().config(config), self.handlers.clone());
        let stats = participant.stats();
        let serving = async move {
            participant.serve_without_database(handlers, wire, shutdown.cancelled_owned()).await
        };
        (stats, Box::pin(serving))
    }

    fn handles(&self, phase: Phase, command: &str) -> bool {
        self.participant().handles(phase, command)
    }

    fn ack_mode(&self, command: &str) -> Option<AckMode> {
        self.participant().ack_mode(command)
    }

    fn needs_database(&self) -> bool {
        self.participant().needs_database().is_some()
    }

    fn connections(&self, config: &ParticipantConfig) -> u32 {
        self.participant().connections(config)
    }

    #[cfg(feature = "testing")]
    fn inbox(&self, pool: PgPool, config: ParticipantConfig) -> Result<Box<dyn Executes>, ServeError> {
        let participant = self.participant().config(config);
        Ok(Box::new(Arc::new(participant.into_inbox(Arc::new(self.handlers.clone()), pool)?)))
    }
}
