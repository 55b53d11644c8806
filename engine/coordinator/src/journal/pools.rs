//! The journal's connections: those of the work, those of reads, and those of probes.
//!
//! Connections for the work pin the plan: the cached generic plan of `UPDATE … FROM unnest(…)` turned bad as the table
//! grew (measured: ten times slower), and with sequential scans, hash and merge joins off it stays the right one. They are
//! the journal's alone, so the settings last as long as they do; behind a pooler, where others use the session next, they
//! are those of each transaction, which costs a round trip more ([`Sessions`]).

use std::time::Duration;

use redress_postgres::{Cutoff, Sessions, Target, guarded_pool};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};

use super::errors::{OpenJournalError, of_connecting};
use crate::config::Config;

/// A statement for people may search; it must not melt the database.
const READ_STATEMENT_TIMEOUT_MS: &str = "5000";
/// A connection for the work that rested so long is asked for a sign of life: a restarted database closes it unseen.
/// Under load that would be a round trip more per batch, and a unit of work that fails is tried again anyway; reads are
/// not, so their connections are always asked.
const IDLE_BEFORE_PING: Duration = Duration::from_secs(1);
/// A unit of work that takes longer is stuck behind something.
const WORK_STATEMENT_TIMEOUT_MS: &str = "30000";
/// A unit of work holds its rows for milliseconds; a transaction that holds one for longer is stuck, or is a person's.
const LOCK_TIMEOUT_MS: &str = "2000";
/// A transaction in which nothing happens holds its rows no longer than this.
const IDLE_IN_TRANSACTION_TIMEOUT_MS: &str = "30000";
/// One for readiness, one for the gauges, two for the counts of definitions, one for draining: each of them sends one
/// query at a time.
const PROBE_CONNECTIONS: u32 = 5;
/// How long a connection is used: long enough to cost nothing, short enough to give back the memory that a session
/// piles up.
const LIFETIME_MAX: Duration = Duration::from_secs(30 * 60);

/// The settings under which units of work run.
const WORK: [(&str, &str); 9] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("statement_timeout", WORK_STATEMENT_TIMEOUT_MS),
    ("lock_timeout", LOCK_TIMEOUT_MS),
    ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT_MS),
    ("client_min_messages", "error"),
];
/// The settings under which reads run: the plans are pinned as those of the work are, and for the same reason. Each list
/// walks an index (`walks`); a plan that reads the whole table instead is never the better one.
const READ: [(&str, &str); 9] = [
    ("enable_seqscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("plan_cache_mode", "force_generic_plan"),
    ("jit", "off"),
    ("statement_timeout", READ_STATEMENT_TIMEOUT_MS),
    ("lock_timeout", LOCK_TIMEOUT_MS),
    ("idle_in_transaction_session_timeout", IDLE_IN_TRANSACTION_TIMEOUT_MS),
    ("client_min_messages", "error"),
];

#[derive(Clone, Debug)]
pub(super) struct Pools {
    pub(super) work: PgPool,
    pub(super) read: PgPool,
    /// Probes must not wait behind clients.
    pub(super) probe: PgPool,
    pub(super) cutoff: Cutoff,
    pub(super) sessions: Sessions,
    /// As the database is reached without any setting of ours.
    pub(super) plain: PgConnectOptions,
}

impl Pools {
    pub(super) async fn open(config: &Config) -> Result<Self, OpenJournalError> {
        let target = Target::parse(&config.database_url)?;
        let sessions = target.inspect().await?;
        let cutoff = Cutoff::default();
        let open = |connections, settings: &[(&str, &str)], idle_before_ping| {
            let pool = options(config, connections, idle_before_ping, &cutoff);
            pool.connect_with(target.connect_options(sessions, settings))
        };
        let fails = of_connecting;
        Ok(Self {
            work: open(config.work_connections, &WORK, IDLE_BEFORE_PING).await.map_err(fails)?,
            read: open(config.read_connections, &READ, Duration::ZERO).await.map_err(fails)?,
            probe: open(PROBE_CONNECTIONS, &READ, Duration::ZERO).await.map_err(fails)?,
            plain: target.connect_options(sessions, &[]),
            cutoff,
            sessions,
        })
    }
}

/// Begins a unit of work: with its settings, where the session has not got them.
pub(super) fn begin(sessions: Sessions) -> AssertSqlSafe<String> {
    AssertSqlSafe(match sessions {
        Sessions::Own => "BEGIN".to_owned(),
        Sessions::Shared => {
            let settings = WORK.map(|(name, value)| format!("SET LOCAL {name} = {value}"));
            format!("BEGIN; {}", settings.join("; "))
        }
    })
}

fn options(config: &Config, connections: u32, idle_before_ping: Duration, cutoff: &Cutoff) -> PgPoolOptions {
    guarded_pool(cutoff, idle_before_ping)
        .max_connections(connections)
        .acquire_timeout(config.acquire_timeout)
        .max_lifetime(LIFETIME_MAX)
}
