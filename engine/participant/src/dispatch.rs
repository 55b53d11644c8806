//! Runs the handlers of all command types behind one trait.
//!
//! A [`Way`] says which trait of the author's is called, and with how many commands; all else is the same for all: one
//! savepoint for each call, an answer for each command, and a command that is not `done` has left no write behind.

use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::time::Duration;

use redress_core::{Command, IdempotencyKey, JsonText, Phase, Rejection};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::handler::{HandlerError, HandlerOutcome, Keyed};
use crate::meter::{Call, FurtherCalls, Meter};
use crate::savepoint::Savepoints;
use crate::tx::Tx;
use crate::unit_error::UnitError;

/// The result of a call.
pub(crate) enum HandlerResult {
    Done(JsonText),
    Rejected(Rejection),
    Failed(String),
    /// The payload is not of the command's type: no attempt will ever do better.
    Unreadable(String),
    /// The answer comes later; of a question that was to be given up, it stays open.
    Later,
    /// The question was given up: it never happened.
    Fenced,
}

impl HandlerResult {
    /// About how much it takes in memory beside its place.
    pub(crate) fn bytes(&self) -> usize {
        match self {
            Self::Done(reply) => reply.as_bytes().len(),
            Self::Rejected(rejection) => rejection.code.len() + rejection.message.len(),
            Self::Failed(text) | Self::Unreadable(text) => text.len(),
            Self::Later | Self::Fenced => 0,
        }
    }
}

pub(crate) type Running<'a> =
    Pin<Box<dyn Future<Output = Result<Vec<HandlerResult>, UnitError>> + Send + 'a>>;

/// The handlers of a service for one command, as the batch calls them.
pub(crate) trait Dispatch<S>: Send + Sync {
    fn phase(&self) -> Phase;
    fn size(&self) -> CallSize;
    /// A result for each call, in their order; fewer if the meter says stop.
    fn run<'a>(
        &'a self,
        service: &'a S,
        savepoints: &'a mut Savepoints<'_>,
        calls: &'a [Call],
        meter: &'a mut Meter<'_>,
    ) -> Running<'a>;
}

/// The answer to one command, whatever the way in which it is handled.
pub(crate) enum Said<R> {
    Outcome(HandlerOutcome<R>),
    /// The answer comes later, or is still to come.
    Later,
    /// It never happened and never will.
    Fenced,
}

impl<R> From<HandlerOutcome<R>> for Said<R> {
    fn from(outcome: HandlerOutcome<R>) -> Self {
        Self::Outcome(outcome)
    }
}

/// The answers to a set, in its order.
pub(crate) type Answers<R> = Result<Vec<Said<R>>, HandlerError>;

/// A way to handle commands: which trait of the author's is called, and with how many commands.
pub(crate) trait Way<S>: Send + Sync + 'static {
    type Command: Command;
    /// What the payload is read as.
    type Input: DeserializeOwned + Send;
    const PHASE: Phase;
    const SIZE: CallSize;
    /// Calls the author's handler; a call of [`CallSize::One`] has one member.
    fn call(
        service: &S,
        tx: &mut Tx<'_>,
        set: Vec<Keyed<Self::Input>>,
    ) -> impl Future<Output = Answers<<Self::Command as Command>::Reply>> + Send;
}

/// How many commands one call of a handler takes.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallSize {
    One,
    Set,
}

/// The handlers that are called in the way `W`.
pub(crate) struct Typed<W>(PhantomData<fn() -> W>);

impl<W> Typed<W> {
    pub(crate) fn boxed<S>() -> Box<dyn Dispatch<S>>
    where
        S: Sync,
        W: Way<S>,
    {
        Box::new(Self(PhantomData))
    }
}

impl<S: Sync, W: Way<S>> Dispatch<S> for Typed<W> {
    fn phase(&self) -> Phase {
        W::PHASE
    }

    fn size(&self) -> CallSize {
        W::SIZE
    }

