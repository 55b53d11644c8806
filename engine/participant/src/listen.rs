//! Hearing notifications: one after the other, each in a transaction of its own.
//!
//! Nobody waits for an answer and nothing comes again, so a listener that fails costs that one notification.

use std::collections::HashMap;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;

use futures_util::FutureExt;
use redress_core::message::NotificationMessage;
use redress_core::{Command, IdempotencyKey, Name, Phase};
use redress_wire::Wire;
use sqlx::{Connection, PgConnection, PgPool};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::connection::{give_back, lease};
use crate::erased::Limits;
use crate::handler::{HandlerError, Listen, Tx};
use crate::retryable::{Mishap, answered, sort_of_handler};
use crate::settings::{Stats, count};

type Hearing<'a> = Pin<Box<dyn Future<Output = Result<(), HandlerError>> + Send + 'a>>;

pub(crate) trait Listener<S>: Send + Sync {
    fn hear<'a>(&'a self, service: &'a S, tx: Tx<'a>, notification: &'a NotificationMessage) -> Hearing<'a>;
}

pub(crate) struct Ear<C>(pub(crate) PhantomData<fn() -> C>);

impl<C: Command, S: Listen<C>> Listener<S> for Ear<C> {
    fn hear<'a>(
        &'a self,
        service: &'a S,
        mut tx: Tx<'a>,
        notification: &'a NotificationMessage,
    ) -> Hearing<'a> {
        Box::pin(async move { service.listen(&mut tx, notification.payload.read()?).await })
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
                return tracing::error!(service = %self.service, %error, "nobody listens to notifications");
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
                    let (step, error) = (&notification.step, error.chain());
                    tracing::warn!(service = %self.service, saga_id = %notification.saga_id, %step, error,
                        "notification lost");
                }
            }
        }
    }

    async fn hear(&self, notification: &NotificationMessage) -> Result<(), HandlerError> {
        let Some(listener) = self.listeners.get(&notification.command) else {
            return Err(format!("nobody listens to `{}`", notification.command).into());
        };
        let key = IdempotencyKey {
            saga_id: notification.saga_id,
            step: notification.step.clone(),
            phase: Phase::Action,
            generation: 1,
        };
        let mut connection = lease(&self.pool, self.limits.silence).await?;
        let heard = self.hear_on(&mut connection, listener.as_ref(), key, notification).await;
        give_back(connection, heard.as_ref().err().map(|error| sort_of_handler(&*error.0)));
        heard
    }

    async fn hear_on(
        &self,
        connection: &mut PgConnection,
        listener: &dyn Listener<S>,
        key: IdempotencyKey,
        notification: &NotificationMessage,
    ) -> Result<(), HandlerError> {
        let (silence, handler) = (self.limits.silence, self.limits.handler);
        let mut transaction = answered(silence, connection.begin()).await?;
        let heard = listener.hear(&self.author, Tx::new(&mut transaction, key.clone()), notification);
        let heard = timeout(handler, AssertUnwindSafe(heard).catch_unwind()).await;
        let heard = heard.map_err(|_| sqlx::Error::from(Mishap::Overdue(handler, vec![key])))?;
        heard.map_err(|_| "the listener panicked")??;
        Ok(answered(silence, transaction.commit()).await?)
    }
}
