//! The loop that takes replies and decides on them, and its work after each commit.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use redress_core::decide::Event;
use redress_core::{LetterCode, Name, ReplyMessage, SagaId};
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batch::CommitEffects;
use crate::batch_size::SharedLimit;
use crate::crash::CrashPoint;
use crate::decider::Decider;
use crate::ports::{Acknowledge, Bus, Clock, DeadLetter, Incoming, Journal, JournalError, Replies};
use crate::publisher::Publisher;
use crate::units::{BatchWork, Failed, Isolation, run_batch};

/// How long replies rest while the database is down.
const DATABASE_DOWN_PAUSE: Duration = Duration::from_secs(1);
/// How long a reply rests that only a newer coordinator can use: the next coordinator that takes it may be one.
const TO_OTHERS_PAUSE: Duration = Duration::from_millis(500);

/// The intake of the replies to sagas of one definition.
pub(crate) struct Intake<J, B, C> {
    pub(crate) decider: Arc<Decider<J, C>>,
    pub(crate) publisher: Arc<Publisher<J, B, C>>,
    pub(crate) tasks: TaskTracker,
    /// Batches in flight.
    pub(crate) lanes: usize,
    /// How large the next batch may be.
    pub(crate) limit: SharedLimit,
}

/// The right to settle a reply that came over this bus.
type AcknowledgeOf<B> = <<B as Bus>::Replies as Replies>::Acknowledge;
/// A reply that was taken, and the right to settle it.
type Taken<B> = (ReplyMessage, AcknowledgeOf<B>);

impl<J: Journal, B: Bus, C: Clock> Intake<J, B, C> {
    /// Takes replies until the shutdown.
    pub(crate) async fn run(self, saga: Name, version: u32, shutdown: CancellationToken) {
        let mut consumer = self.publisher.bus.replies(&saga, version);
        let lanes = Arc::new(Semaphore::new(self.lanes));
        let intake = Arc::new(self);
        loop {
            let lane = lanes.clone().acquire_owned().await.expect("the lanes are never closed");
            let lag = &intake.publisher.reply_lag;
            lag.waits(&saga, version, intake.decider.clock.monotonic());
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                batch = consumer.next_batch(intake.limit.now().rows) => batch,
            };
            lag.took(&saga, version, batch.iter().map(|incoming| incoming.lag));
            let of_batch = intake.clone();
            intake.tasks.spawn(async move {
                of_batch.process(batch).await;
                drop(lane);
            });
        }
    }

    async fn process(&self, batch: Vec<Incoming<AcknowledgeOf<B>>>) {
        self.publisher.metrics.batch_size.observe(batch.len() as f64);
        let mut replies = Vec::with_capacity(batch.len());
        for Incoming { message, acknowledge, .. } in batch {
            match message {
                Ok(reply) => replies.push((reply, acknowledge)),
                Err(letter) => self.dead_letter(letter, &acknowledge).await,
            }
        }
        let decided = run_batch(&self.decider.journal, &self.limit, &mut TakenReplies(self), replies).await;
        if let Err(Failed { members, error }) = decided {
            self.give_up(members, &error).await;
        }
    }

    /// Puts back replies that the journal may take later; sets aside those that it will never take.
    async fn give_up(&self, replies: Vec<Taken<B>>, error: &JournalError) {
        let (count, error_text) = (replies.len(), error.with_causes());
        if error.is_unavailable() {
            tracing::warn!(
                error = error_text,
                count,
                "failed to journal replies; they are delivered again later"
            );
            for (_, ack) in replies {
                ack.nak(DATABASE_DOWN_PAUSE).await;
            }
            return;
        }
        for (reply, ack) in replies {
            self.set_aside(&reply, &ack, &error_text).await;
        }
    }

    /// Keeps a reply from which nothing that the journal takes can follow.
    async fn set_aside(&self, reply: &ReplyMessage, ack: &AcknowledgeOf<B>, error: &str) {
        tracing::error!(error, key = %reply.key, "reply set aside");
        let reason = format!("the journal refused what follows from it: {error}");
        let letter = self.decider.rules.letter_of(reply, LetterCode::Undecidable, reason);
        self.dead_letter(letter, ack).await;
    }

    /// Keeps a letter in the journal, and ends its message: while the journal is away it waits, and a letter that the
    /// journal refuses goes to the log, because its message would come again for ever.
    async fn dead_letter(&self, letter: DeadLetter, ack: &AcknowledgeOf<B>) {
        match self.decider.journal.dead_letter(vec![letter.clone()]).await {
            Ok(()) => {}
            Err(error) if error.is_unavailable() => return ack.nak(DATABASE_DOWN_PAUSE).await,
            Err(error) => {
                let (error, subject, reason) = (error.with_causes(), &letter.subject, &letter.reason);
                tracing::error!(error, subject, reason, "dead letter kept in this line alone");
            }
        }
        ack.term().await;
        self.publisher.metrics.dead_letters.inc();
    }

    fn pass(&self, point: CrashPoint, replies: &[Taken<B>]) {
        self.publisher.crash.pass(point, replies.iter().map(|(reply, _)| &reply.key));
    }
}

/// Decides on replies: a reply that cannot be decided on even alone waits or is set aside.
struct TakenReplies<'i, J, B, C>(&'i Intake<J, B, C>);

impl<J: Journal, B: Bus, C: Clock> BatchWork for TakenReplies<'_, J, B, C> {
    type Member = Taken<B>;
    type Outcome = CommitEffects;
    const NAME: &'static str = "replies";

    async fn run(
        &mut self,
        replies: &[Taken<B>],
        isolation: Isolation,
    ) -> Result<CommitEffects, JournalError> {
        let Self(intake) = self;
        let mut events: BTreeMap<SagaId, Vec<Event>> = BTreeMap::new();
        for (reply, _) in replies {
            events.entry(reply.key.saga_id).or_default().push(Event::Reply(reply.clone()));
        }
        intake.pass(CrashPoint::BeforeCommit, replies);
        intake.decider.decide(events, isolation).await
    }

    async fn after_commit(&mut self, replies: &mut Vec<Taken<B>>, mut outcome: CommitEffects) {
        let Self(intake) = self;
        let publisher = &intake.publisher;
        intake.pass(CrashPoint::AfterCommit, replies);
        let (left, newer) = (std::mem::take(&mut outcome.left), std::mem::take(&mut outcome.newer));
        let publishing = publisher.after_commit(outcome);
        for (reply, ack) in replies.iter().filter(|(reply, _)| !left.contains(&reply.key.saga_id)) {
            if newer.iter().any(|(id, _)| *id == reply.key.saga_id) {
                publisher.metrics.left_to_others.inc();
                ack.nak(TO_OTHERS_PAUSE).await;
            } else {
                ack.ack().await;
            }
        }
        if publisher.crash.is_armed() {
            // A process that dies at the next point must not take the acknowledgements along.
            publisher.bus.flush().await;
        }
        intake.pass(CrashPoint::AfterAcknowledgement, replies);
        publishing.await;
        intake.pass(CrashPoint::AfterPublish, replies);
        // The sagas that were left have another turn, without those that are done.
        replies.retain(|(reply, _)| left.contains(&reply.key.saga_id));
    }

    async fn fail(&mut self, reply: Taken<B>, error: JournalError) -> Result<(), Failed<Taken<B>>> {
        let Self(intake) = self;
        let is_there = intake.decider.journal.should_isolate(&error).await;
        if error.is_unavailable() && !is_there {
            return Err(Failed::one(reply, error));
        }
        intake.give_up(vec![reply], &error).await;
        Ok(())
    }
}
