//! Hears notifications: one after the other, each in a transaction of its own, or without a database.
//!
//! A notification is acknowledged before it is handled, since no stream keeps it: at most once. No sender waits for an
//! answer and no notification comes again, so a listener that fails costs that one notification.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redress_core::message::NotificationMessage;
use redress_core::{Command, IdempotencyKey, Name, with_causes};
use redress_postgres::answered;
use redress_wire::Wire;
use sqlx::{Connection, PgConnection, PgPool};
use thiserror::Error;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::at_least_once::{ListenWithoutDatabase, Received};
use crate::config::{Stats, count};
use crate::connection::{give_back, lease};
use crate::handler::{HandlerError, Listen};
use crate::meter::Limits;
use crate::store;
use crate::tx::Tx;
use crate::unit_error::{Disposition, HandlerSource, UnitError, classify_handler_error};

/// How long a listener waits for a row: others wait behind it.
const LOCK_WAIT: Duration = Duration::from_secs(10);

type Hearing<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;

pub(crate) trait Listener<S>: Send + Sync {
    fn hear<'a>(&'a self, service: &'a S, tx: Tx<'a>, notification: &'a NotificationMessage) -> Hearing<'a>;
}

pub(crate) struct TypedListener<C>(pub(crate) PhantomData<fn() -> C>);

impl<C: Command, S: Listen<C>> Listener<S> for TypedListener<C> {
    fn hear<'a>(
        &'a self,
        service: &'a S,
        mut tx: Tx<'a>,
        notification: &'a NotificationMessage,
    ) -> Hearing<'a> {
        Box::pin(async move { service.listen(&mut tx, notification.payload.read()?).await })
    }
}

/// A listener without a database, its type forgotten.
pub(crate) trait BareListener<S>: Send + Sync {
    fn hear<'a>(
        &'a self,
        service: &'a S,
        received: &'a Received,
        notification: &'a NotificationMessage,
    ) -> Hearing<'a>;
}

pub(crate) struct TypedBareListener<C>(pub(crate) PhantomData<fn() -> C>);

impl<C: Command, S: ListenWithoutDatabase<C>> BareListener<S> for TypedBareListener<C> {
    fn hear<'a>(
        &'a self,
        service: &'a S,
        received: &'a Received,
        notification: &'a NotificationMessage,
    ) -> Hearing<'a> {
        Box::pin(async move { service.listen_without_database(received, notification.payload.read()?).await })
    }
}

/// The listener to a notification.
pub(crate) enum Hearer<S> {
    /// It runs in a transaction of its own.
    InTransaction(Box<dyn Listener<S>>),
    /// It has no database.
    Bare(Box<dyn BareListener<S>>),
}

/// A notification was lost here.
#[derive(Debug, Error)]
enum Unheard {
    #[error("this instance does not listen to `{0}`")]
    NoListener(Name),
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error("the listener failed")]
    Listener(#[source] HandlerSource),
    #[error("the listener needs a transaction, and the service has no database")]
    NoDatabase,
}

impl Unheard {
    fn disposition(&self) -> Disposition {
        match self {
            Self::NoListener(_) | Self::NoDatabase => Disposition::Other,
            Self::Unit(error) => error.disposition(),
            Self::Listener(error) => classify_handler_error(&**error),
        }
    }
}

/// Everything that hearing needs.
pub(crate) struct Listening<S> {
    pub(crate) service: Name,
    pub(crate) author: Arc<S>,
    pub(crate) listeners: HashMap<Name, Hearer<S>>,
    /// None if the service has no database.
    pub(crate) pool: Option<PgPool>,
    pub(crate) wire: Wire,
    pub(crate) stats: Arc<Stats>,
    pub(crate) limits: Limits,
}

impl<S: Send + Sync + 'static> Listening<S> {
    /// Hears until the shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        if self.listeners.is_empty() {
            return;
        }
        let mut notifications = match self.wire.notifications(&self.service).await {
            Ok(notifications) => notifications,
            Err(error) => {
                return tracing::error!(service = %self.service, %error, "failed to subscribe to notifications; none is received");
            }
        };
        loop {
            let notification = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                next = notifications.next() => match next {
                    Some(notification) => notification,
                    None => break,
                },
            };
            match self.hear(&notification).await {
                Ok(()) => count(&self.stats.heard),
                Err(error) => {
                    count(&self.stats.unheard);
                    let (step, error) = (&notification.step, with_causes(&error));
                    tracing::warn!(service = %self.service, saga_id = %notification.saga_id, %step, error,
                        "failed to handle a notification; it is not sent again");
                }
            }
        }
    }

    async fn hear(&self, notification: &NotificationMessage) -> Result<(), Unheard> {
        let Some(listener) = self.listeners.get(&notification.command) else {
            return Err(Unheard::NoListener(notification.command.clone()));
        };
        let received = Received::of_notification(notification);
        let listener = match listener {
            Hearer::InTransaction(listener) => listener,
            Hearer::Bare(listener) => {
                return self.hear_bare(listener.as_ref(), &received, notification).await;
            }
        };
        let pool = self.pool.as_ref().ok_or(Unheard::NoDatabase)?;
        let mut connection = lease(pool, self.limits.silence).await?;
        let key = received.key().clone();
        let heard = self.hear_on(&mut connection, listener.as_ref(), key, notification).await;
        give_back(pool, connection, heard.as_ref().err().map(Unheard::disposition));
        heard
    }

    async fn hear_bare(
        &self,
        listener: &dyn BareListener<S>,
        received: &Received,
        notification: &NotificationMessage,
    ) -> Result<(), Unheard> {
        let limit = self.limits.handler;
        let heard = listener.hear(&self.author, received, notification);
        match timeout(limit, AssertUnwindSafe(heard).catch_unwind()).await {
            Ok(Ok(heard)) => heard.map_err(|error| Unheard::Listener(error.0)),
            Ok(Err(_)) => Err(Unheard::Listener("the listener panicked".into())),
            Err(_) => Err(UnitError::Overdue { limit, keys: vec![received.key().clone()] }.into()),
        }
    }

    async fn hear_on(
        &self,
        connection: &mut PgConnection,
        listener: &dyn Listener<S>,
        key: IdempotencyKey,
        notification: &NotificationMessage,
    ) -> Result<(), Unheard> {
        let (silence, limit) = (self.limits.silence, self.limits.handler);
        let begun = answered(silence, connection.begin_with(store::begin(LOCK_WAIT, limit))).await;
        let mut transaction = begun.map_err(UnitError::from)?;
        let heard = listener.hear(&self.author, Tx::new(&mut transaction, key.clone()), notification);
        match timeout(limit, AssertUnwindSafe(heard).catch_unwind()).await {
            Ok(Ok(heard)) => heard.map_err(|error| Unheard::Listener(error.0))?,
            Ok(Err(_)) => return Err(Unheard::Listener("the listener panicked".into())),
            Err(_) => return Err(UnitError::Overdue { limit, keys: vec![key] }.into()),
        }
        Ok(answered(silence, transaction.commit()).await.map_err(UnitError::from)?)
    }
}
