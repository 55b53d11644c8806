//! The client: one method for each thing that the API offers. Those that begin something stand with it: `start`, `wait`,
//! `handle`.

use std::time::Duration;

use redress_core::SagaId;
use redress_core::decide::OperatorCommand;
use redress_core::history::HistoryEntry;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::Instant;

use crate::call::{Call, IfMatch};
use crate::config::ClientConfig;
use crate::error::ClientError;
use crate::query::SagaQuery;
use crate::transport::{Repeat, Transport};
use crate::view::{AddedFault, DefinitionVersion, Page, Plan, RetriedPage, Saga, StandingFault};

/// A client of a coordinator's API; cheap to clone, and its clones share connections.
///
/// One type has all methods, some two dozen, because each is one route of the API and a program needs them of the same
/// coordinator; requests as values, with their paths and bodies, are [`Call`]s.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    patience: Duration,
    poll_every: Duration,
}

impl Client {
    /// A client; no connection is made before the first request.
    ///
    /// # Errors
    /// [`ClientError::Unsendable`] if address or token cannot be used.
    pub fn new(config: ClientConfig) -> Result<Self, ClientError> {
        let transport = Transport::new(&config)?;
        let poll_every = config.poll_every.max(Duration::from_millis(1));
        Ok(Self { transport, patience: config.patience, poll_every })
    }

    /// A saga as it is now.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `unknown-saga` if there is none.
    pub async fn saga(&self, id: SagaId) -> Result<Saga, ClientError> {
        self.send(Call::saga(id)).await
    }

    /// A page of the sagas that a query finds, the newest first.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn sagas(&self, query: &SagaQuery) -> Result<Page<Saga>, ClientError> {
        self.send(Call::sagas(query)).await
    }

    /// The whole history of a saga, page by page: one that was tried for days has more than a page of it.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `unknown-saga` if there is none.
    pub async fn history(&self, id: SagaId) -> Result<Vec<HistoryEntry>, ClientError> {
        let (mut rows, mut cursor) = (Vec::new(), None::<String>);
        loop {
            let page = self.send(Call::history(id, cursor.as_deref())).await?;
            rows.extend(page.items);
            cursor = page.next;
            if cursor.is_none() {
                return Ok(rows);
            }
        }
    }

    /// What a saga would still do, and what it would undo now.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `version-not-here` if the coordinator does not know the definition.
    pub async fn plan(&self, id: SagaId) -> Result<Plan, ClientError> {
        self.send(Call::plan(id)).await
    }

    /// Gives an operator command and returns the saga as it is then. It is sent once: whether a command without an
    /// answer was carried out, the saga says.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `command-refused` or `cancel-too-late` if it does not fit the saga, and
    /// `stale-revision` if the saga has moved since.
    pub async fn operate(
        &self,
        id: SagaId,
        command: &OperatorCommand,
        if_match: IfMatch,
    ) -> Result<Saga, ClientError> {
        self.send(Call::operate(id, command, if_match)).await
    }

    /// Tries again a page of the sagas that a query finds; parked ones, unless it says otherwise. Goes on with the page's
    /// `next` as cursor.
    ///
    /// # Errors
    /// [`ClientError`]; sagas that were tried again by then stay so.
    pub async fn retry_all(
        &self,
        query: &SagaQuery,
        actor: &str,
        reason: &str,
    ) -> Result<RetriedPage, ClientError> {
        self.send(Call::retry_all(query, actor, reason)).await
    }

    /// The definitions that can be started, and those that have open sagas and are not known there.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn definitions(&self) -> Result<Page<DefinitionVersion>, ClientError> {
        self.send(Call::definitions()).await
    }

    /// A definition with its graph.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `unknown-definition` if the coordinator does not know it.
    pub async fn definition(&self, saga: &str, version: u32) -> Result<DefinitionVersion, ClientError> {
        self.send(Call::definition(saga, version)).await
    }

    /// The diagram of a definition, as text for mermaid.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `unknown-definition` if the coordinator does not know it.
    pub async fn diagram(&self, saga: &str, version: u32) -> Result<String, ClientError> {
        self.text(Call::diagram(saga, version)).await
    }

    /// The failures that the coordinator injects.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn faults(&self) -> Result<Page<StandingFault>, ClientError> {
        self.send(Call::faults()).await
    }

    /// Adds a failure; sent once.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `invalid-fault` if it reaches no step or cannot be written as JSON, and
    /// `faults-not-allowed` if the installation injects none.
    pub async fn add_fault(&self, fault: &impl Serialize) -> Result<AddedFault, ClientError> {
        self.send(Call::add_fault(serde_json::to_value(fault).unwrap_or(Value::Null))).await
    }

    /// Takes a failure away; sent once.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `unknown-fault` if there is none of this number.
    pub async fn remove_fault(&self, id: i64) -> Result<(), ClientError> {
        self.send(Call::remove_fault(id)).await.map(drop)
    }

    /// Takes all failures away and says how many there were; sent once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn clear_faults(&self) -> Result<u64, ClientError> {
        Ok(self.send(Call::clear_faults()).await?.cleared)
    }

    /// Lets a coordinator that was started paused move its sagas; returns true if it was paused. Sent once.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn begin(&self) -> Result<bool, ClientError> {
        Ok(self.send(Call::begin()).await?.was_paused)
    }

    /// Asks, once, if everything is there.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `not-ready` says what is missing.
    pub async fn readyz(&self) -> Result<(), ClientError> {
        self.text(Call::readyz()).await.map(drop)
    }

    /// Asks, once, if the process can go on by itself.
    ///
    /// # Errors
    /// [`ClientError`]; the problem `not-alive` if a new process must take its place.
    pub async fn livez(&self) -> Result<(), ClientError> {
        self.text(Call::livez()).await.map(drop)
    }

    /// The coordinator's metrics, as OpenMetrics text.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn metrics(&self) -> Result<String, ClientError> {
        self.text(Call::metrics()).await
    }

    /// Sends a request; one that may be made twice is repeated for as long as the configuration says.
    ///
    /// # Errors
    /// [`ClientError`].
    pub async fn send<T: DeserializeOwned>(&self, call: Call<T>) -> Result<T, ClientError> {
        self.ask(&call, Repeat::For(self.patience), |_| {}).await
    }

    /// Sends a request; one that may be made twice is repeated until the deadline, and `silent` hears of the first try
    /// that had no answer, if another one follows.
    ///
    /// # Errors
    /// [`ClientError`]: that of the last try.
    pub async fn send_until<T: DeserializeOwned>(
        &self,
        call: Call<T>,
        deadline: Instant,
        silent: impl FnOnce(&ClientError),
    ) -> Result<T, ClientError> {
        self.ask(&call, Repeat::Until(deadline), silent).await
    }

    pub(crate) async fn ask<T: DeserializeOwned>(
        &self,
        call: &Call<T>,
        repeat: Repeat,
        silent: impl FnOnce(&ClientError),
    ) -> Result<T, ClientError> {
        self.transport.send(call, repeat, silent).await
    }

    async fn text(&self, call: Call<String>) -> Result<String, ClientError> {
        self.transport.text(&call, Repeat::For(self.patience)).await
    }

    pub(crate) fn patience(&self) -> Duration {
        self.patience
    }

    pub(crate) fn poll_every(&self) -> Duration {
        self.poll_every
    }
}
