//! Steps whose answer comes later: answered by the service or by a person, given up, or both at the same time.

use redress_core::inbox::GivenAnswer;
use redress_core::{Command, Compensates, IdempotencyKey, JsonText, Phase};

use super::bench::unsendable;
use super::error::ServiceTestError;
use super::outcome::TestOutcome;
use super::step::TestStep;
use crate::given::{AnswerError, Given, answer};
use crate::handler::HandlerOutcome;

impl<C: Command> TestStep<'_, C> {
    /// The service gives the answer to the action, in a transaction of its own.
    ///
    /// # Errors
    /// [`AnswerError`], as [`answer`] has it.
    pub async fn answer(&self, outcome: HandlerOutcome<C::Reply>) -> Result<Given, AnswerError> {
        answer::<C>(&mut *self.bench.pool.acquire().await?, self.key(), outcome).await
    }

    /// The service gives the answer to the compensation.
    ///
    /// # Errors
    /// [`AnswerError`], as [`answer`] has it.
    pub async fn answer_undo<U: Compensates<C>>(&self, reply: U::Reply) -> Result<Given, AnswerError> {
        let key = IdempotencyKey { phase: Phase::Compensation, ..self.key().clone() };
        answer::<U>(&mut *self.bench.pool.acquire().await?, &key, HandlerOutcome::Done(reply)).await
    }

    /// A person gives the answer to the action, through the coordinator; the first answer counts.
    ///
    /// # Errors
    /// As [`run`](Self::run).
    pub async fn answer_of_person(
        &self,
        outcome: HandlerOutcome<C::Reply>,
    ) -> Result<TestOutcome<C::Reply>, ServiceTestError> {
        let given = match outcome {
            HandlerOutcome::Done(reply) => {
                GivenAnswer::Done { reply: JsonText::of(&reply).map_err(unsendable::<C>)? }
            }
            HandlerOutcome::Rejected(rejection) => GivenAnswer::Rejected(rejection),
        };
        let payload = JsonText::of(&given).map_err(unsendable::<C>)?;
        self.one(self.message::<C>(Phase::Settlement, payload).await?).await
    }

    /// The service gives the answer while the saga asks to give it up. One of them comes first, and the other is told.
    ///
    /// # Errors
    /// As [`settle`](Self::settle); what the service is told stands in the result.
    pub async fn race_answer(
        &self,
        outcome: HandlerOutcome<C::Reply>,
    ) -> Result<(Result<Given, AnswerError>, TestOutcome<C::Reply>), ServiceTestError> {
        let (given, settled) = tokio::join!(self.answer(outcome), self.settle());
        Ok((given, settled?))
    }
}
