//! Looks at everything every few seconds: memory and descriptors of the processes, streams, dead letters, sessions.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use sqlx::Row;
use tokio::time::{Instant, timeout};

use super::clients::Clients;
use super::level::{Look, Looks, highest, too_large};
use super::yard::Yard;

/// How often it looks.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// Every so many looks a line is printed.
const LOOKS_PER_LINE: u32 = 5;
/// How long one answer may take: a server that is away has none.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest that a session of ours may hold a transaction open without a word, in seconds: twice what a unit of work
/// is given.
const IDLE_MAX_SECONDS: f64 = 120.0;

/// The readings of the last look beside the processes.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Servers {
    pub(crate) open: Option<i64>,
    pub(crate) parked: Option<i64>,
    pub(crate) commands: Option<u64>,
    pub(crate) replies: Option<u64>,
    pub(crate) letters: Option<u64>,
}

/// Reads the state of the installation every few seconds.
pub(crate) struct Watch {
    clients: Arc<Clients>,
    begun: Instant,
    peaks: Mutex<Looks>,
}

impl Watch {
    pub(crate) fn new(clients: Arc<Clients>, begun: Instant) -> Self {
        Self { clients, begun, peaks: Mutex::default() }
    }

    /// The most that each process ever took.
    pub(crate) fn peaks(&self) -> Looks {
        self.peaks.lock().expect("nobody panics while holding the peaks").clone()
    }

    /// Looks until it is stopped.
    #[expect(clippy::print_stdout, reason = "the lines are for whoever waits for the run")]
    pub(crate) async fn run(self: Arc<Self>) {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        for look in 0_u32.. {
            ticks.tick().await;
            let looks = self.looks();
            highest(&mut self.peaks.lock().expect("nobody panics while holding the peaks"), &looks);
            self.judge(&looks).await;
            if look % LOOKS_PER_LINE == 0 {
                println!("{}", self.line(&looks, self.servers().await));
            }
        }
    }

    /// Notes violations of limits that hold at any time.
    async fn judge(&self, looks: &Looks) {
        let book = &self.clients.book;
        for violation in too_large(looks) {
            book.violation(violation);
        }
        let held = "SELECT coalesce(max(extract(epoch FROM now() - state_change)), 0)::float8 AS seconds \
                    FROM pg_stat_activity WHERE datname = ANY($1) AND state LIKE 'idle in transaction%'";
        let held = sqlx::query(held).bind(Yard::databases()).fetch_one(&self.clients.yard.journal);
        if let Ok(Ok(row)) = timeout(PATIENCE, held).await {
            let seconds: f64 = row.get("seconds");
            if seconds > IDLE_MAX_SECONDS {
                book.violation(format!("a session holds a transaction open for {seconds:.0} s"));
            }
        }
    }

    /// One look at all processes that run.
    pub(crate) fn looks(&self) -> Looks {
        let yard = &self.clients.yard;
        let ours = yard
            .supervisors()
            .filter_map(|supervisor| Some((supervisor.name.clone(), supervisor.ready()?.0)));
        let servers = [("nats".to_owned(), yard.stack.nats().pid())];
        ours.chain(servers).filter_map(|(role, pid)| Some((role, look(pid)?))).collect()
    }

    /// One look at the servers.
    pub(crate) async fn servers(&self) -> Servers {
        let yard = &self.clients.yard;
        let open = "SELECT count(*) AS open, count(*) FILTER (WHERE status = 'parked') AS parked \
                    FROM sagas WHERE ended_at IS NULL";
        let row =
            timeout(PATIENCE, sqlx::query(open).fetch_one(&yard.journal)).await.ok().and_then(Result::ok);
        let streams = yard.streams();
        let depth = async |what: &str| {
            let stream = timeout(PATIENCE, streams.get_stream(Yard::stream(what))).await.ok()?.ok()?;
            Some(stream.cached_info().state.messages)
        };
        let (commands, replies, letters) =
            tokio::join!(depth("COMMANDS"), depth("REPLIES"), depth("DEAD_LETTERS"));
        Servers {
            open: row.as_ref().map(|row| row.get("open")),
            parked: row.as_ref().map(|row| row.get("parked")),
            commands,
            replies,
            letters,
        }
    }

    fn line(&self, looks: &Looks, servers: Servers) -> String {
        fn said<T: ToString>(number: Option<T>) -> String {
            number.map_or("-".to_owned(), |number| number.to_string())
        }
        let notes = self.clients.book.notes();
        let disruptions: u64 = notes.tallies.values().map(|tally| tally.played).sum();
        let memory: Vec<String> = looks
            .iter()
            .map(|(role, look)| format!("{role} {}/{}", look.memory >> 20, look.descriptors))
            .collect();
        format!(
            "{:>5} s  orders {}  open {}  parked {}  commands {}  replies {}  letters {}  disruptions {}  wrong {} | \
             MiB/descriptors: {}",
            self.begun.elapsed().as_secs(),
            notes.orders.len(),
            said(servers.open),
            said(servers.parked),
            said(servers.commands),
            said(servers.replies),
            said(servers.letters),
            disruptions,
            notes.violations.len(),
            memory.join("  "),
        )
    }
}

/// The kernel's readings of a process; nothing if it is gone.
fn look(pid: u32) -> Option<Look> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = resident.split_whitespace().next()?.parse().ok()?;
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, |entries| entries.count() as u64);
    Some(Look { memory: kib << 10, descriptors })
}
