//! One process of the installation, kept running as an orchestrator would: started again when it has ended, and killed
//! when its liveness probe says so.
//!
//! | it ends | that is |
//! |---|---|
//! | because we killed it | the monkey's doing |
//! | with code 86 | an injected crash |
//! | with code 69 before it was ready | a server that was away; it is tried again |
//! | in any other way | a violation |

use std::fs::File;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, Command};
use tokio::sync::{mpsc, oneshot, watch};

use super::book::Book;
use super::rest;

/// The pause before a process is started again: it keeps a program that cannot start from taking the machine.
const RESTART_PAUSE: Duration = Duration::from_millis(300);
/// How often the liveness of a coordinator is probed, and how many bad answers in a row end it: as in a cluster.
const PROBE_EVERY: Duration = Duration::from_secs(2);
const PROBES_MAX: u32 = 3;
/// Exit code of an injected crash.
const INJECTED: i32 = 86;
/// Exit code of a program whose servers are not available.
const UNAVAILABLE: i32 = 69;
/// How long a polite end may take: requests first, then what is in flight.
const LEAVE_PATIENCE: Duration = Duration::from_secs(60);
/// The number of descriptors that most systems let a process open; hundreds of silent sockets are many only beside it.
const DESCRIPTORS_MAX: u32 = 1_024;

/// A process of the installation, and the way to run it.
#[derive(Clone, Debug)]
pub(crate) struct Role {
    pub(crate) name: String,
    pub(crate) arguments: Vec<String>,
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Where it writes its log.
    pub(crate) log: PathBuf,
}

/// Where a process stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ProcessState {
    /// It is being started.
    Starting,
    /// It has printed its first line.
    Ready { pid: u32, says: String },
}

enum Order {
    Kill(oneshot::Sender<()>),
    Leave(oneshot::Sender<Option<i32>>),
}

/// How a process ended.
enum End {
    Killed,
    /// Killed because of its liveness probe.
    NotLive,
    ByItself(ExitStatus),
}

/// Keeps a process running until it is told to let it leave.
pub(crate) struct Supervisor {
    pub(crate) name: String,
    orders: mpsc::Sender<Order>,
    state: watch::Receiver<ProcessState>,
}

impl Supervisor {
    /// Starts the process and keeps it.
    pub(crate) fn begin(role: Role, http: reqwest::Client, book: Arc<Book>) -> Self {
        let (orders, ordered) = mpsc::channel(4);
        let (stands, state) = watch::channel(ProcessState::Starting);
        let name = role.name.clone();
        tokio::spawn(keep(role, http, book, ordered, stands));
        Self { name, orders, state }
    }

    /// Its process id and its first line, while it is ready.
    pub(crate) fn ready(&self) -> Option<(u32, String)> {
        match &*self.state.borrow() {
            ProcessState::Ready { pid, says } => Some((*pid, says.clone())),
            ProcessState::Starting => None,
        }
    }

    /// Waits until it is ready.
    pub(crate) async fn until_ready(&self) {
        let mut state = self.state.clone();
        // It ends only when the supervisor does.
        let _ = state.wait_for(|state| matches!(state, ProcessState::Ready { .. })).await;
    }

    /// `kill -9`; another process takes its place.
    pub(crate) async fn kill(&self) {
        let (done, is_done) = oneshot::channel();
        if self.orders.send(Order::Kill(done)).await.is_ok() {
            let _ = is_done.await;
        }
    }

    /// Lets it leave politely for good; gives its exit code.
    pub(crate) async fn leave(&self) -> Option<i32> {
        let (done, code) = oneshot::channel();
        self.orders.send(Order::Leave(done)).await.ok()?;
        code.await.ok().flatten()
    }

    /// Sends a signal to the process with this id, if it is still the one that runs.
    pub(crate) fn signal(&self, pid: u32, signal: nix::sys::signal::Signal) -> bool {
        let Some((now, _)) = self.ready().filter(|(now, _)| *now == pid) else { return false };
        let pid = nix::unistd::Pid::from_raw(i32::try_from(now).expect("a pid is a small number"));
        nix::sys::signal::kill(pid, signal).is_ok()
    }
}

async fn keep(
    role: Role,
    http: reqwest::Client,
    book: Arc<Book>,
    mut orders: mpsc::Receiver<Order>,
    stands: watch::Sender<ProcessState>,
) {
    loop {
        stands.send_replace(ProcessState::Starting);
        let child = spawn(&role);
        let Some((end, was_ready)) = run(child, &role, &http, &mut orders, &stands).await else { return };
        stands.send_replace(ProcessState::Starting);
        let manner = manner(&end);
        *book.notes().exits.entry((role.name.clone(), manner.clone())).or_default() += 1;
        if !is_expected(&end, was_ready) {
            book.violation(format!("{} ended by itself: {manner}; see {}", role.name, role.log.display()));
        }
        rest(RESTART_PAUSE).await;
    }
}

