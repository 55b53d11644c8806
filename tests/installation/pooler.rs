//! Poolers before Postgres that give each transaction another session.

use std::path::PathBuf;
use std::process::Stdio;

use crate::support::orders::Order;
use crate::support::process::{Process, run};
use crate::support::replicas::{Cluster, as_unprivileged, bin_of, free_port, home};
use crate::support::{SERVICES, pooler, until};
use serde_json::{Value, json};
use sqlx::PgPool;
use tempfile::TempDir;
use tokio::process::{Child, Command};

struct Site {
    cluster: Cluster,
    home: TempDir,
}

impl Site {
    async fn new() -> Self {
        let stack = redress::devstack::shared().await;
        let (home, bin) = (home(), bin_of(stack.postgres().binary()));
        let cluster = Cluster::new(&bin, home.path().join("data"), &["-E", "UTF8", "--no-locale"]).await;
        Self { cluster, home }
    }

    async fn environment(&self, port: u16) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", format!("postgres://redress@127.0.0.1:{port}/shop")),
            ("NATS_URL", redress::devstack::shared().await.nats().url()),
            ("REDRESS_PREFIX", format!("pooler-{port}-{}", std::process::id())),
            ("REDRESS_STREAM_BYTES_MAX", (16 << 20).to_string()),
        ]
    }

    /// The tables, made without a pooler.
    async fn migrate(&self) {
        let ran = run(&["migrate"], &self.environment(self.cluster.port).await).await;
        assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    }

    /// The real thing before the cluster, if this machine has it, and its version.
    async fn pgbouncer(&self) -> Option<(Child, u16, (u32, u32))> {
        let program = pgbouncer()?;
        let said = Command::new(&program).arg("--version").output().await.ok()?;
        let said = String::from_utf8_lossy(&said.stdout).into_owned();
        let mut numbers = said.split_whitespace().nth(1)?.split('.').map(|number| number.parse().ok());
        let version: (u32, u32) = (numbers.next()??, numbers.next()??);
        let (port, settings) = (free_port().await, self.home.path().join("pgbouncer.ini"));
        let (users, server) = (self.home.path().join("users"), self.cluster.port);
        std::fs::write(&users, "\"redress\" \"\"\n").expect("its directory can be written");
        let text = format!(
            "[databases]\n* = host=127.0.0.1 port={server} user=redress\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
             listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\npool_mode = transaction\n\
             default_pool_size = 3\nignore_startup_parameters = extra_float_digits\n",
            users.display()
        );
        std::fs::write(&settings, text).expect("its directory can be written");
        let mut command = Command::new(&program);
        as_unprivileged(command.arg(&settings));
        let bouncer = command.stderr(Stdio::null()).kill_on_drop(true).spawn().ok()?;
        until("the pooler", async || tokio::net::TcpStream::connect(("127.0.0.1", port)).await.ok()).await;
        Some((bouncer, port, version))
    }
}

/// The path of the program: named by a variable, or found on the path or in `/usr/sbin`, which a user's path lacks.
fn pgbouncer() -> Option<PathBuf> {
    let named = std::env::var_os("REDRESS_TEST_PGBOUNCER").map(PathBuf::from);
    let path = std::env::var_os("PATH").unwrap_or_default();
    let dirs = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    named.or_else(|| dirs.map(|dir| dir.join("pgbouncer")).find(|program| program.exists()))
}

async fn is_refused(site: &Site, port: u16) {
    let environment = site.environment(port).await;
    let order = ["service", "order"];
    for arguments in [&["serve", "--http", "127.0.0.1:0"][..], &order, &["migrate"]] {
        let ran = run(arguments, &environment).await;
        assert_eq!(ran.code, Some(78), "{arguments:?}: {}", ran.stderr);
        for word in ["pooler", "prepared statements", "max_prepared_statements", &port.to_string()] {
            assert!(ran.stderr.contains(word), "{arguments:?}: `{word}` is missing: {}", ran.stderr);
        }
    }
    let ran = run(&["doctor"], &environment).await;
    assert_eq!(ran.code, Some(78), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("max_prepared_statements"), "{}", ran.stdout);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pooler_that_forgets_prepared_statements_is_refused() {
    let site = Site::new().await;
    site.migrate().await;
    is_refused(&site, pooler::before(site.cluster.port).await).await;
}

/// Orders go through it, and the next owner of a session finds it as it was.
async fn is_worked_with(site: &Site, port: u16) {
    let environment = site.environment(port).await;
    let serve = ["serve", "--http", "127.0.0.1:0", "--until-stdin-ends", "--timer-poll-ms", "50"];
    let coordinator = Process::start(&serve, &environment).await;
    let services =
        Process::start(&[&["service", "--until-stdin-ends"][..], &SERVICES].concat(), &environment).await;
    assert_eq!(services.says, "ready");
    let url = coordinator.says.trim_start_matches("listening on ");
    for (number, order) in
        [Order::Fine, Order::Unpayable, Order::Undeliverable].into_iter().cycle().take(30).enumerate()
    {
        let body = json!({ "saga": "place-order", "input": order.input() });
        let started = reqwest::Client::new().post(format!("{url}/v1/sagas?wait=30s")).json(&body);
        let saga = started.header("Idempotency-Key", format!("order-{number}")).send().await;
        let saga: Value = saga.expect("the coordinator answers").json().await.expect("JSON");
        assert_eq!(saga["status"], order.end().0, "{saga}");
    }
    let ready = reqwest::get(format!("{url}/readyz")).await.expect("the coordinator answers");
    assert_eq!(ready.status(), 200);
    for database in ["shop".to_owned()].into_iter().chain(SERVICES.map(|service| format!("shop_{service}"))) {
        let pool = PgPool::connect(&format!("postgres://redress@127.0.0.1:{port}/{database}"))
            .await
            .expect("it lets in");
        let mut transactions = Vec::new();
        for _ in 0..3 {
            let mut transaction = pool.begin().await.expect("a session");
            let left = "SELECT string_agg(name || '=' || setting, ' ') FROM pg_settings WHERE source = 'session' \
                        AND (name LIKE 'enable%' OR name LIKE '%timeout' OR name IN ('jit', 'plan_cache_mode'))";
            let left: Option<String> =
                sqlx::query_scalar(left).fetch_one(&mut *transaction).await.expect("settings");
            assert_eq!(left, None, "{database}");
            transactions.push(transaction);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn installed_pgbouncer_is_used_or_refused_by_version() {
    let site = Site::new().await;
    site.migrate().await;
    let Some((_bouncer, port, version)) = site.pgbouncer().await else {
        return println!("skipped: there is no pgbouncer on this machine");
    };
    println!("PgBouncer {version:?}");
    if version < (1, 21) {
        is_refused(&site, port).await;
    } else if version < (1, 24) {
        println!("skipped: it keeps prepared statements only if it is told to");
    } else {
        is_worked_with(&site, port).await;
    }
}
