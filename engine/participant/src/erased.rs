//! Handlers of all types behind one.
//!
//! Each wrapper knows how to run a set of commands of its type inside the transaction: one savepoint per member, or
//! one for the whole set. It answers each member; what is not `done` has left no write behind.

use std::future::Future;
use std::marker::PhantomData;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::time::Duration;

use futures_util::FutureExt;
use redress_core::{Command, IdempotencyKey, JsonText, Phase, Rejection};
use serde::Serialize;
use sqlx::{AssertSqlSafe, Executor, PgConnection};
use tokio::time::timeout;

use crate::handler::{Compensate, CompensateAll, Handle, HandleAll, HandlerError, Keyed, Outcome, Tx};
use crate::retryable::{Mishap, Trouble, answered, sort_of_handler};

/// A command whose handler must run.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) key: IdempotencyKey,
    pub(crate) payload: JsonText,
}

/// How long is waited.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// For the database.
    pub(crate) silence: Duration,
    /// For one call of a handler.
    pub(crate) handler: Duration,
}

/// What became of a call.
pub(crate) enum Ran {
    Done(JsonText),
    Rejected(Rejection),
    Failed(String),
    /// The payload is not of the command's type: no attempt will ever do better.
    Unreadable(String),
}

/// The transaction itself is broken.
pub(crate) type Broken = sqlx::Error;

pub(crate) type Running<'a> = Pin<Box<dyn Future<Output = Result<Vec<Ran>, Broken>> + Send + 'a>>;

pub(crate) trait Erased<S>: Send + Sync {
    fn phase(&self) -> Phase;
    fn run<'a>(
        &'a self,
        service: &'a S,
        connection: &'a mut PgConnection,
        calls: &'a [Call],
        limits: Limits,
    ) -> Running<'a>;
}

pub(crate) struct Action<C>(pub(crate) PhantomData<fn() -> C>);
pub(crate) struct Undo<C>(pub(crate) PhantomData<fn() -> C>);
pub(crate) struct ActionSet<C>(pub(crate) PhantomData<fn() -> C>);
pub(crate) struct UndoSet<C>(pub(crate) PhantomData<fn() -> C>);
pub(crate) struct Echo(pub(crate) Phase);

impl<C: Command, S: Handle<C>> Erased<S> for Action<C> {
    fn phase(&self) -> Phase {
        Phase::Action
    }

    fn run<'a>(
        &'a self,
        service: &'a S,
        connection: &'a mut PgConnection,
        calls: &'a [Call],
        limits: Limits,
    ) -> Running<'a> {
        Box::pin(async move {
            let mut ran = Vec::with_capacity(calls.len());
            for call in calls {
                let Some(command) = read::<C>(call, &mut ran) else { continue };
                let of_call = std::slice::from_ref(call);
                begin(connection, limits).await?;
                let mut tx = Tx::new(connection, call.key.clone());
                let answer = guarded(limits, of_call, async { service.handle(&mut tx, command).await })
                    .await?
                    .and_then(packed);
                ran.push(end(connection, answer, limits).await?);
            }
            Ok(ran)
        })
    }
}

impl<C: Command, S: Compensate<C>> Erased<S> for Undo<C> {
    fn phase(&self) -> Phase {
        Phase::Compensation
    }

    fn run<'a>(
        &'a self,
        service: &'a S,
        connection: &'a mut PgConnection,
        calls: &'a [Call],
        limits: Limits,
    ) -> Running<'a> {
        Box::pin(async move {
            let mut ran = Vec::with_capacity(calls.len());
            for call in calls {
                let Some(command) = read::<C>(call, &mut ran) else { continue };
                let of_call = std::slice::from_ref(call);
                begin(connection, limits).await?;
                let mut tx = Tx::new(connection, call.key.clone());
                let answer =
                    guarded(limits, of_call, async { service.compensate(&mut tx, command).await }).await?;
                let answer = answer.and_then(|reply| packed(Outcome::Done(reply)));
                ran.push(end(connection, answer, limits).await?);
            }
            Ok(ran)
        })
    }
}

