//! The private Postgres.
//!
//! Reached over TCP on 127.0.0.1 only, with a random password: a socket directory would be unwritable on
//! some machines and too long a path on others. The password lies beside the data, readable by its owner,
//! so that kept data can be opened again. A cluster is initialised beside its final place and renamed into
//! it, so a half-made one is never mistaken for data.
//!
//! Readiness is read from `postmaster.pid`, which only the postmaster of these very data writes: answers on
//! the port could come from the server of another program.

use std::ffi::OsString;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use nix::sys::signal::Signal;

use crate::config::{Durability, StopMode};
use crate::discover::Binary;
use crate::error::DevstackError;
use crate::guard::{Guard, Launch};
use crate::home::Home;
use crate::pause::Pause;
use crate::process::Rung;
use crate::run_as::RunAs;
use crate::server::Server;
use crate::supervisor::{Spec, Supervisor, run_to_end};
use crate::version::Version;

/// The superuser of the private cluster.
const USER: &str = "redress";
/// Connections: the coordinator, four services and a few hundred tests share one server.
const MAX_CONNECTIONS: u32 = 200;

/// The settings in a URL, which the environment then cannot set: the server speaks no TLS, which loopback does not
/// need.
const SAID: &str = "sslmode=disable&application_name=redress";

/// A private Postgres.
#[derive(Debug)]
pub struct Postgres {
    supervisor: Supervisor<Cluster>,
}

#[derive(Debug)]
struct Cluster {
    binary: Binary,
    data: PathBuf,
    log: PathBuf,
    password: String,
    durability: Durability,
    run_as: Option<RunAs>,
}

impl Postgres {
    pub(crate) async fn open(
        home: &Home,
        binary: Binary,
        durability: Durability,
        run_as: Option<RunAs>,
        guard: Arc<Guard>,
    ) -> Result<Postgres, DevstackError> {
        let data = home.postgres_data();
        let password = match data.join("PG_VERSION").exists() {
            true => stored_password(home)?,
            false => initialise(home, &binary, run_as.as_ref(), &guard).await?,
        };
        let cluster =
            Cluster { binary, data, log: home.dir.join("postgres.log"), password, durability, run_as };
        Ok(Postgres { supervisor: Supervisor::open(cluster, guard).await? })
    }

    /// A URL of `database`, with credentials. The database is not made.
    ///
    /// It sets every value that a client library would else read from the environment, which is meant for other
    /// servers. One variable cannot be overridden this way: `PGOPTIONS`, which libraries add to the options of a URL.
    pub fn url(&self, database: &str) -> String {
        let password = &self.supervisor.spec.password;
        format!("postgres://{USER}:{password}@127.0.0.1:{}/{database}?{SAID}", self.port())
    }

    /// The URL of the database `postgres`, from which others are made.
    pub fn admin_url(&self) -> String {
        self.url("postgres")
    }

    /// The TCP port on 127.0.0.1; it stays the same over restarts.
    pub fn port(&self) -> u16 {
        self.supervisor.port()
    }

    /// The process id of the postmaster; of the last one while the server is stopped.
    pub fn pid(&self) -> u32 {
        self.supervisor.pid()
    }

    /// The version of the server.
    pub fn version(&self) -> Version {
        self.supervisor.spec.binary.version
    }

    /// The `postgres` binary that runs.
    pub fn binary(&self) -> &Path {
        &self.supervisor.spec.binary.path
    }

    /// The rule by which commits wait for the disk.
    pub fn durability(&self) -> Durability {
        self.supervisor.spec.durability
    }

    /// The server's log.
    pub fn log(&self) -> &Path {
        &self.supervisor.spec.log
    }

    /// Starts the server on its port, unless it runs; returns when it serves.
    ///
    /// # Errors
    /// When it ends instead, or is not ready in a minute; the error shows the end of its log.
    pub async fn start(&self) -> Result<(), DevstackError> {
        self.supervisor.start().await
    }

    /// Stops the server if it runs; returns when the postmaster is gone.
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

    /// Stops the server and starts it on the same port with the same data.
    ///
    /// # Errors
    /// Those of [`Postgres::stop`] and [`Postgres::start`].
    pub async fn restart(&self, mode: StopMode) -> Result<(), DevstackError> {
        self.stop(mode).await?;
        self.start().await
    }
}

impl Spec for Cluster {
    const SERVER: Server = Server::Postgres;

