//! One step of a saga under test: its action, and whatever else happens to it.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use redress_core::{
    Command, CommandMessage, Compensates, IdempotencyKey, JsonText, Name, Outcome, Phase, SagaId, Timestamp,
};
use tokio::sync::OnceCell;

use super::bench::{Bench, Sent, unsendable};
use super::error::ServiceTestError;
use super::outcome::TestOutcome;

/// The step of a saga that the command `C` carries out; each is of a saga of its own.
///
/// Every method sends what a coordinator would send, and each time it is called is one more attempt with the same key.
pub struct TestStep<'t, C> {
    pub(super) bench: &'t Bench,
    command: C,
    key: IdempotencyKey,
    age: Duration,
    action_sent_at: OnceCell<Timestamp>,
    attempts: AtomicU32,
}

impl<'t, C: Command> TestStep<'t, C> {
    pub(super) fn new(bench: &'t Bench, command: C, saga_id: SagaId) -> Self {
        // Named as its action, as in many sagas.
        let step = Name::new(C::NAME).or_else(|_| Name::new("step")).expect("`step` is a name");
        Self {
            bench,
            command,
            key: IdempotencyKey { saga_id, step, phase: Phase::Action, generation: 1 },
            age: Duration::ZERO,
            action_sent_at: OnceCell::new(),
            attempts: AtomicU32::new(0),
        }
    }

    /// The same step in the saga `saga_id`, for handlers that look at it.
    #[must_use]
    pub fn of_saga(mut self, saga_id: SagaId) -> Self {
        self.key.saga_id = saga_id;
        self
    }

    /// The same step, as if its action had been sent so long ago: more than the inbox's memory (30 days less one, by default)
    /// makes it [`TestOutcome::Expired`].
    #[must_use]
    pub fn sent_ago(mut self, age: Duration) -> Self {
        self.age = age;
        self
    }

    /// The idempotency key of the action.
    pub fn key(&self) -> &IdempotencyKey {
        &self.key
    }

    /// Sends the action.
    ///
    /// # Errors
    /// [`ServiceTestError`] if it gets no answer, or one that its contract does not allow.
    pub async fn run(&self) -> Result<TestOutcome<C::Reply>, ServiceTestError> {
        self.one(self.action().await?).await
    }

    /// Sends the compensation. The reply is not read, as no saga reads it.
    ///
    /// # Errors
    /// [`ServiceTestError`] if it gets no answer.
    pub async fn undo<U: Compensates<C>>(&self, undo: &U) -> Result<TestOutcome<()>, ServiceTestError> {
        let outcomes = self.bench.settle(&[self.compensation(undo).await?]).await?;
        Ok(of_undo(single(outcomes)))
    }

    /// Sends the action to an instance that dies between its call to the third party and the conclusion: the call was
    /// made, and its answer is lost. Time has passed since then, so that nobody waits for that call any more.
    ///
    /// # Errors
    /// [`ServiceTestError::NotCalled`] if no third party was called; else as [`run`](Self::run).
    pub async fn die_after_call(&self) -> Result<(), ServiceTestError> {
        self.bench.die_after_call(self.action().await?).await
    }

    /// The same with the compensation.
    ///
    /// # Errors
    /// As [`die_after_call`](Self::die_after_call).
    pub async fn die_after_call_of_undo<U: Compensates<C>>(&self, undo: &U) -> Result<(), ServiceTestError> {
        self.bench.die_after_call(self.compensation(undo).await?).await
    }

    /// Asks what became of the action; if it never came, it never will.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn settle(&self) -> Result<TestOutcome<C::Reply>, ServiceTestError> {
        self.one(self.message::<C>(Phase::Settlement, JsonText::null()).await?).await
    }

    /// Sends action and compensation at the same time, to two instances. Whichever comes first, nothing of the action is left
    /// afterwards.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn race<U: Compensates<C>>(
        &self,
        undo: &U,
    ) -> Result<(TestOutcome<C::Reply>, TestOutcome<()>), ServiceTestError> {
        let (action, undo) = ([self.action().await?], [self.compensation(undo).await?]);
        let (action, undo) = tokio::join!(self.bench.settle(&action), self.bench.settle(&undo));
        Ok((read::<C>(single(action?))?, of_undo(single(undo?))))
    }

    pub(super) async fn one(
        &self,
        message: CommandMessage,
    ) -> Result<TestOutcome<C::Reply>, ServiceTestError> {
        read::<C>(single(self.bench.settle(&[message]).await?))
    }

    /// The message of the action.
    pub(super) async fn action(&self) -> Result<CommandMessage, ServiceTestError> {
        let payload = JsonText::of(&self.command).map_err(unsendable::<C>)?;
        self.message::<C>(Phase::Action, payload).await
    }

    /// The message of the compensation.
    pub(super) async fn compensation<U: Compensates<C>>(
        &self,
        undo: &U,
    ) -> Result<CommandMessage, ServiceTestError> {
        let payload = JsonText::of(undo).map_err(unsendable::<U>)?;
        self.message::<U>(Phase::Compensation, payload).await
    }

    /// A message about the step.
    pub(super) async fn message<M: Command>(
        &self,
        phase: Phase,
        payload: JsonText,
    ) -> Result<CommandMessage, ServiceTestError> {
        let sent = Sent {
            key: IdempotencyKey { phase, ..self.key.clone() },
            attempt: self.attempts.fetch_add(1, Ordering::Relaxed) + 1,
            action_sent_at: &self.action_sent_at,
            age_s: self.age.as_secs_f64(),
        };
        self.bench.message::<M>(payload, sent).await
    }
}

/// The outcome of one message.
fn single(mut outcomes: Vec<Outcome>) -> Outcome {
    outcomes.pop().expect("each message has an outcome")
}

/// The outcome with its reply read.
pub(super) fn read<C: Command>(outcome: Outcome) -> Result<TestOutcome<C::Reply>, ServiceTestError> {
    TestOutcome::of(outcome, |reply| reply.read())
        .map_err(|source| ServiceTestError::Reply { command: C::NAME, source })
}

/// The outcome of a compensation, whose reply no saga reads: one that found nothing to undo has none.
pub(super) fn of_undo(outcome: Outcome) -> TestOutcome<()> {
    let Ok(outcome) = TestOutcome::of(outcome, |_| Ok::<_, std::convert::Infallible>(()));
    outcome
}