/// The whole set under one savepoint; if that fails, each member under its own, so that the culprit fails alone.
macro_rules! run_set {
    ($C:ty, $connection:ident, $calls:ident, $limits:ident, |$tx:ident, $set:ident| $call:expr) => {
        Box::pin(async move {
            let (places, $set, mut ran) = readable::<$C>($calls);
            if $set.is_empty() {
                return Ok(finished(ran));
            }
            let key = $set[0].key.clone();
            begin($connection, $limits).await?;
            let $tx = &mut Tx::new($connection, key);
            let answers = guarded($limits, $calls, async { $call })
                .await?
                .and_then(|all| packed_all(all, places.len()));
            match answers {
                Ok(mut answers) if answers.len() == 1 => {
                    ran[places[0]] = Some(end($connection, Ok(answers.remove(0)), $limits).await?);
                }
                Ok(answers) => {
                    release($connection, $limits).await?;
                    places.into_iter().zip(answers).for_each(|(place, answer)| ran[place] = Some(answer));
                }
                Err(error) if places.len() == 1 => {
                    ran[places[0]] = Some(end($connection, Err(error), $limits).await?);
                }
                Err(error) => {
                    // Also sorts out a collision, which fails no member.
                    end($connection, Err(error), $limits).await?;
                    for place in places {
                        let (_, $set, _) = readable::<$C>(&$calls[place..=place]);
                        begin($connection, $limits).await?;
                        let $tx = &mut Tx::new($connection, $calls[place].key.clone());
                        let answers = guarded($limits, &$calls[place..=place], async { $call })
                            .await?
                            .and_then(|all| packed_each(all, 1));
                        let answer = answers.map(|mut all| all.remove(0));
                        ran[place] = Some(end($connection, answer, $limits).await?);
                    }
                }
            }
            Ok(finished(ran))
        })
    };
}

impl<C: Command, S: HandleAll<C>> Erased<S> for ActionSet<C> {
    fn phase(&self) -> Phase {
        Phase::Action
    }

    fn run<'a>(
        &'a self,
        service: &'a S,
        connection: &'a mut PgConnection,
        calls: &'a [Call],
        limits: Limits,
    ) -> Running<'a> {
        run_set!(C, connection, calls, limits, |tx, set| service.handle_all(tx, set).await)
    }
}

impl<C: Command, S: CompensateAll<C>> Erased<S> for UndoSet<C> {
    fn phase(&self) -> Phase {
        Phase::Compensation
    }

    fn run<'a>(
        &'a self,
        service: &'a S,
        connection: &'a mut PgConnection,
        calls: &'a [Call],
        limits: Limits,
    ) -> Running<'a> {
        run_set!(C, connection, calls, limits, |tx, set| {
            service
                .compensate_all(tx, set)
                .await
                .map(|replies| replies.into_iter().map(Outcome::Done).collect::<Vec<_>>())
        })
    }
}

impl<S: Send + Sync> Erased<S> for Echo {
    fn phase(&self) -> Phase {
        self.0
    }

    fn run<'a>(&'a self, _: &'a S, _: &'a mut PgConnection, calls: &'a [Call], _: Limits) -> Running<'a> {
        Box::pin(async move { Ok(calls.iter().map(|_| Ran::Done(JsonText::null())).collect()) })
    }
}

/// The longest text about a failure, in characters: enough for people, and far below the broker's limit for headers.
const SAYABLE_CHARS_MAX: usize = 2_000;

const WRONG_COUNT: &str = "the set-oriented handler answered another number of commands than it was given";

fn read<C: Command>(call: &Call, ran: &mut Vec<Ran>) -> Option<C> {
    match call.payload.read() {
        Ok(command) => Some(command),
        Err(error) => {
            ran.push(no_command::<C>(&error));
            None
        }
    }
}

fn no_command<C: Command>(error: &serde_json::Error) -> Ran {
    Ran::Unreadable(format!("the payload is no `{}`: {error}", C::NAME))
}

/// The members that can be read, their places among the calls, and the answers to those that cannot.
fn readable<C: Command>(calls: &[Call]) -> (Vec<usize>, Vec<Keyed<C>>, Vec<Option<Ran>>) {
    let mut places = Vec::with_capacity(calls.len());
    let mut set = Vec::with_capacity(calls.len());
    let mut ran = Vec::with_capacity(calls.len());
    for (place, call) in calls.iter().enumerate() {
        match call.payload.read() {
            Ok(command) => {
                places.push(place);
                set.push(Keyed { key: call.key.clone(), command });
                ran.push(None);
            }
            Err(error) => ran.push(Some(no_command::<C>(&error))),
        }
    }
    (places, set, ran)
}

fn finished(ran: Vec<Option<Ran>>) -> Vec<Ran> {
    ran.into_iter().map(|ran| ran.unwrap_or_else(|| Ran::Failed(WRONG_COUNT.to_owned()))).collect()
}

