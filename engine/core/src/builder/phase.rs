//! The rules of the builder as types, each with the message that a broken rule prints.

use std::marker::PhantomData;

use crate::contract::{Command, SagaData};
use crate::waiting::OnTimeout;

/// Phase: the pivot has not been passed, everything can still be undone.
#[derive(Debug)]
pub enum BeforePivot {}
/// Phase: the pivot has been passed, everything must succeed in the end.
#[derive(Debug)]
pub enum AfterPivot {}
/// Phase: inside a stage whose steps run side by side; `P` is the phase around it.
#[derive(Debug)]
pub struct Parallel<P>(PhantomData<fn() -> P>);

/// A phase in which steps can be compensated.
#[diagnostic::on_unimplemented(
    message = "a compensatable step after the pivot",
    label = "the saga can no longer go back here",
    note = "use `.retriable(..)`, or move this step before `.pivot(..)`"
)]
pub trait MayCompensate {}
impl MayCompensate for BeforePivot {}
impl<P: MayCompensate> MayCompensate for Parallel<P> {}

/// A phase in which the pivot may stand.
#[diagnostic::on_unimplemented(
    message = "a second pivot",
    label = "the saga has decided already",
    note = "a saga has one point of no return; what comes after it is `.retriable(..)`"
)]
pub trait MayPivot {}
impl MayPivot for BeforePivot {}
impl<P> MayPivot for Parallel<P> {}

/// A place outside of a stage, where the pivot stands alone.
#[diagnostic::on_unimplemented(
    message = "a pivot inside `.parallel(..)`",
    label = "other steps run beside it here",
    note = "put it before or after the stage: a saga must not decide while another of its steps may still fail"
)]
pub trait StandsAlone {}
impl StandsAlone for BeforePivot {}
impl StandsAlone for AfterPivot {}

/// A place outside of a stage, where a stage may begin.
#[diagnostic::on_unimplemented(
    message = "a stage inside a stage",
    label = "the steps around it run side by side already",
    note = "put its steps directly into the outer `.parallel(..)`, or the inner `.parallel(..)` behind it"
)]
pub trait MayBranch {}
impl MayBranch for BeforePivot {}
impl MayBranch for AfterPivot {}

/// A phase in which steps are retried until they succeed.
#[diagnostic::on_unimplemented(
    message = "a retriable step before the pivot",
    label = "no pivot stands before it",
    note = "use `.step(..)` with `.compensate(..)`, or put a `.pivot(..)` before it"
)]
pub trait MayRetry {}
impl MayRetry for AfterPivot {}
impl<P: MayRetry> MayRetry for Parallel<P> {}

/// A phase in which events are awaited.
pub trait MayAwait {
    /// What follows if one does not come in time and nothing else is said.
    const ON_TIMEOUT: OnTimeout;
}
impl MayAwait for BeforePivot {
    const ON_TIMEOUT: OnTimeout = OnTimeout::TurnBack;
}
impl MayAwait for AfterPivot {
    const ON_TIMEOUT: OnTimeout = OnTimeout::GoOn;
}
impl<P: MayAwait> MayAwait for Parallel<P> {
    const ON_TIMEOUT: OnTimeout = P::ON_TIMEOUT;
}

/// A phase in which the saga may turn back for want of an event.
#[diagnostic::on_unimplemented(
    message = "a timeout that turns back after the pivot",
    label = "the saga can no longer go back here",
    note = "use `.or_go_on()`, which is the default here, or move this event before `.pivot(..)`"
)]
pub trait MayTurnBack {}
impl MayTurnBack for BeforePivot {}
impl<P: MayTurnBack> MayTurnBack for Parallel<P> {}