fn spawn(role: &Role) -> Child {
    let log = File::options().create(true).append(true).open(&role.log).expect("a file for the log");
    let mut command = Command::new("/bin/sh");
    let limited = format!("ulimit -n {DESCRIPTORS_MAX}; exec \"$0\" \"$@\"");
    command.args(["-c", &limited, env!("CARGO_BIN_EXE_redress")]).args(&role.arguments);
    command.envs(role.environment.iter().map(|(name, value)| (name, value)));
    // A process should hold only the memory that it uses: the allocator gives back free memory, and no panic of a
    // library has the debug information of the whole program read and kept.
    command.env("MALLOC_ARENA_MAX", "2").env("MALLOC_TRIM_THRESHOLD_", "131072").env("RUST_BACKTRACE", "0");
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(log).kill_on_drop(true);
    command.spawn().expect("a shell starts")
}

/// Runs one process to its end; nothing if it was told to leave for good.
async fn run(
    mut child: Child,
    role: &Role,
    http: &reqwest::Client,
    orders: &mut mpsc::Receiver<Order>,
    stands: &watch::Sender<ProcessState>,
) -> Option<(End, bool)> {
    let pid = child.id().expect("it was just started");
    let stdin = child.stdin.take();
    let mut lines = BufReader::new(child.stdout.take().expect("its output is piped")).lines();
    let (mut says, mut talks, mut bad_probes) = (None::<String>, true, 0);
    let mut probes = tokio::time::interval(PROBE_EVERY);
    loop {
        tokio::select! {
            line = lines.next_line(), if talks => match line {
                Ok(Some(line)) if says.is_none() => {
                    stands.send_replace(ProcessState::Ready { pid, says: line.clone() });
                    says = Some(line);
                }
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => talks = false,
            },
            status = child.wait() => {
                return Some((End::ByItself(status.expect("it can be waited for")), says.is_some()));
            }
            order = orders.recv() => match order {
                Some(Order::Kill(done)) => {
                    kill(&mut child).await;
                    // No client may take its address for that of the next one.
                    stands.send_replace(ProcessState::Starting);
                    let _ = done.send(());
                    return Some((End::Killed, says.is_some()));
                }
                Some(Order::Leave(done)) => {
                    drop(stdin);
                    let left = tokio::time::timeout(LEAVE_PATIENCE, child.wait()).await;
                    let code = left.ok().and_then(Result::ok).and_then(|status| status.code());
                    let _ = done.send(code);
                    return None;
                }
                None => return None,
            },
            _ = probes.tick(), if says.as_ref().is_some_and(|says| says.starts_with(LISTENS)) => {
                let url = says.as_deref().unwrap_or_default().trim_start_matches(LISTENS);
                bad_probes = if says_not_live(http, url).await { bad_probes + 1 } else { 0 };
                if bad_probes >= PROBES_MAX {
                    eprintln!("{}: not live, says its probe", role.name);
                    kill(&mut child).await;
                    return Some((End::NotLive, true));
                }
            }
        }
    }
}

/// The beginning of a coordinator's first line, before its address.
pub(crate) const LISTENS: &str = "listening on ";

async fn kill(child: &mut Child) {
    // It may have ended at this very moment.
    let _ = child.start_kill();
    let _ = child.wait().await;
}

/// Returns true if it answers, and says that it does not live. (Silence is left to the checks at the end: a frozen
/// process is silent because of us.)
async fn says_not_live(http: &reqwest::Client, url: &str) -> bool {
    let probe = http.get(format!("{url}/livez")).timeout(Duration::from_secs(1)).send().await;
    probe.is_ok_and(|answer| !answer.status().is_success())
}

fn manner(end: &End) -> String {
    match end {
        End::Killed => "killed".to_owned(),
        End::NotLive => "killed by its probe".to_owned(),
        End::ByItself(status) => match (status.code(), status.signal()) {
            (Some(INJECTED), _) => "injected crash".to_owned(),
            (Some(UNAVAILABLE), _) => "servers away".to_owned(),
            (Some(code), _) => format!("code {code}"),
            (None, signal) => format!("signal {}", signal.unwrap_or_default()),
        },
    }
}

fn is_expected(end: &End, was_ready: bool) -> bool {
    match end {
        End::Killed | End::NotLive => true,
        End::ByItself(status) => match status.code() {
            Some(INJECTED) => true,
            Some(UNAVAILABLE) => !was_ready,
            Some(_) | None => false,
        },
    }
}
