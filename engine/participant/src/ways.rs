//! The ways in which the handlers of an author are called.

use std::marker::PhantomData;

use redress_core::{Command, Phase};

use crate::dispatch::{Answers, CallSize, Said, Way};
use crate::handler::{Compensate, CompensateAll, Handle, HandleAll, HandlerOutcome, Keyed};
use crate::later::{CompensateLater, GiveUp, HandleLater, OrLater};
use crate::tx::Tx;

pub(crate) struct Action<C>(PhantomData<fn() -> C>);
pub(crate) struct Undo<C>(PhantomData<fn() -> C>);
pub(crate) struct ActionSet<C>(PhantomData<fn() -> C>);
pub(crate) struct UndoSet<C>(PhantomData<fn() -> C>);
pub(crate) struct LaterAction<C>(PhantomData<fn() -> C>);
pub(crate) struct LaterUndo<C>(PhantomData<fn() -> C>);
/// A question is given up: a handler of its own, which a settlement calls.
pub(crate) struct GivingUp<C>(PhantomData<fn() -> C>);

impl<C: Command, S: Handle<C>> Way<S> for Action<C> {
    type Command = C;
    type Input = C;
    const PHASE: Phase = Phase::Action;
    const SIZE: CallSize = CallSize::One;

    async fn call(service: &S, tx: &mut Tx<'_>, set: Vec<Keyed<C>>) -> Answers<C::Reply> {
        let mut answers = Vec::with_capacity(set.len());
        for Keyed { command, .. } in set {
            answers.push(service.handle(tx, command).await?.into());
        }
        Ok(answers)
    }
}

impl<C: Command, S: Compensate<C>> Way<S> for Undo<C> {
    type Command = C;
    type Input = C;
    const PHASE: Phase = Phase::Compensation;
    const SIZE: CallSize = CallSize::One;

    async fn call(service: &S, tx: &mut Tx<'_>, set: Vec<Keyed<C>>) -> Answers<C::Reply> {
        let mut answers = Vec::with_capacity(set.len());
        for Keyed { command, .. } in set {
            answers.push(HandlerOutcome::Done(service.compensate(tx, command).await?).into());
        }
        Ok(answers)
    }
}

impl<C: Command, S: HandleAll<C>> Way<S> for ActionSet<C> {
    type Command = C;
    type Input = C;
    const PHASE: Phase = Phase::Action;
    const SIZE: CallSize = CallSize::Set;

    async fn call(service: &S, tx: &mut Tx<'_>, set: Vec<Keyed<C>>) -> Answers<C::Reply> {
        Ok(service.handle_all(tx, set).await?.into_iter().map(Said::Outcome).collect())
    }
}

impl<C: Command, S: CompensateAll<C>> Way<S> for UndoSet<C> {
    type Command = C;
    type Input = C;
    const PHASE: Phase = Phase::Compensation;
    const SIZE: CallSize = CallSize::Set;

    async fn call(service: &S, tx: &mut Tx<'_>, set: Vec<Keyed<C>>) -> Answers<C::Reply> {
        let replies = service.compensate_all(tx, set).await?;
        Ok(replies.into_iter().map(HandlerOutcome::Done).map(Said::Outcome).collect())
    }
}

impl<C: Command, S: HandleLater<C>> Way<S> for LaterAction<C> {
    type Command = C;
    type Input = C;
    const PHASE: Phase = Phase::Action;
    const SIZE: CallSize = CallSize::One;

    async fn call(service: &S, tx: &mut Tx<'_>, set: Vec<Keyed<C>>) -> Answers<C::Reply> {
        let mut answers = Vec::with_capacity(set.len());
        for Keyed { command, .. } in set {
            answers.push(match service.handle_later(tx, command).await? {
                OrLater::Now(outcome) => Said::Outcome(outcome),
                OrLater::Later => Said::Later,
            });
        }
        Ok(answers)
    }
}

impl<C: Command, S: CompensateLater<C>> Way<S> for LaterUndo<C> {
    type Command = C;
    type Input = C;
    const PHASE: Phase = Phase::Compensation;
    const SIZE: CallSize = CallSize::One;

    async fn call(service: &S, tx: &mut Tx<'_>, set: Vec<Keyed<C>>) -> Answers<C::Reply> {
        let mut answers = Vec::with_capacity(set.len());
        for Keyed { command, .. } in set {
            answers.push(match service.compensate_later(tx, command).await? {
                OrLater::Now(reply) => Said::Outcome(HandlerOutcome::Done(reply)),
                OrLater::Later => Said::Later,
            });
        }
        Ok(answers)
    }
}

impl<C: Command, S: HandleLater<C>> Way<S> for GivingUp<C> {
    type Command = C;
    /// A settlement that asks for nothing but the outcome has no payload.
    type Input = ();
    const PHASE: Phase = Phase::Settlement;
    const SIZE: CallSize = CallSize::One;

    async fn call(service: &S, tx: &mut Tx<'_>, set: Vec<Keyed<()>>) -> Answers<C::Reply> {
        let mut answers = Vec::with_capacity(set.len());
        for Keyed { key, .. } in set {
            answers.push(match service.give_up(tx, &key).await? {
                GiveUp::Fenced => Said::Fenced,
                GiveUp::Done(reply) => Said::Outcome(HandlerOutcome::Done(reply)),
                GiveUp::Rejected(rejection) => Said::Outcome(HandlerOutcome::Rejected(rejection)),
                GiveUp::No => Said::Later,
            });
        }
        Ok(answers)
    }
}
