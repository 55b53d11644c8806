//! Databases as other people run them: roles without rights, other encodings, odd names, and the message for each.

use crate::support::SERVICES;
use crate::support::orders::Order;
use crate::support::process::{CommandOutput, Process, run};
use crate::support::replicas::{Cluster, bin_of, home};
use serde_json::{Value, json};
use tempfile::TempDir;

/// The services of the program, each of which has a database of its own.
const WITH_DATABASE: [&str; 6] = ["card", "inventory", "office", "order", "payment", "shipping"];

/// A cluster of its own, and the environment of a program that uses it.
struct Site {
    cluster: Cluster,
    nats_url: String,
    prefix: String,
    _home: TempDir,
}

impl Site {
    async fn new(prefix: &str, options: &[&str]) -> Self {
        let stack = redress::devstack::shared().await;
        let home = home();
        let bin = bin_of(stack.postgres().binary());
        let cluster = Cluster::new(&bin, home.path().join("data"), options).await;
        let prefix = format!("{prefix}-{}", std::process::id());
        Self { cluster, nats_url: stack.nats().url(), prefix, _home: home }
    }

    fn environment(&self, url: String) -> Vec<(&'static str, String)> {
        vec![
            ("DATABASE_URL", url),
            ("NATS_URL", self.nats_url.clone()),
            ("REDRESS_PREFIX", self.prefix.clone()),
            ("REDRESS_STREAM_BYTES_MAX", (16 << 20).to_string()),
        ]
    }

    /// The program as this user, who needs no password here.
    fn of(&self, user: &str, database: &str) -> Vec<(&'static str, String)> {
        self.environment(format!("postgres://{user}@127.0.0.1:{}/{database}", self.cluster.port))
    }

    async fn run(&self, arguments: &[&str], user: &str, database: &str) -> CommandOutput {
        run(arguments, &self.of(user, database)).await
    }

    async fn databases(&self) -> Vec<String> {
        let sql = "SELECT string_agg(datname || ' ' || pg_encoding_to_char(encoding), ', ' ORDER BY datname) \
                   FROM pg_database WHERE datname NOT IN ('postgres', 'template0', 'template1')";
        self.cluster.ask(sql).await.split(", ").map(str::to_owned).collect()
    }

    async fn in_database(&self, database: &str, sql: &'static str) {
        let pool = self.cluster.pool(database);
        sqlx::raw_sql(sql).execute(&pool).await.expect("it is carried out");
        pool.close().await;
    }
}

/// Checks that it ended with this code, and that all of these words are in its output; a password is not.
fn says(ran: &CommandOutput, code: i32, words: &[&str]) {
    assert_eq!(ran.code, Some(code), "{}{}", ran.stdout, ran.stderr);
    for word in words {
        assert!(ran.stderr.contains(word), "`{word}` is missing: {}", ran.stderr);
    }
    assert!(!ran.stderr.contains("s3cret") && !ran.stdout.contains("ready"), "{}{}", ran.stdout, ran.stderr);
}

