//! The loop that takes dead letters of services into the journal.
//!
//! Coordinators share the letters, and each letter is kept once: its id is its key, so that one that is delivered again,
//! or was published twice, changes nothing. It is acknowledged after the commit. A letter that the journal refuses even
//! alone goes to the log: it would come again for ever, and its service has logged it as well.

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batch_size::SharedLimit;
use crate::decider::Decider;
use crate::ports::{Acknowledge, Bus, Clock, DeadLetter, Journal, JournalError, Letters, TakenLetter};
use crate::publisher::Publisher;
use crate::units::{BatchWork, Failed, Isolation, run_batch};

/// The most letters that are taken at once: each may hold a quarter of a megabyte.
const LETTERS_AT_ONCE: usize = 50;
/// How long letters rest while the database is down.
const DATABASE_DOWN_PAUSE: Duration = Duration::from_secs(1);

/// The intake of the dead letters of services.
pub(crate) struct LetterIntake<J, B, C> {
    pub(crate) decider: Arc<Decider<J, C>>,
    pub(crate) publisher: Arc<Publisher<J, B, C>>,
    pub(crate) tasks: TaskTracker,
    pub(crate) limit: SharedLimit,
}

type AcknowledgeOf<B> = <<B as Bus>::Letters as Letters>::Acknowledge;

impl<J: Journal, B: Bus, C: Clock> LetterIntake<J, B, C> {
    /// Takes letters until the shutdown.
    pub(crate) async fn run(self, shutdown: CancellationToken) {
        let mut letters = self.publisher.bus.letters();
        let intake = Arc::new(self);
        loop {
            let batch = tokio::select! {
                biased;
                () = shutdown.cancelled() => break,
                batch = letters.next_batch(LETTERS_AT_ONCE) => batch,
            };
            let of_batch = intake.clone();
            // In a task of its own, because a write must not be cancelled; one at a time is soon enough.
            let kept = intake.tasks.spawn(async move { of_batch.keep(batch).await });
            if let Err(panic) = kept.await {
                tracing::error!(%panic, "keeping dead letters panicked; they are delivered again");
            }
        }
    }

    async fn keep(&self, batch: Vec<TakenLetter<AcknowledgeOf<B>>>) {
        let kept = run_batch(&self.decider.journal, &self.limit, &mut TakenLetters(self), batch).await;
        let Err(Failed { members, error }) = kept else { return };
        let (error, count) = (error.with_causes(), members.len());
        tracing::warn!(error, count, "failed to keep dead letters; they are delivered again later");
        for taken in members {
            taken.acknowledge.nak(DATABASE_DOWN_PAUSE).await;
        }
    }
}

struct TakenLetters<'i, J, B, C>(&'i LetterIntake<J, B, C>);

impl<J: Journal, B: Bus, C: Clock> BatchWork for TakenLetters<'_, J, B, C> {
    type Member = TakenLetter<AcknowledgeOf<B>>;
    type Outcome = ();
    const NAME: &'static str = "dead letters";

    async fn run(&mut self, taken: &[Self::Member], _: Isolation) -> Result<(), JournalError> {
        let letters: Vec<DeadLetter> = taken.iter().map(|taken| taken.letter.clone()).collect();
        self.0.decider.journal.dead_letter(letters).await
    }

    async fn after_commit(&mut self, taken: &mut Vec<Self::Member>, (): ()) {
        self.0.publisher.metrics.dead_letters.inc_by(taken.len() as u64);
        for taken in taken.drain(..) {
            taken.acknowledge.ack().await;
        }
    }

    async fn fail(&mut self, taken: Self::Member, error: JournalError) -> Result<(), Failed<Self::Member>> {
        if error.is_unavailable() {
            return Err(Failed::one(taken, error));
        }
        let DeadLetter { id, source, subject, reason, .. } = &taken.letter;
        let error = error.with_causes();
        tracing::error!(error, %id, source, subject, reason, "dead letter kept in this line alone");
        taken.acknowledge.term().await;
        Ok(())
    }
}