/// Last step: there is none yet.
#[derive(Debug)]
pub enum NoStep {}
/// Last step: its command is `C`, and how it is undone has not been said.
#[derive(Debug)]
pub struct Open<C>(PhantomData<fn() -> C>);
/// Last step: its command is `C`, and it has a compensation.
#[derive(Debug)]
pub struct Compensated<C>(PhantomData<fn() -> C>);
/// Last step: its command is `C`, and nothing will undo it.
#[derive(Debug)]
pub struct Uncompensated<C>(PhantomData<fn() -> C>);
/// Last step: its command is `C`, and it decides the saga.
#[derive(Debug)]
pub struct Decisive<C>(PhantomData<fn() -> C>);
/// Last step: a notification, which is never answered.
#[derive(Debug)]
pub enum Notified {}
/// Last step: it waits for a time.
#[derive(Debug)]
pub enum Waits {}
/// Last step: it waits for an event with a payload of type `E`.
#[derive(Debug)]
pub struct Awaits<E>(PhantomData<fn() -> E>);

/// Nothing remains to be said about the last step.
#[diagnostic::on_unimplemented(
    message = "the step before this one has no compensation",
    label = "the step above is still open",
    note = "add `.compensate(|data| ..)`, or `.no_compensation()` if it has nothing to undo"
)]
pub trait Resolved {}
impl Resolved for NoStep {}
impl<C> Resolved for Compensated<C> {}
impl<C> Resolved for Uncompensated<C> {}
impl<C> Resolved for Decisive<C> {}
impl Resolved for Notified {}
impl Resolved for Waits {}
impl<E> Resolved for Awaits<E> {}

/// There is a last step, answered or not.
#[diagnostic::on_unimplemented(
    message = "no step stands before this call",
    label = "belongs to a step",
    note = "add a `.step(..)`, `.pivot(..)`, `.retriable(..)` or `.notify(..)` before it"
)]
pub trait MayBeSkipped {}
impl<C> MayBeSkipped for Open<C> {}
impl<C> MayBeSkipped for Compensated<C> {}
impl<C> MayBeSkipped for Uncompensated<C> {}
impl<C> MayBeSkipped for Decisive<C> {}
impl MayBeSkipped for Notified {}
impl MayBeSkipped for Waits {}
impl<E> MayBeSkipped for Awaits<E> {}

/// There is a last step.
#[diagnostic::on_unimplemented(
    message = "no step that is answered stands before this call",
    label = "belongs to a step that is answered",
    note = "add a `.step(..)`, `.pivot(..)` or `.retriable(..)` before it"
)]
pub trait HasStep {
    /// Its command.
    type Command: Command;
}
impl<C: Command> HasStep for Open<C> {
    type Command = C;
}
impl<C: Command> HasStep for Compensated<C> {
    type Command = C;
}
impl<C: Command> HasStep for Uncompensated<C> {
    type Command = C;
}
impl<C: Command> HasStep for Decisive<C> {
    type Command = C;
}

/// How the last step is undone has not been said.
#[diagnostic::on_unimplemented(
    message = "this step has its compensation already, or needs none",
    label = "no open step to compensate",
    note = "`.compensate(..)` or `.no_compensation()` stands once, after a `.step(..)`"
)]
pub trait AwaitsCompensation: HasStep {}
impl<C: Command> AwaitsCompensation for Open<C> {}

/// The last step has a compensation.
#[diagnostic::on_unimplemented(
    message = "no compensation stands before this call",
    label = "belongs to a compensation",
    note = "put it after `.compensate(|data| ..)`"
)]
pub trait HasCompensation: HasStep {}
impl<C: Command> HasCompensation for Compensated<C> {}

/// The last step waits for an event.
#[diagnostic::on_unimplemented(
    message = "no event stands before this call",
    label = "belongs to an event",
    note = "put it after `.await_event::<Payload>(name, timeout)`"
)]
pub trait HasEvent {
    /// The type of its payload.
    type Event: SagaData;
}
impl<E: SagaData> HasEvent for Awaits<E> {
    type Event = E;
}

/// The last step is neither undone nor decisive, so no participant has to remember it.
#[diagnostic::on_unimplemented(
    message = "a step whose delivery cannot be chosen",
    label = "this step is undone, decides the saga, or is not answered",
    note = "put `.delivery(..)` after `.no_compensation()` or `.retriable(..)`: a step with a compensation and the pivot are \
            settled, so their participant must remember them; a notification is delivered at most once"
)]
pub trait MayBeRepeated: HasStep {}
impl<C: Command> MayBeRepeated for Uncompensated<C> {}
