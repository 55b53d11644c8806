//! Notifications: sent once over core NATS, heard at most once, never answered.
//!
//! No stream keeps them, nothing is acknowledged and nothing is sent again. Instances listen in a queue group, so that
//! one instance of a service hears each. A notification that cannot be read is dropped with a line in the log.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use async_nats::client::SubscribeError;
use async_nats::{HeaderMap, Subscriber};
use bytes::Bytes;
use futures_util::StreamExt;
use redress_core::Name;
use redress_core::message::NotificationMessage;
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::timeout;

use crate::headers;
use crate::wire::Wire;

/// Notifications that may wait to be taken, in bytes: a listener that is slow must not fill the memory.
const WAITING_BYTES_MAX: usize = 8 << 20;
/// Pause before a subscription is made anew.
const SUBSCRIBE_PAUSE: Duration = Duration::from_millis(200);

/// The notifications of one service; dropped, it listens no more.
pub struct Notifications {
    queue: mpsc::UnboundedReceiver<Waiting>,
    /// Bytes in the queue.
    waiting: Arc<AtomicUsize>,
    task: AbortHandle,
}

struct Waiting {
    notification: NotificationMessage,
    bytes: usize,
}

impl Drop for Notifications {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Wire {
    /// Sends notifications; their delivery is not known.
    ///
    /// Ends after `publish_timeout` at most; a notification that is not sent by then is lost, as notifications may be.
    pub async fn notify(&self, notifications: &[NotificationMessage]) {
        let client = self.link().client.clone();
        let sending = async {
            for notification in notifications {
                let subject =
                    self.topology().notification_subject(&notification.service, &notification.command);
                let payload = Bytes::copy_from_slice(notification.payload.as_bytes());
                let headers = headers::of_notification(notification);
                if let Err(error) = client.publish_with_headers(subject, headers, payload).await {
                    tracing::debug!(%error, step = %notification.step, "failed to send a notification");
                }
            }
        };
        if timeout(self.config().publish_timeout, sending).await.is_err() {
            tracing::debug!("timed out sending notifications");
        }
    }

    /// Listens to the notifications of a service, together with its other instances.
    ///
    /// The queue of notifications is bounded by bytes; beyond, the latest are lost, as notifications may be.
    ///
    /// # Errors
    /// [`SubscribeError`] if the client has ended.
    pub async fn notifications(&self, service: &Name) -> Result<Notifications, SubscribeError> {
        let subscriber = self.subscribe(service).await?;
        let (sender, queue) = mpsc::unbounded_channel();
        let waiting = Arc::new(AtomicUsize::new(0));
        let hearing = hear(self.clone(), service.clone(), subscriber, sender, waiting.clone());
        Ok(Notifications { queue, waiting, task: tokio::spawn(hearing).abort_handle() })
    }

    async fn subscribe(&self, service: &Name) -> Result<Subscriber, SubscribeError> {
        let subject = self.topology().notifications_of(service);
        self.link().client.queue_subscribe(subject, service.to_string()).await
    }
}

/// Reads the notifications that come, also after a client that has ended was replaced.
async fn hear(
    wire: Wire,
    service: Name,
    mut subscriber: Subscriber,
    queue: mpsc::UnboundedSender<Waiting>,
    waiting: Arc<AtomicUsize>,
) {
    loop {
        while let Some(message) = subscriber.next().await {
            let bytes = message.length;
            if waiting.load(Ordering::Relaxed) + bytes > WAITING_BYTES_MAX {
                tracing::warn!(subject = %message.subject, "notification dropped: queue full");
                continue;
            }
            let headers = message.headers.unwrap_or_else(HeaderMap::new);
            match headers::read_notification(&headers, &message.payload) {
                Ok(notification) => {
                    waiting.fetch_add(bytes, Ordering::Relaxed);
                    if queue.send(Waiting { notification, bytes }).is_err() {
                        return;
                    }
                }
                Err(reason) => {
                    let reason = headers::brief(&reason);
                    tracing::warn!(subject = %message.subject, reason, "notification dropped");
                }
            }
        }
        tracing::warn!(%service, "notification subscription ended; resubscribing");
        subscriber = loop {
            tokio::time::sleep(SUBSCRIBE_PAUSE).await;
            match wire.subscribe(&service).await {
                Ok(subscriber) => break subscriber,
                Err(error) => {
                    tracing::debug!(%service, %error, "failed to subscribe to notifications; retrying")
                }
            }
        };
    }
}

impl Notifications {
    /// The next one that can be read; `None` when listening has ended.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<NotificationMessage> {
        let Waiting { notification, bytes } = self.queue.recv().await?;
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        Some(notification)
    }
}
