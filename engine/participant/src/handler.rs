//! The traits that the author of a service implements, and the types of their arguments and answers.

use std::future::Future;

use redress_core::{Command, IdempotencyKey, Rejection};

use crate::tx::Tx;

/// The answer of a handler: it happened, or the business says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandlerOutcome<R> {
    /// It happened.
    Done(R),
    /// The business "no": final. The handler's writes are rolled back.
    Rejected(Rejection),
}

/// The answer of a handler of an action; an `Err` is a technical failure, and the coordinator tries again. An error of
/// the database which says that a table, a column or a right is missing is no attempt: the service was deployed before
/// its tables were, and the command waits, for as long as its saga waits for it.
pub type Answer<R> = Result<HandlerOutcome<R>, HandlerError>;

/// The answer of a handler of a compensation: there is no "no".
pub type Undone<R> = Result<R, HandlerError>;

/// "It happened": an [`Answer`], or an [`AnswerOrLater`](crate::AnswerOrLater).
///
/// # Errors
/// Never; the type is that of a handler's answer.
pub fn done<R, A: From<HandlerOutcome<R>>>(reply: R) -> Result<A, HandlerError> {
    Ok(HandlerOutcome::Done(reply).into())
}

/// "No", with a stable code for programs and a sentence for people: an [`Answer`], or an
/// [`AnswerOrLater`](crate::AnswerOrLater).
///
/// # Errors
/// Never; the type is that of a handler's answer.
pub fn reject<R, A: From<HandlerOutcome<R>>>(
    code: &'static str,
    message: impl Into<String>,
) -> Result<A, HandlerError> {
    Ok(HandlerOutcome::Rejected(Rejection::new(code, message)).into())
}

/// A technical failure of a handler: any error, made by `?`.
///
/// It deliberately does not implement `Error` itself, so that every error converts into it.
#[derive(Debug)]
pub struct HandlerError(pub(crate) Box<dyn std::error::Error + Send + Sync>);

impl<E: Into<Box<dyn std::error::Error + Send + Sync>>> From<E> for HandlerError {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl HandlerError {
    /// The error and its causes in one line.
    pub(crate) fn chain(&self) -> String {
        redress_core::with_causes(&*self.0)
    }
}

/// Carries out the action `C`.
///
/// Its effect must be in its transaction: whatever else it does, as a call to a third party, stays when the transaction
/// is rolled back, and the saga takes it for something that never happened. For anything outside this database there is
/// [`CallOut`](crate::CallOut).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle `{C}`",
    label = "no handler for this command",
    note = "write `impl Handle<{C}> for {Self}`, or `impl HandleAll<{C}>` and register it with `.handle_all`"
)]
pub trait Handle<C: Command>: Send + Sync + 'static {
    /// Does it or says no, inside the inbox transaction.
    fn handle(&self, tx: &mut Tx<'_>, command: C) -> impl Future<Output = Answer<C::Reply>> + Send;
}

/// Carries out the compensation `C`. Called only if the action was done, or may have been ([`Tx::in_doubt`]).
///
/// Its effect must be in its transaction; for anything outside this database there is
/// [`UndoByCall`](crate::UndoByCall).
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not carry out the compensation `{C}`",
    label = "no handler for this compensation",
    note = "write `impl Compensate<{C}> for {Self}`"
)]
pub trait Compensate<C: Command>: Send + Sync + 'static {
    /// Undoes it, inside the inbox transaction.
    fn compensate(&self, tx: &mut Tx<'_>, command: C) -> impl Future<Output = Undone<C::Reply>> + Send;
}

/// Hears the notification `C`: told once, heard at most once, never answered.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not listen to `{C}`",
    label = "no listener for this notification",
    note = "write `impl Listen<{C}> for {Self}`"
)]
pub trait Listen<C: Command>: Send + Sync + 'static {
    /// Hears it, in a transaction of its own; if this fails, the notification is lost.
    fn listen(
        &self,
        tx: &mut Tx<'_>,
        notification: C,
    ) -> impl Future<Output = Result<(), HandlerError>> + Send;
}

/// A command with its key, as a member of a set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyed<C> {
    /// Its idempotency key.
    pub key: IdempotencyKey,
    /// The command.
    pub command: C,
}

/// Carries out many actions `C` at once, for speed: few statements for the whole set.
///
/// The set is in order of arrival. Rejections must be decided before anything is written for the member, because the
/// set shares one savepoint. An `Err` fails no member yet: the members are then run one by one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle sets of `{C}`",
    label = "no set-oriented handler for this command",
    note = "write `impl HandleAll<{C}> for {Self}`"
)]
pub trait HandleAll<C: Command>: Send + Sync + 'static {
    /// Answers each member, in the order given.
    fn handle_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<C>>,
    ) -> impl Future<Output = Result<Vec<HandlerOutcome<C::Reply>>, HandlerError>> + Send;
}

/// Carries out many compensations `C` at once; see [`HandleAll`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not carry out sets of the compensation `{C}`",
    label = "no set-oriented handler for this compensation",
    note = "write `impl CompensateAll<{C}> for {Self}`"
)]
pub trait CompensateAll<C: Command>: Send + Sync + 'static {
    /// Answers each member, in the order given.
    fn compensate_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<C>>,
    ) -> impl Future<Output = Result<Vec<C::Reply>, HandlerError>> + Send;
}
