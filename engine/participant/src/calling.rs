//! Calls a third party, and concludes its answer: between two transactions, and in the second one.
//!
//! The first one has committed what is asked, and a lease: until when a call may be under way ([`crate::batch`]). Whatever
//! follows is conditional on that lease, so of several instances that were at work on a command one keeps its answer.
//! Nothing here holds a connection while it waits for the third party.
//!
//! | what is heard | of an action or a compensation | of a settlement |
//! |---|---|---|
//! | an answer | concluded, stored, told | concluded, stored, told |
//! | it never happened | it is called | a fence is stored, `fenced` |
//! | nothing | the lease ends, `failed` | the lease ends, `in-doubt` |

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use redress_core::inbox::Recorded;
use redress_core::{CommandMessage, LetterCode, Outcome, Phase};
use redress_postgres::answered;
use sqlx::{Connection, PgConnection};
use tokio::time::{sleep, timeout};

use crate::call_dispatch::Response;
use crate::call_faults::CallFault;
use crate::call_out::{Inquiry, Purpose};
use crate::call_store::{Changes, end_call, hold_call};
use crate::collision::collision_pause;
use crate::config::count;
use crate::connection::{give_back_after_batch, lease_for_batch};
use crate::crash::CrashPoint;
use crate::dispatch::{HandlerResult, truncate_message};
use crate::handler::HandlerError;
use crate::handlers::Registered;
use crate::inbox::Inbox;
use crate::lease::{Lease, Next};
use crate::member::Verdict;
use crate::meter::{Call, Meter};
use crate::row::stored;
use crate::savepoint::Savepoints;
use crate::store;
use crate::tempo::{Calls, Measured};
use crate::tx::Tx;
use crate::unit_error::UnitError;

/// What the third party has let us know.
pub(crate) enum Heard {
    Answer(Response),
    /// It never happened, and never will.
    Never,
    /// Nothing, for this reason.
    Nothing(String),
}

const NO_TELLING: &str = "a third party was called, and it cannot be asked what became of the call";

/// Calls, concludes, and rules.
pub(crate) async fn carry_out<S: Send + Sync + 'static>(
    inbox: &Arc<Inbox<S>>,
    command: &CommandMessage,
    lease: &Lease,
    lock_wait: Duration,
) -> Result<Verdict, UnitError> {
    let crash = &inbox.config.crash;
    crash.pass(CrashPoint::AfterPrepare, &command.key);
    let heard = Arc::new(ask(inbox, command, lease).await);
    crash.pass(CrashPoint::AfterCall, &command.key);
    let mut collisions = 0;
    let result = loop {
        let (of_unit, command, lease, heard) = (inbox.clone(), command.clone(), lease.clone(), heard.clone());
        // In a task of its own, because nothing may cancel a `begin` or a `commit`.
        let unit = tokio::spawn(async move { conclude(&of_unit, &command, &lease, &heard, lock_wait).await });
        match unit.await.unwrap_or_else(|panicked| Err(UnitError::Panicked(panicked))) {
            Err(error) => match collision_pause(&error, &mut collisions) {
                Some(pause) => sleep(pause).await,
                None => break Err(error),
            },
            ok => break ok,
        }
    };
    if result.is_ok() {
        crash.pass(CrashPoint::AfterConclude, &command.key);
    } else {
        // The answer is lost, and whoever comes next need not wait. If this fails as well, the lease ends by itself.
        let (key, until) = (lease.key.to_string(), lease.called_until);
        let inbox = inbox.clone();
        let ending = tokio::spawn(async move {
            inbox
                .on_connection(|connection| Box::pin(async move { end_call(connection, &key, until).await }))
                .await
        });
        let _ = ending.await;
    }
    result
}

