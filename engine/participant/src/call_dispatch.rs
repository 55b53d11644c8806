//! Runs the handlers that call third parties behind one trait: their types forgotten, requests as JSON.
//!
//! A [`CallWay`] says which trait of the author's is called; all else is the same for actions and compensations.

use std::any::Any;
use std::future::Future;
use std::marker::PhantomData;

use futures_util::future::BoxFuture;
use redress_core::{Command, IdempotencyKey, JsonText, Phase};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::call_out::{CallOut, Inquiry, Prepared, PreparedUndo, Purpose, UndoByCall};
use crate::dispatch::{HandlerResult, packed_outcome};
use crate::handler::{Answer, HandlerError, HandlerOutcome};
use crate::tx::Tx;

/// The third party's answer, which goes back to the handler that got it.
pub(crate) type Response = Box<dyn Any + Send + Sync>;

/// What `prepare` has decided.
pub(crate) enum Decided {
    /// To be called, with this request.
    Call(JsonText),
    /// No call.
    Ended(HandlerResult),
}

/// The handler of one command that calls a third party.
pub(crate) trait CallDispatch<S>: Send + Sync {
    fn phase(&self) -> Phase;
    fn prepare<'a>(
        &'a self,
        service: &'a S,
        tx: &'a mut Tx<'_>,
        payload: &'a JsonText,
    ) -> BoxFuture<'a, Result<Decided, HandlerError>>;
    fn call<'a>(
        &'a self,
        service: &'a S,
        key: &'a IdempotencyKey,
        request: &'a JsonText,
    ) -> BoxFuture<'a, Result<Response, HandlerError>>;
    fn inquire<'a>(
        &'a self,
        service: &'a S,
        key: &'a IdempotencyKey,
        request: &'a JsonText,
        purpose: Purpose,
    ) -> BoxFuture<'a, Result<Inquiry<Response>, HandlerError>>;
    fn conclude<'a>(
        &'a self,
        service: &'a S,
        tx: &'a mut Tx<'_>,
        request: &'a JsonText,
        response: &'a Response,
    ) -> BoxFuture<'a, Result<HandlerResult, HandlerError>>;
}

/// A way to call out: which trait of the author's is called.
pub(crate) trait CallWay<S>: Send + Sync + 'static {
    type Command: Command;
    type Request: Serialize + DeserializeOwned + Send + Sync;
    type Response: Send + Sync + 'static;
    const PHASE: Phase;
    fn prepare(
        service: &S,
        tx: &mut Tx<'_>,
        command: Self::Command,
    ) -> impl Future<Output = Result<Prepared<Self::Request, <Self::Command as Command>::Reply>, HandlerError>>
    + Send;
    fn call(
        service: &S,
        key: &IdempotencyKey,
        request: &Self::Request,
    ) -> impl Future<Output = Result<Self::Response, HandlerError>> + Send;
    fn inquire(
        service: &S,
        key: &IdempotencyKey,
        request: &Self::Request,
        purpose: Purpose,
    ) -> impl Future<Output = Result<Inquiry<Self::Response>, HandlerError>> + Send;
    fn conclude(
        service: &S,
        tx: &mut Tx<'_>,
        request: &Self::Request,
        response: &Self::Response,
    ) -> impl Future<Output = Answer<<Self::Command as Command>::Reply>> + Send;
}

pub(crate) struct CalledAction<C>(PhantomData<fn() -> C>);
pub(crate) struct CalledUndo<C>(PhantomData<fn() -> C>);

impl<C: Command, S: CallOut<C>> CallWay<S> for CalledAction<C> {
    type Command = C;
    type Request = S::Request;
    type Response = S::Response;
    const PHASE: Phase = Phase::Action;

    async fn prepare(
        service: &S,
        tx: &mut Tx<'_>,
        command: C,
    ) -> Result<Prepared<S::Request, C::Reply>, HandlerError> {
        service.prepare(tx, command).await
    }

    async fn call(
        service: &S,
        key: &IdempotencyKey,
        request: &S::Request,
    ) -> Result<S::Response, HandlerError> {
        service.call(key, request).await
    }

    async fn inquire(
        service: &S,
        key: &IdempotencyKey,
        request: &S::Request,
        purpose: Purpose,
    ) -> Result<Inquiry<S::Response>, HandlerError> {
        service.inquire(key, request, purpose).await
    }

    async fn conclude(
        service: &S,
        tx: &mut Tx<'_>,
        request: &S::Request,
        response: &S::Response,
    ) -> Answer<C::Reply> {
        service.conclude(tx, request, response).await
    }
}