    fn run<'a>(
        &'a self,
        service: &'a S,
        savepoints: &'a mut Savepoints<'_>,
        calls: &'a [Call],
        meter: &'a mut Meter<'_>,
    ) -> Running<'a> {
        Box::pin(async move {
            if W::SIZE == CallSize::Set
                && calls.len() > 1
                && calls.iter().all(|call| call.in_doubt.is_none())
                && let Some(all) = run_together::<S, W>(service, savepoints, calls, meter).await?
            {
                return Ok(all);
            }
            run_each::<S, W>(service, savepoints, calls, meter).await
        })
    }
}

/// Answers every command with `null`.
pub(crate) struct Echo(pub(crate) Phase);

impl<S: Send + Sync> Dispatch<S> for Echo {
    fn phase(&self) -> Phase {
        self.0
    }

    fn size(&self) -> CallSize {
        CallSize::Set
    }

    fn run<'a>(
        &'a self,
        _: &'a S,
        _: &'a mut Savepoints<'_>,
        calls: &'a [Call],
        meter: &'a mut Meter<'_>,
    ) -> Running<'a> {
        meter.ended(Duration::ZERO, calls.len());
        Box::pin(async move { Ok(calls.iter().map(|_| HandlerResult::Done(JsonText::null())).collect()) })
    }
}

/// The whole set behind one savepoint; nothing if it failed and was taken back, so that its members run one by one and
/// the culprit fails alone.
async fn run_together<S: Sync, W: Way<S>>(
    service: &S,
    savepoints: &mut Savepoints<'_>,
    calls: &[Call],
    meter: &mut Meter<'_>,
) -> Result<Option<Vec<HandlerResult>>, UnitError> {
    let (mut set, mut ran) = (Vec::with_capacity(calls.len()), Vec::with_capacity(calls.len()));
    for call in calls {
        match read::<W::Command, W::Input>(call) {
            Ok(member) => {
                set.push(member);
                ran.push(None);
            }
            Err(unreadable) => ran.push(Some(unreadable)),
        }
    }
    let members = set.len();
    if members < 2 {
        return Ok(None);
    }
    let tx = &mut Tx::new(savepoints.begin().await?, set[0].key.clone());
    let answers = meter.call(calls, W::call(service, tx, set)).await?;
    let answers = match answers.and_then(|answers| packed_all(answers, members)) {
        Ok(answers) => {
            savepoints.keep();
            Some(answers)
        }
        Err(error) => {
            UnitError::of_handler(error)?;
            savepoints.take_back();
            None
        }
    };
    Ok(answers.map(|answers| {
        let mut answers = answers.into_iter();
        ran.into_iter().filter_map(|unreadable| unreadable.or_else(|| answers.next())).collect()
    }))
}

/// Each command behind its own savepoint, until the meter says stop.
async fn run_each<S: Sync, W: Way<S>>(
    service: &S,
    savepoints: &mut Savepoints<'_>,
    calls: &[Call],
    meter: &mut Meter<'_>,
) -> Result<Vec<HandlerResult>, UnitError> {
    let mut ran = Vec::with_capacity(calls.len());
    for call in calls {
        let member = match read::<W::Command, W::Input>(call) {
            Ok(member) => member,
            Err(unreadable) => {
                ran.push(unreadable);
                continue;
            }
        };
        let key = key_of_question(&call.key);
        let tx = &mut Tx::new(savepoints.begin().await?, key).doubting(call.in_doubt.clone());
        let answers = meter.call(std::slice::from_ref(call), W::call(service, tx, vec![member])).await?;
        let result = match answers.and_then(packed_one) {
            Ok(result) => result,
            Err(error) => {
                let error = UnitError::of_handler(error)?;
                HandlerResult::Failed(truncate_message(&error.chain()))
            }
        };
        match result {
            HandlerResult::Done(_) | HandlerResult::Later | HandlerResult::Fenced => savepoints.keep(),
            // The service closes in its own tables a question to which the answer is no.
            HandlerResult::Rejected(_) if W::PHASE == Phase::Settlement => savepoints.keep(),
            HandlerResult::Rejected(_) | HandlerResult::Failed(_) | HandlerResult::Unreadable(_) => {
                savepoints.take_back();
            }
        }
        ran.push(result);
        if meter.further_calls() == FurtherCalls::Left {
            break;
        }
    }
    Ok(ran)
}

