//! Handlers that call a third party: a card provider, another company's service, anything outside this database.
//!
//! A transaction takes back what is written in it, and nothing else. A third party may have done what it was asked to
//! although no answer came: it answered 504, the connection broke, the process died. So such a handler has three parts:
//!
//! | part | where it runs | what it does |
//! |---|---|---|
//! | `prepare` | in the inbox transaction | decides what will be asked; that is kept before anything is asked |
//! | `call` | without a transaction or a connection | asks, with the command's key |
//! | `conclude` | in a transaction with the stored answer | writes what the answer means |
//!
//! From the commit of `prepare` on, nobody but the third party can say that nothing happened:
//!
//! - A crash, a time limit or an `Err` leaves the command prepared. When it comes again, the third party is asked what
//!   became of the earlier call (`inquire`), and if it did not happen, or cannot be asked, it is called again with the
//!   same key.
//! - A settlement asks as well. If there is no telling, the answer is `in-doubt`, and the step says what follows:
//!   `.in_doubt(InDoubt::Undo)` undoes it as if it had happened, `.in_doubt(InDoubt::Park)` leaves it to a person.
//! - The compensation of a step in doubt learns so ([`Tx::in_doubt`]): it gets the request, and has to bear that nothing
//!   was there.
//!
//! What this cannot do: a third party that neither honours the key nor can be asked may be called twice for one command,
//! and then has done it twice.

use std::future::Future;

use redress_core::{Command, IdempotencyKey, Rejection};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handler::{Answer, HandlerError, Undone};
use crate::tx::Tx;

/// What is to be done for an action: a call, or nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Prepared<Q, R> {
    /// The third party is called with this request.
    Call(Q),
    /// It is done without a call, with this reply.
    Done(R),
    /// The business "no", before anything was asked. What `prepare` wrote is rolled back.
    Rejected(Rejection),
}

/// What is to be done for a compensation: a call, or nothing more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PreparedUndo<Q, R> {
    /// The third party is called with this request.
    Call(Q),
    /// It is undone without a call, with this reply.
    Done(R),
}

/// What became of the calls that were made with a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Inquiry<A> {
    /// It happened, or the third party said no: this is its answer, as the call would have brought it.
    Answered(A),
    /// It did not happen, and no call that was made so far will make it happen: none is on its way any more.
    NeverHappened,
    /// There is no telling.
    Unknown,
}

/// The reason for an inquiry: what follows if it never happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// It is called again, with the same key.
    CallAgain,
    /// It is never called: [`Inquiry::NeverHappened`] is kept for good, and the saga goes on without the step. So it is
    /// the author's promise that the third party refuses the key from now on: have it cancel the key, or say
    /// [`Inquiry::Unknown`] for as long as a call may be on its way.
    Settle,
}

