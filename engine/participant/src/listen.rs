//! Hears notifications: one after the other, each in a transaction of its own.
//!
//! No sender waits for an answer and no notification comes again, so a listener that fails costs that one notification.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use redress_core::message::NotificationMessage;
use redress_core::{Command, IdempotencyKey, Name, Phase, with_causes};
use redress_postgres::answered;
use redress_wire::Wire;
use sqlx::{Connection, PgConnection, PgPool};
use thiserror::Error;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

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

/// A notification was lost here.
#[derive(Debug, Error)]
enum Unheard {
    #[error("this instance does not listen to `{0}`")]
    NoListener(Name),
    #[error(transparent)]
    Unit(#[from] UnitError),
    #[error("the listener failed")]
    Listener(#[source] HandlerSource),
}

impl Unheard {
    fn disposition(&self) -> Disposition {
        match self {
            Self::NoListener(_) => Disposition::Other,
            Self::Unit(error) => error.disposition(),
            Self::Listener(error) => classify_handler_error(&**error),
        }
    }
}

/// Everything that hearing needs.
pub(crate) struct Listening<S> {
    pub(crate) service: Name,
    pub(crate) author: Arc<S>,
    pub(crate) listeners: HashMap<Name, Box<dyn Listener<S>>>,
    pub(crate) pool: PgPool,
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
        let key = IdempotencyKey {
            saga_id: notification.saga_id,
            step: notification.step.clone(),
            phase: Phase::Action,
            generation: 1,
        };
        let mut connection = lease(&self.pool, self.limits.silence).await?;
        let heard = self.hear_on(&mut connection, listener.as_ref(), key, notification).await;
        give_back(&self.pool, connection, heard.as_ref().err().map(Unheard::disposition));
        heard
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
