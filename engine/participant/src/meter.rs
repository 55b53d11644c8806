//! Measures the calls of a handler, and says so while one takes long: one look at the clock before a call and one after.

use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use tokio::time::timeout;

use crate::dispatch::{Call, Limits};
use crate::handler::HandlerError;
use crate::tempo::{Calls, allowed};
use crate::unit_error::UnitError;

/// Whether calls that follow a slow one are still made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Course {
    /// No call was slow.
    GoesOn,
    /// A call was slow, and others wait.
    Stops,
}

/// Calls one handler, within its limits.
pub(crate) struct Meter<'m> {
    limits: Limits,
    /// How long a call with one command may take before it is slow; none if nothing waits behind it.
    patience: Option<Duration>,
    on_slow: &'m (dyn Fn(Duration) + Sync),
    course: Course,
    calls: Calls,
}

impl<'m> Meter<'m> {
    /// `on_slow` hears, while a call goes on, how long it has taken.
    pub(crate) fn new(
        limits: Limits,
        patience: Option<Duration>,
        on_slow: &'m (dyn Fn(Duration) + Sync),
    ) -> Self {
        Self { limits, patience, on_slow, course: Course::GoesOn, calls: Calls::default() }
    }

    /// How long the database may be silent.
    pub(crate) fn silence(&self) -> Duration {
        self.limits.silence
    }

    pub(crate) fn course(&self) -> Course {
        self.course
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
            self.course = Course::Stops;
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
