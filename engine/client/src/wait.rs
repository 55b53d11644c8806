//! A wait until a saga rests, over HTTP.
//!
//! The saga is looked at now and then until it has ended, is parked, or the time is over. A coordinator that does not
//! answer for a while ends nothing: the saga goes on without the program that waits for it.

use std::future::IntoFuture;
use std::pin::Pin;
use std::time::Duration;

use redress_core::SagaId;
use serde::de::DeserializeOwned;
use serde_json::Value;
use tokio::time::{Instant, MissedTickBehavior};

use crate::call::Call;
use crate::client::Client;
use crate::error::ClientError;
use crate::transport::Repeat;
use crate::view::Saga;

/// How long one look may last if the wait has no limit: the next look follows at once.
const LOOK: Duration = Duration::from_secs(3_600);

/// News for a caller that waits.
#[derive(Debug)]
pub enum WaitNews<'a, T> {
    /// The saga, as it was at the last look.
    Look(&'a T),
    /// No answer came, and the look is made again; told once for each look.
    Silence(&'a ClientError),
}

/// An answer by which it is known whether a saga rests.
pub trait Look: DeserializeOwned + Send {
    /// Returns true if the saga has ended or cannot go on by itself.
    fn rests(&self) -> bool;
}

impl Look for Saga {
    fn rests(&self) -> bool {
        Self::rests(self)
    }
}

/// The answer as it is.
impl Look for Value {
    fn rests(&self) -> bool {
        !self["ended_at"].is_null() || !self["parked"].is_null()
    }
}

type News<T> = Box<dyn FnMut(WaitNews<'_, T>) + Send>;

/// A wait in the making; await it. Gives the saga as it rests, or as it is when the time is over.
#[must_use = "nothing is waited for before this is awaited"]
pub struct Wait<T> {
    client: Client,
    call: Call<T>,
    deadline: Option<Instant>,
    news: News<T>,
}

impl Client {
    /// A wait until a saga rests: until it has ended or is parked.
    pub fn wait(&self, id: SagaId) -> Wait<Saga> {
        Wait::new(self.clone(), id)
    }
}

impl Wait<Saga> {
    pub(crate) fn new(client: Client, id: SagaId) -> Self {
        Self { client, call: Call::saga(id), deadline: None, news: Box::new(|_| {}) }
    }

    /// The same wait, with the answer as it is; news that were asked for before are not told.
    pub fn as_json(self) -> Wait<Value> {
        Wait {
            client: self.client,
            call: self.call.as_json(),
            deadline: self.deadline,
            news: Box::new(|_| {}),
        }
    }
}

impl<T> Wait<T> {
    /// Waits at most so long, from now; without it, for ever. One look is always made.
    pub fn within(self, limit: Duration) -> Self {
        Self { deadline: Instant::now().checked_add(limit), ..self }
    }

    /// Waits at most until then. One look is always made.
    pub fn until(self, deadline: Instant) -> Self {
        Self { deadline: Some(deadline), ..self }
    }

    /// Hears how the wait goes: each look, and each look that has no answer.
    pub fn news(self, news: impl FnMut(WaitNews<'_, T>) + Send + 'static) -> Self {
        Self { news: Box::new(news), ..self }
    }
}

impl<T: Look> Wait<T> {
    async fn rested(mut self) -> Result<T, ClientError> {
        let mut ticks = tokio::time::interval(self.client.poll_every());
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let until = self.deadline.unwrap_or_else(|| Instant::now() + LOOK);
            let news = &mut self.news;
            let silent = |error: &ClientError| news(WaitNews::Silence(error));
            let saga = match self.client.ask(&self.call, Repeat::Until(until), silent).await {
                Err(error) if self.deadline.is_none() && error.may_pass() => continue,
                looked => looked?,
            };
            if saga.rests() || self.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(saga);
            }
            (self.news)(WaitNews::Look(&saga));
        }
    }
}

impl<T: Look + 'static> IntoFuture for Wait<T> {
    type Output = Result<T, ClientError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.rested())
    }
}
