//! The loop that takes replies and decides on them, and its work after each commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redress_core::decide::Event;
use redress_core::{Name, ReplyMessage, SagaId};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::batch_size::SharedLimit;
use crate::crash::CrashPoint;
use crate::deciding::{Isolation, decide_with_retry};
use crate::ports::{Acknowledge, Bus, Clock, DeadLetter, Incoming, Journal, JournalError, Replies};
use crate::sending::after_commit;
use crate::shared::Shared;

/// How long replies rest while the database is down.
const DATABASE_DOWN_PAUSE: Duration = Duration::from_secs(1);
/// How long a reply rests that only a newer coordinator can use: the next coordinator that takes it may be one.
const TO_OTHERS_PAUSE: Duration = Duration::from_millis(500);

/// Takes the replies to sagas of one definition until the shutdown.
pub(crate) async fn replies<J: Journal, B: Bus, C: Clock>(
    shared: Arc<Shared<J, B, C>>,
    saga: Name,
    version: u32,
    shutdown: CancellationToken,
) {
    let mut consumer = shared.bus.replies(&saga, version);
    let lanes = Arc::new(Semaphore::new(shared.config.lanes));
    let limit = Arc::new(SharedLimit::new(shared.config.batch_max, shared.config.batch_bytes_max));
    loop {
        let lane = lanes.clone().acquire_owned().await.expect("the lanes are never closed");
        let batch = tokio::select! {
            biased;
            () = shutdown.cancelled() => break,
            batch = consumer.next_batch(limit.now().rows) => batch,
        };
        let (shared, limit) = (shared.clone(), limit.clone());
        shared.clone().tasks.spawn(async move {
            process(&shared, &limit, batch).await;
            drop(lane);
        });
    }
}

async fn process<J: Journal, B: Bus, C: Clock, A: Acknowledge>(
    shared: &Arc<Shared<J, B, C>>,
    limit: &SharedLimit,
    batch: Vec<Incoming<A>>,
) {
    shared.metrics.batch_size.observe(batch.len() as f64);
    let mut replies = Vec::with_capacity(batch.len());
    for Incoming { message, acknowledge } in batch {
        match message {
            Ok(reply) => replies.push((reply, acknowledge)),
            Err(letter) => dead_letter(shared, letter, &acknowledge).await,
        }
    }
    if !replies.is_empty() {
        process_replies(shared, replies, Isolation::Batch(limit)).await;
    }
}

/// The availability of the journal.
enum Availability {
    /// It can be worked with; a reply that it did not take was set aside or put back.
    Available,
    /// There is no use in going on.
    Unavailable,
}

/// Decides a batch, in as many units of work as its sagas need; one that cannot be decided as a whole is decided reply
/// by reply, so that the culprit is found.
async fn process_replies<J: Journal, B: Bus, C: Clock, A: Acknowledge>(
    shared: &Arc<Shared<J, B, C>>,
    mut replies: Vec<(ReplyMessage, A)>,
    isolation: Isolation<'_>,
) -> Availability {
    while !replies.is_empty() {
        match process_some_replies(shared, &replies, isolation).await {
            // The sagas that were left have another turn, without those that are done.
            Ok(left) => replies.retain(|(reply, _)| left.contains(&reply.key.saga_id)),
            Err(error) => return handle_failed_batch(shared, replies, error).await,
        }
    }
    Availability::Available
}