/// Carries out the action `C` by a call to a third party: prepare, call, conclude.
///
/// ```
/// # use redress_core::{Command, IdempotencyKey};
/// # use redress_participant::{Answer, CallOut, HandlerError, Inquiry, Prepared, Purpose, Tx, done, reject, sqlx};
/// # use schemars::JsonSchema;
/// # use serde::{Deserialize, Serialize};
/// # #[derive(Serialize, Deserialize, JsonSchema)]
/// # struct ChargeCard { order: i64, amount: i64 }
/// # impl Command for ChargeCard {
/// #     const SERVICE: &'static str = "payment";
/// #     const NAME: &'static str = "charge-card";
/// #     type Reply = ();
/// # }
/// # struct Provider;
/// # impl Provider {
/// #     async fn charge(&self, _: &str, _: i64) -> Result<bool, std::io::Error> { Ok(true) }
/// #     async fn charge_of(&self, _: &str) -> Result<Option<bool>, std::io::Error> { Ok(None) }
/// #     async fn cancel(&self, _: &str) -> Result<(), std::io::Error> { Ok(()) }
/// # }
/// #[derive(Serialize, Deserialize)]
/// struct CardCharge {
///     order: i64,
///     amount: i64,
/// }
///
/// struct Payments {
///     provider: Provider,
/// }
///
/// impl CallOut<ChargeCard> for Payments {
///     type Request = CardCharge;
///     /// Whether the card was charged.
///     type Response = bool;
///
///     async fn prepare(&self, _: &mut Tx<'_>, command: ChargeCard) -> Result<Prepared<CardCharge, ()>, HandlerError> {
///         Ok(Prepared::Call(CardCharge { order: command.order, amount: command.amount }))
///     }
///
///     async fn call(&self, key: &IdempotencyKey, request: &CardCharge) -> Result<bool, HandlerError> {
///         Ok(self.provider.charge(&key.to_string(), request.amount).await?)
///     }
///
///     async fn inquire(&self, key: &IdempotencyKey, _: &CardCharge, purpose: Purpose) -> Result<Inquiry<bool>, HandlerError> {
///         let key = key.to_string();
///         if purpose == Purpose::Settle {
///             self.provider.cancel(&key).await?;
///         }
///         Ok(self.provider.charge_of(&key).await?.map_or(Inquiry::NeverHappened, Inquiry::Answered))
///     }
///
///     async fn conclude(&self, tx: &mut Tx<'_>, request: &CardCharge, charged: &bool) -> Answer<()> {
///         if !charged {
///             return reject("card-declined", "the card was declined");
///         }
///         sqlx::query("UPDATE orders SET paid = $2 WHERE id = $1").bind(request.order).bind(request.amount).execute(tx).await?;
///         done(())
///     }
/// }
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not carry out `{C}` by a call",
    label = "no handler that calls out for this command",
    note = "write `impl CallOut<{C}> for {Self}`"
)]
pub trait CallOut<C: Command>: Send + Sync + 'static {
    /// What will be asked, and all that `conclude` needs of the command: it is kept, and a settlement brings no command.
    type Request: Serialize + DeserializeOwned + Send + Sync;
    /// The third party's answer, its "no" included.
    type Response: Send + Sync + 'static;

    /// Decides what will be asked, inside the inbox transaction. It is kept when the transaction commits, with whatever
    /// else is written here; only then is it asked.
    fn prepare(
        &self,
        tx: &mut Tx<'_>,
        command: C,
    ) -> impl Future<Output = Result<Prepared<Self::Request, C::Reply>, HandlerError>> + Send;

    /// Asks the third party. `key` is the same whenever this command is carried out: hand it on.
    ///
    /// An `Err` says that nobody knows whether it happened: the command stays prepared and comes again. A "no" is a
    /// response.
    fn call(
        &self,
        key: &IdempotencyKey,
        request: &Self::Request,
    ) -> impl Future<Output = Result<Self::Response, HandlerError>> + Send;

    /// Asks what became of the earlier calls with this key. An `Err` says that it could not be asked now: nothing is
    /// called then. Without this method, nobody can be asked.
    fn inquire(
        &self,
        key: &IdempotencyKey,
        request: &Self::Request,
        purpose: Purpose,
    ) -> impl Future<Output = Result<Inquiry<Self::Response>, HandlerError>> + Send {
        let _ = (key, request, purpose);
        async { Ok(Inquiry::Unknown) }
    }

    /// Writes what the answer means, in the transaction that keeps the answer to the command. May be run again with the
    /// same response, if its transaction met another one.
    fn conclude(
        &self,
        tx: &mut Tx<'_>,
        request: &Self::Request,
        response: &Self::Response,
    ) -> impl Future<Output = Answer<C::Reply>> + Send;
}

/// Carries out the compensation `C` by a call to a third party; as [`CallOut`], and there is no "no".
///
/// Called only if the action was done, or may have been: then `prepare` finds its request in [`Tx::in_doubt`], and the
/// call must bear that there is nothing to undo.
#[diagnostic::on_unimplemented(
    message = "`{Self}` does not carry out the compensation `{C}` by a call",
    label = "no handler that calls out for this compensation",
    note = "write `impl UndoByCall<{C}> for {Self}`"
)]
pub trait UndoByCall<C: Command>: Send + Sync + 'static {
    /// What will be asked, and all that `conclude` needs of the command.
    type Request: Serialize + DeserializeOwned + Send + Sync;
    /// The third party's answer.
    type Response: Send + Sync + 'static;

    /// Decides what will be asked, inside the inbox transaction; see [`CallOut::prepare`].
    fn prepare(
        &self,
        tx: &mut Tx<'_>,
        command: C,
    ) -> impl Future<Output = Result<PreparedUndo<Self::Request, C::Reply>, HandlerError>> + Send;

    /// Asks the third party, with the key of the compensation; that of the action is `key.of_action()`. See
    /// [`CallOut::call`].
    fn call(
        &self,
        key: &IdempotencyKey,
        request: &Self::Request,
    ) -> impl Future<Output = Result<Self::Response, HandlerError>> + Send;

    /// Asks what became of the earlier calls with this key, before it is called again; see [`CallOut::inquire`].
    fn inquire(
        &self,
        key: &IdempotencyKey,
        request: &Self::Request,
    ) -> impl Future<Output = Result<Inquiry<Self::Response>, HandlerError>> + Send {
        let _ = (key, request);
        async { Ok(Inquiry::Unknown) }
    }

    /// Writes what the answer means; see [`CallOut::conclude`].
    fn conclude(
        &self,
        tx: &mut Tx<'_>,
        request: &Self::Request,
        response: &Self::Response,
    ) -> impl Future<Output = Undone<C::Reply>> + Send;
}
