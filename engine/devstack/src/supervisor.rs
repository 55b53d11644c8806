//! The life of one server: started, stopped, restarted on the same port.
//!
//! The port is chosen once, outside the range from which the operating system takes the local ports of
//! connections. Within that range a client that reconnects in a loop to a stopped server can be given the
//! server's own port, connect to itself, and keep the server from ever coming back.
//!
//! All of it works on `&self`, so that a test can restart a server while services hold the stack.

use std::fs;
use std::future::Future;
use std::io::{Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU32, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;

use crate::config::StopMode;
use crate::error::DevstackError;
use crate::guard::{Guard, Launch};
use crate::pause::Pause;
use crate::process::{Process, Rung};
use crate::server::Server;
use crate::trust;

/// How many ports are tried at the first start, should others take them between choice and use.
const PORTS_TRIED: u32 = 5;
/// Where ports are chosen: below the ephemeral ranges of Linux (from 32768) and macOS (from 49152).
const PORTS: std::ops::Range<u16> = 20_000..32_000;
/// How many random ports are tested for being free before giving up.
const PORT_DRAWS: u32 = 500;
/// How long a server may take to be ready; crash recovery of a large kept database is the slowest case.
const READY_PATIENCE: Duration = Duration::from_secs(60);
/// How often a starting server is asked whether it is ready.
const READY_POLL: Duration = Duration::from_millis(5);
/// How often a restart is repeated while the remains of the old process hold the port or the data.
const RESTARTS_TRIED: u32 = 100;
/// The pause between two such restarts.
const RESTART_PAUSE: Duration = Duration::from_millis(100);
/// How much of a log an error shows, in lines.
const LOG_LINES: usize = 12;
/// How much of a log is read for that, in bytes.
const LOG_BYTES: u64 = 16 * 1024;

/// The differences between the servers.
pub(crate) trait Spec: Send + Sync {
    const SERVER: Server;

    /// How to start it on `port`.
    fn launch(&self, port: u16) -> Launch<'_>;

    /// Returns true if process `pid` now serves.
    fn is_ready(&self, pid: u32) -> impl Future<Output = bool> + Send;

    /// How to stop it.
    fn rungs(mode: StopMode) -> &'static [Rung];
}

/// A server and its current process.
#[derive(Debug)]
pub(crate) struct Supervisor<S> {
    pub(crate) spec: S,
    guard: Arc<Guard>,
    port: AtomicU16,
    /// Of the current process, or of the last one while the server is stopped.
    pid: AtomicU32,
    running: Mutex<Option<Process>>,
}

/// The reason why a launch did not lead to a ready server.
enum Failure {
    /// Another program listens on the port.
    PortTaken(DevstackError),
    /// The remains of the last process still hold the data.
    DataHeld(DevstackError),
    /// Trying again will not help.
    Final(DevstackError),
}

impl<S: Spec> Supervisor<S> {
    /// Starts a server for the first time, on a port of its own.
    pub(crate) async fn open(spec: S, guard: Arc<Guard>) -> Result<Supervisor<S>, DevstackError> {
        let supervisor = Supervisor {
            spec,
            guard,
            port: AtomicU16::new(0),
            pid: AtomicU32::new(0),
            running: Mutex::new(None),
        };
        supervisor.first_start().await?;
        Ok(supervisor)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port.load(Ordering::Acquire)
    }

    pub(crate) fn pid(&self) -> u32 {
        self.pid.load(Ordering::Acquire)
    }

    /// Starts the server on its port, unless it runs; returns when it serves.
    pub(crate) async fn start(&self) -> Result<(), DevstackError> {
        let mut running = self.running.lock().await;
        let mut tries = 0;
        loop {
            tries += 1;
            match self.launch(&mut running).await {
                Ok(()) => return Ok(()),
                Err(Failure::PortTaken(_) | Failure::DataHeld(_)) if tries < RESTARTS_TRIED => {
                    tokio::time::sleep(RESTART_PAUSE).await;
                }
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    /// Stops the server if it runs; returns when its process is gone.
    pub(crate) async fn stop(&self, mode: StopMode) -> Result<(), DevstackError> {
        let mut running = self.running.lock().await;
        if let Some(process) = running.as_ref()
            && process.stop(S::rungs(mode)).await.is_none()
        {
            return Err(DevstackError::WillNotStop { server: S::SERVER, pid: process.pid() });
        }
        *running = None;
        Ok(())
    }

    /// Pauses the server for at most this time.
    pub(crate) async fn pause(&self, at_most: Duration) -> Result<Pause, DevstackError> {
        match self.running.lock().await.as_ref() {
            Some(process) => process.pause(at_most),
            None => Err(DevstackError::NotPaused { pid: self.pid() }),
        }
    }

    async fn first_start(&self) -> Result<(), DevstackError> {
        let mut running = self.running.lock().await;
        let mut tries = 0;
        loop {
            tries += 1;
            self.port.store(free_port()?, Ordering::Release);
            match self.launch(&mut running).await {
                Ok(()) => return Ok(()),
                Err(Failure::PortTaken(_) | Failure::DataHeld(_)) if tries < PORTS_TRIED => {}
                Err(failure) => return Err(failure.into_error()),
            }
        }
    }

    /// One try. The process is stored before it is waited for, so a cancelled call loses nothing.
    async fn launch(&self, running: &mut Option<Process>) -> Result<(), Failure> {
        let launch = self.spec.launch(self.port());
        let log_start = length(launch.log);
        let process = match running.take() {
            Some(process) if process.ended().is_none() => process,
            _ => self.guard.launch(&launch).map_err(Failure::Final)?,
        };
        let process = running.insert(process);
        self.pid.store(process.pid(), Ordering::Release);

        let ready = async {
            while !self.spec.is_ready(process.pid()).await {
                tokio::time::sleep(READY_POLL).await;
            }
        };
        tokio::select! {
            status = process.wait() => {
                let log = tail(launch.log, log_start);
                let what = format!("{} ({})", S::SERVER, launch.program.display());
                *running = None;
                Err(Failure::of(log, |log| DevstackError::Exited { what, status: status.to_string(), log }))
            }
            ready = tokio::time::timeout(READY_PATIENCE, ready) => ready.map_err(|_| {
                let (server, seconds) = (S::SERVER, READY_PATIENCE.as_secs());
                Failure::Final(DevstackError::NotReady { server, seconds, log: tail(launch.log, log_start) })
            }),
        }
    }
}

impl Failure {
    fn of(log: String, error: impl FnOnce(String) -> DevstackError) -> Failure {
        if log.contains("ddress already in use") {
            Failure::PortTaken(error(log))
        } else if log.contains("pre-existing shared memory block")
            || log.contains("postmaster.pid\" already exists")
        {
            Failure::DataHeld(error(log))
        } else {
            Failure::Final(error(log))
        }
    }

    fn into_error(self) -> DevstackError {
        match self {
            Failure::PortTaken(error) | Failure::DataHeld(error) | Failure::Final(error) => error,
        }
    }
}

/// Runs a preparation (such as initdb) under the guard, to its end.
pub(crate) async fn run_to_end(guard: &Guard, launch: &Launch<'_>, what: &str) -> Result<(), DevstackError> {
    let log_start = length(launch.log);
    let status = guard.launch(launch)?.wait().await;
    if status.success() {
        return Ok(());
    }
    let log = tail(launch.log, log_start);
    Err(DevstackError::Exited { what: what.to_owned(), status: status.to_string(), log })
}

/// A port that is free right now.
fn free_port() -> Result<u16, DevstackError> {
    let mut refused = None;
    for _ in 0..PORT_DRAWS {
        let port = rand::random_range(PORTS);
        match TcpListener::bind((Ipv4Addr::LOCALHOST, port)) {
            Ok(_) => return Ok(port),
            Err(error) => refused = Some(error),
        }
    }
    let source = refused.expect("some port was tried");
    Err(DevstackError::io("find a free port on", "127.0.0.1")(source))
}

fn length(file: &Path) -> u64 {
    fs::metadata(file).map_or(0, |metadata| metadata.len())
}

/// The last lines that were written to `file` after byte `from`.
fn tail(file: &Path, from: u64) -> String {
    let mut bytes = Vec::new();
    let start = from.max(length(file).saturating_sub(LOG_BYTES));
    let read = trust::open(fs::File::options().read(true), file).and_then(|mut file| {
        file.seek(SeekFrom::Start(start))?;
        file.read_to_end(&mut bytes)
    });
    if let Err(error) = read {
        return format!("  ({} cannot be read: {error})", file.display());
    }
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<&str> = text.lines().collect();
    let last = &lines[lines.len().saturating_sub(LOG_LINES)..];
    if last.is_empty() { "  (nothing)".to_owned() } else { format!("  {}", last.join("\n  ")) }
}
