//! Listens on the wire: counts redeliveries, and checks that equal commands get equal answers.
//!
//! Millions of answers pass in a long run, so of each command and each answer only a hash is kept.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::StreamExt;

use super::book::Book;
use super::disruptions::poison::MARK;
use super::support::answers::Answered;
use super::yard::{PREFIX, Yard};
use super::{rest, support};

/// The pause between the end of a client and the next try.
const AGAIN_AFTER: Duration = Duration::from_millis(200);

/// Counts until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Answers {
    first: Mutex<HashMap<u64, u64>>,
    redelivered: AtomicU64,
    heard: AtomicU64,
}

impl Answers {
    /// Listens until it is dropped with the runtime.
    pub(crate) async fn listen(yard: &Arc<Yard>, book: Arc<Book>) -> Arc<Self> {
        let answers = Arc::new(Self::default());
        let (listening, counting) = (answers.clone(), answers.clone());
        follow(yard, format!("{PREFIX}.reply.>"), move |reply| listening.hear(&reply, &book)).await;
        follow(yard, "$JS.ACK.>".to_owned(), move |ack| {
            // `$JS.ACK.<stream>.<consumer>.<deliveries>.…`
            let deliveries = ack.subject.split('.').nth(4).and_then(|count| count.parse::<u64>().ok());
            if deliveries.is_some_and(|deliveries| deliveries > 1) {
                counting.redelivered.fetch_add(1, Ordering::Relaxed);
            }
        })
        .await;
        answers
    }

    fn hear(&self, reply: &async_nats::Message, book: &Book) {
        let header = |name: &str| reply.headers.as_ref()?.get(name).map(|value| value.as_str());
        if header(MARK).is_some() {
            return;
        }
        for Answered { key, outcome, body } in support::answers::answers(reply) {
            // The other outcomes speak of an attempt, not of the command.
            if !matches!(outcome.as_str(), "done" | "rejected" | "fenced") {
                continue;
            }
            self.heard.fetch_add(1, Ordering::Relaxed);
            let answer = hash(&(&outcome, &body[..]));
            let mut first = self.first.lock().expect("nobody panics while holding it");
            if *first.entry(hash(&key)).or_insert(answer) != answer {
                book.violation(format!("{key} was answered in two ways, the second time {outcome}"));
            }
        }
    }

    /// Acknowledgements of messages that had come before.
    pub(crate) fn redelivered(&self) -> u64 {
        self.redelivered.load(Ordering::Relaxed)
    }

    /// Final answers that were heard.
    pub(crate) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }
}

/// Hands on the messages of a subject. A client that meets a header it cannot read ends, and another takes its place.
async fn follow(
    yard: &Arc<Yard>,
    subject: String,
    mut hear: impl FnMut(async_nats::Message) + Send + 'static,
) {
    let mut messages = subscribed(yard, &subject).await.expect("NATS answers");
    let yard = yard.clone();
    tokio::spawn(async move {
        loop {
            while let Some(message) = messages.next().await {
                hear(message);
            }
            messages = loop {
                rest(AGAIN_AFTER).await;
                if let Some(messages) = subscribed(&yard, &subject).await {
                    break messages;
                }
            };
        }
    });
}

/// A subscription that the broker knows of; nothing while the broker is away.
async fn subscribed(yard: &Yard, subject: &str) -> Option<async_nats::Subscriber> {
    let nats = support::connect_nats(&yard.stack).await.ok()?;
    let messages = nats.subscribe(subject.to_owned()).await.ok()?;
    nats.flush().await.ok()?;
    Some(messages)
}

fn hash(value: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    value.hash(&mut hasher);
    hasher.finish()
}