/// Decides as much of a batch as fits into one unit of work, and names the sagas that are left.
async fn process_some_replies<J: Journal, B: Bus, C: Clock, A: Acknowledge>(
    shared: &Arc<Shared<J, B, C>>,
    replies: &[(ReplyMessage, A)],
    isolation: Isolation<'_>,
) -> Result<Vec<SagaId>, JournalError> {
    let mut events: BTreeMap<SagaId, Vec<Event>> = BTreeMap::new();
    for (reply, _) in replies {
        events.entry(reply.key.saga_id).or_default().push(Event::Reply(reply.clone()));
    }
    let pass = |point| shared.config.crash.pass(point, replies.iter().map(|(reply, _)| &reply.key));
    pass(CrashPoint::BeforeCommit);
    let result = decide_with_retry(shared, events, isolation).await;
    isolation.learn(&result);
    let mut outcome = result?;
    pass(CrashPoint::AfterCommit);
    let (left, newer) = (std::mem::take(&mut outcome.left), std::mem::take(&mut outcome.newer));
    let publishing = after_commit(shared, outcome);
    for (reply, ack) in replies.iter().filter(|(reply, _)| !left.contains(&reply.key.saga_id)) {
        if newer.iter().any(|(id, _)| *id == reply.key.saga_id) {
            shared.metrics.left_to_others.inc();
            ack.nak(TO_OTHERS_PAUSE).await;
        } else {
            ack.ack().await;
        }
    }
    if shared.config.crash.is_armed() {
        // A process that dies at the next point must not take the acknowledgements along.
        shared.bus.flush().await;
    }
    pass(CrashPoint::AfterAcknowledgement);
    publishing.await;
    pass(CrashPoint::AfterPublish);
    Ok(left)
}

async fn handle_failed_batch<J: Journal, B: Bus, C: Clock, A: Acknowledge>(
    shared: &Arc<Shared<J, B, C>>,
    replies: Vec<(ReplyMessage, A)>,
    error: JournalError,
) -> Availability {
    let is_there = shared.journal.should_isolate(&error).await;
    let (count, error_text) = (replies.len(), error.with_causes());
    if is_there && count > 1 {
        tracing::warn!(error = error_text, "batch of replies failed; they are decided one by one");
        return process_one_by_one(shared, replies).await;
    }
    if error.is_unavailable() {
        tracing::warn!(error = error_text, count, "not journalled; the replies wait");
        put_back(replies).await;
        return if is_there { Availability::Available } else { Availability::Unavailable };
    }
    for (reply, ack) in replies {
        set_aside(shared, &reply, &ack, &error_text).await;
    }
    Availability::Available
}

/// Each reply in a unit of work of its own, so that only the culprit waits or is set aside.
async fn process_one_by_one<J: Journal, B: Bus, C: Clock, A: Acknowledge>(
    shared: &Arc<Shared<J, B, C>>,
    replies: Vec<(ReplyMessage, A)>,
) -> Availability {
    let mut replies = replies.into_iter();
    while let Some(reply) = replies.next() {
        match Box::pin(process_replies(shared, vec![reply], Isolation::Alone)).await {
            Availability::Available => {}
            Availability::Unavailable => {
                put_back(replies.collect()).await;
                return Availability::Unavailable;
            }
        }
    }
    Availability::Available
}

async fn put_back<A: Acknowledge>(replies: Vec<(ReplyMessage, A)>) {
    for (_, ack) in replies {
        ack.nak(DATABASE_DOWN_PAUSE).await;
    }
}

/// Keeps a reply from which nothing that the journal takes can follow.
async fn set_aside<J: Journal, B: Bus, C: Clock, A: Acknowledge>(
    shared: &Shared<J, B, C>,
    reply: &ReplyMessage,
    ack: &A,
    error: &str,
) {
    tracing::error!(error, key = %reply.key, "reply set aside");
    let reason = format!("the journal refused what follows from it: {error}");
    let letter = shared.rules.letter_of(reply, reason);
    dead_letter(shared, letter, ack).await;
}

/// Keeps a letter in the journal, and ends its message: while the journal is away it waits, and a letter that the
/// journal refuses goes to the log, because its message would come again for ever.
async fn dead_letter<J: Journal, B: Bus, C: Clock, A: Acknowledge>(
    shared: &Shared<J, B, C>,
    letter: DeadLetter,
    ack: &A,
) {
    match shared.journal.dead_letter(vec![letter.clone()]).await {
        Ok(()) => {}
        Err(error) if error.is_unavailable() => return ack.nak(DATABASE_DOWN_PAUSE).await,
        Err(error) => {
            let (error, subject, reason) = (error.with_causes(), &letter.subject, &letter.reason);
            tracing::error!(error, subject, reason, "a dead letter is kept nowhere but in this line");
        }
    }
    ack.term().await;
    shared.metrics.dead_letters.inc();
}
