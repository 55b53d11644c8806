//! Watches the acknowledgements of a world, for proof that messages came more than once.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use futures_util::StreamExt;

/// Counts until it is dropped.
pub(crate) struct Observer {
    redelivered: Arc<AtomicU64>,
    task: tokio::task::JoinHandle<()>,
}

impl Observer {
    /// Begins to watch the streams of commands and of replies.
    pub(crate) async fn begin(client: async_nats::Client, prefix: &str) -> Self {
        let streams = ["COMMANDS", "REPLIES"].map(|what| format!("{}_{what}", prefix.to_ascii_uppercase()));
        let mut acks = client.subscribe("$JS.ACK.>").await.expect("NATS answers");
        client.flush().await.expect("NATS answers");
        let redelivered = Arc::new(AtomicU64::new(0));
        let counter = redelivered.clone();
        let task = tokio::spawn(async move {
            // The subscription lives as long as its client.
            let _client = client;
            while let Some(ack) = acks.next().await {
                if deliveries(ack.subject.as_str(), &streams).is_some_and(|deliveries| deliveries > 1) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { redelivered, task }
    }

    /// Acknowledgements (also those that ask for another delivery) of messages that had come before.
    pub(crate) fn redelivered(&self) -> u64 {
        self.redelivered.load(Ordering::Relaxed)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How often a message was delivered, by the subject of its acknowledgement: `….<stream>.<consumer>.<deliveries>.…`.
fn deliveries(subject: &str, streams: &[String]) -> Option<u64> {
    let mut tokens = subject.split('.');
    tokens.find(|token| streams.iter().any(|stream| stream == token))?;
    tokens.nth(1)?.parse().ok()
}