    fn launch(&self, port: u16) -> Launch<'_> {
        let mut arguments: Vec<OsString> = vec!["-D".into(), self.data.clone().into()];
        for setting in settings(self.durability, port) {
            arguments.extend(["-c".into(), setting.into()]);
        }
        Launch {
            program: &self.binary.path,
            arguments,
            run_as: self.run_as.as_ref(),
            log: &self.log,
            stop_signal: Signal::SIGINT,
        }
    }

    async fn is_ready(&self, pid: u32) -> bool {
        fs::read_to_string(self.data.join("postmaster.pid")).is_ok_and(|text| says_ready(&text, pid))
    }

    fn rungs(mode: StopMode) -> &'static [Rung] {
        const LAST: Rung = (Signal::SIGKILL, Duration::from_secs(10));
        const IMMEDIATE: Rung = (Signal::SIGQUIT, Duration::from_secs(5));
        // A fast stop ends with a checkpoint, which takes its time on a slow disk.
        const FAST: Rung = (Signal::SIGINT, Duration::from_secs(30));
        match mode {
            StopMode::Fast => &[FAST, IMMEDIATE, LAST],
            StopMode::Immediate => &[IMMEDIATE, LAST],
            StopMode::Kill => &[LAST],
        }
    }
}

fn settings(durability: Durability, port: u16) -> Vec<String> {
    let mut settings: Vec<String> = vec![
        "listen_addresses=127.0.0.1".to_owned(),
        "unix_socket_directories=".to_owned(),
        format!("port={port}"),
        format!("max_connections={MAX_CONNECTIONS}"),
        "autovacuum=on".to_owned(),
        "logging_collector=off".to_owned(),
        "log_destination=stderr".to_owned(),
        "timezone=UTC".to_owned(),
        "log_timezone=UTC".to_owned(),
    ];
    settings.extend(
        match durability {
            Durability::Full => &["shared_buffers=256MB"][..],
            Durability::Relaxed => &[
                "shared_buffers=128MB",
                "fsync=off",
                "full_page_writes=off",
                // A deadlock is a bug here: say so soon.
                "deadlock_timeout=200ms",
            ],
        }
        .iter()
        .map(|setting| (*setting).to_owned()),
    );
    settings
}

/// Line 1 of `postmaster.pid` is the process id, line 8 the status.
fn says_ready(postmaster_pid: &str, pid: u32) -> bool {
    let mut lines = postmaster_pid.lines().map(str::trim);
    lines.next() == Some(pid.to_string().as_str()) && lines.nth(6) == Some("ready")
}

/// Makes an empty cluster; returns its password.
async fn initialise(
    home: &Home,
    binary: &Binary,
    run_as: Option<&RunAs>,
    guard: &Guard,
) -> Result<String, DevstackError> {
    let unfinished = home.dir.join("postgres.new");
    if unfinished.exists() {
        fs::remove_dir_all(&unfinished).map_err(DevstackError::io("remove", &unfinished))?;
    }
    fs::create_dir(&unfinished).map_err(DevstackError::io("create", &unfinished))?;
    fs::set_permissions(&unfinished, fs::Permissions::from_mode(0o700))
        .map_err(DevstackError::io("change the mode of", &unfinished))?;
    let password = hex::encode(rand::random::<[u8; 16]>());
    let password_file = home.password_file();
    write_secret(&password_file, &password)?;
    if let Some(user) = run_as {
        user.own(&unfinished)?;
        user.own(&password_file)?;
    }

    let initdb = binary.path.with_file_name("initdb");
    let mut password_option = OsString::from("--pwfile=");
    password_option.push(&password_file);
    let mut arguments: Vec<OsString> =
        ["-N", "-E", "UTF8", "--no-locale", "-U", USER, "--auth=scram-sha-256"].map(OsString::from).into();
    arguments.extend([password_option, "-D".into(), unfinished.clone().into()]);
    let log = home.dir.join("initdb.log");
    let launch = Launch { program: &initdb, arguments, run_as, log: &log, stop_signal: Signal::SIGINT };
    run_to_end(guard, &launch, &format!("initdb ({})", initdb.display())).await?;

    let data = home.postgres_data();
    fs::rename(&unfinished, &data).map_err(DevstackError::io("move into place", &data))?;
    Ok(password)
}

fn stored_password(home: &Home) -> Result<String, DevstackError> {
    let password = fs::read_to_string(home.password_file()).unwrap_or_default().trim().to_owned();
    if password.is_empty() {
        let reason = format!("its password file {} is gone", home.password_file().display());
        return Err(DevstackError::Unusable { dir: home.dir.clone(), reason });
    }
    Ok(password)
}

/// Writes a file that only its owner reads.
pub(crate) fn write_secret(path: &Path, text: &str) -> Result<(), DevstackError> {
    // An old file would keep its mode and owner.
    let _ = fs::remove_file(path);
    fs::File::options()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(DevstackError::io("write", path))
}

#[cfg(test)]
mod tests {
    use super::says_ready;

    #[test]
    fn postgres_is_ready_once_own_postmaster_says_so() {
        let file = "4711\n/data\n1795430000\n20123\n\n127.0.0.1\n  52  7\nready   \n";
        assert!(says_ready(file, 4711));
        assert!(!says_ready(file, 4712), "the file of an earlier postmaster");
        assert!(!says_ready(&file.replace("ready   ", "starting"), 4711));
        assert!(!says_ready("4711\n/data\n", 4711));
    }
}