/// Asks the third party, within the limits of the command.
pub(crate) async fn ask<S: Send + Sync>(inbox: &Inbox<S>, command: &CommandMessage, lease: &Lease) -> Heard {
    let handler = inbox.handlers.of(command).expect("a lease is given to a handler that calls");
    sleep(lease.rest).await;
    let purpose = match lease.next {
        Next::Call => return call(inbox, handler, command, lease).await,
        Next::InquireThenCall => Purpose::CallAgain,
        Next::Inquire => Purpose::Settle,
    };
    count(&inbox.stats.inquired);
    let dispatch = handler.calls_out().expect("a lease is given to a handler that calls");
    let inquiry = dispatch.inquire(&inbox.author, &lease.key, &lease.request, purpose);
    match (limited(handler, "inquiry", inquiry).await, purpose) {
        (Ok(Inquiry::Answered(response)), _) => Heard::Answer(response),
        (Ok(Inquiry::NeverHappened), Purpose::Settle) => Heard::Never,
        (Ok(Inquiry::Unknown), Purpose::Settle) => Heard::Nothing(NO_TELLING.to_owned()),
        (Ok(Inquiry::NeverHappened | Inquiry::Unknown), Purpose::CallAgain) => {
            // Its moment is past already: those that come next wait for it.
            handler.pacer.take(Instant::now());
            call(inbox, handler, command, lease).await
        }
        (Err(reason), _) => Heard::Nothing(format!("what became of an earlier call is not known: {reason}")),
    }
}

async fn call<S: Send + Sync>(
    inbox: &Inbox<S>,
    handler: &Registered<S>,
    command: &CommandMessage,
    lease: &Lease,
) -> Heard {
    let fault = CallFault::ordered(inbox, command);
    let calls = CallFault::calls(fault);
    (0..calls).for_each(|_| count(&inbox.stats.called_out));
    // The first has had its moment.
    for _ in 1..calls {
        let _ = handler.pacer.take(Instant::now());
    }
    let dispatch = handler.calls_out().expect("a lease is given to a handler that calls");
    let question = CallFault::play(fault, || dispatch.call(&inbox.author, &lease.key, &lease.request));
    match limited(handler, "call", question).await {
        Ok(response) => Heard::Answer(response),
        Err(reason) => Heard::Nothing(reason),
    }
}

/// One question, within its time; one that panics has failed, and nothing more.
async fn limited<S, T>(
    handler: &Registered<S>,
    what: &str,
    question: impl Future<Output = Result<T, HandlerError>>,
) -> Result<T, String> {
    let (begun, limit) = (Instant::now(), handler.limits.call);
    let ended = timeout(limit, AssertUnwindSafe(question).catch_unwind()).await;
    let mut calls = Calls::default();
    calls.add(begun.elapsed(), 1);
    handler.ended(calls, Measured::Beside);
    match ended {
        Ok(Ok(Ok(answer))) => Ok(answer),
        Ok(Ok(Err(error))) => Err(truncate_message(&error.chain())),
        Ok(Err(_)) => Err(format!("the {what} panicked; see the service's log for where")),
        Err(_) => Err(format!(
            "the {what} did not end within {limit:?}; have it give up earlier, or raise `call_time_max`"
        )),
    }
}

/// Keeps what was heard, in a transaction of its own.
async fn conclude<S: Send + Sync + 'static>(
    inbox: &Inbox<S>,
    command: &CommandMessage,
    lease: &Lease,
    heard: &Heard,
    lock_wait: Duration,
) -> Result<Verdict, UnitError> {
    let mut connection = lease_for_batch(&inbox.leases, inbox.config.silence_max).await?;
    let result = conclude_on(&mut connection, inbox, command, lease, heard, lock_wait).await;
    give_back_after_batch(&inbox.leases, connection, result.as_ref().err().map(UnitError::disposition));
    result
}

