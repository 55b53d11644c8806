//! The private NATS server, with JetStream.
//!
//! Reached over TCP on 127.0.0.1 only, with a random password in a configuration file that its owner reads.
//! It reports its ports in a file of its own (`--ports_file_dir`, named after its process id), and is ready
//! once `/healthz` says that JetStream is.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;
use serde::Deserialize;

use crate::config::StopMode;
use crate::discover::Binary;
use crate::error::DevstackError;
use crate::guard::{Guard, Launch};
use crate::home::Home;
use crate::http;
use crate::pause::Pause;
use crate::postgres::write_secret;
use crate::process::Rung;
use crate::server::Server;
use crate::supervisor::{Spec, Supervisor};
use crate::version::Version;

/// The user that clients connect as.
const USER: &str = "redress";
/// The JetStream store's upper bound. Streams reserve all that they may hold, and the hundred installations of a test
/// binary share one server; few of them ever hold a megabyte.
const MAX_FILE_STORE: &str = "32GB";
/// The largest message, in NATS's own default of 1 MB, said aloud because ours depend on it.
const MAX_PAYLOAD: &str = "1MB";

/// A private NATS server.
#[derive(Debug)]
pub struct Nats {
    supervisor: Supervisor<Broker>,
}

#[derive(Debug)]
struct Broker {
    binary: Binary,
    store: PathBuf,
    ports: PathBuf,
    configuration: PathBuf,
    log: PathBuf,
    pid_file: PathBuf,
    password: String,
}

#[derive(Deserialize)]
struct Ports {
    monitoring: Vec<String>,
}

impl Nats {
    pub(crate) async fn open(home: &Home, binary: Binary, guard: Arc<Guard>) -> Result<Nats, DevstackError> {
        let broker = Broker {
            binary,
            store: home.nats_store(),
            ports: home.dir.join("nats-ports"),
            configuration: home.dir.join("nats.conf"),
            log: home.dir.join("nats.log"),
            pid_file: home.nats_pid_file(),
            password: hex::encode(rand::random::<[u8; 16]>()),
        };
        for dir in [&broker.store, &broker.ports] {
            fs::create_dir_all(dir).map_err(DevstackError::io("create", dir))?;
        }
        write_secret(&broker.configuration, &configuration(&broker.password))?;
        Ok(Nats { supervisor: Supervisor::open(broker, guard).await? })
    }

    /// The URL of the server, with credentials.
    pub fn url(&self) -> String {
        format!("nats://{USER}:{}@127.0.0.1:{}", self.supervisor.spec.password, self.port())
    }

    /// The TCP port on 127.0.0.1; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.supervisor.port()
    }

    /// The process id of the server; of the last one while it is stopped.
    pub fn pid(&self) -> u32 {
        self.supervisor.pid()
    }

    /// The version of the server.
    pub fn version(&self) -> Version {
        self.supervisor.spec.binary.version
    }

    /// The `nats-server` binary that runs.
    pub fn binary(&self) -> &Path {
        &self.supervisor.spec.binary.path
    }

    /// The server's log.
    pub fn log(&self) -> &Path {
        &self.supervisor.spec.log
    }

    /// Starts the server on its port, unless it runs; returns when JetStream serves.
    ///
    /// # Errors
    /// When it ends instead, or is not ready in a minute; the error shows the end of its log.
    pub async fn start(&self) -> Result<(), DevstackError> {
        self.supervisor.start().await
    }

    /// Stops the server if it runs; returns when its process is gone.
    ///
    /// # Errors
    /// When it survives even `SIGKILL`.
    pub async fn stop(&self, mode: StopMode) -> Result<(), DevstackError> {
        self.supervisor.stop(mode).await
    }

    /// Pauses the server for at most this time, [`PAUSE_MAX`](crate::PAUSE_MAX) at the most. It goes on when that is over,
    /// when the [`Pause`] is dropped, and when this program is gone.
    ///
    /// # Errors
    /// When it does not run.
    pub async fn pause(&self, at_most: Duration) -> Result<Pause, DevstackError> {
        self.supervisor.pause(at_most).await
    }

    /// Stops the server and starts it on the same port with the same store.
    ///
    /// # Errors
    /// Those of [`Nats::stop`] and [`Nats::start`].
    pub async fn restart(&self, mode: StopMode) -> Result<(), DevstackError> {
        self.stop(mode).await?;
        self.start().await
    }

    /// Kills the server, deletes its JetStream store, and starts it on the same port.
    ///
    /// # Errors
    /// Those of [`Nats::restart`], and those of deleting files.
    pub async fn wipe_store(&self) -> Result<(), DevstackError> {
        self.stop(StopMode::Kill).await?;
        let store = &self.supervisor.spec.store;
        fs::remove_dir_all(store).map_err(DevstackError::io("remove", store))?;
        fs::create_dir(store).map_err(DevstackError::io("create", store))?;
        self.start().await
    }

    /// Stops the server, keeps a copy of its JetStream store beside it, and starts it on the same port. A copy that was
    /// kept before is replaced.
    ///
    /// # Errors
    /// Those of [`Nats::restart`], and those of copying files.
    pub async fn keep_store(&self) -> Result<(), DevstackError> {
        self.stop(StopMode::Fast).await?;
        replace_by_copy(&self.kept_store(), &self.supervisor.spec.store)?;
        self.start().await
    }

    /// Kills the server, puts the store back as it was at the last [`Nats::keep_store`], and starts it on the same port:
    /// a broker that has forgotten what it had acknowledged since.
    ///
    /// # Errors
    /// Those of [`Nats::restart`], and those of copying files, also if no store was kept.
    pub async fn roll_store_back(&self) -> Result<(), DevstackError> {
        self.stop(StopMode::Kill).await?;
        replace_by_copy(&self.supervisor.spec.store, &self.kept_store())?;
        self.start().await
    }

    fn kept_store(&self) -> PathBuf {
        self.supervisor.spec.store.with_extension("kept")
    }
}

