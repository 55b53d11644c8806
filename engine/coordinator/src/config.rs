//! The tunables of a coordinator, with the reason for each default.

use std::time::Duration;

use redress_core::state::STATE_FORMAT;
use redress_postgres::Migrations;

use crate::crash::CrashHook;
use crate::ports::{Keep, LetterRoom};
use crate::rules::Decide;

/// The configuration of a coordinator.
#[derive(Clone, Debug)]
pub struct Config {
    /// The journal's database.
    pub database_url: String,
    /// The treatment of tables that are not up to date.
    pub migrations: Migrations,
    /// The most replies in one transaction: past this the gain per reply is small.
    pub batch_max: usize,
    /// Batches in flight per definition. One: the replies that come meanwhile make the next batch larger, and larger
    /// batches cost less than a second lane gains (measured: 1.3 times the throughput on two cores).
    pub lanes: usize,
    /// Pause between two looks of the timers for sagas that are due.
    pub timer_poll: Duration,
    /// Pause between two looks at the connection to the broker, which cost nothing.
    pub broker_poll: Duration,
    /// The most sagas of each definition that one look takes.
    pub timer_batch_max: usize,
    /// The most starts in one transaction.
    pub start_batch_max: usize,
    /// The most bytes of states and data that one unit of work reads, and about the most that it writes and sends (but
    /// always one saga): a process holds a few copies of them, for as many units as there are connections for the work.
    /// With the usual few kilobytes per saga the numbers of rows are reached first.
    pub batch_bytes_max: usize,
    /// The most bytes of starts that wait for their batch; beyond, callers wait their turn.
    pub starts_waiting_bytes_max: usize,
    /// The most bytes of first commands on their way to the broker; beyond, the next batch of starts waits.
    pub outgoing_bytes_max: usize,
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
    /// The same for a query: longer than a connection and its statement may take.
    pub read_time_max: Duration,
    /// True if failures may be injected.
    pub allow_faults: bool,
    /// Which starts are taken.
    pub admission: Admission,
    /// True if no saga moves until the program calls [`Engine::begin`](crate::Engine::begin).
    pub start_paused: bool,
    /// A saga that goes on by itself for longer than this is marked as stalled.
    pub stalled_after: Duration,
    /// The times for which ended sagas, the keys of their starts and dead letters are kept.
    pub keep: Keep,
    /// The room for dead letters, however young they are.
    pub letter_room: LetterRoom,
    /// Pause between two prunings of rows that are older.
    pub prune_every: Duration,
    /// The form in which it writes states, and the newest that it reads: [`STATE_FORMAT`], but for tests that play a
    /// program of another time.
    pub state_format: u32,
    /// The point at which a test lets it die.
    pub crash: CrashHook,
    /// The function that decides: [`decide`](redress_core::decide::decide), but for tests that take a rule of it away.
    pub decide: Decide,
}

/// Which starts a coordinator takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// All.
    Open,
    /// None: it finishes what is under way, so that it can be taken away.
    Draining,
}

/// The longest age that anything is compared with: a hundred years, longer than any journal lives and short enough for
/// every clock to count back. A configuration that says `Duration::MAX` for "never" gets this.
pub(crate) const AGE_MAX: Duration = Duration::from_secs(100 * 365 * 86_400);

/// A day.
const DAY: Duration = Duration::from_secs(86_400);

impl Config {
    /// The defaults, on this database.
    pub fn new(database_url: impl Into<String>) -> Self {
        Self {
            database_url: database_url.into(),
            migrations: Migrations::Apply,
            batch_max: 1_000,
            lanes: 1,
            timer_poll: Duration::from_millis(250),
            broker_poll: Duration::from_millis(250),
            timer_batch_max: 500,
            start_batch_max: 1_000,
            batch_bytes_max: 8 << 20,
            starts_waiting_bytes_max: 32 << 20,
            outgoing_bytes_max: 16 << 20,
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
            keep: Keep { sagas: 30 * DAY, keys: None, dead_letters: 90 * DAY },
            letter_room: LetterRoom::DEFAULT,
            prune_every: Duration::from_secs(10 * 60),
            state_format: STATE_FORMAT,
            crash: CrashHook::default(),
            decide: redress_core::decide::decide,
        }
    }

    /// No age is longer than can be counted back.
    pub(crate) fn clamp_ages(mut self) -> Self {
        let ages = [
            &mut self.stalled_after,
            &mut self.keep.sagas,
            &mut self.keep.dead_letters,
            &mut self.prune_every,
        ];
        for age in ages.into_iter().chain(&mut self.keep.keys) {
            *age = AGE_MAX.min(*age);
        }
        self
    }
}
