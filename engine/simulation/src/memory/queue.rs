//! A work queue: at least once, in any order, until it is acknowledged.

use std::time::Duration;

/// A message on its way.
#[derive(Debug)]
struct Flight<M> {
    token: u64,
    message: M,
    /// When it can be taken: later than now if it is delayed, or in a taker's hands.
    ready_at: Duration,
}

/// A work queue. All times are those of the bus's clock.
#[derive(Debug)]
pub struct Queue<M> {
    flights: Vec<Flight<M>>,
    tokens: u64,
}

impl<M> Default for Queue<M> {
    fn default() -> Self {
        Self { flights: Vec::new(), tokens: 0 }
    }
}

impl<M: Clone> Queue<M> {
    /// Keeps a message until it is acknowledged; it can be taken from `ready_at` on.
    pub fn publish(&mut self, message: M, ready_at: Duration) {
        self.tokens += 1;
        self.flights.push(Flight { token: self.tokens, message, ready_at });
    }

    /// The number of messages of this kind that can be taken.
    pub fn ready(&self, now: Duration, is_wanted: impl Fn(&M) -> bool) -> usize {
        self.flights.iter().filter(|flight| flight.ready_at <= now && is_wanted(&flight.message)).count()
    }

    /// Hands out the `nth` of the messages of this kind that can be taken, from 0; it comes again at `again_at` unless
    /// it is acknowledged.
    pub fn take(
        &mut self,
        nth: usize,
        now: Duration,
        again_at: Duration,
        is_wanted: impl Fn(&M) -> bool,
    ) -> Option<(u64, M)> {
        let is_ready = |flight: &&mut Flight<M>| flight.ready_at <= now && is_wanted(&flight.message);
        let flight = self.flights.iter_mut().filter(is_ready).nth(nth)?;
        flight.ready_at = again_at;
        Some((flight.token, flight.message.clone()))
    }

    /// It is done: never again.
    pub fn acknowledge(&mut self, token: u64) {
        self.flights.retain(|flight| flight.token != token);
    }

    /// Not now: again at this time.
    pub fn give_back(&mut self, token: u64, ready_at: Duration) {
        if let Some(flight) = self.flights.iter_mut().find(|flight| flight.token == token) {
            flight.ready_at = ready_at;
        }
    }

    /// When the next message of this kind can be taken.
    pub fn next_at(&self, is_wanted: impl Fn(&M) -> bool) -> Option<Duration> {
        let wanted = self.flights.iter().filter(|flight| is_wanted(&flight.message));
        wanted.map(|flight| flight.ready_at).min()
    }

    /// Returns true if there is nothing in it, delayed or in a taker's hands.
    pub fn is_empty(&self) -> bool {
        self.flights.is_empty()
    }

    /// Loses everything. Tokens go on, so that a late acknowledgement hits no message that came after.
    pub fn wipe(&mut self) {
        self.flights.clear();
    }
}