/// Makes `to` a copy of the directory `from`.
fn replace_by_copy(to: &Path, from: &Path) -> Result<(), DevstackError> {
    if to.exists() {
        fs::remove_dir_all(to).map_err(DevstackError::io("remove", to))?;
    }
    fs::create_dir(to).map_err(DevstackError::io("create", to))?;
    for entry in fs::read_dir(from).map_err(DevstackError::io("read", from))? {
        let entry = entry.map_err(DevstackError::io("read", from))?;
        let (path, copy) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            replace_by_copy(&copy, &path)?;
        } else {
            fs::copy(&path, &copy).map_err(DevstackError::io("copy", &path))?;
        }
    }
    Ok(())
}

impl Spec for Broker {
    const SERVER: Server = Server::Nats;

    fn launch(&self, port: u16) -> Launch<'_> {
        let arguments: Vec<OsString> = vec![
            "-c".into(),
            self.configuration.clone().into(),
            "-js".into(),
            "-sd".into(),
            self.store.clone().into(),
            "-a".into(),
            "127.0.0.1".into(),
            "-p".into(),
            port.to_string().into(),
            "-m".into(),
            "-1".into(),
            "--ports_file_dir".into(),
            self.ports.clone().into(),
            "-P".into(),
            self.pid_file.clone().into(),
        ];
        Launch {
            program: &self.binary.path,
            arguments,
            run_as: None,
            log: &self.log,
            stop_signal: Signal::SIGTERM,
        }
    }

    async fn is_ready(&self, pid: u32) -> bool {
        match monitoring_port(&self.ports, pid) {
            Some(port) => http::is_ok(port, "/healthz?js-enabled-only=true").await,
            None => false,
        }
    }

    fn rungs(mode: StopMode) -> &'static [Rung] {
        const LAST: Rung = (Signal::SIGKILL, Duration::from_secs(10));
        const IN_ORDER: Rung = (Signal::SIGTERM, Duration::from_secs(15));
        match mode {
            StopMode::Fast => &[IN_ORDER, LAST],
            StopMode::Immediate | StopMode::Kill => &[LAST],
        }
    }
}

fn configuration(password: &str) -> String {
    format!(
        "max_payload: {MAX_PAYLOAD}\n\
         authorization {{ user: \"{USER}\", password: \"{password}\" }}\n\
         jetstream {{ max_file_store: {MAX_FILE_STORE} }}\n"
    )
}

/// The port that process `pid` reported in `<name of its binary>_<pid>.ports`.
fn monitoring_port(dir: &Path, pid: u32) -> Option<u16> {
    let ending = format!("_{pid}.ports");
    let entry = fs::read_dir(dir)
        .ok()?
        .flatten()
        .find(|entry| entry.file_name().as_encoded_bytes().ends_with(ending.as_bytes()))?;
    // Half-written files do not parse; the next look will find them whole.
    let ports: Ports = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
    ports.monitoring.first()?.rsplit(':').next()?.parse().ok()
}
