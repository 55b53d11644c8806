//! Notifications: sent once over core NATS, heard at most once, never answered.
//!
//! No stream keeps them, nothing is acknowledged and nothing is sent again. Whoever listens gets them in a queue group,
//! so that one instance of a service hears each. What cannot be read is dropped with a line in the log.

use async_nats::HeaderMap;
use async_nats::client::SubscribeError;
use bytes::Bytes;
use futures_util::StreamExt;
use redress_core::Name;
use redress_core::message::NotificationMessage;
use tokio::time::timeout;

use crate::connect::Wire;
use crate::headers;

/// The notifications of one service.
pub struct Notifications {
    subscriber: async_nats::Subscriber,
}

impl Wire {
    /// Sends notifications; whether anybody hears them is not known.
    ///
    /// Ends after `publish_timeout` at most; what is not sent by then is lost, as notifications may be.
    pub async fn notify(&self, notifications: &[NotificationMessage]) {
        let sending = async {
            for notification in notifications {
                let subject =
                    self.topology().notification_subject(&notification.service, &notification.command);
                let payload = Bytes::copy_from_slice(notification.payload.as_bytes());
                let headers = headers::of_notification(notification);
                if let Err(error) = self.inner.client.publish_with_headers(subject, headers, payload).await {
                    tracing::debug!(%error, step = %notification.step, "notification not sent");
                }
            }
        };
        if timeout(self.settings().publish_timeout, sending).await.is_err() {
            tracing::debug!("notifications not sent in time");
        }
    }

    /// Listens to what a service is told, together with its other instances.
    ///
    /// # Errors
    /// [`SubscribeError`] if the client has ended.
    pub async fn notifications(&self, service: &Name) -> Result<Notifications, SubscribeError> {
        let subject = self.topology().notifications_of(service);
        let queue = service.to_string();
        Ok(Notifications { subscriber: self.inner.client.queue_subscribe(subject, queue).await? })
    }
}

impl Notifications {
    /// The next one that can be read; `None` when the client has ended.
    ///
    /// Cancel safe.
    pub async fn next(&mut self) -> Option<NotificationMessage> {
        loop {
            let message = self.subscriber.next().await?;
            let headers = message.headers.unwrap_or_else(HeaderMap::new);
            match headers::read_notification(&headers, &message.payload) {
                Ok(notification) => return Some(notification),
                Err(reason) => {
                    let reason = headers::brief(&reason);
                    tracing::warn!(subject = %message.subject, reason, "notification dropped");
                }
            }
        }
    }
}
