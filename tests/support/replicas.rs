//! Two Postgres clusters that replicate, and a proxy that stands before one of them: for failovers.
//!
//! The clusters are made with the binaries that the private server is started from, and end with the test.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, User, geteuid};
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, PgPool};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::process::{Child, Command};

use super::{PATIENCE, until};

/// The superuser of the clusters; they trust every user on loopback.
const USER: &str = "redress";

/// A cluster of its own, which ends with this value.
pub(crate) struct Cluster {
    bin: PathBuf,
    data: PathBuf,
    pub(crate) port: u16,
    server: Option<Child>,
}

/// A cluster that serves and one that follows it synchronously.
pub(crate) struct Pair {
    pub(crate) first: Cluster,
    pub(crate) second: Cluster,
    _home: TempDir,
}

/// Runs a program to its end as a user who may run Postgres.
async fn run(program: &Path, arguments: &[&str]) {
    let mut command = Command::new(program);
    as_unprivileged(command.args(arguments));
    let output = tokio::time::timeout(PATIENCE, command.output()).await.expect("it ends in time");
    let output = output.unwrap_or_else(|error| panic!("{} does not start: {error}", program.display()));
    assert!(output.status.success(), "{}: {}", program.display(), String::from_utf8_lossy(&output.stderr));
}

/// Postgres refuses to run as root.
pub(crate) fn as_unprivileged(command: &mut Command) {
    command.env_clear().current_dir("/").stdin(Stdio::null());
    if let Some(user) = unprivileged() {
        command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    }
}

fn unprivileged() -> Option<User> {
    let known = |name: &str| User::from_name(name).ok().flatten();
    geteuid().is_root().then(|| known("postgres").or_else(|| known("nobody")).expect("a user for Postgres"))
}

/// Where a server's other programs lie.
pub(crate) fn bin_of(postgres: &Path) -> PathBuf {
    let postgres = postgres.canonicalize().expect("it runs");
    postgres.parent().expect("a program lies in a directory").to_owned()
}

/// An empty directory that the servers' user can write to.
pub(crate) fn home() -> TempDir {
    let home = tempfile::tempdir().expect("a directory");
    if let Some(user) = unprivileged() {
        let (uid, gid) = (Some(user.uid.as_raw()), Some(user.gid.as_raw()));
        std::os::unix::fs::chown(home.path(), uid, gid).expect("root gives it away");
    }
    home
}

/// A port that was free a moment ago.
pub(crate) async fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    listener.local_addr().expect("it is bound").port()
}

impl Cluster {
    /// An empty cluster with these options of `initdb`; it runs.
    pub(crate) async fn new(bin: &Path, data: PathBuf, options: &[&str]) -> Self {
        let place = data.to_string_lossy();
        let mut arguments = vec!["-N", "-U", USER, "--auth=trust", "-D", &*place];
        arguments.extend(options);
        run(&bin.join("initdb"), &arguments).await;
        let mut cluster = Self { bin: bin.to_owned(), data, port: free_port().await, server: None };
        cluster.start().await;
        cluster
    }

    /// A copy of this one that follows it; it runs.
    pub(crate) async fn follower(&self, data: PathBuf) -> Self {
        let (port, place) = (self.port.to_string(), data.to_string_lossy());
        let arguments =
            ["-h", "127.0.0.1", "-p", &port, "-U", USER, "-D", &*place, "-R", "-X", "stream", "-c", "fast"];
        run(&self.bin.join("pg_basebackup"), &arguments).await;
        let (bin, port) = (self.bin.clone(), free_port().await);
        let mut cluster = Self { bin, data, port, server: None };
        cluster.start().await;
        cluster
    }

    /// Starts it and waits until it answers.
    pub(crate) async fn start(&mut self) {
        let mut command = Command::new(self.bin.join("postgres"));
        as_unprivileged(&mut command);
        let port = format!("port={}", self.port);
        command.arg("-D").arg(&self.data);
        for setting in [
            port.as_str(),
            "listen_addresses=127.0.0.1",
            "unix_socket_directories=",
            "fsync=off",
            "shared_buffers=32MB",
            "wal_receiver_status_interval=1",
            "wal_retrieve_retry_interval=200ms",
        ] {
            command.args(["-c", setting]);
        }
        command.stdout(Stdio::null()).stderr(Stdio::null()).kill_on_drop(true);
        self.server = Some(command.spawn().expect("postgres starts"));
        self.ask("SELECT 1").await;
    }