/// A handler that panics has failed, and nothing more. One that does not end leaves the connection in the middle of
/// something, so that the transaction is lost.
async fn guarded<T>(
    limits: Limits,
    calls: &[Call],
    handler: impl Future<Output = Result<T, HandlerError>>,
) -> Result<Result<T, HandlerError>, Broken> {
    match timeout(limits.handler, AssertUnwindSafe(handler).catch_unwind()).await {
        Ok(Ok(answer)) => Ok(answer),
        Ok(Err(_)) => Ok(Err("the handler panicked; see the service's log for where".into())),
        Err(_) => {
            let keys = calls.iter().map(|call| call.key.clone()).collect();
            Err(Mishap::Overdue(limits.handler, keys).into())
        }
    }
}

/// A reply that cannot travel is poison, as a command is that cannot: no attempt will ever do better.
fn packed<R: Serialize>(outcome: Outcome<R>) -> Result<Ran, HandlerError> {
    match outcome {
        Outcome::Rejected(rejection) => Ok(Ran::Rejected(Rejection {
            code: sayable(&rejection.code),
            message: sayable(&rejection.message),
        })),
        Outcome::Done(reply) => {
            let reply = JsonText::of(&reply)?;
            match reply.check_sendable() {
                Ok(()) => Ok(Ran::Done(reply)),
                Err(unfit) => Ok(Ran::Unreadable(format!("the reply cannot travel: {unfit}"))),
            }
        }
    }
}

fn packed_each<R: Serialize>(outcomes: Vec<Outcome<R>>, expected: usize) -> Result<Vec<Ran>, HandlerError> {
    if outcomes.len() != expected {
        return Err(WRONG_COUNT.into());
    }
    outcomes.into_iter().map(packed).collect()
}

/// As [`packed_each`], but one reply that cannot travel fails the set, because what its member wrote must go.
fn packed_all<R: Serialize>(outcomes: Vec<Outcome<R>>, expected: usize) -> Result<Vec<Ran>, HandlerError> {
    let ran = packed_each(outcomes, expected)?;
    let poison = ran.iter().find_map(|ran| match ran {
        Ran::Unreadable(reason) => Some(reason.clone()),
        Ran::Done(_) | Ran::Rejected(_) | Ran::Failed(_) => None,
    });
    // A set of one is not run again, so it keeps its verdict.
    match poison {
        Some(reason) if expected > 1 => Err(reason.into()),
        Some(_) | None => Ok(ran),
    }
}

async fn begin(connection: &mut PgConnection, limits: Limits) -> Result<(), Broken> {
    answered(limits.silence, connection.execute("SAVEPOINT member")).await.map(drop)
}

async fn release(connection: &mut PgConnection, limits: Limits) -> Result<(), Broken> {
    answered(limits.silence, connection.execute("RELEASE SAVEPOINT member")).await.map(drop)
}

async fn undo(connection: &mut PgConnection, limits: Limits) -> Result<(), Broken> {
    let both = connection.execute(AssertSqlSafe("ROLLBACK TO SAVEPOINT member; RELEASE SAVEPOINT member"));
    answered(limits.silence, both).await.map(drop)
}

/// Keeps the writes of a `done` and takes everything else back.
async fn end(
    connection: &mut PgConnection,
    answer: Result<Ran, HandlerError>,
    limits: Limits,
) -> Result<Ran, Broken> {
    match answer {
        Ok(Ran::Done(reply)) => {
            release(connection, limits).await?;
            Ok(Ran::Done(reply))
        }
        Ok(other) => {
            undo(connection, limits).await?;
            Ok(other)
        }
        Err(error) => match sort_of_handler(&*error.0) {
            Trouble::Collision => Err(Mishap::Collision(error.chain()).into()),
            Trouble::Held => Err(Mishap::Held(error.chain()).into()),
            Trouble::Exhausted => Err(Mishap::Exhausted(error.chain()).into()),
            Trouble::Elsewhere | Trouble::Down | Trouble::Overdue | Trouble::Other => {
                undo(connection, limits).await?;
                Ok(Ran::Failed(sayable(&error.chain())))
            }
        },
    }
}

/// A text that fits into a message and a database: no NUL, not endless.
pub(crate) fn sayable(text: &str) -> String {
    text.chars().take(SAYABLE_CHARS_MAX).map(|char| if char == '\0' { '\u{fffd}' } else { char }).collect()
}