impl<C: Command, S: UndoByCall<C>> CallWay<S> for CalledUndo<C> {
    type Command = C;
    type Request = S::Request;
    type Response = S::Response;
    const PHASE: Phase = Phase::Compensation;

    async fn prepare(
        service: &S,
        tx: &mut Tx<'_>,
        command: C,
    ) -> Result<Prepared<S::Request, C::Reply>, HandlerError> {
        Ok(match service.prepare(tx, command).await? {
            PreparedUndo::Call(request) => Prepared::Call(request),
            PreparedUndo::Done(reply) => Prepared::Done(reply),
        })
    }

    async fn call(
        service: &S,
        key: &IdempotencyKey,
        request: &S::Request,
    ) -> Result<S::Response, HandlerError> {
        service.call(key, request).await
    }

    /// No settlement is about a compensation.
    async fn inquire(
        service: &S,
        key: &IdempotencyKey,
        request: &S::Request,
        _: Purpose,
    ) -> Result<Inquiry<S::Response>, HandlerError> {
        service.inquire(key, request).await
    }

    async fn conclude(
        service: &S,
        tx: &mut Tx<'_>,
        request: &S::Request,
        response: &S::Response,
    ) -> Answer<C::Reply> {
        service.conclude(tx, request, response).await.map(HandlerOutcome::Done)
    }
}

/// The handler that is called in the way `W`.
pub(crate) struct TypedCall<W>(PhantomData<fn() -> W>);

impl<W> TypedCall<W> {
    pub(crate) fn boxed<S>() -> Box<dyn CallDispatch<S>>
    where
        S: Sync,
        W: CallWay<S>,
    {
        Box::new(Self(PhantomData))
    }
}

/// The request as it was kept.
fn read<Q: DeserializeOwned>(request: &JsonText) -> Result<Q, HandlerError> {
    request.read().map_err(|error| format!("the request that was kept is of another type: {error}").into())
}

impl<S: Sync, W: CallWay<S>> CallDispatch<S> for TypedCall<W> {
    fn phase(&self) -> Phase {
        W::PHASE
    }

    fn prepare<'a>(
        &'a self,
        service: &'a S,
        tx: &'a mut Tx<'_>,
        payload: &'a JsonText,
    ) -> BoxFuture<'a, Result<Decided, HandlerError>> {
        Box::pin(async move {
            let command: W::Command = match payload.read() {
                Ok(command) => command,
                Err(error) => {
                    let reason = format!("the payload is no `{}`: {error}", W::Command::NAME);
                    return Ok(Decided::Ended(HandlerResult::Unreadable(reason)));
                }
            };
            Ok(match W::prepare(service, tx, command).await? {
                Prepared::Call(request) => Decided::Call(JsonText::of(&request)?),
                Prepared::Done(reply) => Decided::Ended(packed_outcome(HandlerOutcome::Done(reply))?),
                Prepared::Rejected(rejection) => {
                    let outcome = HandlerOutcome::<<W::Command as Command>::Reply>::Rejected(rejection);
                    Decided::Ended(packed_outcome(outcome)?)
                }
            })
        })
    }

    fn call<'a>(
        &'a self,
        service: &'a S,
        key: &'a IdempotencyKey,
        request: &'a JsonText,
    ) -> BoxFuture<'a, Result<Response, HandlerError>> {
        Box::pin(async move {
            let response = W::call(service, key, &read(request)?).await?;
            Ok(Box::new(response) as Response)
        })
    }

    fn inquire<'a>(
        &'a self,
        service: &'a S,
        key: &'a IdempotencyKey,
        request: &'a JsonText,
        purpose: Purpose,
    ) -> BoxFuture<'a, Result<Inquiry<Response>, HandlerError>> {
        Box::pin(async move {
            Ok(match W::inquire(service, key, &read(request)?, purpose).await? {
                Inquiry::Answered(response) => Inquiry::Answered(Box::new(response) as Response),
                Inquiry::NeverHappened => Inquiry::NeverHappened,
                Inquiry::Unknown => Inquiry::Unknown,
            })
        })
    }

    fn conclude<'a>(
        &'a self,
        service: &'a S,
        tx: &'a mut Tx<'_>,
        request: &'a JsonText,
        response: &'a Response,
    ) -> BoxFuture<'a, Result<HandlerResult, HandlerError>> {
        Box::pin(async move {
            let response = response.downcast_ref().expect("a response goes back to the handler that got it");
            packed_outcome(W::conclude(service, tx, &read(request)?, response).await?)
        })
    }
}
