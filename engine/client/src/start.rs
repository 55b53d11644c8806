//! A start over HTTP.
//!
//! The key is fixed before anything is sent, and every try bears it: a start whose answer was lost finds the saga that
//! it made.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use redress_core::{SagaData, StartTarget, Startable, WrongData};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value, json};
use thiserror::Error;
use tokio::time::Instant;
use uuid::Uuid;

use crate::call::Call;
use crate::client::Client;
use crate::error::ClientError;
use crate::handle::SagaHandle;
use crate::transport::Repeat;
use crate::view::Saga;

/// A saga could not be started.
#[derive(Debug, Error)]
pub enum StartError {
    /// The definition has data of another type; nothing was sent.
    #[error(transparent)]
    WrongData(#[from] WrongData),
    /// The data cannot be written as JSON; nothing was sent.
    #[error(
        "the data of saga `{saga}` cannot be written as JSON ({problem}): its type's `Serialize` says why"
    )]
    Unwritable {
        /// The definition's name.
        saga: String,
        /// The reason.
        problem: String,
    },
    /// The start was refused, or it is not known whether it was taken.
    #[error(
        "the start with key `{key}` was not confirmed: once the cause is gone, make it again with the same key"
    )]
    Request {
        /// The key: the same start with it finds the saga if there is one, and starts no second one.
        key: String,
        /// The cause.
        source: ClientError,
    },
}

type Silent = Box<dyn FnOnce(&ClientError) + Send>;

/// A start in the making; await it.
#[must_use = "a saga starts when this is awaited"]
pub struct Start<D> {
    client: Client,
    target: Result<(StartTarget, Value), StartError>,
    key: String,
    tags: BTreeMap<String, String>,
    faults: Option<Value>,
    traceparent: Option<String>,
    deadline: Option<Instant>,
    silent: Silent,
    _data: PhantomData<fn() -> D>,
}

impl Client {
    /// A start of a saga with these data; nothing is sent until it is awaited.
    ///
    /// `saga` is a `&SagaContract<D>`, a `&SagaDefinition`, or a name, which stands for the newest version. With a name,
    /// `data` may also be a [`Value`], for a program that does not have the type; ids that the saga makes for itself may
    /// be left out of it.
    pub fn start<D: SagaData, S: Startable<D> + ?Sized>(&self, saga: &S, data: &D) -> Start<D> {
        Start::new(self.clone(), saga, data)
    }
}

impl<D: SagaData> Start<D> {
    pub(crate) fn new<S: Startable<D> + ?Sized>(client: Client, saga: &S, data: &D) -> Self {
        let target = saga.target().map_err(StartError::WrongData).and_then(|target| {
            let input = serde_json::to_value(data).map_err(|problem| StartError::Unwritable {
                saga: target.saga.clone(),
                problem: problem.to_string(),
            })?;
            Ok((target, input))
        });
        Self {
            client,
            target,
            key: Uuid::now_v7().to_string(),
            tags: BTreeMap::new(),
            faults: None,
            traceparent: None,
            deadline: None,
            silent: Box::new(|_| {}),
            _data: PhantomData,
        }
    }
}

impl<D> Start<D> {
    /// The idempotency key, 1 to 255 visible ASCII characters: the same key is the same saga. A new one if not given.
    ///
    /// The same key with other data is refused (`idempotency-key-reused`), and ids that the data make for themselves are
    /// other data each time: keep them, or leave them out of a JSON input.
    pub fn key(mut self, key: impl Into<String>) -> Self {
        self.key = key.into();
        self
    }

    /// The key that the start will bear: to be written down before it is sent, by a caller that may die.
    pub fn idempotency_key(&self) -> &str {
        &self.key
    }

    /// Another version than that of the definition or contract, or than the newest one of a name.
    pub fn version(mut self, version: u32) -> Self {
        if let Ok((target, _)) = &mut self.target {
            target.version = Some(version);
        }
        self
    }

    /// A label by which the saga is found again; a second one of the same name replaces the first.
    pub fn tag(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.tags.insert(name.into(), value.into());
        self
    }

    /// Failures of this saga, as a JSON array; for a coordinator that injects some.
    pub fn faults(mut self, faults: Value) -> Self {
        self.faults = Some(faults);
        self
    }

    /// The W3C trace context of the caller.
    pub fn traceparent(mut self, traceparent: impl Into<String>) -> Self {
        self.traceparent = Some(traceparent.into());
        self
    }

    /// Repeats the start for so long while no answer comes, instead of for the client's patience.
    pub fn within(self, limit: Duration) -> Self {
        let deadline = Instant::now().checked_add(limit);
        Self { deadline, ..self }
    }

    /// Hears of the first try that had no answer, if another one follows.
    pub fn on_silence(self, silent: impl FnOnce(&ClientError) + Send + 'static) -> Self {
        Self { silent: Box::new(silent), ..self }
    }

    /// Starts the saga and gives it as it is then.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn view(self) -> Result<Saga, StartError> {
        self.send(|call| call).await
    }

    /// Starts the saga and gives the answer as it is.
    ///
    /// # Errors
    /// [`StartError`].
    pub async fn json(self) -> Result<Value, StartError> {
        self.send(Call::as_json).await
    }

    async fn send<T: DeserializeOwned>(
        self,
        answer: impl FnOnce(Call<Saga>) -> Call<T>,
    ) -> Result<T, StartError> {
        let (target, input) = self.target?;
        let mut body = Map::from_iter([
            ("saga".to_owned(), json!(target.saga)),
            ("input".to_owned(), input),
            ("tags".to_owned(), json!(self.tags)),
        ]);
        body.extend(target.version.map(|version| ("version".to_owned(), json!(version))));
        body.extend(self.faults.map(|faults| ("faults".to_owned(), faults)));
        let call = answer(Call::start(&self.key, self.traceparent.as_deref(), Value::Object(body)));
        let repeat = self.deadline.map_or(Repeat::For(self.client.patience()), Repeat::Until);
        let sent = self.client.ask(&call, repeat, self.silent).await;
        sent.map_err(|source| StartError::Request { key: self.key, source })
    }
}

impl<D: SagaData> IntoFuture for Start<D> {
    type Output = Result<SagaHandle<D>, StartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let client = self.client.clone();
            let saga = self.view().await?;
            Ok(SagaHandle::new(client, saga.id))
        })
    }
}
