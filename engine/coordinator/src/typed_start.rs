//! Starts of this process's own, with data in their type and a handle to wait for their end.
//!
//! A start over HTTP is a [`StartRequest`]: words and JSON. In the program that has the definition neither is needed:
//!
//! ```no_run
//! # use redress_coordinator::Engine;
//! # use redress_core::{SagaDefinition, SagaEnd};
//! # #[derive(serde::Serialize, serde::Deserialize, schemars::JsonSchema)] struct Sale { customer: String, tracking: Option<String> }
//! # async fn sale(engine: Engine, sell: SagaDefinition) -> Result<(), Box<dyn std::error::Error>> {
//! let sale = Sale { customer: "alice".to_owned(), tracking: None };
//! let saga = engine.start(&sell, &sale).key("order-1").tag("customer", "alice").await?;
//! let ended = saga.ended().await?;
//! match ended.end {
//!     SagaEnd::Completed => println!("sent as {:?}", ended.data.tracking),
//!     SagaEnd::Compensated { cause } => println!("not sold: {cause}"),
//!     SagaEnd::Closed { .. } => println!("an operator ended it"),
//! }
//! # Ok(())
//! # }
//! ```
//!
//! The key is the identity of the start. Without one each call starts a saga of its own, so a caller that may die
//! between the start and its own commit gives a key that it finds again. The same key with other data is refused,
//! and ids that the data make for themselves are other data each time: keep them, or derive them from the key.

use std::collections::BTreeMap;
use std::future::IntoFuture;
use std::marker::PhantomData;
use std::pin::Pin;

use redress_core::{SagaData, StartTarget, Startable, WrongData};
use serde_json::Value;
use thiserror::Error;
use uuid::Uuid;

use crate::engine::Engine;
use crate::requests::{StartError, StartRequest};
use crate::saga_handle::SagaHandle;

/// A typed start could not be made; as with [`StartError`], nothing has happened unless the journal was unavailable.
#[derive(Debug, Error)]
pub enum TypedStartError {
    /// The definition has data of another type.
    #[error(transparent)]
    WrongData(#[from] WrongData),
    /// The data cannot be written as JSON.
    #[error(
        "the data of saga `{saga}` cannot be written as JSON ({problem}): its type's `Serialize` says why"
    )]
    Unwritable {
        /// The definition's name.
        saga: String,
        /// The reason.
        problem: String,
    },
    /// The coordinator refused it, or could not store it.
    #[error(transparent)]
    Start(#[from] StartError),
}

impl Engine {
    /// A start of a saga with these data; nothing happens until it is awaited.
    ///
    /// `saga` is a `&SagaDefinition`, a `&SagaContract<D>` or the name of one of this coordinator's definitions. `data`
    /// are the input: what a client over HTTP sends as `input`, and checked as strictly.
    pub fn start<D: SagaData, S: Startable<D> + ?Sized>(&self, saga: &S, data: &D) -> TypedStart<D> {
        let request =
            saga.target().map_err(TypedStartError::WrongData).and_then(|target| request(target, data));
        TypedStart { engine: self.clone(), request, _data: PhantomData }
    }
}

fn request<D: SagaData>(target: StartTarget, data: &D) -> Result<StartRequest, TypedStartError> {
    let StartTarget { saga, version } = target;
    let input = serde_json::to_value(data).map_err(|problem| TypedStartError::Unwritable {
        saga: saga.clone(),
        problem: problem.to_string(),
    })?;
    Ok(StartRequest { saga, version, input, key: Uuid::now_v7().to_string(), ..StartRequest::default() })
}

/// A start in the making; await it.
#[must_use = "a saga starts when this is awaited"]
pub struct TypedStart<D> {
    engine: Engine,
    request: Result<StartRequest, TypedStartError>,
    _data: PhantomData<fn() -> D>,
}

impl<D> TypedStart<D> {
    /// The idempotency key, 1 to 255 visible ASCII characters: the same key is the same saga. A new one if not given.
    pub fn key(self, key: impl Into<String>) -> Self {
        self.with(|request| request.key = key.into())
    }

    /// A label by which the saga is found again; a second one of the same name replaces the first.
    pub fn tag(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.with(|request| drop(request.tags.insert(name.into(), value.into())))
    }

    /// Labels by which the saga is found again, beside those that it has.
    pub fn tags(self, tags: BTreeMap<String, String>) -> Self {
        self.with(|request| request.tags.extend(tags))
    }

    /// Failures of this saga, as a JSON array; for a coordinator that injects some.
    pub fn faults(self, faults: Value) -> Self {
        self.with(|request| request.faults = Some(faults))
    }

    /// The W3C trace context of the caller.
    pub fn traceparent(self, traceparent: impl Into<String>) -> Self {
        self.with(|request| request.traceparent = Some(traceparent.into()))
    }

    fn with(mut self, change: impl FnOnce(&mut StartRequest)) -> Self {
        if let Ok(request) = &mut self.request {
            change(request);
        }
        self
    }
}

impl<D: SagaData> IntoFuture for TypedStart<D> {
    type Output = Result<SagaHandle<D>, TypedStartError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let started = self.engine.start_request(self.request?).await?;
            Ok(SagaHandle::new(self.engine, started))
        })
    }
}