/// No role may connect to the maintenance databases, and this one may make neither databases nor tables.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn role_without_ddl_rights_serves_tables_migrated_by_owner() {
    let site = Site::new("rows", &["-E", "UTF8", "--no-locale"]).await;
    let migrated = site.run(&["migrate"], "redress", "shop").await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    site.cluster.execute("CREATE ROLE app LOGIN").await;
    site.cluster.execute("REVOKE CONNECT ON DATABASE postgres, template1 FROM PUBLIC").await;
    for database in std::iter::once("shop".to_owned()).chain(WITH_DATABASE.map(|it| format!("shop_{it}"))) {
        let rows = "REVOKE CREATE ON SCHEMA public FROM PUBLIC; \
                    GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO app";
        site.in_database(&database, rows).await;
    }
    // The owner needs no other database either.
    let again = site.run(&["migrate"], "app", "shop").await;
    assert_eq!(again.code, Some(0), "nothing is to be done: {}", again.stderr);
    for more in [&[][..], &["--no-migrate"]] {
        let environment = site.of("app", "shop");
        let serve = [&["serve", "--http", "127.0.0.1:0", "--until-stdin-ends"], more].concat();
        let coordinator = Process::start(&serve, &environment).await;
        let service = [&["service", "--until-stdin-ends"][..], more, &SERVICES].concat();
        let services = Process::start(&service, &environment).await;
        assert_eq!(services.says, "ready");
        let url = coordinator.says.trim_start_matches("listening on ");
        let body = json!({ "saga": "place-order", "input": Order::Fine.input() });
        let key = format!("key-{}", more.len());
        let started = reqwest::Client::new().post(format!("{url}/v1/sagas?wait=30s")).json(&body);
        let saga = started.header("Idempotency-Key", key).send().await.expect("the coordinator answers");
        let saga: Value = saga.json().await.expect("JSON");
        assert_eq!(saga["status"], "completed", "{saga}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn database_errors_name_host_database_and_user() {
    let site = Site::new("wrong", &["-E", "UTF8", "--no-locale"]).await;
    let at = format!("127.0.0.1:{}", site.cluster.port);
    site.cluster.execute("CREATE ROLE app LOGIN").await;
    site.cluster.execute("CREATE ROLE stranger LOGIN").await;
    site.cluster.execute("CREATE DATABASE shop").await;
    site.cluster.execute("REVOKE CONNECT ON DATABASE shop FROM PUBLIC").await;
    site.cluster.execute("GRANT CONNECT ON DATABASE shop TO app").await;
    let serve = ["serve", "--http", "127.0.0.1:0"];
    // A name that was mistyped.
    for arguments in [&["migrate"][..], &serve] {
        let ran = site.run(arguments, "app", "shpo").await;
        says(
            &ran,
            78,
            &["there is no database `shpo`", &at, "user `app`", "permission denied to create database"],
        );
    }
    // No right to connect.
    let ran = site.run(&serve, "stranger", "shop").await;
    says(&ran, 77, &["database `shop`", &at, "user `stranger`", "GRANT CONNECT"]);
    // No right to make tables, and tables that must not be made.
    let ran = site.run(&["migrate", "coordinator"], "app", "shop").await;
    says(&ran, 77, &["user `app`", "redress migrate", "permission denied for schema public"]);
    let ran = site.run(&[&serve[..], &["--no-migrate"]].concat(), "app", "shop").await;
    says(&ran, 78, &["not up to date", "redress migrate"]);
    let mut environment = site.of("app", "shop");
    environment.push(("REDRESS_ORDER_DATABASE_URL", environment[0].1.clone()));
    let ran = run(&["service", "order", "--no-migrate"], &environment).await;
    says(&ran, 78, &["service `order`", "not as it needs them", "redress migrate"]);
    // A wrong password, where one is needed; and an address without a server.
    let shared = redress::devstack::shared().await;
    let right = shared.postgres().admin_url();
    let (_, server) = right.split_once('@').expect("it has a password");
    let wrong = site.environment(format!("postgres://redress:s3cret@{server}"));
    says(
        &run(&serve, &wrong).await,
        77,
        &["database `postgres`", "user `redress`", "password authentication failed"],
    );
    let nobody = site.environment("postgres://app:s3cret@127.0.0.1:1/shop".to_owned());
    says(&run(&serve, &nobody).await, 69, &["does not answer", "127.0.0.1:1", "user `app`"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn created_databases_are_utf8_and_other_encodings_are_refused() {
    let site = Site::new("latin", &["-E", "LATIN1", "--locale=C"]).await;
    let migrated = site.run(&["migrate"], "redress", "shop").await;
    assert_eq!(migrated.code, Some(0), "{}", migrated.stderr);
    let made = site.databases().await;
    let named =
        std::iter::once("shop UTF8".to_owned()).chain(WITH_DATABASE.map(|it| format!("shop_{it} UTF8")));
    assert_eq!(made, named.collect::<Vec<_>>());
    site.cluster.execute("CREATE DATABASE old").await;
    for arguments in [&["serve", "--http", "127.0.0.1:0"][..], &["migrate"]] {
        let ran = site.run(arguments, "redress", "old").await;
        says(&ran, 78, &["database `old`", "LATIN1", "ENCODING 'UTF8'"]);
    }
    let ran = site.run(&["doctor"], "redress", "old").await;
    assert_eq!(ran.code, Some(78), "{}{}", ran.stdout, ran.stderr);
    assert!(ran.stdout.contains("unusable") && ran.stdout.contains("LATIN1"), "{}", ran.stdout);
    let mut environment = site.of("redress", "shop");
    environment.push(("REDRESS_ORDER_DATABASE_URL", site.cluster.url("old")));
    let ran = run(&["service", "order"], &environment).await;
    says(&ran, 78, &["service `order`", "database `old`", "LATIN1"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn migrate_decodes_database_name_and_takes_service_names() {
    let site = Site::new("names", &["-E", "UTF8", "--no-locale"]).await;
    let ran = site.run(&["migrate", "payment"], "redress", "my%20shop%2F50%25").await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert_eq!(ran.stdout, "payment: up to date\n");
    assert_eq!(site.databases().await, ["my shop/50%_payment UTF8"]);
    let ran = site.run(&["migrate"], "redress", "my%20shop%2F50%25").await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    assert!(site.databases().await.contains(&"my shop/50% UTF8".to_owned()));
    // A service that has a variable of its own needs no other.
    let own = vec![("REDRESS_ORDER_DATABASE_URL", site.cluster.url("my%20orders"))];
    site.cluster.execute("CREATE DATABASE \"my orders\"").await;
    let ran = run(&["migrate", "order"], &own).await;
    assert_eq!(ran.code, Some(0), "{}", ran.stderr);
    says(&run(&["migrate", "ordr"], &own).await, 2, &["no tables of `ordr`", "coordinator, order"]);
}

/// The service says "ready" only when it is: another program that looks at that moment finds its tables and its
/// consumer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ready_service_has_its_tables_and_consumer() {
    let site = Site::new("ready", &["-E", "UTF8", "--no-locale"]).await;
    let environment = site.of("redress", "shop");
    let service = Process::start(&["service", "--until-stdin-ends", "order"], &environment).await;
    assert_eq!(service.says, "ready");
    let inbox = site.cluster.pool("shop_order");
    let rows: i64 =
        sqlx::query_scalar("SELECT count(*) FROM inbox, orders").fetch_one(&inbox).await.expect("tables");
    assert_eq!(rows, 0);
    let wire = async_nats_of(&site).await;
    let stream = format!("{}_COMMANDS", site.prefix.to_ascii_uppercase());
    let stream = wire.get_stream(stream).await.expect("the stream is there");
    assert_eq!(stream.cached_info().state.consumer_count, 1);
    inbox.close().await;
}

async fn async_nats_of(site: &Site) -> async_nats::jetstream::Context {
    let address: async_nats::ServerAddr = site.nats_url.parse().expect("the stack's URL");
    let (user, password) = (address.username().unwrap_or_default(), address.password().unwrap_or_default());
    let options = async_nats::ConnectOptions::new().user_and_password(user.to_owned(), password.to_owned());
    async_nats::jetstream::new(options.connect(address).await.expect("the stack's NATS answers"))
}
