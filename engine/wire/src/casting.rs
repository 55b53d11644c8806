//! Casts anchors ([`crate::anchor`]).

use async_nats::jetstream::message::PublishMessage;
use serde_json::{Value, json};

use crate::anchor::Anchor;
use crate::wire::Wire;

impl Wire {
    /// Casts an anchor in the background, in place of the one before.
    pub(crate) fn cast(&self, anchor: &Anchor) {
        let context = self.link().context.clone();
        let (stream, subject) = (anchor.stream.clone(), anchor.subject.clone());
        tokio::spawn(async move {
            let message = PublishMessage::build().payload(
                "Nobody takes this message: it keeps its block of the stream from being removed.".into(),
            );
            let cast = async { context.send_publish(subject.clone(), message).await?.await };
            if let Err(error) = cast.await {
                return tracing::debug!(%error, "failed to store an anchor");
            }
            let purge = json!({ "filter": subject, "keep": 1 });
            let purged: Result<Value, _> = context.request(format!("STREAM.PURGE.{stream}"), &purge).await;
            if let Err(error) = purged {
                tracing::debug!(%error, "failed to remove old anchors; retrying with the next one");
            }
        });
    }
}
