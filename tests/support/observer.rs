//! Watches the wire of a world: counts redeliveries, and checks that equal commands get equal answers.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::StreamExt;

use super::answers::{Answered, answers};

/// Counts until it is dropped.
pub(crate) struct Observer {
    redelivered: Arc<AtomicU64>,
    answers: Answers,
    tasks: [tokio::task::JoinHandle<()>; 2],
}

/// The final answers to each command, as outcome and body.
type Answers = Arc<Mutex<BTreeMap<String, BTreeSet<(String, Vec<u8>)>>>>;

impl Observer {
    /// Begins to watch the streams of commands and of replies.
    pub(crate) async fn begin(client: async_nats::Client, prefix: &str) -> Self {
        let streams = ["COMMANDS", "REPLIES"].map(|what| format!("{}_{what}", prefix.to_ascii_uppercase()));
        let mut acks = client.subscribe("$JS.ACK.>").await.expect("NATS answers");
        let mut replies = client.subscribe(format!("{prefix}.reply.>")).await.expect("NATS answers");
        client.flush().await.expect("NATS answers");
        let redelivered = Arc::new(AtomicU64::new(0));
        let counter = redelivered.clone();
        let first = Answers::default();
        let seen = first.clone();
        let listening = tokio::spawn(async move {
            while let Some(reply) = replies.next().await {
                for Answered { key, outcome, body } in answers(&reply) {
                    // The other outcomes speak of an attempt, not of the command.
                    if matches!(outcome.as_str(), "done" | "rejected" | "fenced") {
                        let mut seen = seen.lock().expect("nobody panics while holding it");
                        seen.entry(key).or_default().insert((outcome, body));
                    }
                }
            }
        });
        let counting = tokio::spawn(async move {
            // The subscription lives as long as its client.
            let _client = client;
            while let Some(ack) = acks.next().await {
                if deliveries(ack.subject.as_str(), &streams).is_some_and(|deliveries| deliveries > 1) {
                    counter.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { redelivered, answers: first, tasks: [counting, listening] }
    }

    /// Commands that got two different final answers.
    pub(crate) fn two_answers(&self) -> Vec<String> {
        let answers = self.answers.lock().expect("nobody panics while holding it");
        let two = answers.iter().filter(|(_, answers)| answers.len() > 1);
        two.map(|(key, answers)| format!("{key} was answered {answers:?}")).collect()
    }

    /// Acknowledgements (also those that ask for another delivery) of messages that had come before.
    pub(crate) fn redelivered(&self) -> u64 {
        self.redelivered.load(Ordering::Relaxed)
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

/// How often a message was delivered, by the subject of its acknowledgement: `….<stream>.<consumer>.<deliveries>.…`.
fn deliveries(subject: &str, streams: &[String]) -> Option<u64> {
    let mut tokens = subject.split('.');
    tokens.find(|token| streams.iter().any(|stream| stream == token))?;
    tokens.nth(1)?.parse().ok()
}
