//! Measures the calls of a handler, and says so while one takes long: one look at the clock before a call and one after.

use std::future::Future;
use std::num::NonZeroU32;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use redress_core::{IdempotencyKey, JsonText};
use tokio::time::timeout;

use crate::handler::HandlerError;
use crate::tempo::{Calls, allowed};
use crate::unit_error::UnitError;

/// A command whose handler must run.
#[derive(Clone)]
pub(crate) struct Call {
    pub(crate) key: IdempotencyKey,
    pub(crate) payload: JsonText,
    /// Of a compensation whose action may have happened: what was asked of a third party.
    pub(crate) in_doubt: Option<JsonText>,
}

/// Time limits.
#[derive(Clone, Copy)]
pub(crate) struct Limits {
    /// For the database.
    pub(crate) silence: Duration,
    /// For one call of a handler.
    pub(crate) handler: Duration,
    /// For one call to a third party.
    pub(crate) call: Duration,
    /// Calls to a third party.
    pub(crate) calls_per_s: Option<NonZeroU32>,
}

/// Whether calls that follow a slow one are still made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum FurtherCalls {
    /// No call was slow.
    Made,
    /// A call was slow, and others wait.
    Left,
}

/// Calls one handler, within its limits.
pub(crate) struct Meter<'m> {
    limits: Limits,
    /// How long a call with one command may take before it is slow; none if nothing waits behind it.
    patience: Option<Duration>,
    on_slow: &'m (dyn Fn(Duration) + Sync),
    further_calls: FurtherCalls,
    calls: Calls,
}

impl<'m> Meter<'m> {
    /// `on_slow` hears, while a call goes on, how long it has taken.
    pub(crate) fn new(
        limits: Limits,
        patience: Option<Duration>,
        on_slow: &'m (dyn Fn(Duration) + Sync),
    ) -> Self {
        Self { limits, patience, on_slow, further_calls: FurtherCalls::Made, calls: Calls::default() }
    }

    pub(crate) fn further_calls(&self) -> FurtherCalls {
        self.further_calls
    }

    /// The calls that have ended.
    pub(crate) fn calls(&self) -> Calls {
        self.calls
    }

    /// A call that needs no limit has ended.
    pub(crate) fn ended(&mut self, took: Duration, commands: usize) {
        self.calls.add(took, commands);
    }

    /// Calls the handler. One that panics has failed, and nothing more. One that does not end leaves the connection in
    /// the middle of something, so that the transaction is lost.
    pub(crate) async fn call<T>(
        &mut self,
        calls: &[Call],
        handler: impl Future<Output = Result<T, HandlerError>>,
    ) -> Result<Result<T, HandlerError>, UnitError> {
        let limit = self.limits.handler;
        let patience = self.patience.map_or(limit, |patience| allowed(patience, calls.len()).min(limit));
        let begun = Instant::now();
        let mut handler = pin!(AssertUnwindSafe(handler).catch_unwind());
        let mut ended = timeout(patience, &mut handler).await.ok();
        if ended.is_none() && patience < limit {
            self.further_calls = FurtherCalls::Left;
            (self.on_slow)(begun.elapsed());
            ended = timeout(limit - patience, handler).await.ok();
        }
        self.ended(begun.elapsed(), calls.len());
        match ended {
            Some(Ok(answer)) => Ok(answer),
            Some(Err(_)) => Ok(Err("the handler panicked; see the service's log for where".into())),
            None => {
                let keys = calls.iter().map(|call| call.key.clone()).collect();
                Err(UnitError::Overdue { limit, keys })
            }
        }
    }
}
