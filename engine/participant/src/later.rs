//! Answers that come later: the traits that the author of a service implements, and the types of their answers.
//!
//! Some commands cannot be answered in a transaction: an approval waits for a person, a parcel for a carrier. Their
//! handler notes in the service's own tables what is to be done, and answers [`later`]. The note and the open question in
//! the inbox commit together; the message is acknowledged, and the coordinator awaits the answer without a retry. Any
//! code of the service gives it, whenever it is there, with [`answer`](crate::answer).
//!
//! | what happens to an open question | then |
//! |---|---|
//! | the command comes again | `accepted` again: the handler has no second effect |
//! | the service answers | the answer is stored in the service's own transaction, and published after the commit |
//! | the service answers once more | the first answer counts, and the caller is told what it was |
//! | the saga is cancelled, or its time is over | [`HandleLater::give_up`] says what becomes of the question |
//! | it was given up before the service answers | the answer is refused, and the caller is told |
//! | a person answers, where the saga's definition allows it | the same, through the coordinator; the first answer counts |
//! | it grows old | nothing: it is never pruned |

use std::future::Future;

use redress_core::{Command, IdempotencyKey, Rejection};

use crate::handler::{HandlerError, HandlerOutcome};
use crate::tx::Tx;

/// An answer, or the promise of one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OrLater<T> {
    /// The answer.
    Now(T),
    /// It comes later, by [`answer`](crate::answer). The handler's writes are kept.
    Later,
}

impl<R> From<HandlerOutcome<R>> for OrLater<HandlerOutcome<R>> {
    fn from(outcome: HandlerOutcome<R>) -> Self {
        Self::Now(outcome)
    }
}

/// The answer of a handler of an action that may answer later; see [`Answer`](crate::Answer).
pub type AnswerOrLater<R> = Result<OrLater<HandlerOutcome<R>>, HandlerError>;

/// The answer of a handler of a compensation that may answer later: there is no "no".
pub type UndoneOrLater<R> = Result<OrLater<R>, HandlerError>;

/// "The answer comes later."
///
/// # Errors
/// Never; the type is that of a handler's answer.
pub fn later<T>() -> Result<OrLater<T>, HandlerError> {
    Ok(OrLater::Later)
}

/// What becomes of an open question that the saga does not want answered any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GiveUp<R> {
    /// It never happened and never will: answers that come from now on are refused.
    Fenced,
    /// It has happened already.
    Done(R),
    /// The business has said no already.
    Rejected(Rejection),
    /// It cannot be given up: the question stays open, and the saga waits on for its answer.
    No,
}

/// Carries out the action `C`, and may answer later.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle `{C}` with an answer that may come later",
    label = "no such handler for this command",
    note = "write `impl HandleLater<{C}> for {Self}`; for an answer at once there is `Handle<{C}>`"
)]
pub trait HandleLater<C: Command>: Send + Sync + 'static {
    /// Does it, says no, or notes what is to be done and answers [`later`]; inside the inbox transaction. The key under
    /// which the answer is given later is [`Tx::idempotency_key`].
    fn handle_later(
        &self,
        tx: &mut Tx<'_>,
        command: C,
    ) -> impl Future<Output = AnswerOrLater<C::Reply>> + Send;

    /// Gives up the open question of this key: the saga is cancelled, or the time is over in which the answer had to
    /// come. Inside the inbox transaction; its writes are kept whatever it says. An `Err` is a technical failure: it is
    /// rolled back, and asked again.
    fn give_up(
        &self,
        tx: &mut Tx<'_>,
        key: &IdempotencyKey,
    ) -> impl Future<Output = Result<GiveUp<C::Reply>, HandlerError>> + Send;
}

/// Carries out the compensation `C`, and may answer later. Called only if the action was done. A compensation is never
/// given up.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not carry out the compensation `{C}` with an answer that may come later",
    label = "no such handler for this compensation",
    note = "write `impl CompensateLater<{C}> for {Self}`; for an answer at once there is `Compensate<{C}>`"
)]
pub trait CompensateLater<C: Command>: Send + Sync + 'static {
    /// Undoes it, or notes what is to be done and answers [`later`]; inside the inbox transaction.
    fn compensate_later(
        &self,
        tx: &mut Tx<'_>,
        command: C,
    ) -> impl Future<Output = UndoneOrLater<C::Reply>> + Send;
}
