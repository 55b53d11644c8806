//! The names that the generated code expects of the engine, as far as mistakes are concerned: with the real ones
//! trybuild would build the drivers of Postgres and NATS for minutes. That the generated code fits the real traits is
//! shown by `engine/participant/tests/generated.rs` and by every service of the demo.

use std::marker::PhantomData;

pub(crate) use redress_core::{Command, Compensates, IdempotencyKey, Rejection, checks};

pub(crate) struct Tx<'t>(PhantomData<&'t mut ()>);

#[derive(Debug)]
pub(crate) struct HandlerError;

#[derive(Debug)]
pub(crate) enum HandlerOutcome<R> {
    Done(R),
    Rejected(Rejection),
}

pub(crate) struct Keyed<C> {
    pub(crate) command: C,
}

pub(crate) type Answer<R> = Result<HandlerOutcome<R>, HandlerError>;
pub(crate) type Undone<R> = Result<R, HandlerError>;

pub(crate) enum OrLater<T> {
    Now(T),
    Later,
}

pub(crate) enum GiveUp<R> {
    Fenced,
    Done(R),
    Rejected(Rejection),
    No,
}

pub(crate) type AnswerOrLater<R> = Result<OrLater<HandlerOutcome<R>>, HandlerError>;
pub(crate) type UndoneOrLater<R> = Result<OrLater<R>, HandlerError>;

pub(crate) fn later<T>() -> Result<OrLater<T>, HandlerError> {
    Ok(OrLater::Later)
}

pub(crate) fn done<R>(reply: R) -> Answer<R> {
    Ok(HandlerOutcome::Done(reply))
}

pub(crate) fn reject<R>(code: &'static str, message: &str) -> Answer<R> {
    Ok(HandlerOutcome::Rejected(Rejection::new(code, message)))
}

pub(crate) trait Handle<C: Command> {
    async fn handle(&self, tx: &mut Tx<'_>, command: C) -> Answer<C::Reply>;
}

pub(crate) struct Received;

pub(crate) trait HandleAtLeastOnce<C: Command> {
    async fn handle_at_least_once(&self, received: &Received, command: C) -> Answer<C::Reply>;
}

pub(crate) trait HandleAll<C: Command> {
    async fn handle_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<C>>,
    ) -> Result<Vec<HandlerOutcome<C::Reply>>, HandlerError>;
}

pub(crate) trait Compensate<C: Command> {
    async fn compensate(&self, tx: &mut Tx<'_>, command: C) -> Undone<C::Reply>;
}

pub(crate) trait CompensateAll<C: Command> {
    async fn compensate_all(
        &self,
        tx: &mut Tx<'_>,
        commands: Vec<Keyed<C>>,
    ) -> Result<Vec<C::Reply>, HandlerError>;
}

pub(crate) trait HandleLater<C: Command> {
    async fn handle_later(&self, tx: &mut Tx<'_>, command: C) -> AnswerOrLater<C::Reply>;

    async fn give_up(
        &self,
        tx: &mut Tx<'_>,
        key: &IdempotencyKey,
    ) -> Result<GiveUp<C::Reply>, HandlerError>;
}

pub(crate) trait CompensateLater<C: Command> {
    async fn compensate_later(&self, tx: &mut Tx<'_>, command: C) -> UndoneOrLater<C::Reply>;
}

pub(crate) trait ServiceHandlers: Sized {
    const SERVICE: &'static str;

    fn register(participant: Participant<Self>) -> Participant<Self>;
}

#[derive(Default)]
pub(crate) struct CommandLimits {
    pub(crate) concurrency: Option<usize>,
    pub(crate) handler_time_max: Option<std::time::Duration>,
}

pub(crate) struct Participant<S>(PhantomData<S>);

impl<S> Participant<S> {
    pub(crate) fn new() -> Self {
        Self(PhantomData)
    }

    pub(crate) fn limits<C: Command>(self, _: CommandLimits) -> Self {
        self
    }

    pub(crate) fn handle<C: Command>(self) -> Self
    where
        S: Handle<C>,
    {
        self
    }

    pub(crate) fn handle_all<C: Command>(self) -> Self
    where
        S: HandleAll<C>,
    {
        self
    }

    pub(crate) fn handle_at_least_once<C: Command>(self) -> Self
    where
        S: HandleAtLeastOnce<C>,
    {
        self
    }

    pub(crate) fn compensate<C: Command>(self) -> Self
    where
        S: Compensate<C>,
    {
        self
    }

    pub(crate) fn compensate_all<C: Command>(self) -> Self
    where
        S: CompensateAll<C>,
    {
        self
    }

    pub(crate) fn handle_later<C: Command>(self) -> Self
    where
        S: HandleLater<C>,
    {
        self
    }

    pub(crate) fn compensate_later<C: Command>(self) -> Self
    where
        S: CompensateLater<C>,
    {
        self
    }
}