/// The longest text about a failure, in characters: enough for people, and far below the broker's limit for headers.
const SAYABLE_CHARS_MAX: usize = 2_000;

const WRONG_COUNT: &str = "the set-oriented handler answered another number of commands than it was given";

/// The command, or the answer to one that is none.
fn read<C: Command, I: DeserializeOwned>(call: &Call) -> Result<Keyed<I>, HandlerResult> {
    match call.payload.read() {
        Ok(command) => Ok(Keyed { key: key_of_question(&call.key), command }),
        Err(error) => Err(HandlerResult::Unreadable(format!("the payload is no `{}`: {error}", C::NAME))),
    }
}

/// The key under which the service knows the command: a settlement is about an action.
fn key_of_question(key: &IdempotencyKey) -> IdempotencyKey {
    match key.phase {
        Phase::Action | Phase::Compensation => key.clone(),
        Phase::Settlement => key.of_action(),
    }
}

/// A reply that cannot travel is poison, as a command is that cannot: no attempt will ever do better.
pub(crate) fn packed_outcome<R: Serialize>(
    outcome: HandlerOutcome<R>,
) -> Result<HandlerResult, HandlerError> {
    match outcome {
        HandlerOutcome::Rejected(rejection) => Ok(HandlerResult::Rejected(truncate_rejection(&rejection))),
        HandlerOutcome::Done(reply) => {
            let reply = JsonText::of(&reply)?;
            match reply.check_sendable() {
                Ok(()) => Ok(HandlerResult::Done(reply)),
                Err(unfit) => Ok(HandlerResult::Unreadable(format!("the reply cannot travel: {unfit}"))),
            }
        }
    }
}

fn packed<R: Serialize>(said: Said<R>) -> Result<HandlerResult, HandlerError> {
    match said {
        Said::Later => Ok(HandlerResult::Later),
        Said::Fenced => Ok(HandlerResult::Fenced),
        Said::Outcome(outcome) => packed_outcome(outcome),
    }
}

fn packed_one<R: Serialize>(mut outcomes: Vec<Said<R>>) -> Result<HandlerResult, HandlerError> {
    match (outcomes.pop(), outcomes.is_empty()) {
        (Some(outcome), true) => packed(outcome),
        (Some(_) | None, _) => Err(WRONG_COUNT.into()),
    }
}

/// One reply that cannot travel fails the set, because the writes of its member must go.
fn packed_all<R: Serialize>(
    outcomes: Vec<Said<R>>,
    expected: usize,
) -> Result<Vec<HandlerResult>, HandlerError> {
    if outcomes.len() != expected {
        return Err(WRONG_COUNT.into());
    }
    let mut answers = Vec::with_capacity(expected);
    for outcome in outcomes {
        match packed(outcome)? {
            HandlerResult::Unreadable(reason) => return Err(reason.into()),
            answer @ (HandlerResult::Done(_)
            | HandlerResult::Rejected(_)
            | HandlerResult::Failed(_)
            | HandlerResult::Later
            | HandlerResult::Fenced) => answers.push(answer),
        }
    }
    Ok(answers)
}

/// A rejection whose texts fit into a message and a database.
pub(crate) fn truncate_rejection(rejection: &Rejection) -> Rejection {
    Rejection { code: truncate_message(&rejection.code), message: truncate_message(&rejection.message) }
}

/// A text that fits into a message and a database: no NUL, not endless.
pub(crate) fn truncate_message(text: &str) -> String {
    text.chars().take(SAYABLE_CHARS_MAX).map(|char| if char == '\0' { '\u{fffd}' } else { char }).collect()
}
