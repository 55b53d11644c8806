//! What can be tuned, with the reason for each default.

use std::time::Duration;

use crate::crash::CrashHook;

/// How a coordinator works.
#[derive(Clone, Debug)]
pub struct Config {
    /// The journal's database.
    pub database_url: String,
    /// The most replies in one transaction: past this the gain per reply is small.
    pub batch_max: usize,
    /// Batches in flight per definition. One: what comes meanwhile makes the next batch larger, and larger batches
    /// cost less than a second lane gains (measured: 1.3 times the throughput on two cores).
    pub lanes: usize,
    /// How often the timers look for what is due.
    pub timer_poll: Duration,
    /// The most sagas that one look takes.
    pub timer_batch_max: i64,
    /// The most starts in one transaction.
    pub start_batch_max: usize,
    /// Connections for the work; reads have their own.
    pub work_connections: u32,
    /// Connections for reads.
    pub read_connections: u32,
    /// How long a caller waits for a connection before it is told that the database is not available.
    pub acquire_timeout: Duration,
    /// How long a caller waits for its start before it is told that the database is not available; the start itself may
    /// have happened, and the same key finds it.
    pub start_timeout: Duration,
    /// How long a unit of work may take before its connection is given up and it is tried again: longer than the
    /// database lets any statement run. The other end of a connection may vanish without a word.
    pub unit_time_max: Duration,
    /// The same for a question: longer than a connection and its statement may take.
    pub read_time_max: Duration,
    /// Whether failures may be injected.
    pub allow_faults: bool,
    /// Which starts are taken.
    pub admission: Admission,
    /// Whether nothing moves until somebody says [`Engine::begin`](crate::Engine::begin).
    pub start_paused: bool,
    /// A saga that goes on by itself for longer than this is marked as stalled.
    pub stalled_after: Duration,
    /// What is kept, and for how long.
    pub keep: Keep,
    /// How often what is older is pruned.
    pub prune_every: Duration,
    /// Where a test lets it die.
    pub crash: CrashHook,
}

/// Which starts a coordinator takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// All.
    Open,
    /// None: it finishes what is under way, so that it can be taken away.
    Draining,
}

/// How long things are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Keep {
    /// Sagas that have ended, from their end: as long as a client may repeat a start, and somebody may ask what happened.
    pub sagas: Duration,
    /// Dead letters, from when they came; those of open sagas are kept in any case.
    pub dead_letters: Duration,
}

/// The longest age that anything is compared with: a hundred years, longer than any journal lives and short enough for
/// every clock to count back. Whoever says `Duration::MAX` for "never" gets this.
const AGE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A day.
const DAY: Duration = Duration::from_secs(86_400);

impl Config {
    /// The defaults, on this database.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            batch_max: 1_000,
            lanes: 1,
            timer_poll: Duration::from_millis(250),
            timer_batch_max: 500,
            start_batch_max: 1_000,
            work_connections: 8,
            read_connections: 8,
            acquire_timeout: Duration::from_secs(3),
            start_timeout: Duration::from_secs(10),
            unit_time_max: Duration::from_secs(60),
            read_time_max: Duration::from_secs(10),
            allow_faults: false,
            admission: Admission::Open,
            start_paused: false,
            stalled_after: Duration::from_secs(15 * 60),
            keep: Keep { sagas: 30 * DAY, dead_letters: 90 * DAY },
            prune_every: Duration::from_secs(10 * 60),
            crash: CrashHook::default(),
        }
    }

    /// No age is longer than can be counted back.
    pub(crate) fn with_countable_ages(mut self) -> Self {
        let ages = [
            &mut self.stalled_after,
            &mut self.keep.sagas,
            &mut self.keep.dead_letters,
            &mut self.prune_every,
        ];
        for age in ages {
            *age = AGE_MAX.min(*age);
        }
        self
    }
}
