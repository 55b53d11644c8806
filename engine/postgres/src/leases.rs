//! Connections that go from one unit of work to the next without a rest in the pool.
//!
//! A connection that comes back to its pool is cleaned by us and pinged by sqlx, and may be asked for a sign of life when
//! it is taken out again: three round trips, beside perhaps two of the work itself. A unit of work that went well leaves
//! its connection clean; so the next one takes it from here, as long as it comes soon.
//!
//! The pool stays authoritative. Whatever failed, was cancelled or rested goes back to it and is looked at as ever, and
//! so does every connection after a while, because the pool knows how long a connection may live. If the pool has none
//! left, nothing is kept from its other users.

use std::ops::{Deref, DerefMut};
use std::sync::{Arc, Mutex, MutexGuard, Weak};
use std::time::Duration;

use sqlx::pool::PoolConnection;
use sqlx::{Error, PgConnection, PgPool, Postgres};
use tokio::time::{Instant, sleep_until};

use crate::guard::Cutoff;

/// How long a connection rests here before it goes back to the pool: a server that is restarted meanwhile closes it
/// unseen.
const REST_MAX: Duration = Duration::from_secs(1);
/// How long a connection is kept from the pool in all, so that the pool can end those that have lived long.
const KEPT_MAX: Duration = Duration::from_secs(10);

/// The connections of a pool for units of work that follow each other closely. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Leases(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    pool: PgPool,
    cutoff: Cutoff,
    resting: Mutex<Resting>,
}

/// The connections that rest, and the task that gives them back in the end.
#[derive(Debug, Default)]
struct Resting {
    connections: Vec<Rested>,
    reaper: Reaper,
}

#[derive(Debug)]
struct Rested {
    connection: PoolConnection<Postgres>,
    taken_at: Instant,
    since: Instant,
}

/// There is one reaper at most, however often the last connection is taken and given back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Reaper {
    #[default]
    Absent,
    Running,
}

impl Inner {
    fn resting(&self) -> MutexGuard<'_, Resting> {
        self.resting.lock().expect("no thread panics while it holds the resting connections")
    }

    /// Returns true if a connection that left the pool at this moment may be used without the pool's looking at it.
    fn may_keep(&self, taken_at: Instant) -> bool {
        let held = taken_at.elapsed();
        held < KEPT_MAX && self.cutoff.admits(held) && !self.pool.is_closed()
    }
}

impl Leases {
    /// The connections of this pool; those taken before `cutoff` gives up all are not kept.
    pub fn new(pool: PgPool, cutoff: Cutoff) -> Self {
        Self(Arc::new(Inner { pool, cutoff, resting: Mutex::default() }))
    }

    /// The pool that they come from.
    pub fn pool(&self) -> &PgPool {
        &self.0.pool
    }

    /// The connection that was given back last, or one of the pool's.
    ///
    /// # Errors
    /// As [`PgPool::acquire`].
    ///
    /// # Panics
    /// Never: no thread panics while holding the resting connections.
    pub async fn take(&self) -> Result<Lease, Error> {
        let lease = |connection, taken_at, origin| Lease {
            connection: Some(connection),
            taken_at,
            origin,
            leases: self.clone(),
        };
        loop {
            // Not a `while let`: its lock would be held in the body.
            let Some(rested) = self.0.resting().connections.pop() else { break };
            if rested.since.elapsed() < REST_MAX && self.0.may_keep(rested.taken_at) {
                return Ok(lease(rested.connection, rested.taken_at, Origin::Rest));
            }
        }
        Ok(lease(self.0.pool.acquire().await?, Instant::now(), Origin::Pool))
    }

    /// Closes all resting connections.
    ///
    /// # Panics
    /// Never: no thread panics while holding the resting connections.
    pub fn close_resting(&self) {
        let resting = std::mem::take(&mut self.0.resting().connections);
        resting.into_iter().for_each(|rested| drop(rested.connection.detach()));
    }

    fn keep(&self, connection: PoolConnection<Postgres>, taken_at: Instant) {
        let others_wait =
            self.0.pool.num_idle() == 0 && self.0.pool.size() >= self.0.pool.options().get_max_connections();
        if others_wait || !self.0.may_keep(taken_at) {
            return;
        }
        let mut resting = self.0.resting();
        resting.connections.push(Rested { connection, taken_at, since: Instant::now() });
        if resting.reaper == Reaper::Absent {
            resting.reaper = Reaper::Running;
            tokio::spawn(give_back_rested(Arc::downgrade(&self.0)));
        }
    }
}

/// Gives connections back to the pool once they have rested for long, until none is left.
async fn give_back_rested(leases: Weak<Inner>) {
    loop {
        let Some(inner) = leases.upgrade() else { return };
        let next = {
            let mut resting = inner.resting();
            resting.connections.retain(|rested| rested.since.elapsed() < REST_MAX);
            let next = resting.connections.iter().map(|rested| rested.since + REST_MAX).min();
            if next.is_none() {
                resting.reaper = Reaper::Absent;
            }
            next
        };
        drop(inner);
        match next {
            Some(next) => sleep_until(next).await,
            None => return,
        }
    }
}

/// Where a leased connection comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The pool has looked at it.
    Pool,
    /// It rested for less than a second: the server may have closed it unseen.
    Rest,
}

/// A connection for one unit of work. Dropped, it goes back to the pool, which cleans it.
#[derive(Debug)]
pub struct Lease {
    /// Nothing once it was taken out.
    connection: Option<PoolConnection<Postgres>>,
    taken_at: Instant,
    origin: Origin,
    leases: Leases,
}

/// The invariant behind every `expect` below.
const PRESENT: &str = "only `keep` and `into_pooled` take the connection out, and they end the lease";

impl Lease {
    /// Ends a unit of work that went well, with no transaction open: the next one may have the connection.
    ///
    /// # Panics
    /// Never: the connection is there until the lease ends.
    pub fn keep(mut self) {
        let connection = self.connection.take().expect(PRESENT);
        self.leases.keep(connection, self.taken_at);
    }

    /// Ends the lease, and leaves the connection to the pool's own rules.
    ///
    /// # Panics
    /// Never: the connection is there until the lease ends.
    pub fn into_pooled(mut self) -> PoolConnection<Postgres> {
        self.connection.take().expect(PRESENT)
    }

    /// Where it comes from.
    pub const fn origin(&self) -> Origin {
        self.origin
    }
}

impl Deref for Lease {
    type Target = PgConnection;

    fn deref(&self) -> &PgConnection {
        self.connection.as_ref().expect(PRESENT)
    }
}

impl DerefMut for Lease {
    fn deref_mut(&mut self) -> &mut PgConnection {
        self.connection.as_mut().expect(PRESENT)
    }
}
