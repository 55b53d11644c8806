//! The loop that takes replies and decides on them, and its work after each commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redress_core::decide::Event;
use redress_core::{Name, ReplyMessage, SagaId};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::batch::CommitEffects;
use crate::batch_size::SharedLimit;
use crate::crash::CrashPoint;
use crate::deciding::decide_with_retry;
use crate::ports::{Acknowledge, Bus, Clock, DeadLetter, Incoming, Journal, JournalError, Replies};
use crate::sending::after_commit;
use crate::shared::Shared;
use crate::units::{BatchWork, Failed, Isolation, run_batch};

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

/// A reply that was taken, and the right to settle it.
type Taken<B> = (ReplyMessage, <<B as Bus>::Replies as Replies>::Acknowledge);

async fn process<J: Journal, B: Bus, C: Clock>(
    shared: &Arc<Shared<J, B, C>>,
    limit: &SharedLimit,
    batch: Vec<Incoming<<B::Replies as Replies>::Acknowledge>>,
) {
    shared.metrics.batch_size.observe(batch.len() as f64);
    let mut replies = Vec::with_capacity(batch.len());
    for Incoming { message, acknowledge } in batch {
        match message {
            Ok(reply) => replies.push((reply, acknowledge)),
            Err(letter) => dead_letter(shared, letter, &acknowledge).await,
        }
    }
    let decided = run_batch(&shared.journal, limit, &mut TakenReplies { shared }, replies).await;
    if let Err(Failed { members, error }) = decided {
        give_up(shared, members, &error).await;
    }
}

/// Decides on replies: a reply that cannot be decided on even alone waits or is set aside.
struct TakenReplies<'s, J, B, C> {
    shared: &'s Arc<Shared<J, B, C>>,
}

impl<J, B: Bus, C> TakenReplies<'_, J, B, C> {
    fn pass(&self, point: CrashPoint, replies: &[Taken<B>]) {
        self.shared.config.crash.pass(point, replies.iter().map(|(reply, _)| &reply.key));
    }
}

impl<J: Journal, B: Bus, C: Clock> BatchWork for TakenReplies<'_, J, B, C> {
    type Member = Taken<B>;
    type Outcome = CommitEffects;
    const NAME: &'static str = "replies";

    async fn run(
        &mut self,
        replies: &[Taken<B>],
        isolation: Isolation,
    ) -> Result<CommitEffects, JournalError> {
        let mut events: BTreeMap<SagaId, Vec<Event>> = BTreeMap::new();
        for (reply, _) in replies {
            events.entry(reply.key.saga_id).or_default().push(Event::Reply(reply.clone()));
        }
        self.pass(CrashPoint::BeforeCommit, replies);
        decide_with_retry(self.shared, events, isolation).await
    }

    async fn after_commit(&mut self, replies: &mut Vec<Taken<B>>, mut outcome: CommitEffects) {
        self.pass(CrashPoint::AfterCommit, replies);
        let (left, newer) = (std::mem::take(&mut outcome.left), std::mem::take(&mut outcome.newer));
        let publishing = after_commit(self.shared, outcome);
        for (reply, ack) in replies.iter().filter(|(reply, _)| !left.contains(&reply.key.saga_id)) {
            if newer.iter().any(|(id, _)| *id == reply.key.saga_id) {
                self.shared.metrics.left_to_others.inc();
                ack.nak(TO_OTHERS_PAUSE).await;
            } else {
                ack.ack().await;
            }
        }
        if self.shared.config.crash.is_armed() {
            // A process that dies at the next point must not take the acknowledgements along.
            self.shared.bus.flush().await;
        }
        self.pass(CrashPoint::AfterAcknowledgement, replies);
        publishing.await;
        self.pass(CrashPoint::AfterPublish, replies);
        // The sagas that were left have another turn, without those that are done.
        replies.retain(|(reply, _)| left.contains(&reply.key.saga_id));
    }

    async fn fail(&mut self, reply: Taken<B>, error: JournalError) -> Result<(), Failed<Taken<B>>> {
        let is_there = self.shared.journal.should_isolate(&error).await;
        if error.is_unavailable() && !is_there {
            return Err(Failed::one(reply, error));
        }
        give_up(self.shared, vec![reply], &error).await;
        Ok(())
    }
}

/// Puts back replies that the journal may take later; sets aside those that it will never take.
async fn give_up<J: Journal, B: Bus, C: Clock>(
    shared: &Shared<J, B, C>,
    replies: Vec<Taken<B>>,
    error: &JournalError,
) {
    let (count, error_text) = (replies.len(), error.with_causes());
    if error.is_unavailable() {
        tracing::warn!(error = error_text, count, "not journalled; the replies wait");
        for (_, ack) in replies {
            ack.nak(DATABASE_DOWN_PAUSE).await;
        }
        return;
    }
    for (reply, ack) in replies {
        set_aside(shared, &reply, &ack, &error_text).await;
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
