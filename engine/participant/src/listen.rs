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
use sqlx::PgPool;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::erased::Limits;
use crate::handler::{HandlerError, Listen, Tx};
use crate::retryable::answered;
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
        let mut transaction = answered(self.limits.silence, self.pool.begin()).await?;
        let heard = listener.hear(&self.author, Tx::new(&mut transaction, key), notification);
        let heard = timeout(self.limits.handler, AssertUnwindSafe(heard).catch_unwind()).await;
        heard.map_err(|_| "the listener did not end")?.map_err(|_| "the listener panicked")??;
        Ok(answered(self.limits.silence, transaction.commit()).await?)
    }
}