async fn conclude_on<S: Send + Sync + 'static>(
    connection: &mut PgConnection,
    inbox: &Inbox<S>,
    command: &CommandMessage,
    lease: &Lease,
    heard: &Heard,
    lock_wait: Duration,
) -> Result<Verdict, UnitError> {
    let silence = inbox.config.silence_max;
    let begun =
        answered(silence, connection.begin_with(store::begin(lock_wait, inbox.handler_time_max))).await;
    let mut transaction = begun.map_err(UnitError::Unreachable)?;
    let key = lease.key.to_string();
    answered(silence, hold_call(&mut transaction, &key, lease.called_until)).await?;
    let concluded = match heard {
        Heard::Answer(response) => run(&mut transaction, inbox, command, lease, response).await?,
        Heard::Never => Concluded::Kept(Outcome::Fenced, Recorded::Fenced),
        Heard::Nothing(reason) => Concluded::Lost(unknown(command, reason)),
    };
    let verdict = match concluded {
        Concluded::Kept(outcome, recorded) => {
            let request =
                Recorded::Prepared { request: lease.request.clone(), called_until: lease.called_until };
            let mut changes = Changes::default();
            changes.add(&key, (stored(&request).0, Some(lease.called_until)), &recorded, None);
            answered(silence, changes.write(&mut transaction)).await?;
            Verdict::Answered(outcome)
        }
        Concluded::Lost(verdict) => {
            answered(silence, end_call(&mut transaction, &key, lease.called_until)).await?;
            verdict
        }
    };
    answered(silence, transaction.commit()).await?;
    count_verdict(inbox, command, &verdict);
    Ok(verdict)
}

/// What is kept of a call.
enum Concluded {
    /// The answer, and its record.
    Kept(Outcome, Recorded),
    /// Nothing: it stays prepared.
    Lost(Verdict),
}

/// Runs the handler's last part.
async fn run<S: Send + Sync>(
    connection: &mut PgConnection,
    inbox: &Inbox<S>,
    command: &CommandMessage,
    lease: &Lease,
    response: &Response,
) -> Result<Concluded, UnitError> {
    let handler = inbox.handlers.of(command).expect("a lease is given to a handler that calls");
    let dispatch = handler.calls_out().expect("a lease is given to a handler that calls");
    let call = Call { key: command.key.clone(), payload: command.payload.clone(), in_doubt: None };
    let mut meter = Meter::new(handler.limits, None, &|_| {});
    let mut savepoints = Savepoints::new(connection, handler.limits.silence);
    let mut tx = Tx::new(savepoints.begin().await?, lease.key.clone());
    let concluding = dispatch.conclude(&inbox.author, &mut tx, &lease.request, response);
    let result = match meter.call(std::slice::from_ref(&call), concluding).await? {
        Ok(result) => result,
        Err(error) => HandlerResult::Failed(truncate_message(&UnitError::of_handler(error)?.chain())),
    };
    match &result {
        HandlerResult::Done(_) => savepoints.keep(),
        HandlerResult::Rejected(_)
        | HandlerResult::Failed(_)
        | HandlerResult::Unreadable(_)
        | HandlerResult::Later
        | HandlerResult::Fenced => savepoints.take_back(),
    }
    savepoints.close().await?;
    Ok(match result {
        HandlerResult::Done(reply) => {
            Concluded::Kept(Outcome::Done { reply: reply.clone() }, Recorded::Done { reply })
        }
        HandlerResult::Rejected(rejection) => {
            Concluded::Kept(Outcome::Rejected(rejection.clone()), Recorded::Rejected(rejection))
        }
        HandlerResult::Failed(message) => Concluded::Lost(Verdict::Answered(Outcome::Failed { message })),
        HandlerResult::Later | HandlerResult::Fenced => {
            unreachable!("a handler that calls a third party says what happened, or no")
        }
        HandlerResult::Unreadable(reason) => {
            Concluded::Lost(Verdict::Poison { code: LetterCode::Unreadable, reason })
        }
    })
}

/// Nobody knows what became of the call.
fn unknown(command: &CommandMessage, reason: &str) -> Verdict {
    let reason = truncate_message(reason);
    Verdict::Answered(match command.key.phase {
        Phase::Action | Phase::Compensation => Outcome::Failed { message: reason },
        Phase::Settlement => Outcome::InDoubt { reason },
    })
}

fn count_verdict<S>(inbox: &Inbox<S>, command: &CommandMessage, verdict: &Verdict) {
    let stats = &inbox.stats;
    let Verdict::Answered(outcome) = verdict else { return };
    match (command.key.phase, outcome) {
        (_, Outcome::InDoubt { .. }) => count(&stats.in_doubt),
        (_, Outcome::Failed { .. }) => count(&stats.failed),
        (Phase::Settlement, _) => count(&stats.settled),
        (_, Outcome::Rejected(_)) => count(&stats.rejected),
        (_, _) => count(&stats.done),
    }
}
