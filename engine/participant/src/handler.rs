//! What the author of a service writes.

use std::future::Future;
use std::ops::{Deref, DerefMut};

use redress_core::{Command, IdempotencyKey, Rejection};
use sqlx::PgConnection;

/// The transaction in which a handler runs; it dereferences to the connection.
///
/// It commits together with the stored answer if the handler says `done`, and is rolled back otherwise. Other commands
/// of its batch share it, each under a savepoint of its own: what is `SET LOCAL` stays set for those behind.
pub struct Tx<'t> {
    connection: &'t mut PgConnection,
    key: IdempotencyKey,
}

impl<'t> Tx<'t> {
    pub(crate) fn new(connection: &'t mut PgConnection, key: IdempotencyKey) -> Self {
        Self { connection, key }
    }

    /// The command's idempotency key, to hand on to third parties; of a set, that of its first member.
    pub fn idempotency_key(&self) -> &IdempotencyKey {
        &self.key
    }
}

impl Deref for Tx<'_> {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection
    }
}

impl DerefMut for Tx<'_> {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection
    }
}

/// What a handler says: it happened, or the business says no.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome<R> {
    /// It happened.
    Done(R),
    /// The business "no": final. What the handler wrote is rolled back.
    Rejected(Rejection),
}

/// What a handler of an action answers; an `Err` is a technical failure, and the coordinator tries again.
pub type Answer<R> = Result<Outcome<R>, HandlerError>;

/// What a handler of a compensation answers: there is no "no".
pub type Undone<R> = Result<R, HandlerError>;

/// "It happened."
///
/// # Errors
/// Never; the type is that of a handler's answer.
pub fn done<R>(reply: R) -> Answer<R> {
    Ok(Outcome::Done(reply))
}

/// "No", with a stable code for programs and a sentence for people.
///
/// # Errors
/// Never; the type is that of a handler's answer.
pub fn reject<R>(code: &'static str, message: impl Into<String>) -> Answer<R> {
    Ok(Outcome::Rejected(Rejection::new(code, message)))
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
        let mut text = self.0.to_string();
        let mut source = self.0.source();
        while let Some(error) = source {
            let cause = error.to_string();
            // Some errors say what their source says, sqlx's among them.
            if !text.ends_with(&cause) {
                text = format!("{text}: {cause}");
            }
            source = error.source();
        }
        text
    }
}

/// Carries out the action `C`.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not handle `{C}`",
    label = "no handler for this command",
    note = "write `impl Handle<{C}> for {Self}`, or `impl HandleAll<{C}>` and register it with `.handle_all`"
)]
pub trait Handle<C: Command>: Send + Sync + 'static {
    /// Does it or says no, inside the inbox transaction.
    fn handle(&self, tx: &mut Tx<'_>, command: C) -> impl Future<Output = Answer<C::Reply>> + Send;
}

/// Carries out the compensation `C`. Called only if the action was done.
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
/// The set is in order of arrival. Rejections must be decided before anything is written for the member, because
/// the set shares one savepoint. An `Err` fails no one yet: the members are then run one by one.
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
    ) -> impl Future<Output = Result<Vec<Outcome<C::Reply>>, HandlerError>> + Send;
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