    /// Stops it as an operator does: sessions end, and every commit is sent to the follower.
    pub(crate) async fn stop(&mut self) {
        if let Some(mut server) = self.server.take() {
            let pid = i32::try_from(server.id().expect("it runs")).expect("a pid is a small number");
            kill(Pid::from_raw(pid), Signal::SIGINT).expect("it runs");
            tokio::time::timeout(PATIENCE, server.wait()).await.expect("it stops").expect("it is ours");
        }
    }

    /// From its next start on it follows `other`.
    pub(crate) fn follow(&self, other: &Cluster) {
        let info = format!("primary_conninfo = 'host=127.0.0.1 port={} user={USER}'\n", other.port);
        let auto = self.data.join("postgresql.auto.conf");
        // Alone, it waits for no standby.
        std::fs::write(&auto, info).expect("its settings can be written");
        std::fs::write(self.data.join("standby.signal"), "").expect("its directory can be written");
    }

    /// A URL of one of its databases.
    pub(crate) fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// A pool on one of its databases.
    pub(crate) fn pool(&self, database: &str) -> PgPool {
        let pool = PgPoolOptions::new().max_connections(2).acquire_timeout(PATIENCE);
        pool.connect_lazy(&self.url(database)).expect("a URL")
    }

    /// Asks until there is an answer, and gives its one column.
    pub(crate) async fn ask(&self, sql: &str) -> String {
        let pool = self.pool("postgres");
        let sql = format!("SELECT coalesce(answer::text, '') FROM ({sql}) AS it (answer)");
        let answer = until(&sql, async || {
            sqlx::query_scalar::<_, String>(AssertSqlSafe(sql.clone())).fetch_optional(&pool).await.ok()?
        });
        let answer = answer.await;
        pool.close().await;
        answer
    }

    /// Carries out statements that can stand in no transaction.
    pub(crate) async fn execute(&self, sql: &str) {
        let pool = self.pool("postgres");
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&pool).await.expect("it is carried out");
        pool.close().await;
    }
}

impl Pair {
    /// Both run, and no commit of the first is answered before the second has it.
    ///
    /// Nothing if the machine has no `pg_basebackup` beside its `postgres`.
    pub(crate) async fn new(postgres: &Path) -> Option<Self> {
        let bin = &bin_of(postgres);
        if !bin.join("pg_basebackup").exists() {
            return None;
        }
        let home = home();
        let first = Cluster::new(bin, home.path().join("first"), &["-E", "UTF8", "--no-locale"]).await;
        let second = first.follower(home.path().join("second")).await;
        first.execute("ALTER SYSTEM SET synchronous_standby_names = '*'").await;
        first.execute("SELECT pg_reload_conf()").await;
        let followers = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'";
        until("a synchronous standby", async || (first.ask(followers).await == "1").then_some(())).await;
        Some(Self { first, second, _home: home })
    }

    /// The second one becomes the primary, and the first one its standby: both answer, one of them reads only.
    pub(crate) async fn fail_over(&mut self) {
        self.first.stop().await;
        self.second.execute("SELECT pg_promote()").await;
        self.first.follow(&self.second);
        self.first.start().await;
        assert_eq!(self.first.ask("SELECT pg_is_in_recovery()").await, "true");
        assert_eq!(self.second.ask("SELECT pg_is_in_recovery()").await, "false");
    }
}

/// A proxy before a server, which can be moved before another one. It never closes a connection by itself.
pub(crate) struct Door {
    pub(crate) port: u16,
    server: Arc<AtomicU16>,
}

impl Door {
    pub(crate) async fn before(server: u16) -> Self {
        let door = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = door.local_addr().expect("it is bound").port();
        let server = Arc::new(AtomicU16::new(server));
        let behind = server.clone();
        tokio::spawn(async move {
            while let Ok((mut client, _)) = door.accept().await {
                let port = behind.load(Ordering::Relaxed);
                tokio::spawn(async move {
                    if let Ok(mut server) = TcpStream::connect(("127.0.0.1", port)).await {
                        // An end on one side is an end on the other.
                        let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
                    }
                });
            }
        });
        Self { port, server }
    }

    /// From now on new connections lead there; those that stand, stay.
    pub(crate) fn move_before(&self, server: u16) {
        self.server.store(server, Ordering::Relaxed);
    }
}
